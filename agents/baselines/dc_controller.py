"""Controllers that solve a DC optimal power flow for each decision, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents import controllers
from agents.baselines import dc_dispatch, dc_program, outlook, workers
from envs import grid_env
from envs.time_series import series as series_lib

_RATE_SHARE = 0.98  # of limits; what is left is for what forecasts of the next step miss


def setting(
    env: grid_env.GridEnv, steps: tuple[int, ...], *, stores: bool, rounds: int
) -> dc_dispatch.Setting:
    """Returns what a dispatcher needs of an environment.

    Args:
      env: the environment.
      steps: the length of each period.
      stores: whether batteries are used.
      rounds: of AC recourse.
    """
    options, layout = env.options, env.layout
    movable = np.zeros(env.grid.loads.size)
    if "load" in layout.action:
        movable[env.site.controllable] = options.load_control_share
    prices = dc_program.Prices(
        load=options.load_control_price,
        curtailment=options.curtailment_price,
        storage=options.storage_price,
        lost_load=options.lost_load_price,
        surplus=options.surplus_price,
        overload=options.overload_price,
    )
    return dc_dispatch.Setting(
        env.grid, env.fleet, prices, env.dt_h, series_lib.LEAD_STEPS, steps, movable,
        curtails="curtailment" in layout.action,
        stores=stores and "storage" in layout.action,
        rate_share=_RATE_SHARE,
        rounds=rounds,
    )  # fmt: skip


def make(
    env: grid_env.GridEnv,
    name: str,
    title: str,
    chosen: dc_dispatch.Setting,
    value: Callable[[series_lib.TimeSeries], np.ndarray],
    count: int,
) -> controllers.Controller:
    """Returns the controller that requests the set-points of `dc_dispatch`.

    Args:
      env: the environment.
      name: of the controller.
      title: of the controller.
      chosen: what its dispatcher is set up with.
      value: takes time series `[B, …]`; returns the value of stored energy in each `[B]` $/MWh.
      count: processes to solve in; 0 for one a core.
    """
    pool = workers.Workers(dc_dispatch.Dispatcher, chosen, count=count)
    view = outlook.Outlook(env, sum(chosen.steps))

    def start(days, seed):
        del seed
        none = np.zeros(env.grid.n_branch)
        return [dc_dispatch.Memory((), none, float(v)) for v in value(days)]

    def act(state, days, memory):
        going = np.flatnonzero(~np.asarray(state.terminated))
        situations = view.look(state, days)
        problems = [(situations[i], memory[i]) for i in going]
        setpoints, memory = [None] * len(memory), list(memory)
        for i, solved in zip(going, pool.map(problems)):
            setpoints[i], memory[i] = solved
        return view.write(state, days, setpoints), memory

    return controllers.Controller(
        name, title, controllers.FORECASTS, start, act, traceable=False, close=pool.close
    )
