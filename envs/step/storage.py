"""Batteries: what they can do in a step, and what that does to the energy in them."""

import chex
import jax.numpy as jnp

from envs.case.fleet import Storage


def project(
    fleet: Storage, energy_mwh: chex.Array, target_mw: chex.Array, dt_h: float
) -> chex.Array:
    """Returns the power of each battery `[n_storage]` MW, positive when discharging.

    A target is kept within the converter's rating, within what is stored, and within the
    room that is left, losses counted.
    """
    limit = jnp.asarray(fleet.p_max_mw, target_mw.dtype)
    out = energy_mwh * fleet.discharge_efficiency / dt_h
    into = (fleet.energy_mwh - energy_mwh) / (fleet.charge_efficiency * dt_h)
    low, high = -jnp.minimum(limit, into), jnp.minimum(limit, out)
    return jnp.clip(target_mw, low, high).astype(target_mw.dtype)


def advance(
    fleet: Storage, energy_mwh: chex.Array, power_mw: chex.Array, dt_h: float
) -> chex.Array:
    """Returns the energy stored `[n_storage]` MWh after giving `power_mw` for `dt_h`."""
    drawn = jnp.where(
        power_mw > 0, power_mw / fleet.discharge_efficiency, power_mw * fleet.charge_efficiency
    )
    after = energy_mwh - dt_h * drawn
    return jnp.clip(after, 0.0, fleet.energy_mwh).astype(energy_mwh.dtype)
