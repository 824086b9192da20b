"""Experiments from files: what they say, what flags change of it, and how mistakes are named."""

import json

import pytest
from support.evaluation_flags import flags

from configs import registry
from launch import config_file, evaluation_request, option_fields
from launch.run import run_folder
from launch.sweep import folder as sweep_folder


def _written(folder, text, name="mine.yaml"):
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_file_holds_what_differs_nested_or_by_dotted_path(tmp_path):
    file = _written(
        tmp_path,
        "base: case14_ppo\n"
        "env: {case: case30, protection.recloses: false}\n"
        "learner:\n  learning_rate: 3e-4  # YAML 1.1 would read text\n"
        "run.steps: 100000\n"
        "team: {policy_layers: [32, 16], initial_std: 1}\n",
    )
    made, base = config_file.load(file), registry.load("case14_ppo")
    assert option_fields.changed(base, made) == {
        "name": "mine", "env.case": "case30", "env.protection.recloses": False,
        "learner.learning_rate": 3e-4, "run.steps": 100_000, "team.policy_layers": (32, 16),
        "team.initial_std": 1.0,
    }  # fmt: skip
    assert isinstance(made.team.initial_std, float)
    assert config_file.base(file) == "case14_ppo"


def test_a_file_without_a_base_changes_case14_and_json_says_the_same(tmp_path):
    fields = {"name": "other", "learner": {"learning_rate": 2e-3}, "seed": 3}
    as_json = config_file.load(_written(tmp_path, json.dumps(fields), "mine.json"))
    as_yaml = config_file.load(
        _written(tmp_path, "name: other\nseed: 3\nlearner: {learning_rate: 2.0e-3}\n")
    )
    assert as_json == as_yaml
    changed = option_fields.changed(registry.load("case14"), as_json)
    assert changed == {"name": "other", "seed": 3, "learner.learning_rate": 2e-3}


