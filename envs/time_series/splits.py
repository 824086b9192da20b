"""Days of the year dealt to the train, validation and test splits, so that no day is in two."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

DAYS_PER_YEAR = 364  # 52 whole weeks, so that day % 7 is the day of the week, 0 for Monday
SPLITS = ("train", "validation", "test")


def split_indices(day: np.ndarray | int) -> np.ndarray:
    """Returns the split of each day as an index into `SPLITS`: of ten days, eight, one and one."""
    return np.maximum(np.asarray(day) % 10 - 7, 0)


def days(split: str) -> np.ndarray:
    """Returns the days of the year that belong to `split`.

    Raises:
      ValueError: for a split that does not exist.
    """
    return np.flatnonzero(split_indices(np.arange(DAYS_PER_YEAR)) == index(split))


def index(split: str) -> int:
    """Returns the place of `split` in `SPLITS`; raises ValueError where it has none."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: must be one of {', '.join(SPLITS)}")
    return SPLITS.index(split)


def draw(key: chex.PRNGKey, split: str) -> chex.Array:
    """Returns a random day of `split`, an int32 scalar."""
    dealt = jnp.asarray(days(split), jnp.int32)
    return dealt[jax.random.bits(key) % dealt.size]
