"""Heads of networks: what turns features into distributions of actions and into values."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from agents import options as options_lib

BREAKER = "breaker"  # name of the parameters of logits
POLICY_SCALE = 0.01  # Starts every policy close to "as planned".
# The log standard deviation stays within this much of its middle, smoothly, so that densities keep
# a finite size in single precision.
_LOG_STD_MIDDLE, _LOG_STD_REACH = -1.5, 2.5


def gaussian(x, n_action: int, options: options_lib.TeamOptions, prefix: str = ""):
    """Returns mean and log standard deviation `[..., n_action]`, on features `x` `[..., n]`."""
    small = nn.initializers.orthogonal(POLICY_SCALE)
    offset = (np.log(options.initial_std) - _LOG_STD_MIDDLE) / _LOG_STD_REACH
    start = nn.initializers.constant(np.arctanh(offset))
    mean = nn.Dense(n_action, kernel_init=small, name=f"{prefix}mean")(x)
    # The spread depends on the state, as in Brax: it then learns as fast as the mean.
    log_std = nn.Dense(n_action, kernel_init=small, bias_init=start, name=f"{prefix}log_std")(x)
    return mean, _LOG_STD_MIDDLE + _LOG_STD_REACH * jnp.tanh(log_std)


def no_operation(options: options_lib.TeamOptions) -> float:
    """Returns how much likelier no operation begins than any other, as a logarithm."""
    return np.log((1.0 - options.initial_switching) / options.initial_switching)


def breakers(x, n_breakers: int, options: options_lib.TeamOptions):
    """Returns logits `[..., 1 + n_breakers]` of no operation and of operating each breaker."""
    rest = no_operation(options) + np.log(n_breakers)
    start = lambda key, shape, dtype: jnp.zeros(shape, dtype).at[0].set(rest)
    small = nn.initializers.orthogonal(POLICY_SCALE)
    return nn.Dense(1 + n_breakers, kernel_init=small, bias_init=start, name=BREAKER)(x)


def values(x, costs: int):
    """Returns normalised values of reward and costs `[..., 1 + costs]`; PopArt rescales them."""
    return nn.Dense(1 + costs, kernel_init=nn.initializers.orthogonal(1.0), name="head")(x)


class PolicyHeads(nn.Module):
    """What an agent's actions are drawn from: normals before the squash, and a breaker."""

    options: options_lib.TeamOptions
    n_action: int  # but for breakers
    n_breakers: int

    @nn.compact
    def __call__(self, x):
        """Returns mean and log standard deviation, `[..., n_action]` each, and logits, or none."""
        normal = gaussian(x, self.n_action, self.options)
        logits = breakers(x, self.n_breakers, self.options) if self.n_breakers else None
        return *normal, logits
