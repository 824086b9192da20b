"""What a step is to be balanced and solved for."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import switching
from envs.step.actions import FeasibleAction
from envs.step.protection import Thresholds
from envs.step.state import State
from envs.time_series.series import TimeSeries


class DispatchRequest(NamedTuple):
    """What is to be balanced and solved, MW, MVAr and pu; `[…, lanes]`.

    Loads are those that relays have not shed. It is no part of the feasible action because its
    arrays move with every lane that goes through another round.
    """

    gen_target_mw: chex.Array  # `[n_gen]` of units, within `low` and `high`
    gen_low_mw: chex.Array  # `[n_gen]` what limits and ramps allow in this step
    gen_high_mw: chex.Array  # `[n_gen]`
    gen_on: chex.Array  # `[n_gen]` 1 in service, 0 not
    load_p_mw: chex.Array  # `[n_load]`
    load_q_mvar: chex.Array  # `[n_load]`
    renewable_mw: chex.Array  # `[n_renewable]` after curtailment by the controller
    other_mw: chex.Array  # `[n_bus]` batteries and what condensers draw
    losses_mw: chex.Array  # `[]` expected, those of the last step
    vm_setpoint_pu: chex.Array  # `[n_bus]`
    vm_start_pu: chex.Array  # `[n_bus]`
    va_start_rad: chex.Array  # `[n_bus]`
    closed: chex.Array  # `[n_branch]` 1 in service, 0 not
    overloaded: chex.Array  # `[n_branch]` steps in a row above the limit so far
    protection: Thresholds | None = None  # `[]` each; none: those of the options


def request(
    grid: Grid,
    fleet: Fleet,
    before: State,
    now: TimeSeries,
    feasible: FeasibleAction,
    branch: switching.BranchState,
) -> DispatchRequest:
    """Returns what one grid is to be balanced and solved for, without the axis of lanes.

    `now` is the row of the time series that the step applies, `branch` what its switching left.
    """
    gen_on, connected = now.gen_in_service, before.connected_share
    other = jnp.zeros(grid.n_bus).at[grid.gen.bus].add(jnp.where(gen_on, before.condenser_mw, 0.0))
    return DispatchRequest(
        gen_target_mw=feasible.gen_target_mw,
        gen_low_mw=feasible.gen_low_mw,
        gen_high_mw=feasible.gen_high_mw,
        gen_on=gen_on.astype(jnp.float32),
        load_p_mw=feasible.load_p_mw * connected,
        load_q_mvar=feasible.load_q_mvar * connected,
        renewable_mw=feasible.renewable_mw,
        other_mw=other.at[fleet.storage.bus].add(feasible.storage_mw),
        losses_mw=before.losses_mw,
        vm_setpoint_pu=feasible.vm_setpoint_pu,
        vm_start_pu=before.vm_pu,
        va_start_rad=before.va_rad,
        closed=branch.closed.astype(jnp.float32),
        overloaded=branch.overloaded,
        protection=before.protection,
    )
