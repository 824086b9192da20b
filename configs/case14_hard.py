"""IEEE 14 buses, every control, the hard days of all seven scenarios."""

import dataclasses

from configs import case118_hard
from configs.experiment import Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment: `case118_hard` on the smaller grid.

    Two units carry it, so that days end by frequency: those of wind and sun that come and go, and
    those on which a unit fails.
    """
    base = case118_hard.experiment()
    return dataclasses.replace(
        base,
        name="case14_hard",
        env=dataclasses.replace(
            base.env,
            case="case14",
            scenarios="normal:easy=1,normal:hard=1,peak:hard=1,failure:hard=2,"
            "intermittency:hard=4,cascade:hard=3,emergency:hard=1,weather:hard=3",
        ),
        team=dataclasses.replace(base.team, activation="tanh"),
        run=RunOptions(steps=900_000),
    )
