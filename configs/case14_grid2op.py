"""Grid2Op's l2rpn_case14_sandbox on its own chronics, with what Grid2Op shows and moves too.

`python -m gridracer.grid2op prepare l2rpn_case14_sandbox` makes the files that it names.
"""

import dataclasses

from actors.options import ActorOptions
from configs.experiment import BY_GRADIENT, MYOPIC_TEAM, NORMAL_OPERATION, Experiment, RunOptions
from envs.step.options import ProtectionOptions

_FOLDER = "environments/l2rpn_case14_sandbox"


def experiment() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        name="case14_grid2op",
        env=dataclasses.replace(
            NORMAL_OPERATION,
            case=f"{_FOLDER}/case.json",
            fleet=f"{_FOLDER}/fleet.json",
            time_series=f"{_FOLDER}/chronics",
            schedule="recorded",
            balancing="reference",
            voltage_swing=0.0,
            horizon_steps=287,  # recordings end a step short of the second day
            layout="grid2op",
            protection=ProtectionOptions(soft_steps=3, recloses=False),
        ),
        team=MYOPIC_TEAM,
        actor=ActorOptions(batch=64, unroll_length=8),
        learner=dataclasses.replace(BY_GRADIENT, learning_rate=1e-3, loading_margin=0.85),
        run=RunOptions(steps=200_000),
    )
