"""The controllers to beat, by name."""

from __future__ import annotations

from collections.abc import Callable

from agents import controllers
from agents.baselines import acopf, dcopf, dispatch, expert, mpc, simple
from envs import grid_env

BASELINES: dict[str, Callable[[grid_env.GridEnv], controllers.Controller]] = {
    "do_nothing": controllers.do_nothing,
    "random": simple.random,
    "proportional": dispatch.proportional,
    "merit_order": dispatch.merit_order,
    "reconnect": simple.reconnect,
    "expert": expert.expert,
    "dcopf": dcopf.dcopf,
    "mpc": mpc.mpc,
    "acopf": acopf.acopf,
}


def make(name: str, env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller called `name`.

    Raises:
      ValueError: there is none.
    """
    if name not in BASELINES:
        raise ValueError(f"controller {name!r}: must be one of {', '.join(BASELINES)}")
    return BASELINES[name](env)
