"""IEEE 118 buses, every control, the hard days of all seven scenarios."""

import dataclasses

from actors.options import ActorOptions, EvaluatorOptions
from configs.experiment import BY_GRADIENT, MYOPIC_TEAM, NORMAL_OPERATION, Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment.

    Outages are those that the scenarios bring; of what differs most from day to day there are more
    days. Steps earn less than 2 in normal operation; a limit keeps a blackout, worth 100,000, from
    being all that a batch teaches.
    """
    return Experiment(
        name="case118_hard",
        env=dataclasses.replace(
            NORMAL_OPERATION,
            case="case118",
            layout="full",
            scenarios="normal:easy=1,normal:hard=1,peak:hard=1,failure:hard=1,"
            "intermittency:hard=2,cascade:hard=6,emergency:hard=2,weather:hard=3",
        ),
        team=dataclasses.replace(MYOPIC_TEAM, initial_std=0.05, activation="silu"),
        actor=ActorOptions(batch=64, unroll_length=8),
        learner=dataclasses.replace(
            BY_GRADIENT,
            learning_rate=5e-4,
            loading_margin=0.93,
            reactive_margin=1.0,
            reward_limit=20.0,
        ),
        evaluator=EvaluatorOptions(episodes=56, period_seconds=30.0),
        run=RunOptions(steps=1_500_000),
    )
