"""The heavy objects of a run: environment, networks, and what steps one under the other."""

from actors import unroll
from agents import networks as networks_lib
from configs.experiment import Experiment
from envs import grid_env


def build(
    experiment: Experiment,
) -> tuple[grid_env.GridEnv, networks_lib.TeamNetworks, unroll.Unroller]:
    """Returns the environment, the team's networks, and what steps one under the other."""
    env = grid_env.make(experiment.env)
    networks = networks_lib.make(env.layout, experiment.team)
    actor = experiment.actor
    unroller = unroll.Unroller(
        env, networks, actor.unroll_length, actor.batch, experiment.learner.window,
        experiment.updates,
    )  # fmt: skip
    return env, networks, unroller
