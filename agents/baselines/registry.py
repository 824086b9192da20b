"""The controllers to beat, by name."""

from collections.abc import Callable

from agents import controllers
from agents.baselines import acopf, dc_controller, expert, simple
from envs import grid_env

BASELINES: dict[str, Callable[[grid_env.GridEnv], controllers.Controller]] = {
    "do_nothing": controllers.do_nothing,
    "random": simple.random,
    "proportional": simple.proportional,
    "merit_order": simple.merit_order,
    "reconnect": simple.reconnect,
    "expert": expert.expert,
    "dcopf": dc_controller.dcopf,
    "mpc": dc_controller.mpc,
    "acopf_forecast": acopf.acopf_forecast,
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
