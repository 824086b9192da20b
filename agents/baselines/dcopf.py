"""DC optimal power flow for the next five minutes, with AC recourse."""

from __future__ import annotations

import numpy as np

from agents import controllers
from agents.baselines import dc_controller
from envs import grid_env

_ROUNDS = 3


def dcopf(env: grid_env.GridEnv, count: int = 0) -> controllers.Controller:
    """Returns the controller that runs a DC optimal power flow on the forecast of the next step.

    It moves units, wind and sun, and loads, at the environment's prices; batteries rest and
    voltages stay as scheduled. The network is the one that will be there as far as is announced.
    An AC power flow checks every plan, and lowers the limits of branches that would be beyond
    theirs, up to three times.

    Args:
      env: the environment.
      count: processes to solve in; 0 for one a core.
    """
    setting = dc_controller.setting(env, (1,), stores=False, rounds=_ROUNDS)
    none = lambda days: np.zeros(len(days.day))
    return dc_controller.make(env, "dcopf", "DC-OPF", setting, none, count)
