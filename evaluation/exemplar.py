"""What a report shows of a batch of episodes: how all of them went, and the worst one whole."""

from __future__ import annotations

import numpy as np

from envs import grid_env
from envs.step import rewards
from envs.time_series import series as series_lib
from evaluation.episodes import Episodes

VOLTAGE_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)  # of buses that live and episodes that go on
LOADING_QUANTILES = (0.5, 0.95, 1.0)  # of branches
HOURS = 24  # an action heat map has a column for each


def of(
    episodes: Episodes,
    days: series_lib.TimeSeries,
    env: grid_env.GridEnv,
    first: int,
    which: int | None = None,
) -> dict[str, np.ndarray]:
    """Returns the arrays that a report draws.

    Of the batch: `vm_quantiles` `[T, 5]` pu, `rho_quantiles` `[T, 3]`, `frequency_low` `[T]` Hz
    (lowest nadir), `going` `[T]` share of episodes, `action_size` `[HOURS, action_size]` mean size.

    Of the worst episode (one that ended, the earliest; otherwise that with the fullest branch), at
    every step: `vm_pu` `[T, n_bus]`, `rho` `[T, n_branch]`, `closed` `[T, n_branch]`, `energised`
    `[T, n_bus]`, `trip_round` `[T, n_branch]`, `available` `[T, n_branch]` (not the time
    series's), `why`
    `[T, n_branch]` (what the controller and protection made of it, `envs.step.switching`), `gen_on`
    `[T, n_gen]`, `gen_p_mw` and `plan_p_mw` `[T, n_gen]`, `action` `[T, action_size]`,
    `energy_mwh` `[T, n_storage]`, `frequency_hz`, `nadir_hz`, `shed_share`, `load_mw`,
    `available_mw`, `renewable_mw`, `cost` ($ of the step, every price included), `counted`
    `[T]`; `episode` is the number of its day and `worst_step` the step in which its most loaded
    branch was most loaded. For other simulators: `bus_p_mw`, `bus_q_mvar`, `va_rad`, `setpoint_pu`
    and `pv` `[T, n_bus]`.

    Args:
      episodes: with what was seen.
      days: leaves `[B, rows, …]`.
      env: the environment.
      first: number of the first time series.
      which: episode of the batch to show in place of the worst.
    """
    happened, seen = episodes
    counted = np.asarray(happened.counted)
    steps, fatal = counted.sum(0), (happened.terminated & counted).any(0)
    going = counted & ~happened.terminated
    rho = np.where(going[..., None], seen.detail.rho, 0.0)
    fullest = rho.max((0, 2))
    worst = int(np.lexsort((-fullest, np.where(fatal, steps, steps.max() + 1)))[0])
    shown = worst if which is None else which
    vm = np.where(going[..., None] & seen.detail.energised, seen.vm_pu, np.nan)
    quantiles = lambda x, q: np.stack([_quantiles(row, q) for row in x.reshape(len(x), -1)])
    hour = (np.arange(env.horizon) * env.dt_h).astype(int) % HOURS
    size = np.where(going[..., None], np.abs(seen.action), 0.0)
    played = np.stack([going[hour == h].sum() for h in range(HOURS)])
    heat = np.stack([size[hour == h].sum((0, 1)) for h in range(HOURS)])
    one = lambda x: np.asarray(x)[:, shown]
    series = lambda leaf: np.asarray(leaf)[shown, 1:]
    terms = {name: np.asarray(value) for name, value in happened.terms.items()}
    return {
        "vm_quantiles": quantiles(vm, VOLTAGE_QUANTILES),
        "rho_quantiles": quantiles(
            np.where(going[..., None], seen.detail.rho, np.nan), LOADING_QUANTILES
        ),
        "frequency_low": np.where(going, happened.metrics["nadir_hz"], np.inf).min(1),
        "going": going.mean(1),
        "action_size": heat / np.maximum(played, 1)[:, None],
        "episode": np.int64(first + shown),
        "worst_step": np.int64(rho[:, shown].max(1).argmax()),
        "counted": one(counted),
        "reason": one(happened.reason),
        "vm_pu": one(seen.vm_pu),
        "va_rad": one(seen.va_rad),
        "bus_p_mw": one(seen.detail.bus_p_mw),
        "bus_q_mvar": one(seen.detail.bus_q_mvar),
        "setpoint_pu": one(seen.detail.asked.vm_setpoint_pu),
        "pv": one(seen.detail.pv),
        "rho": one(seen.detail.rho),
        "closed": one(seen.detail.closed),
        "energised": one(seen.detail.energised),
        "trip_round": one(seen.trip_round),
        "available": one(seen.available),
        "why": one(seen.why),
        "gen_on": series(days.gen_status) == series_lib.IN_SERVICE,
        "gen_p_mw": one(seen.detail.gen_p_mw),
        "plan_p_mw": series(days.plan_p_mw),
        "action": one(seen.action),
        "energy_mwh": one(seen.energy_mwh),
        "frequency_hz": one(happened.frequency_hz),
        "nadir_hz": one(happened.metrics["nadir_hz"]),
        "shed_share": one(happened.shed_share),
        "load_mw": series(days.load_p_mw).sum(1),
        "available_mw": series(days.renewable_mw).sum(1),
        "renewable_mw": one(seen.detail.renewable_mw).sum(1),
        "cost": one(rewards.operating_cost(terms, env.options)),
    }


def _quantiles(values: np.ndarray, which: tuple[float, ...]) -> np.ndarray:
    known = values[np.isfinite(values)]
    return np.quantile(known, which) if known.size else np.full(len(which), np.nan)
