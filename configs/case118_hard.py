"""IEEE 118 buses, every control, the hard days of all seven scenarios."""

import dataclasses

from actors.options import ActorOptions, EvaluatorOptions
from agents.options import TeamOptions
from configs.experiment import BY_GRADIENT, NORMAL_OPERATION, Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment.

    Outages are those that the scenarios bring. Rewards are below 2 in normal operation; a limit
    keeps a blackout, worth 100,000, from deciding what the value function is scaled by.
    """
    return Experiment(
        name="case118_hard",
        env=dataclasses.replace(
            NORMAL_OPERATION, case="case118", layout="full", scenarios="all:hard=1,normal:easy=1"
        ),
        team=TeamOptions(effective_horizon=1.0, initial_std=0.05, policy_layers=(256, 256)),
        actor=ActorOptions(batch=64, unroll_length=8),
        learner=dataclasses.replace(BY_GRADIENT, loading_margin=0.93, reward_limit=20.0),
        evaluator=EvaluatorOptions(episodes=56, period_seconds=30.0),
        run=RunOptions(steps=600_000),
    )
