"""Generalised advantage estimation against its definition by brute force."""

import jax
import jax.numpy as jnp
import numpy as np

from learner import advantages


def _brute_force(rewards, values, next_values, terminated, truncated, discounts, gae_lambda):
    """The double sum of equation 16, cut where an episode ends."""
    length, agents = rewards.shape
    out = np.zeros((length, agents))
    for a in range(agents):
        for t in range(length):
            weight = 1.0
            for k in range(t, length):
                future = 0.0 if terminated[k] else discounts[a] * next_values[k, a]
                out[t, a] += weight * (rewards[k, a] + future - values[k, a])
                if terminated[k] or truncated[k]:
                    break
                weight *= discounts[a] * gae_lambda
    return out


def test_equal_brute_force_with_endings_of_both_kinds():
    rng = np.random.default_rng(0)
    for gae_lambda in (0.0, 0.9, 1.0):
        length, agents = 40, 3
        rewards, values, following = rng.normal(size=(3, length, agents)).astype(np.float32)
        ending = rng.uniform(size=length)
        terminated, truncated = ending < 0.1, (ending > 0.1) & (ending < 0.2)
        assert terminated.any() and truncated.any()
        discounts = np.array([0.9, 0.99, 0.0], np.float32)
        args = (rewards, values, following, terminated, truncated, discounts)
        estimates = jax.jit(advantages.generalised_advantages, static_argnums=6)(*args, gae_lambda)
        np.testing.assert_allclose(estimates, _brute_force(*args, gae_lambda), rtol=1e-4, atol=1e-4)


def test_worked_by_hand():
    estimates = advantages.generalised_advantages(
        rewards=jnp.array([[1.0], [2.0]]),
        values=jnp.array([[0.5], [1.0]]),
        next_values=jnp.array([[1.0], [4.0]]),
        terminated=jnp.array([False, False]),
        truncated=jnp.array([False, True]),
        discounts=jnp.array([0.5]),
        gae_lambda=0.5,
    )
    # δ1 = 2 + 0.5·4 − 1 = 3; δ0 = 1 + 0.5·1 − 0.5 = 1; Â0 = 1 + 0.25·3.
    np.testing.assert_allclose(estimates, [[1.75], [3.0]])
