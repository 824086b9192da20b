"""What is cut off from the island that lives, and what comes back to it."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step.actions import FeasibleAction
from envs.step.state import State


class CutOff(NamedTuple):
    """What is cut off from the island that lives, MW."""

    load_mw: chex.Array  # on de-energised buses
    generation_mw: chex.Array  # that units, plants and batteries on them were to give
    sudden_mw: chex.Array  # deficit by what this step cuts off and brings back, signed


def cut_off(
    grid: Grid,
    fleet: Fleet,
    before: State,
    feasible: FeasibleAction,
    gen_on: chex.Array,
    energised: chex.Array,
) -> CutOff:
    """Returns what islands take from the grid, and what they bring back.

    `gen_on` bool `[n_gen]` and `energised` bool `[n_bus]` are of this step.
    """
    was_energised = before.vm_pu > 0  # de-energised buses have voltage zero

    def parts(bus, mw):
        """Returns what of `mw` at the buses `bus` is cut off, and what comes less what goes."""
        now, was = energised[bus], was_energised[bus]
        change = jnp.where(now == was, 0.0, jnp.where(now, mw, -mw))
        return jnp.where(now, 0.0, mw).sum(), change.sum()

    load, load_back = parts(grid.loads, feasible.load_p_mw * before.connected_share)
    units = parts(grid.gen.bus, jnp.where(gen_on, feasible.gen_target_mw, 0.0))
    plants = parts(fleet.renewables.bus, feasible.renewable_mw)
    batteries = parts(fleet.storage.bus, feasible.storage_mw)
    generation, generation_back = (sum(part) for part in zip(units, plants, batteries))
    return CutOff(load, generation, load_back - generation_back)


def without_cut_off_storage(
    fleet: Fleet, feasible: FeasibleAction, energised: chex.Array
) -> FeasibleAction:
    """Returns `feasible` where a battery on a de-energised bus neither gives nor takes."""
    connected = energised[fleet.storage.bus]
    return feasible._replace(storage_mw=jnp.where(connected, feasible.storage_mw, 0.0))
