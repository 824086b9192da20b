"""Sharing a total within limits, and the day-ahead plans."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.schedule import schedule, sharing

_compiled = jax.jit(sharing.share)


def _share(target, low, high, weight, total):
    arrays = (jnp.asarray(x, jnp.float32) for x in (target, low, high, weight))
    values, rest = _compiled(*arrays, jnp.float32(total))
    return np.asarray(values), float(rest)


def test_lanes_are_shared_out_as_if_alone():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 20, (12, 40))
    high = low + rng.uniform(0, 50, low.shape) * (rng.random(low.shape) > 0.2)
    target = rng.uniform(low - 10, high + 10)
    weight = rng.uniform(0, 1, low.shape) * (rng.random(low.shape) > 0.2)
    total = rng.uniform(0.9 * low.sum(0), 1.1 * high.sum(0))
    args = [jnp.asarray(x, jnp.float32) for x in (target, low, high, weight, total)]
    together, left = jax.jit(sharing.share)(*args)
    assert (np.abs(left) > 1).any() and (left == 0).any()
    alone = jax.jit(sharing.share)
    for row in range(40):
        x, rest = alone(*(leaf[..., row] for leaf in args))
        np.testing.assert_allclose(together[:, row], x, atol=1e-5)
        np.testing.assert_allclose(left[row], rest, atol=1e-3)
    np.testing.assert_allclose(together.sum(0) + left, total, rtol=3e-6, atol=0.05)


def test_worked_by_hand():
    # 30 MW more, shared 2:1, and the second unit stops at its limit of 15.
    values, rest = _share([40, 10], [0, 0], [100, 15], [2, 1], 80)
    np.testing.assert_allclose(values, [65, 15], atol=1e-4)
    assert rest == 0


def test_what_limits_leave_is_reported_in_both_directions():
    values, rest = _share([5, 5], [0, 0], [10, 10], [1, 1], 50)
    np.testing.assert_allclose(values, [10, 10], atol=1e-5)
    assert rest == pytest.approx(30, abs=1e-3)
    values, rest = _share([5, 5], [2, 2], [10, 10], [1, 1], 1)
    np.testing.assert_allclose(values, [2, 2], atol=1e-5)
    assert rest == pytest.approx(-3, abs=1e-3)


def test_a_unit_without_weight_stays():
    values, rest = _share([40, 10, 0], [0, 0, 0], [100, 50, 0], [1, 0, 0], 80)
    np.testing.assert_allclose(values, [70, 10, 0], atol=1e-4)
    assert rest == 0


def test_random_problems_balance_and_move_together():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = rng.integers(2, 30)
        low = rng.uniform(0, 50, n)
        high = low + rng.uniform(0, 100, n)
        target, weight = rng.uniform(low, high), rng.uniform(0.1, 1, n)
        total = rng.uniform(low.sum(), high.sum())
        values, rest = _share(target, low, high, weight, total)
        assert rest == 0 and values.sum() == pytest.approx(total, rel=1e-5)
        assert np.all(values >= low - 1e-3) and np.all(values <= high + 1e-3)
        between = (values > low + 1e-2) & (values < high - 1e-2)
        multipliers = (values - target)[between] / weight[between]
        assert np.ptp(multipliers) < 0.05 if between.any() else True


def _plan(name, grid, *demand):
    plan = jax.jit(lambda demand: schedule.SCHEDULES[name](grid, demand))
    return np.asarray(plan(jnp.asarray(demand, jnp.float32)))


def test_the_proportional_plan_loads_all_units_alike(case14):
    plan = _plan("proportional", case14, 100.0, 399.0)
    np.testing.assert_allclose(plan[0, :2], [100 * 340 / 399, 100 * 59 / 399], rtol=1e-4)
    np.testing.assert_allclose(plan[1, :2], [340, 59], rtol=1e-4)
    assert np.all(plan[:, 2:] == 0)


def test_merit_order_runs_the_cheap_unit_first(case14):
    plan = _plan("merit_order", case14, 259.0, 360.0)
    np.testing.assert_allclose(plan[:, :2], [[259, 0], [340, 20]], atol=0.05)


def test_merit_order_equals_economic_dispatch_with_quadratic_costs(case14):
    c2 = np.array([0.05, 0.1, 0, 0, 0])
    grid = dataclasses.replace(case14, gen=dataclasses.replace(case14.gen, cost_c2=c2))
    plan = _plan("merit_order", grid, 300.0)[0]
    # Equal marginal costs: 7.920951 + 0.1 p1 = 23.269494 + 0.2 (300 − p1).
    p1 = (23.269494 - 7.920951 + 60) / 0.3
    np.testing.assert_allclose(plan[:2], [p1, 300 - p1], atol=0.05)


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_every_plan_covers_demand_within_limits(case14, name):
    demand = np.linspace(50, 390, 12)
    plan = _plan(name, case14, *demand)
    np.testing.assert_allclose(plan.sum(1), demand, rtol=1e-4)
    assert np.all(plan <= case14.gen.p_max_mw + 1e-3) and np.all(plan >= -1e-3)
