"""Experiments and their flags: every field can be set, and mistakes are named."""

import dataclasses
import pathlib
import re
import subprocess
import sys

import pytest

from actors.options import ActorOptions
from configs import registry
from configs.experiment import Experiment, RunOptions
from envs import grid_env
from envs.inputs import json_file
from envs.options import EnvOptions
from evaluation.scenarios import preparation
from launch import option_fields
from learner import learner, losses, ppo

ROOT = pathlib.Path(__file__).parents[2]


def _from_json(text):
    return registry.build(json_file.parse(text))


@pytest.mark.parametrize("name", registry.names())
def test_every_experiment_is_sound_and_survives_json(name):
    experiment = registry.load(name)
    assert experiment.name == name
    assert _from_json(registry.to_json(experiment)) == experiment
    env = dataclasses.replace(experiment.env, scenarios="")
    assert grid_env.check(env).grid.n_bus > 0
    if experiment.env.scenarios:
        assert preparation.parse(experiment.env.scenarios, "env.scenarios", experiment.env)
        with pytest.raises(ValueError, match="env.scenarios=.*cascade:hard.*have to be prepared"):
            grid_env.check(experiment.env)


def test_json_with_an_unknown_or_missing_field_is_refused():
    text = registry.to_json(registry.load("case14_ppo"))
    with pytest.raises(ValueError, match="learner.epoch: no such field"):
        _from_json(text.replace('"epochs"', '"epoch"'))
    with pytest.raises(ValueError, match="name: missing"):
        _from_json(text.replace('  "name": "case14_ppo",\n', ""))
    # Files of before a field existed are read: it has its default.
    assert _from_json(text.replace('  "seed": 0,\n', "")) == registry.load("case14_ppo")


def test_fields_of_earlier_versions_are_read_or_refused_by_name():
    case14 = registry.load("case14_ppo")
    earlier = registry.to_json(case14).replace('"effective_horizon"', '"horizon"')
    earlier = earlier.replace('"epochs"', '"value_cost": 0.5, "max_bad_updates": 10, "epochs"')
    assert _from_json(earlier) == case14
    with pytest.raises(ValueError, match=r"learner.value_cost=0.7: .* it is always 0.5"):
        _from_json(earlier.replace('"value_cost": 0.5', '"value_cost": 0.7'))
    twice = earlier.replace('"horizon"', '"effective_horizon": 20.0, "horizon"')
    with pytest.raises(ValueError, match="team.effective_horizon: is given twice, as team.horizon"):
        _from_json(twice)


def test_what_were_options_are_the_constants_of_their_modules():
    assert registry._CONSTANTS == {
        "learner.value_cost": losses._VALUE_COST,
        "learner.max_gradient_norm": ppo._MAX_GRADIENT_NORM,
        "learner.max_bad_updates": learner._MAX_BAD_UPDATES,
    }


def test_fields_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="actor.unroll_length=300"):
        Experiment("x", actor=ActorOptions(unroll_length=300))
    with pytest.raises(ValueError, match="run.synchronous needs one unroll of each actor"):
        Experiment("x", actor=ActorOptions(count=3), run=RunOptions(synchronous=True))
    analytic = registry.load("case14")
    for name, value in (("value_clip", 0.2), ("correction", "vtrace")):
        learned = dataclasses.replace(analytic.learner, **{name: value})
        with pytest.raises(ValueError, match=f"learner.{name}={value}: .* learns no values with"):
            dataclasses.replace(analytic, learner=learned)
    with pytest.raises(ValueError, match="try actor.batch="):
        Experiment("x", actor=ActorOptions(batch=33), learner=dataclasses.replace(
            Experiment("x").learner, unrolls_per_update=1))  # fmt: skip


def _resolve(*flags):
    """Parses flags as `launch.local` does, in a process of its own."""
    program = (
        "import sys; from absl import app; from launch import experiment_flags as e\n"
        "from configs import registry\n"
        "def main(_):\n"
        "    try: print(registry.to_json(e.experiment()))\n"
        "    except ValueError as error: sys.exit('error: ' + str(error))\n"
        "app.run(main)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_flag_sets_any_field_of_any_type():
    done = _resolve(
        "--config=case14_ppo", "--config.learner.learning_rate=1e-4", "--config.actor.batch=16",
        "--config.team.policy_layers=32,16", "--config.run.synchronous", "--config.seed=7",
        "--config.env.reward=layered", "--noconfig.run.colocate",
    )  # fmt: skip
    experiment = _from_json(done.stdout)
    assert experiment.learner.learning_rate == 1e-4 and experiment.actor.batch == 16
    assert experiment.team.policy_layers == (32, 16) and experiment.seed == 7
    assert experiment.run.synchronous and not experiment.run.colocate
    assert experiment.env.reward == "layered"
    assert experiment.team.effective_horizon == registry.load("case14_ppo").team.effective_horizon


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config=case41", "did you mean --config=case14?"),
        ("--config.learner.learning_rat=1", "config.learner.learning_rate"),
        ("--config.learner.learning_rate=fast", "--config.learner.learning_rate=fast"),
        ("--config.actor.batch=-4", "--config.actor.batch=-4: must be a whole number from 1 to"),
        ("--config.team.policy_layers=a,b", "integers separated by commas"),
        ("--config.learner.devices=3", "--config.learner.devices=3 does not divide"),
    ],
)
def test_a_mistaken_flag_is_refused_with_the_remedy(flag, message):
    done = _resolve(flag)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert message in done.stderr + done.stdout


def test_help_lists_every_field_with_its_meaning():
    done = subprocess.run(
        [sys.executable, "-m", "launch.local", "--help"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    for needle in ("--config.learner.learning_rate", "Adam's step size", "--resume", "--workdir"):
        assert needle in done.stdout
    text = " ".join(done.stdout.split())
    assert (
        "(default 1000000; case118 and case118_full and case118_hierarchical and case118_secure "
        "and case14 and case14_nodes and case300: 600000; case118_hard: 1500000; case118_ppo and "
        "case14_ppo: 3000000; case14_hard: 900000; ieee13_mg: 200000)"
    ) in text
    assert "(default 64; case118_ppo: 128)" in text


def test_text_sets_any_field_of_nested_options():
    texts = ["protection.recloses=false", "horizon_steps=24", "horizon_steps=48", "voltage_ramp=.5"]
    values = option_fields.assigned("--env", [*texts, "case=a=b.m"], EnvOptions)
    options = option_fields.replaced(EnvOptions(), values)
    assert not options.protection.recloses and options.protection.enabled
    assert (options.horizon_steps, options.voltage_ramp, options.case) == (48, 0.5, "a=b.m")


@pytest.mark.parametrize(
    "text, message",
    [
        ("protection.recloze=no", "did you mean protection.recloses? it must be one of case, "),
        ("recloses=no", "--env=recloses=no: no such field; did you mean protection.recloses?"),
        ("horizon_steps=day", "--env=horizon_steps=day: 'day' is not a whole number"),
        ("protection.recloses=maybe", "'maybe' is not true or false"),
        ("horizon_steps", "give --env=horizon_steps=VALUE"),
        ("protection=1", "it must be one of case, "),
    ],
)
def test_text_that_sets_no_field_is_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        option_fields.assigned("--env", [text], EnvOptions)
