"""Training from Python: the command's numbers, stopping, going on, acting, evaluating, refusing."""

import json
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from support import fake_wandb, run_process

import gridracer
from agents import bundle as bundle_lib, controllers
from configs import registry
from envs import grid_env
from launch import config_file
from launch.host import interrupt
from launch.run import parts, run_folder

FIELDS = {
    "run.steps": 3000, "actor.batch": 8, "actor.unroll_length": 16, "learner.minibatches": 2,
    "seed": 3, "evaluator.episodes": 1, "env.horizon_steps": 48, "team.policy_layers": [16],
    "team.value_layers": [16],
}  # fmt: skip
FLAGS = (
    "--config=case14_ppo",
    *(f"--config.{path}={str(value).strip('[]')}" for path, value in FIELDS.items()),
)


def _same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_package_imports_nothing_until_it_is_asked():
    program = (
        "import sys, gridracer; assert not {'jax', 'launch'} & set(sys.modules)\n"
        "print(dir(gridracer))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "'Trainer'" in done.stdout, done.stderr
    with pytest.raises(AttributeError, match="gridracer has no Traner; it has Trainer"):
        gridracer.Traner  # noqa: B018
    assert all(getattr(gridracer, name) for name in dir(gridracer))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A trainer that was paused after a round, saved, and stopped by a callback after the third."""
    folder, rows, seen = tmp_path_factory.mktemp("run") / "mine", [], []

    def stop_after_three(trainer, metrics):
        seen.append((trainer, metrics["step"]))
        return len(seen) == 3

    with pytest.MonkeyPatch.context() as patch:
        fake_wandb.install(patch, folder.parent / "fake")
        trainer = gridracer.Trainer(
            "case14_ppo", folder, overrides=FIELDS, callbacks=[stop_after_three], loggers=["wandb"]
        )
        for metrics in trainer:
            rows.append(metrics)
            if len(rows) == 1:
                break
        trainer.save()
        saved = run_process.newest(folder)[0]
        rows.extend(trainer)
    return trainer, rows, seen, saved


def test_iterating_yields_each_round_and_then_the_final_scores(stopped):
    trainer, rows, _, saved = stopped
    # A round is 48 / 16 updates of 2 actors' 8 grids and 16 steps.
    assert [row["step"] for row in rows] == [768, 1536, 2304, 2304]
    assert [row.get("run/updates") for row in rows] == [3, 6, 9, None]
    assert saved == 3 and trainer.updates == 9
    assert "evaluation/return" in rows[0] and "evaluation/return" in rows[-1]
    logged = [
        json.loads(line)
        for line in (trainer.folder / "metrics" / "learner.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in logged] == [256 * (i + 1) for i in range(9)]
    own = {name: value for name, value in rows[0].items() if not name.startswith("evaluation/")}
    assert own == logged[2]


def test_a_callback_sees_every_round_and_stops_training(stopped):
    trainer, _, seen, _ = stopped
    assert [step for _, step in seen] == [768, 1536, 2304, 2304]
    assert all(who is trainer for who, _ in seen)
    assert trainer.outcome == "interrupted"
    status = run_folder.RunFolder(trainer.folder).status("learner")
    assert status == {"state": "ended", "outcome": "interrupted"}
    assert run_process.newest(trainer.folder)[0] == 9


def test_trackers_are_sent_its_metrics(stopped):
    calls = stopped[0].folder.parent / "fake" / "calls.jsonl"
    sent = [json.loads(line) for line in calls.read_text().splitlines()]
    steps = [call["log"]["step"] for call in sent if "learner/loss/total" in call.get("log", {})]
    assert steps == [256 * (i + 1) for i in range(9)] and sent[-1] == {"finish": 0}


def test_what_has_ended_does_nothing_more_and_says_what_does(stopped):
    trainer = stopped[0]
    assert list(trainer) == []
    for refused in (trainer.train, trainer.save):
        with pytest.raises(RuntimeError, match=r"has ended \(interrupted\).*Trainer.restore"):
            refused()
    trainer.close()
    run_folder.RunFolder(trainer.folder).check_free()  # Nobody holds it any more.


def test_a_policy_acts_on_observations_and_states_as_evaluations_do(stopped):
    trainer = stopped[0]
    policy, read = trainer.policy(), gridracer.load_policy(trainer.folder, "newest")
    _same(policy.bundle, read.bundle)
    assert policy.version == 9 and gridracer.load_policy(trainer.folder).version <= 9
    states = jax.jit(jax.vmap(policy.env.reset))(jax.random.split(jax.random.PRNGKey(0), 3))
    actions = policy(states)
    controller = controllers.learned(policy.networks, policy.bundle)
    expected, _ = jax.jit(controller.act)(states, None, controller.start(states.series, 0))
    np.testing.assert_array_equal(actions, expected)
    assert actions.shape == (3, policy.env.layout.action_size)
    np.testing.assert_allclose(policy(states.observation[1]), actions[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"observations=\[3, 2\]: must be \[\d+\] or \[B, \d+\]"):
        policy(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="checkpoint='last': must be best or newest"):
        gridracer.load_policy(trainer.folder, "last")


def test_what_was_restored_is_what_was_saved_and_is_evaluated(stopped, tmp_path):
    folder = shutil.copytree(stopped[0].folder, tmp_path / "mine")
    with gridracer.Trainer.restore(folder) as restored:
        assert restored.updates == 9
        _same(restored.policy().bundle, stopped[0].policy().bundle)
        made = restored.evaluate(["learned"], days=1, bound=False)
    assert made.folder == folder / "evaluation" / "newest-9-test-seed0" and not made.failed
    learned, plan = (made.mean(name, "cost") for name in ("learned", "do_nothing"))
    assert np.isfinite(learned) and learned != plan
    assert (made.folder / "report.html").exists()


def test_agents_that_remember_are_told_where_days_begin():
    experiment = config_file.changed(
        registry.load("case118_hierarchical"), {"env.case": "case30", "env.layout": "full"}
    )
    nets = parts.networks(
        experiment, grid_env.check(config_file.changed(experiment, {"env.scenarios": ""}).env)
    )
    bundle = bundle_lib.initial(nets, jax.random.PRNGKey(0))
    policy = gridracer.Policy(experiment, nets, bundle)
    seen = np.zeros((2, nets.team.observation_size), np.float32)
    policy(seen)
    assert policy._memory.memory.any()
    with pytest.raises(ValueError, match="of 3 grids: agents remember 2; call reset"):
        policy(np.zeros((3, nets.team.observation_size), np.float32))
    policy.reset()
    assert policy(seen[0]).shape == (nets.team.action_size,)


@pytest.mark.slow
def test_it_learns_what_the_command_learns_bit_for_bit_and_goes_on_so(tmp_path):
    done = run_process.done("launch.fused", *FLAGS, "--workdir=command", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trainer = gridracer.Trainer("case14_ppo", tmp_path / "python", overrides=FIELDS)
    for _ in trainer:
        break  # A pause and a checkpoint change nothing.
    trainer.save()
    assert trainer.train() == "finished"
    command, python = (run_process.newest(tmp_path / name) for name in ("command", "python"))
    assert command[0] == python[0] == 12
    _same(command[1], python[1])

    halfway = gridracer.Trainer("case14_ppo", tmp_path / "halfway", overrides=FIELDS)
    next(halfway)
    halfway.stop()
    assert halfway.train() == "interrupted" and halfway.updates == 3
    shutil.copytree(tmp_path / "halfway", tmp_path / "resumed")
    restored = gridracer.Trainer.restore(tmp_path / "halfway")
    assert restored.train() == "finished" and restored.updates == 12
    done = run_process.done("launch.fused", "--resume", "--workdir=resumed", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _same(run_process.newest(tmp_path / "halfway"), run_process.newest(tmp_path / "resumed"))


@pytest.mark.slow
def test_an_evaluation_is_the_commands_in_numbers_and_files(stopped, tmp_path):
    trainer = stopped[0]
    made = trainer.evaluate(["learned", "merit_order"], ["normal", "failure"], days=3, bound=False)
    assert made.folder == trainer.folder / "evaluation" / "newest-9-test-seed0" and not made.failed
    done = run_process.done(
        "launch.evaluate", f"--workdir={trainer.folder}", "--controllers=learned,merit_order",
        "--scenarios=normal,failure", "--episodes=3", "--bound=false", f"--out={tmp_path}/out",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {path.name for path in made.folder.iterdir()} >= {"report.html"}
    assert json.loads((made.folder / "summary.json").read_text()) == made.summary
    theirs = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert theirs["identity"] == made.summary["identity"]
    for ours, row in zip(made.summary["rows"], theirs["rows"], strict=True):
        assert (ours["scenario"], ours["controller"]) == (row["scenario"], row["controller"])
        for name, values in row["metrics"].items():
            for end in ("mean", "low", "high"):
                assert ours["metrics"][name][end] == pytest.approx(values[end], rel=1e-4, abs=1e-4)
    assert made.mean("learned", "return") == theirs["rows"][3]["metrics"]["return"]["mean"]
    assert {r["controller"] for r in made.records} == {"do_nothing", "learned", "merit_order"}
    with pytest.raises(KeyError, match="nothing of learned in normal"):
        made.mean("learned", "nothing")


def test_what_cannot_be_trained_is_refused_before_anything_is_made(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("learner:\n  learning_rate: fast\n")
    for config, overrides, message in (
        ("case41", {}, "did you mean --config=case14"),
        (file, {}, "mine.yaml, line 2: learner.learning_rate='fast': must be a number"),
        ("case14", {"learner.learning_rat": 1}, "did you mean learner.learning_rate"),
        ("case14", {"env": {"case": "case15"}}, "no case named"),
        ("case14", {"run.steps": 0}, "run.steps=0: must be a whole number from 1"),
        ("case14", {"learner": {"devices": 1, "unrolls_per_update": 1}}, "set it to actor.count"),
        ("case14", {"learner.devices": 4, "actor.count": 4, "learner.unrolls_per_update": 4},
         "learner.devices=4: jax has begun in this process already, with 2 cpu device"),
    ):  # fmt: skip
        with pytest.raises((ValueError, OSError), match=message):
            gridracer.Trainer(config, tmp_path / "run", overrides=overrides)
    assert not (tmp_path / "run").exists()


def test_folders_that_hold_a_run_or_none_are_refused(tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.create(registry.load("case14"))
    with pytest.raises(run_folder.RunFolderError, match="holds a run already"):
        gridracer.Trainer("case14", tmp_path / "run")
    folder.check_free()  # A refused trainer holds nothing.
    with pytest.raises(run_folder.RunFolderError, match="no run here"):
        gridracer.Trainer.restore(tmp_path)
    with pytest.raises(ValueError, match="learner.clip: cannot change, the run goes on as"):
        gridracer.Trainer.restore(tmp_path / "run", overrides={"learner.clip": 0.1})


def test_an_evaluation_is_refused_as_the_command_refuses_it(tmp_path):
    for arguments, message in (
        ({"controllers": "acopf"}, r"controllers='acopf': must be a list of names; give \['acopf'"),
        ({"controllers": ["acpf"]}, "--controllers='acpf': did you mean acopf?"),
        ({"controllers": ["learned"]}, "needs --workdir"),
        ({"scenarios": []}, "--scenarios=: names none"),
    ):
        with pytest.raises(ValueError, match=message):
            gridracer.evaluate(**arguments)


def test_a_trainer_takes_devices_if_jax_has_not_begun_and_says_so_if_it_has():
    program = (
        "import os, sys\n"
        "import jax\n"
        "from gridracer import devices\n"
        "if sys.argv[1] == 'begun': jax.devices()\n"
        "try: devices.take(2)\n"
        "except ValueError as error: sys.exit(str(error))\n"
        "print(len(jax.devices()), jax.devices()[0].platform)\n"
    )
    run = lambda how: subprocess.run(
        [sys.executable, "-c", program, how], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )  # fmt: skip
    assert run("fresh").stdout == "2 cpu\n"
    refused = run("begun").stderr
    assert "with 1 cpu device(s); make the trainer before jax computes anything" in refused


def test_ctrl_c_waits_for_the_round_that_is_going_on():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupt.deferred():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_train_keeps_a_checkpoint_and_is_raised():
    """The loop itself is stood in for: nothing is compiled."""
    calls = []

    class Training:
        ended, outcome = False, "interrupted"

        def advance(self):
            signal.raise_signal(signal.SIGINT)
            calls.append("round")
            return [{"step": 1}]

        def save(self, wait):
            calls.append("saved")

        def close(self):
            calls.append("closed")

    trainer = gridracer.Trainer.__new__(gridracer.Trainer)
    trainer.callbacks, trainer.outcome, trainer._training = [], None, Training()
    trainer._held = run_folder.RunFolder("nowhere")
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert calls == ["round", "saved", "closed"] and trainer.outcome == "interrupted"


def test_what_fails_in_a_round_ends_the_trainer_and_frees_the_folder():
    class Training:
        ended = False

        def advance(self):
            raise FloatingPointError("10 updates were not finite")

        def give_up(self):
            self.given_up = True

    trainer = gridracer.Trainer.__new__(gridracer.Trainer)
    trainer.callbacks, trainer.outcome, trainer._training = [], None, Training()
    trainer._held = run_folder.RunFolder("nowhere")
    with pytest.raises(FloatingPointError), trainer:
        trainer.train()
    assert trainer.outcome == "failed" and trainer._training.given_up
