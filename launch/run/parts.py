"""The heavy objects of a run: environment, networks, and what steps one under the other."""

import functools
import threading

from actors import unroll
from agents import networks as networks_lib
from configs.experiment import Experiment
from envs import grid_env
from replay import schema

_ONE_AT_A_TIME = threading.Lock()


def build(
    experiment: Experiment,
) -> tuple[grid_env.GridEnv, networks_lib.TeamNetworks, unroll.Unroller]:
    """Returns the environment, the team's networks, and what steps one under the other."""
    env = grid_env.make(experiment.env)
    nets = networks(experiment, env)
    actor, learner = experiment.actor, experiment.learner
    unroller = unroll.Unroller(
        env, nets, actor.unroll_length, actor.batch, learner.window, experiment.updates,
        tuple(learner.limits_per_day),
    )  # fmt: skip
    return env, nets, unroller


def spec(experiment: Experiment) -> schema.Spec:
    """Returns the shape of an unroll.

    It takes seconds of tracing, and nodes that share a process all need it: they share one.
    """
    with _ONE_AT_A_TIME:
        return _spec(experiment)


@functools.cache
def _spec(experiment: Experiment) -> schema.Spec:
    _, _, unroller = build(experiment)
    return unroller.spec()


def networks(
    experiment: Experiment, env: grid_env.GridEnv | grid_env.Specification
) -> networks_lib.TeamNetworks:
    """Returns the team's networks, as the learner's options have them."""
    learner = experiment.learner
    return networks_lib.make(
        env.layout, experiment.team, len(learner.limits_per_day), learner.objective
    )
