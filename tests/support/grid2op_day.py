"""The environment of Grid2Op that tests play in beside Gridracer's, from a first midnight on."""

import importlib.util

import pytest

from gridracer.grid2op import prepare

NAME = "l2rpn_case14_sandbox"
needs_grid2op = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("grid2op", "lightsim2grid")),
    reason="Grid2Op with lightsim2grid is not installed: make install-grid2op",
)


def begin():
    """Returns Grid2Op's environment at the first midnight of scenario 0000, and what it shows.

    Lines have the cooldowns of its level `competition`, which are Gridracer's.
    """
    from agents.grid2op import play

    env = play.make(prepare.find(NAME))
    parameters = env.parameters
    parameters.NB_TIMESTEP_COOLDOWN_LINE, parameters.NB_TIMESTEP_RECONNECTION = 3, 12
    env.change_parameters(parameters)
    _, row = prepare.first_midnight(prepare.find(NAME) / "chronics" / "0000")
    return env, play.reset(env, 0, row)
