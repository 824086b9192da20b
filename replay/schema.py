"""What an actor sends and a learner receives."""

from collections.abc import Mapping

import chex
import flax.struct
import jax
import numpy as np


@flax.struct.dataclass
class Origin:
    """Which unroll this is. (actor, incarnation, index) is unique within a run."""

    actor: chex.Array
    incarnation: chex.Array  # how often the actor has been restarted
    index: chex.Array  # counts the unrolls of this incarnation
    version: chex.Array  # of the bundle that acted


@flax.struct.dataclass
class Windows:
    """What it takes to step an unroll's grids again: a state every T / W steps, and days' rows."""

    states: chex.ArrayTree  # `[W, B, …]` of the environment, less what the unroll has of them
    usable: chex.Array  # bool `[W, B]`, whether the window begins in the day that the rows are of
    series: chex.ArrayTree  # `[rows, B, …]` of the environment's time series
    first_row: chex.Array  # int32 `[1, B]` that they begin with


@flax.struct.dataclass
class Unroll:
    """T steps of B grids, A agents. Entry t of an array belongs to the decision made at t."""

    observations: chex.Array  # `[T, B, observation_size]` raw, physical units
    raw_actions: chex.Array  # `[T, B, action_size]` before the squash
    log_probs: chex.Array  # `[T, B, A]` under the policy that acted
    rewards: chex.Array  # `[T, B, A]`
    terminated: chex.Array  # bool `[T, B]`
    truncated: chex.Array  # bool `[T, B]`
    bootstrap_observation: chex.Array  # `[B, observation_size]` after the last step
    truncation_observation: chex.Array  # `[B, observation_size]` where a grid was truncated
    summary: Mapping[str, chex.Array]  # scalars for the log
    origin: Origin
    windows: Windows | None = None  # for a learner that differentiates the environment
    costs: chex.Array | None = None  # `[T, B, L]` limited reward terms, for a learner with limits


# How the sums end, in the summary, of the returns of those episodes that it counts.
RETURNS = "episode_return_sum"
# What an unroll has of its end alone, without a time axis.
AT_THE_END = ("bootstrap_observation", "truncation_observation")

Spec = Unroll  # An unroll whose leaves are `jax.ShapeDtypeStruct`.


def names(spec: Spec) -> list[str]:
    """Returns a name for each leaf, in the order of `jax.tree.leaves`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(spec)
    return [jax.tree_util.keystr(path).replace("'", "") for path, _ in leaves]


def transitions(spec: Spec) -> int:
    """Returns how many environment steps an unroll holds."""
    length, batch = spec.terminated.shape
    return length * batch


def bytes_per_transition(spec: Spec) -> float:
    """Returns the uncompressed size of an unroll over the environment steps in it."""
    size = sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(spec))
    return float(size) / transitions(spec)
