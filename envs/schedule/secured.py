"""The proportional plan with as little redispatch as thermal limits ask for, by linear programs.

Secured with everything in service; what room it leaves is all that it does about outages.
"""

import weakref

import numpy as np
import scipy.optimize

from envs.case.grid import Generators, Grid
from envs.contingency import distribution_factors
from envs.powerflow import matrices

_KNOTS = 33  # demands for which programs are solved; between them plans are interpolated
_HIGHEST = 1.2  # of the file's load: days do not reach it
_SHARE = 0.7  # of a limit for the active flows of plan: reactive power, wind and outages take more
_EXCESS_PRICE = 1e4  # per MW above a limit, against one per MW of redispatch
_tables: weakref.WeakKeyDictionary[Grid, tuple[np.ndarray, np.ndarray]] = (
    weakref.WeakKeyDictionary()
)


def table(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Returns demands `[knots]` MW and the plan for each `[knots, n_gen]` MW, for interpolation.

    Each starts from the plan in proportion to Pmax and moves as few MW as keep the DC flows, loads
    being those of the file times one factor, within 0.7 of the limits. Where that cannot be, the
    excess is as small as can be. Interpolated plans keep what those beside them keep, as DC flows
    are linear.

    Raises:
      ValueError: the grid's reactances leave its flows open, or a program has no solution.
    """
    if grid not in _tables:
        try:
            _tables[grid] = _table(grid)
        except (np.linalg.LinAlgError, RuntimeError) as error:
            raise ValueError(
                f"case {grid.name}: no plan within thermal limits can be made ({error}); "
                "set env.schedule to proportional"
            ) from error
    return _tables[grid]


def _table(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    low, high = grid.gen.p_min_mw, grid.gen.p_max_mw
    load = grid.bus.load_p_mw
    least, most = low.sum(), high.sum()
    total = load.sum()
    top = np.clip(_HIGHEST * total, least, most) if total > 0 else most
    demands = np.linspace(least, top, _KNOTS)
    ptdf = distribution_factors.power_transfer(grid)
    limit = _SHARE * np.where(grid.branch.rate_mva > 0, grid.branch.rate_mva, np.inf)
    # What phase shifters drive through the grid on their own.
    branch = grid.branch
    driven = branch.shift_rad * grid.base_mva * matrices.susceptance(branch)
    at_from, at_to = (np.bincount(e, driven, grid.n_bus) for e in (branch.from_bus, branch.to_bus))
    shifted = driven - ptdf @ (at_from - at_to)
    plans = []
    for demand in demands:
        start = _proportional(grid.gen, demand)
        fixed = ptdf @ (load * (demand / total if total > 0 else 1.0)) + shifted
        plans.append(_redispatched(ptdf[:, grid.gen.bus], fixed, limit, start, low, high))
    if top < most:  # Above, units go on to their Pmax evenly.
        demands, plans = np.append(demands, most), [*plans, high]
    return demands, np.array(plans)


def _proportional(gen: Generators, demand: float) -> np.ndarray:
    """Returns clip(λ Pmax, Pmin, Pmax) that sums to `demand`, within its limits.

    What `schedule.proportional` says, in double precision and outside any compiled function.
    """
    loads, drawn = gen.is_dispatchable_load, gen.scheduled_load_mw
    low, high = np.where(loads, drawn, gen.p_min_mw), np.where(loads, drawn, gen.p_max_mw)
    plan = _share(np.zeros_like(low), gen.capacity_mw, low, high, demand)
    if not loads.any():
        return plan
    size = np.where(loads, -gen.p_min_mw, 0.0)
    low, high = np.where(loads, gen.p_min_mw, plan), np.where(loads, gen.p_max_mw, plan)
    return _share(plan, size, low, high, demand)


def _share(target, weight, low, high, demand: float) -> np.ndarray:
    """Returns clip(target + λ weight, low, high) that sums to `demand`, or comes nearest to it."""
    within = lambda level: np.clip(target + level * weight, low, high)
    lack = lambda level: within(level).sum() - demand
    moves = weight > 0
    # From where all that move are at their least to where they are at their most.
    reach = lambda limit: (limit - target)[moves] / weight[moves]
    bottom, top = reach(low).min(initial=0.0), reach(high).max(initial=0.0)
    if lack(bottom) >= 0 or lack(top) <= 0:
        return within(bottom if lack(bottom) >= 0 else top)
    return within(scipy.optimize.brentq(lack, bottom, top, xtol=1e-12))


def _redispatched(response, fixed, limit, start, low, high) -> np.ndarray:
    """Returns the plan nearest to `start` that keeps flows within `limit` `[n_branch]` MW.

    `start`, `low` and `high` are `[n_gen]` MW. `response` `[n_branch, n_gen]` is the flow per MW of
    each generator, `fixed` `[n_branch]` MW what loads and phase shifters make flow the other way.
    """
    plan, n, watched = start, len(start), np.zeros(len(fixed), bool)
    # Only the branches that a program overlooked are added, which few rounds do.
    while True:
        beyond = np.abs(response @ plan - fixed) > limit + 1e-6
        if not (beyond & ~watched).any():
            return np.clip(plan, low, high)
        watched |= beyond
        rows = response[watched]
        # Unknowns: MW up and down of each generator, and the excess of each branch.
        slack = -np.eye(len(rows))
        optimum = scipy.optimize.linprog(
            np.concatenate([np.ones(2 * n), np.full(len(rows), _EXCESS_PRICE)]),
            A_ub=np.block([[rows, -rows, slack], [-rows, rows, slack]]),
            b_ub=np.concatenate([
                limit[watched] + fixed[watched] - rows @ start,
                limit[watched] - fixed[watched] + rows @ start,
            ]),
            A_eq=np.concatenate([np.ones(n), -np.ones(n), np.zeros(len(rows))])[None],
            b_eq=[0.0],
            bounds=np.stack([
                np.zeros(2 * n + len(rows)),
                np.concatenate([high - start, start - low, np.full(len(rows), np.inf)]),
            ], 1),
            method="highs",
        )  # fmt: skip
        if optimum.status != 0:
            raise RuntimeError(f"redispatch of {start.sum():.0f} MW: HiGHS says {optimum.message}")
        plan = start + optimum.x[:n] - optimum.x[n : 2 * n]
