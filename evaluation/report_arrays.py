"""The arrays that a report draws of a batch of episodes: all of them, and the worst one whole."""

import numpy as np

from agents.team import Team
from envs import grid_env
from envs.step import rewards
from envs.time_series import series as series_lib
from evaluation import team_arrays
from evaluation.episodes import Episodes

VOLTAGE_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)  # of energised buses and episodes that go on
LOADING_QUANTILES = (0.5, 0.95, 1.0)  # of branches
HOURS = 24  # an action heat map has a column for each


def extract(
    episodes: Episodes,
    days: series_lib.TimeSeries,
    env: grid_env.GridEnv,
    first: int,
    which: int | None = None,
    team: Team | None = None,
) -> dict[str, np.ndarray]:
    """Returns the arrays that a report draws.

    Of the batch: `vm_quantiles` `[T, 5]` pu, `rho_quantiles` `[T, 3]`, `frequency_low` `[T]` Hz
    (lowest nadir), `going` `[T]` share of episodes, `action_size` `[HOURS, action_size]` mean size.

    Of the worst episode (of those that ended the earliest, else that with the most loaded branch),
    at every step: `vm_pu` and `energised` `[T, n_bus]`; `rho`, `closed`, `trip_round`, `available`
    (left in service by the time series) and `why` (closed, tripped or opened,
    `envs.step.switching`) `[T, n_branch]`; `gen_on`, `gen_p_mw` and `plan_p_mw` `[T, n_gen]`;
    `action` `[T, action_size]`; `energy_mwh` `[T, n_storage]`; `frequency_hz`, `nadir_hz`,
    `shed_share`, `load_mw`, `available_mw`, `renewable_mw`, `cost` ($ of the step, every price
    included), `reason` and `counted` `[T]`. `episode` is the number of its day and `worst_step` the
    step in which its most loaded branch was most loaded. For other simulators: `bus_p_mw`,
    `bus_q_mvar`, `va_rad`, `setpoint_pu` and `pv` `[T, n_bus]`.

    Of who is a `team`, and of what was held back, also what `evaluation/team_arrays.py` says.

    Episodes come with their recording, days `[B, rows, …]` with the number of the `first`. `which`
    is the episode of the batch to take in place of the worst.
    """
    outcomes, recording = episodes
    counted = np.asarray(outcomes.counted)
    steps, fatal = counted.sum(0), (outcomes.terminated & counted).any(0)
    going = counted & ~outcomes.terminated
    rho = np.where(going[..., None], recording.detail.rho, 0.0)
    highest = rho.max((0, 2))
    worst = int(np.lexsort((-highest, np.where(fatal, steps, steps.max() + 1)))[0])
    chosen = worst if which is None else which
    vm = np.where(going[..., None] & recording.detail.energised, recording.vm_pu, np.nan)
    quantiles = lambda x, q: np.stack([_quantiles(row, q) for row in x.reshape(len(x), -1)])
    hour = (np.arange(env.horizon) * env.dt_h).astype(int) % HOURS
    size = np.where(going[..., None], np.abs(recording.action), 0.0)
    played = np.stack([going[hour == h].sum() for h in range(HOURS)])
    heat = np.stack([size[hour == h].sum((0, 1)) for h in range(HOURS)])
    one = lambda x: np.asarray(x)[:, chosen]
    series = lambda leaf: np.asarray(leaf)[chosen, 1:]
    terms = {name: np.asarray(value) for name, value in outcomes.terms.items()}
    plan = series(days.plan_p_mw)
    beside = team_arrays.held_back(recording.overrides, counted, env, team, first, chosen)
    if team is not None:
        beside |= team_arrays.extract(episodes, env, team, hour, chosen, plan)
    return {
        "vm_quantiles": quantiles(vm, VOLTAGE_QUANTILES),
        "rho_quantiles": quantiles(
            np.where(going[..., None], recording.detail.rho, np.nan), LOADING_QUANTILES
        ),
        "frequency_low": np.where(going, outcomes.metrics["nadir_hz"], np.inf).min(1),
        "going": going.mean(1),
        "action_size": heat / np.maximum(played, 1)[:, None],
        "episode": np.int64(first + chosen),
        "worst_step": np.int64(rho[:, chosen].max(1).argmax()),
        "counted": one(counted),
        "reason": one(outcomes.reason),
        "vm_pu": one(recording.vm_pu),
        "va_rad": one(recording.va_rad),
        "bus_p_mw": one(recording.detail.bus_p_mw),
        "bus_q_mvar": one(recording.detail.bus_q_mvar),
        "setpoint_pu": one(recording.detail.feasible.vm_setpoint_pu),
        "pv": one(recording.detail.pv),
        "rho": one(recording.detail.rho),
        "closed": one(recording.detail.closed),
        "energised": one(recording.detail.energised),
        "trip_round": one(recording.trip_round),
        "available": one(recording.available),
        "why": one(recording.why),
        "gen_on": series(days.gen_status) == series_lib.IN_SERVICE,
        "gen_p_mw": one(recording.detail.gen_p_mw),
        "plan_p_mw": plan,
        "action": one(recording.action),
        "energy_mwh": one(recording.energy_mwh),
        "frequency_hz": one(outcomes.frequency_hz),
        "nadir_hz": one(outcomes.metrics["nadir_hz"]),
        "shed_share": one(outcomes.shed_share),
        "load_mw": series(days.load_p_mw).sum(1),
        "available_mw": series(days.renewable_mw).sum(1),
        "renewable_mw": one(recording.detail.renewable_mw).sum(1),
        "cost": one(rewards.operating_cost(terms, env.options)),
        **beside,
    }


def _quantiles(values: np.ndarray, which: tuple[float, ...]) -> np.ndarray:
    known = values[np.isfinite(values)]
    return np.quantile(known, which) if known.size else np.full(len(which), np.nan)
