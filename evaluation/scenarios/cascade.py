"""Cascade: neighbouring branches trip one after the other while the grid is heavily loaded."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs import options as options_lib
from envs.case import connectivity, grid as grid_lib
from envs.time_series import series as series_lib
from evaluation.scenarios import chance, days, peak

EASY_SHARE, HARD_SHARE = 0.80, 0.90  # of the day's loadability
EASY_LENGTH, HARD_LENGTH = 2, 3  # branches that trip
PEAK_HOURS = 4.0  # of highest load, within which they do
SPREAD_MINUTES = 15  # from the first to the last at most
_MOST = 1024  # chains of each length that are looked at: large grids have more than need be


def check(options: options_lib.EnvOptions) -> None:
    """Raises ValueError where nothing trips of itself."""
    if not options.protection.enabled:
        raise ValueError(
            "scenario cascade: env.protection.enabled is false, so that nothing can spread; set "
            "env.protection.enabled to true"
        )


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day of high load on which a chain of branches of one area trips about the peak."""
    grid = setting.grid
    k_day, k_chain, k_branches = jax.random.split(key, 3)
    share = HARD_SHARE if setting.hard else EASY_SHARE
    day = peak.loaded(days.ordinary(k_day, setting), setting, share)
    length = HARD_LENGTH if setting.hard else EASY_LENGTH
    choice = jnp.asarray(chains(grid, setting.fleet.area, length))
    which, when = jax.random.uniform(k_chain, (2,))
    late, repaired = jax.random.uniform(k_branches, (2, length))
    chain = choice[chance.whole(which, 0, len(choice) - 1)]

    # The first in the hours of highest load, the others in order of the chain.
    spread = SPREAD_MINUTES // setting.options.step_minutes
    late = jnp.sort(chance.whole(late, 0, spread))
    start = chance.one_of(when, _about_the_peak(day, setting, spread)) + late - late[0]
    start = jnp.minimum(start, setting.n_rows - 1)
    repair = chance.repair(repaired, setting)
    status = day.branch_status
    for place in range(length):
        which = jnp.arange(grid.n_branch) == chain[place]
        status = days.faulted(status, which, start[place], repair[place])
    return day.replace(branch_status=status)


def _about_the_peak(day: series_lib.TimeSeries, setting: days.Setting, spread: int) -> chex.Array:
    """Returns in which rows a chain may begin, so that it ends within the day; bool `[rows]`."""
    row = jnp.arange(setting.n_rows)
    fits = (row >= 1) & (row <= max(1, setting.n_rows - 1 - spread))
    load = jnp.where(fits, day.load_p_mw.sum(1), -jnp.inf)
    number = max(1, round(PEAK_HOURS / 24.0 * setting.options.horizon_steps))
    return load >= jax.lax.top_k(load, number)[0][-1]


def chains(grid: grid_lib.Grid, area: np.ndarray, length: int) -> np.ndarray:
    """Returns chains of branches inside areas `[n_bus]`, int32 `[n_chain, length]`.

    Each branch shares a bus with the one before it, and a chain is not its reverse. Chains that
    leave the grid whole are preferred: others are returned only where there is none. Of many, a
    fixed choice. Each has two branches or more.

    Raises:
      ValueError: no area has that many branches in a row.
    """
    rng = np.random.default_rng(0)
    start, end = grid.branch.from_bus, grid.branch.to_bus
    inside = np.flatnonzero(area[start] == area[end])
    at_bus = [[] for _ in range(grid.n_bus)]
    for branch in inside.tolist():
        at_bus[start[branch]].append(branch)
        at_bus[end[branch]].append(branch)

    candidates = [(branch,) for branch in inside.tolist()]
    for _ in range(length - 1):
        beside = lambda branch: {*at_bus[start[branch]], *at_bus[end[branch]]}
        longer = [(*chain, b) for chain in candidates for b in sorted(beside(chain[-1]) - {*chain})]
        candidates = [longer[i] for i in np.sort(rng.permutation(len(longer))[:_MOST])]
    if not candidates:
        raise ValueError(
            f"case {grid.name}: no area has {length} branches that share buses in a row, which "
            "scenario cascade needs; use a fleet with larger areas"
        )
    whole = [chain for chain in candidates if connectivity.is_whole(grid, chain)]
    return np.array(whole or candidates, np.int32)
