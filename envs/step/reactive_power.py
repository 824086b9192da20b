"""Reactive power of generators, and what condensers draw for it."""

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step.actions import FeasibleAction
from envs.step.solve_and_protect import OperatingPoint
from envs.step.state import State

CONDENSER_LOSS = 0.015  # MW per MVAr; a choice


def generator_mvar(
    grid: Grid,
    before: State,
    feasible: FeasibleAction,
    gen_on: chex.Array,
    point: OperatingPoint,
    bus_q_mvar: chex.Array,
) -> chex.Array:
    """Returns Q of each generator `[n_gen]` MVAr; generators at a bus share it evenly.

    `bus_q_mvar` `[n_bus]` is the net injection of the solution. Relays of the state before the step
    hold load off.
    """
    on = (gen_on & point.solution.energised[grid.gen.bus]).astype(bus_q_mvar.dtype)
    drawn = feasible.load_q_mvar * before.connected_share * point.served
    produced = bus_q_mvar.at[grid.loads].add(drawn)
    count = jnp.zeros(grid.n_bus).at[grid.gen.bus].add(on)
    return on * (produced / jnp.maximum(count, 1.0))[grid.gen.bus]


def condenser_mw(fleet: Fleet, gen_q_mvar: chex.Array, gen_on: chex.Array) -> chex.Array:
    """Returns what condensers draw `[n_gen]` MW, negative; zero for units and inverters."""
    draw = -CONDENSER_LOSS * jnp.abs(gen_q_mvar)
    return jnp.where(jnp.asarray(fleet.units.kind == "condenser") & gen_on, draw, 0.0)
