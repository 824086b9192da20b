"""What scenarios leave to chance: which of several, when, and for how long.

Each takes shares, random numbers in [0, 1), of which a scenario draws all that it needs at once:
one call of the generator compiles faster than many.
"""

import chex
import jax.numpy as jnp
import numpy as np

from envs.time_series import outages
from evaluation.scenarios import days


def whole(share: chex.Array, least: int, most: int) -> chex.Array:
    """Returns a whole number from `least` to `most`, each as likely; int32, `share`'s shape."""
    return least + jnp.floor(share * (1 + most - least)).astype(jnp.int32)


def one_of(share: chex.Array, allowed: chex.Array) -> chex.Array:
    """Returns the index of one that is allowed, each as likely; `allowed` is bool `[n]`."""
    place = allowed.cumsum()
    return jnp.argmax(place > jnp.floor(share * place[-1]))


def between(setting: days.Setting, first_h: float, last_h: float) -> tuple[int, int]:
    """Returns the first and the last row between two hours of the day, at least row 1.

    An episode shorter than a day is taken for a day in small: hours are shares of it.
    """
    horizon = setting.options.horizon_steps
    first = max(1, int(np.ceil(first_h / 24.0 * horizon)))
    return first, max(first, int(last_h / 24.0 * horizon))


def row(share: chex.Array, setting: days.Setting, first_h: float, last_h: float) -> chex.Array:
    """Returns a row between two hours of the day, see `between`."""
    return whole(share, *between(setting, first_h, last_h))


def repair(share: chex.Array, setting: days.Setting) -> chex.Array:
    """Returns the steps that repairs take, as those of random faults do; `share`'s shape."""
    return outages.steps(share, outages.REPAIR_H, setting.dt_h)
