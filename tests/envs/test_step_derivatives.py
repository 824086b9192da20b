"""Derivatives of a step in forward mode: by columns, by batches, and by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

_STEP = 2e-2  # of an action; what is rounded away in single precision is small beside it


@pytest.mark.slow
def test_the_jacobian_of_a_step_equals_its_columns_and_finite_differences(env):
    state = jax.jit(env.reset)(jax.random.PRNGKey(0))
    rng = np.random.default_rng(0)
    actions = jnp.asarray(rng.uniform(-0.3, 0.3, (2, env.layout.action_size)), jnp.float32)
    reward = lambda action: env.step(state, action).reward
    actual = jax.jit(jax.jacfwd(reward))(actions[0])
    assert np.abs(actual).max() > 0.01

    directions = jnp.eye(env.layout.action_size)
    along = jax.jit(lambda v: jax.jvp(reward, (actions[0],), (v,))[1])
    np.testing.assert_allclose(actual, [along(v) for v in directions], atol=1e-6)
    value = jax.jit(reward)
    ahead, back = (
        np.array([value(actions[0] + s * _STEP * v) for v in directions]) for s in (1, -1)
    )
    np.testing.assert_allclose(actual, (ahead - back) / (2 * _STEP), atol=2e-5)
    many = jax.jit(jax.vmap(jax.jacfwd(reward)))(actions)
    np.testing.assert_allclose(many[0], actual, atol=1e-6)
