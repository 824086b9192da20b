"""The look-ahead: which limit it says that an action would break, where, and by how much."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.baselines import look_ahead
from agents.baselines.look_ahead import Broken, Excess, Limit
from envs import grid_env
from envs.options import EnvOptions
from envs.step.options import ProtectionOptions
from envs.step.termination import Reason


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(case="case14", layout="operator", horizon_steps=12))


@pytest.fixture(scope="module")
def look(env):
    return look_ahead.LookAhead(env)


def _excess(env, **changes):
    grid = env.grid
    branches = jnp.zeros(grid.n_branch)
    none = Excess(jnp.int32(0), branches, branches, jnp.zeros(grid.n_bus), jnp.zeros(grid.n_gen))
    return none._replace(**changes)


def test_the_gravest_limit_is_named_with_the_worst_element_of_its_kind(env, look):
    loading = jnp.zeros(env.grid.n_branch).at[jnp.array([3, 5])].set(jnp.array([0.2, 0.3]))
    voltage = jnp.zeros(env.grid.n_bus).at[4].set(0.02)
    reactive = jnp.zeros(env.grid.n_gen).at[2].set(7.0)
    outage = jnp.zeros(env.grid.n_branch).at[7].set(0.6)
    parts = {
        "loading": loading, "after_outage": outage, "voltage_pu": voltage,
        "reactive_mvar": reactive,
    }  # fmt: skip
    assert look_ahead.danger(_excess(env, **parts)) == pytest.approx(0.2 + 0.3 + 0.6)
    expected = [
        (Limit.OVERLOAD, 5, 0.3), (Limit.OUTAGE, 7, 0.6), (Limit.VOLTAGE, 4, 0.02),
        (Limit.REACTIVE, 2, 7.0),
        (Limit.NONE, 0, 0.0),
    ]  # fmt: skip
    for kind, element, size in expected:
        broken = look.broken(_excess(env, **parts))
        assert (broken.limit, broken.element) == (kind, element)
        np.testing.assert_allclose(broken.size, size, rtol=1e-6)
        parts.pop(next(iter(parts), None), None)
    ended = look.broken(_excess(env, reason=jnp.int32(Reason.DIVERGED), loading=loading))
    assert (ended.limit, ended.element) == (Limit.COLLAPSE, Reason.DIVERGED)
    # Rounding breaks no limit.
    tiny = _excess(env, loading=1e-5 + jnp.zeros(env.grid.n_branch))
    assert look.broken(tiny).limit == Limit.NONE


def test_it_is_told_how_far_the_same_limit_is_broken_by_another_action(env, look):
    loading = jnp.zeros(env.grid.n_branch).at[5].set(0.1).at[6].set(0.4)
    at = lambda kind, element: float(
        look.at(_excess(env, loading=loading), Broken(jnp.int32(kind), jnp.int32(element), 0.0))
    )
    assert at(Limit.OVERLOAD, 5) == pytest.approx(0.1)
    assert at(Limit.OVERLOAD, 3) == at(Limit.VOLTAGE, 5) == at(Limit.COLLAPSE, 0) == 0.0


def test_what_an_outage_would_overload_counts_where_it_has_a_price(env):
    secured = dataclasses.replace(env.options, insecurity_price=100.0)
    state = jax.jit(env.reset)(jax.random.PRNGKey(0))
    ahead = jax.jit(look_ahead.foresee)(state, state.series)
    # The action with which branches carry most of 24 random ones.
    actions = jax.random.uniform(
        jax.random.PRNGKey(1), (24, env.layout.action_size), minval=-1.0, maxval=1.0
    )
    free, priced = (
        jax.jit(jax.vmap(look_ahead.LookAhead(judge), (None, None, 0)))(state, ahead, actions)
        for judge in (env, grid_env.make(secured))
    )
    assert not np.any(free.after_outage) and np.any(priced.after_outage > 0.01)
    np.testing.assert_allclose(priced.loading, free.loading, atol=1e-5)
    step = grid_env.make(dataclasses.replace(secured, protection=ProtectionOptions(enabled=False)))
    worst = int(priced.after_outage.sum(-1).argmax())
    _, detail = jax.jit(step.detailed)(state.replace(protection=None), actions[worst], ahead)
    expected = np.maximum(np.asarray(detail.after_outage_rho) - 1.0, 0.0)
    np.testing.assert_allclose(priced.after_outage[worst], expected, atol=1e-4)