@pytest.mark.parametrize("name", registry.names())
def test_the_configuration_of_a_run_is_a_file_of_its_experiment(name, tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.create(registry.load(name))
    assert config_file.load(folder.config) == registry.load(name)
    # A field that came later than the file has its default, not case14's.
    content = json.loads(folder.config.read_text())
    del content["learner"]["loading_margin"]
    folder.config.write_text(json.dumps(content))
    kept = config_file.load(folder.config).learner.loading_margin
    assert kept == type(registry.load(name).learner)().loading_margin


def test_scalars_are_read_as_yaml_1_2_has_them(tmp_path):
    file = _written(tmp_path, "name: 12-30\nenv: {case: 'case30', fleet: no}\n")
    made = config_file.load(file)
    assert (made.name, made.env.case, made.env.fleet) == ("12-30", "case30", "no")


@pytest.mark.parametrize(
    "text, message",
    [
        ("learner:\n  learning_rat: 1\n", "line 2: learner.learning_rat: no such field; did you "
         "mean learner.learning_rate? there are bootstrap, "),
        ("learning_rate: 1\n", "line 1: learning_rate: no such field; did you mean learner.learn"),
        ("seed: 1\nlearner:\n  learning_rate: -1\n",
         "line 3: learner.learning_rate=-1.0: must be a number above 0"),
        ("seed: three\n", "line 1: seed='three': must be a whole number"),
        ("run.synchronous: 1\n", "line 1: run.synchronous=1: must be true or false"),
        ("team: {policy_layers: 64}\n", "line 1: team.policy_layers=64: must be a list"),
        ("env:\n  case: null\n", "line 2: env.case=null: must be text"),
        ("env: 3\n", "line 1: env=3: is a group of fields; give env: {FIELD: VALUE}"),
        ("seed: {a: 1}\n", "line 1: seed={'a': 1}: must be a whole number"),
        ("seed: 1\nseed: 2\n", "line 2: 'seed' is given twice, first on line 1"),
        ("env.case: case30\nenv: {case: case14}\n", "line 2: env.case: is given twice"),
        ("base: case41\n", "line 1: base='case41': did you mean case14? it must be one of case1"),
        ("base: [1]\n", "line 1: base=[1]: must be text"),
        ("actor: {unroll_length: 300}\n", "line 1: actor.unroll_length=300: must be at most"),
        ("- 1\n", "holds [1] and no fields; write some as NAME: VALUE"),
        ("", "holds null and no fields"),
        ("seed: 1\n---\nseed: 2\n", "line 2: is no YAML: but found another document"),
        ("seed: !!python/object:os.system 1\n", "line 1: the tag '!!python/object:os.system'"),
        ("seed: !!int 1\n", "line 1: the tag '!!int' is not read; leave it out"),
        ("a: &a [1]\nb: *a\n", "line 1: anchors and aliases are not read"),
        ("seed: 1\n env: {\n", "line 2: is no YAML: mapping values are not allowed here"),
        ("? [a]\n: 1\n", "line 1: a name must be text"),
        ("[" * 50_000, "is nested too deeply"),
        (f"seed: {'9' * 5000}\n", "line 1: a number of 5000 digits"),
        ("a: \0\n", "is no YAML: "),
        ("#" * 300_000, "larger than 256 KiB"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_field_and_remedy(text, message, tmp_path):
    file = _written(tmp_path, text)
    with pytest.raises(config_file.ConfigFileError) as refused:
        config_file.load(file)
    said = str(refused.value)
    assert said.startswith(file) and message in said, said


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"seed": 1, "seed": 2}', "'seed' is given twice"),
        ('{"seed": 1,\n x}', "line 2"),
        ('{"seed": NaN}', "seed=nan: must be a whole number"),
        ('{"run": {"steps": 0}}', "run.steps=0: must be a whole number from 1"),
        ("[]", "holds [] and no fields"),
    ],
)
def test_a_mistake_in_json_is_named(text, message, tmp_path):
    file = _written(tmp_path, text, "mine.json")
    with pytest.raises(config_file.ConfigFileError) as refused:
        config_file.load(file)
    assert str(refused.value).startswith(file) and message in str(refused.value)


def test_what_is_no_file_of_an_experiment_is_refused_by_its_path(tmp_path):
    for path, message in (
        (tmp_path / "none.yaml", "cannot be read (No such file or directory)"),
        (tmp_path, f"is a folder; give a file in it, such as {tmp_path}/config.json"),
        ("/dev/null", "its name must end in .yaml, .yml, .json"),
        (f"{tmp_path}/{'x' * 5000}.yaml", "File name too long"),
    ):
        with pytest.raises(config_file.ConfigFileError) as refused:
            config_file.load(path)
        assert str(refused.value).startswith(str(path)) and message in str(refused.value)
    (tmp_path / "pipe.yaml").symlink_to("/dev/zero")
    with pytest.raises(config_file.ConfigFileError, match="no regular file"):
        config_file.load(tmp_path / "pipe.yaml")


def test_a_name_is_no_file():
    assert config_file.load("case14") == registry.load("case14")
    with pytest.raises(ValueError, match="did you mean --config=case14"):
        config_file.load("case41")


@pytest.mark.parametrize("command", ["local", "sweep"])
def test_commands_refuse_a_file_in_a_line_that_names_it_and_no_flag(command, refusal, tmp_path):
    file = _written(tmp_path, "learner:\n  learning_rate: fast\n")
    more = ["--vary=learner.epochs=1,2"] * (command == "sweep")
    out, err = refusal(command, f"--config={file}", *more)
    assert err == (
        f"error: --config={file}, line 2: learner.learning_rate='fast': must be a number\n"
    )
    assert not out


def test_flags_override_a_file_and_are_named_themselves(refusal, tmp_path):
    file = _written(tmp_path, "learner: {devices: 1}\nactor: {count: 3}\n"
                    "learner.unrolls_per_update: 3\n")  # fmt: skip
    assert config_file.load(file).actor.count == 3
    _, err = refusal("local", f"--config={file}", "--config.actor.batch=-4")
    assert err.startswith("error: --config.actor.batch=-4: must be"), err
    # What the file says and the flags leave is sound; a flag that breaks it is named.
    _, err = refusal("local", f"--config={file}", "--config.learner.devices=7")
    assert "--config.learner.devices=7" in err


def test_baselines_are_evaluated_in_the_environment_of_a_file(tmp_path):
    file = _written(tmp_path, "base: case14_hard\nenv: {horizon_steps: 24, layout: voltages}\n")
    request = evaluation_request.from_flags(
        flags(config=file, controllers=["random"], env=["voltage_ramp=0.5"]), []
    )
    options = request.env.options
    assert (options.horizon_steps, options.layout, options.voltage_ramp) == (24, "voltages", 0.5)
    assert not options.scenarios
    broken = _written(tmp_path, "seed: x\n", "broken.yaml")
    with pytest.raises(ValueError, match=f"^--config={broken}, line 1: seed='x'"):
        evaluation_request.from_flags(flags(config=broken), [])
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.create(registry.load("case14"))
    with pytest.raises(ValueError, match="is its own; leave --config out"):
        evaluation_request.from_flags(flags(config=file), [folder])


def test_trials_of_a_sweep_need_the_file_no_more(tmp_path):
    file = _written(tmp_path, "base: case14_ppo\nteam: {policy_layers: [32, 16]}\nseed: 4\n")
    made = config_file.load(file)
    plan = sweep_folder.Plan(config_file.base(file), made, (), "tpe", 1, (0,), 0)
    assert plan.flags({"learner.epochs": 2}) == [
        "--config=case14_ppo", "--config.name=mine", "--config.seed=4",
        "--config.team.policy_layers=32,16", "--config.learner.epochs=2",
    ]  # fmt: skip
