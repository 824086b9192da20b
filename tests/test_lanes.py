"""Lanes gathered a few at a time: each gets its own result, however many go together."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.powerflow import lanes


class _State(NamedTuple):
    left: chex.Array  # `[lanes]`
    calls: chex.Array  # `[3, lanes]`


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("share, least", [(16, 1), (16, 2), (4, 1), (64, 50)])
def test_each_lane_goes_on_until_it_is_done(count, share, least):
    seen = set()

    def take(state, step):
        seen.add(step.shape[-1])
        state = state._replace(left=state.left - step, calls=state.calls + 1)
        return state, state.left > 0

    rng = np.random.default_rng(count)
    left, step = rng.integers(0, 9, count), rng.integers(1, 4, count)
    start = _State(jnp.asarray(left), jnp.zeros((3, count), int))
    run = jax.jit(
        lambda going, args, state: lanes.until_done(
            take, going, args, state, share=share, least=least
        )
    )
    found = run(jnp.asarray(left > 0), (jnp.asarray(step),), start)
    calls = -(-left // step)
    np.testing.assert_array_equal(found.calls, np.tile(calls, (3, 1)))
    np.testing.assert_array_equal(found.left, left - calls * step)
    assert seen == {min(count, max(least, count // share))}


@pytest.mark.parametrize("least", [1, 2, 5])
def test_only_selected_lanes_change(least):
    selected = np.array([False, True, True, False, True])
    found = lanes.on_selected(
        lambda x: 10 * x, jnp.asarray(selected), (jnp.arange(5),), -jnp.ones(5, int), least=least
    )
    np.testing.assert_array_equal(found, np.where(selected, 10 * np.arange(5), -1))
