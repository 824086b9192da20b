"""Limits on what a day may have of some reward terms, each held by a Lagrange multiplier.

A cost is what a step adds to such a term as a share of its limit: over a day that keeps the limit,
costs come to 1. A policy is improved by the reward less the multipliers times the costs, and
multipliers rise while limits are not kept (Ray, Achiam and Amodei 2019, Benchmarking Safe
Exploration in Deep Reinforcement Learning, section 5).
"""

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from learner import options as options_lib
from learner.devices import AXIS

_MEMORY = 0.9  # share of the average over a day that is kept in an update
_RANGE = (np.log(1e-2), np.log(1e4))  # of logarithms, so that none takes long to come back


@flax.struct.dataclass
class Multipliers:
    """Prices of costs, and the costs of late; L limits."""

    log: chex.Array  # `[L]`
    weight: chex.Array  # how much of the average is data, 0 to 1; corrects the start
    day: chex.Array  # `[L]` average costs of a day


class Limits:
    """The limits of one learner."""

    def __init__(self, options: options_lib.LearnerOptions, step_minutes: float):
        self.names = tuple(options.limits_per_day)
        self._limits = np.array([*options.limits_per_day.values()], np.float32)
        self._rate, self._steps = options.multiplier_rate, 24 * 60 / step_minutes

    def initial(self) -> Multipliers:
        """Returns multipliers of 1."""
        none = jnp.zeros(len(self.names))
        return Multipliers(none, jnp.zeros(()), none)

    def costs(self, terms: chex.Array) -> chex.Array:
        """Returns the costs of steps with reward terms `[..., L]`, in the order of `names`."""
        return terms / self._limits

    def ascended(self, multipliers: Multipliers, terms: chex.Array) -> Multipliers:
        """Returns the multipliers after an unroll with terms `[T, B, L]`, this device's share.

        Each is multiplied by exp(η (c − 1)), a step up the dual in logarithms (exponentiated
        gradient; Kivinen and Warmuth 1997), with c the average costs of a day, up to 2.
        """
        day = self._steps * jax.lax.pmean(self.costs(terms).mean((0, 1)), AXIS)
        mix = lambda old, new: _MEMORY * old + (1.0 - _MEMORY) * new
        after = Multipliers(
            multipliers.log, mix(multipliers.weight, 1.0), mix(multipliers.day, day)
        )
        log = after.log + self._rate * _excess(after)
        return after.replace(log=jnp.clip(log, *_RANGE))

    def metrics(self, multipliers: Multipliers) -> dict[str, chex.Array]:
        """Returns each multiplier, and what a day has had of its term of late."""
        day = self._limits * multipliers.day / jnp.maximum(multipliers.weight, 1e-8)
        by_name = lambda what, values: {f"limits/{n}_{what}": x for n, x in zip(self.names, values)}
        return by_name("multiplier", prices(multipliers)) | by_name("per_day", day)


def prices(multipliers: Multipliers) -> chex.Array:
    """Returns λ, `[L]`, of the next update.

    What costs are in excess adds to the logarithms: without it a policy that takes time to follow
    is driven back and forth (Stooke, Achiam and Abbeel 2020, Responsive Safety in Reinforcement
    Learning by PID Lagrangian Methods).
    """
    return jnp.exp(multipliers.log + _excess(multipliers))


def _excess(multipliers: Multipliers) -> chex.Array:
    """Returns by how much of itself each limit is exceeded of late, −1 to 1."""
    day = multipliers.day / jnp.maximum(multipliers.weight, 1e-8)
    return jnp.where(multipliers.weight > 0, jnp.minimum(day - 1.0, 1.0), 0.0)


def combined(advantages: chex.Array, prices: chex.Array) -> chex.Array:
    """Returns the advantages by which a policy is improved, `[N, A]`.

        (Â − Σ λ_l Â_l) / (1 + Σ λ_l)

    Args:
      advantages: of reward and costs, `[N, (1 + L) · A]` in the order of values.
      prices: λ, `[L]`.
    """
    of_each = advantages.reshape(advantages.shape[0], 1 + prices.size, -1)
    total = of_each[:, 0] - jnp.einsum("l,nla->na", prices, of_each[:, 1:])
    return total / (1.0 + prices.sum())
