"""Putting faults on a time series."""

import chex
import jax.numpy as jnp

from envs.time_series import series as series_lib


def faulted(
    status: chex.Array, which: chex.Array, start: chex.Array, length: chex.Array
) -> chex.Array:
    """Returns `status` with a fault of some elements, uint8 `[rows, n]`.

    Args:
      status: `[rows, n]`.
      which: bool `[n]`.
      start: row from which they are out, one for all or `[n]`.
      length: rows until they are repaired, one for all or `[n]`.
    """
    row = jnp.arange(status.shape[0])[:, None]
    out = which & (row >= start) & (row < start + length)
    return jnp.where(out, series_lib.FAULT, status).astype(jnp.uint8)
