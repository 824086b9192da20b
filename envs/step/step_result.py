"""Everything that a step computed and the state does not keep."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step.actions import FeasibleAction
from envs.step.frequency import Disturbance, Outcome
from envs.step.islanding import CutOff
from envs.step.security import Security
from envs.step.solve_and_protect import OperatingPoint
from envs.step.state import State
from envs.step.switching import Switched
from envs.time_series.series import TimeSeries


class StepResult(NamedTuple):
    """What reward terms, endings, metrics and observations are made of; physical units."""

    now: TimeSeries  # the row of the time series that was applied
    feasible: FeasibleAction
    switched: Switched
    point: OperatingPoint  # as it was solved, whether or not that converged
    cut_off: CutOff
    disturbance: Disturbance  # without what islands cut off or bring back
    frequency: Outcome
    # Of the solution; zero where there is none:
    bus_p_mw: chex.Array  # `[n_bus]` net injection
    bus_q_mvar: chex.Array  # `[n_bus]`
    gen_q_mvar: chex.Array  # `[n_gen]`
    rho: chex.Array  # `[n_branch]` loading over limit


def served_load_mw(result: StepResult) -> chex.Array:
    """Returns what is served of each load, MW `[n_load]`.

    Of what islands and balance serve, relays hold a share off.
    """
    supplied = result.point.served * (1.0 - result.frequency.mean_shed_share)
    return result.feasible.load_p_mw * supplied


class Detail(NamedTuple):
    """What a step was made of beyond the state it led to, physical units, unbatched."""

    feasible: FeasibleAction
    bus_p_mw: chex.Array  # `[n_bus]` net injection: units after the slack, plants, batteries, loads
    bus_q_mvar: chex.Array  # `[n_bus]` of loads alone; what generators add follows from voltages
    gen_p_mw: chex.Array  # `[n_gen]` units' power after the slack, condensers' draw
    gen_q_mvar: chex.Array  # `[n_gen]`
    energised: chex.Array  # bool `[n_bus]`
    pv: chex.Array  # bool `[n_bus]` a generator in service holds the voltage
    closed: chex.Array  # bool `[n_branch]` as the power flow had it: after protection
    rho: chex.Array  # `[n_branch]` loading over limit
    after_outage_rho: chex.Array  # `[n_branch]` of `Security`; 0 where it is not assessed
    renewable_mw: chex.Array  # `[n_renewable]` that reached the grid
    earned: dict[str, chex.Array]  # by term `[n_bus]` thousand $, see `earnings`


def detail(
    grid: Grid, fleet: Fleet, before: State, after: State, result: StepResult, secure: Security,
    other_mw: chex.Array, earned: dict[str, chex.Array],
) -> Detail:  # fmt: skip
    """Returns the injections of a step and what they led to.

    `other_mw` `[n_bus]` is the power of batteries and condensers, as dispatched; `earned` is of
    `Earnings`.
    """
    point, feasible = result.point, result.feasible
    energised = point.solution.energised
    served = point.served * before.connected_share
    none = jnp.zeros(grid.n_bus)
    p = (none + other_mw * energised.astype(jnp.float32)).at[grid.gen.bus]
    p = p.add(jnp.where(jnp.asarray(grid.gen.is_unit), point.gen_p_mw, 0.0))
    p = p.at[fleet.renewables.bus].add(point.renewable_mw)
    return Detail(
        feasible=feasible,
        bus_p_mw=p.at[grid.loads].add(-feasible.load_p_mw * served),
        bus_q_mvar=none.at[grid.loads].add(-feasible.load_q_mvar * served),
        gen_p_mw=after.gen_p_mw,
        gen_q_mvar=result.gen_q_mvar,
        energised=energised,
        pv=jnp.zeros(grid.n_bus, bool).at[grid.gen.bus].max(after.gen_on),
        closed=after.branch.closed,
        rho=result.rho,
        after_outage_rho=secure.loading,
        renewable_mw=point.renewable_mw,
        earned=earned,
    )
