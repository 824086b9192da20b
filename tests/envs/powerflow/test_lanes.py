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
    last = run(jnp.asarray(left > 0), (jnp.asarray(step),), start)
    calls = -(-left // step)
    np.testing.assert_array_equal(last.calls, np.tile(calls, (3, 1)))
    np.testing.assert_array_equal(last.left, left - calls * step)
    assert seen == {min(count, max(least, count // share))}


@pytest.mark.parametrize("least", [1, 2, 5])
def test_only_selected_lanes_change(least):
    selected = np.array([False, True, True, False, True])
    values = lanes.on_selected(
        lambda x: 10 * x, jnp.asarray(selected), (jnp.arange(5),), -jnp.ones(5, int), least=least
    )
    np.testing.assert_array_equal(values, np.where(selected, 10 * np.arange(5), -1))


def test_selected_lanes_have_the_functions_derivative_and_others_their_own():
    selected = jnp.asarray([False, True, True, False, True])
    of = lambda x, y: lanes.on_selected(lambda x: x**3, selected, (x,), y).sum()
    of_x, of_y = jax.jit(jax.grad(of, (0, 1)))(jnp.arange(5.0), jnp.ones(5))
    np.testing.assert_allclose(of_x, np.where(selected, 3 * np.arange(5.0) ** 2, 0.0))
    np.testing.assert_array_equal(of_y, ~selected)


def _root(power, x, count):
    """Newton's square root of power · x, and how often it was refined; lanes last."""

    def refine(state):
        root, left = state
        return jnp.where(left > 0, 0.5 * (root + power * x / root), root), left - 1

    root, _ = jax.lax.while_loop(lambda s: (s[1] > 0).any(), refine, (x, count))
    return {"root": root, "count": count}


def _root_back(args, out, slope):
    power, x, _ = args
    half = 0.5 * slope["root"] / out["root"]
    return half * x, half * power, slope["count"]  # none: counts are whole


def test_derivatives_hold_however_they_are_mapped():
    single = lanes.per_grid(_root, _root_back)
    count = jnp.int32(30)
    root = lambda x, power=2.0: single(jnp.full(3, power), x, count)["root"]
    x = jnp.array([1.0, 2.0, 5.0])
    slope = np.diag(np.sqrt(2.0 / x) / 2)
    np.testing.assert_allclose(jax.jit(jax.jacrev(root))(x), slope, rtol=1e-5)
    # Batches of rows, of points alone, of directions alone, and of what has no cotangent.
    points = jnp.stack([x, 2 * x])
    many = jax.jit(jax.vmap(jax.jacrev(root)))(points)
    np.testing.assert_allclose(many, [slope, slope / np.sqrt(2)], rtol=1e-5)
    along = lambda x, power, v: jax.vjp(lambda x: root(x, power), x)[1](v)[0]
    ones = jnp.ones_like(points)
    for axes, expected in (
        ((0, None, None), [slope, slope / np.sqrt(2)]),
        ((None, None, 0), [slope, slope]),
        ((None, 0, 0), [slope, np.sqrt(2) * slope]),
    ):
        args = points, jnp.array([2.0, 4.0]), ones
        args = [leaf if axis == 0 else leaf[0] for leaf, axis in zip(args, axes)]
        values = jax.jit(jax.vmap(along, axes))(*args)
        np.testing.assert_allclose(values, np.diagonal(expected, 0, 1, 2), rtol=1e-5)


def test_what_does_not_loop_needs_no_rule():
    single = lanes.per_grid(lambda x, count: {"cube": x**3, "count": count + 1})
    slopes = jax.jit(jax.vmap(jax.grad(lambda x: single(x, jnp.int32(1))["cube"].sum())))
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(slopes(x), 3 * x**2, rtol=1e-6)
