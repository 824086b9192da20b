"""Episodes that have ended start again, the others go on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import restart


@pytest.mark.parametrize("done", [[], [2], [0, 3, 4], range(5)])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_those_that_are_done_are_replaced(monkeypatch, done, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    rng = np.random.default_rng(0)
    states = {"a": rng.normal(size=(5, 3)), "b": rng.integers(0, 9, size=5), "c": np.full(5, 2.0)}
    starts = {"a": rng.normal(size=(4, 3)), "b": rng.integers(0, 9, size=4), "c": np.arange(4.0)}
    index, mask = np.array([3, 1, 0, 2, 3]), np.isin(np.arange(5), list(done))
    given = {**jax.tree.map(jnp.asarray, states), "c": jnp.full(5, 2.0)}  # of weak type
    assert given["c"].weak_type
    # A function of its own for each backend, as compiled ones are kept.
    actual = jax.jit(lambda *args: restart.restarted(*args))(
        given, jnp.asarray(mask), jax.tree.map(jnp.asarray, starts), jnp.asarray(index)
    )
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(actual))
    for name, before in states.items():
        expected = np.where(mask.reshape(5, *[1] * (before.ndim - 1)), starts[name][index], before)
        np.testing.assert_array_equal(actual[name], expected.astype(actual[name].dtype))
