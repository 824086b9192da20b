"""When protection trips a branch, where that differs between the episodes of a run."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from envs.step.options import StepOptions
from envs.time_series import curriculum

_FOLD = 0x9707EC7  # into the key of a day, so that the day is the same with and without


class Thresholds(NamedTuple):
    """Of one episode, as `ProtectionOptions` has them; infinite where nothing trips."""

    hard_limit: chex.Array  # loading at which a branch trips at once
    soft_steps: chex.Array  # steps in a row above its limit after which it trips


def draw(key: chex.PRNGKey, options: StepOptions, progress: chex.Numeric) -> Thresholds | None:
    """Returns the thresholds of an episode when `progress` of a run, 0 to 1, is behind.

    None where all episodes have those of the options.
    """
    enabled, hard, soft = curriculum.ENABLED, curriculum.HARD_LIMIT, curriculum.SOFT_STEPS
    if curriculum.starts(options.curriculum).keys().isdisjoint((enabled, hard, soft)):
        return None
    factor = lambda name: curriculum.factor(options, name, progress)
    protected = jax.random.uniform(jax.random.fold_in(key, _FOLD)) < factor(enabled)
    of = options.protection
    return Thresholds(
        jnp.where(protected, of.hard_limit * factor(hard), jnp.inf),
        jnp.where(protected, of.soft_steps * factor(soft), jnp.inf),
    )
