"""Derivatives of a step in reverse mode: term by term against finite differences, in double."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import rewards

_MOVE = 1e-5  # of an action, or of a state by its own size
# Jumps, or nothing that an action moves: their derivative is zero.
_FLAT = {
    "planned_cost", "load", "switching", "trips", "frequency_excursion", "insecurity",
    "steps_in_violation",
}  # fmt: skip


def _directions(shape, count=4):
    drawn = np.random.default_rng(1).normal(size=(count, *shape))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def _slopes(function, x, directions):
    """Returns central differences of `function` at x along directions."""
    return np.stack(
        [(function(x + _MOVE * d) - function(x - _MOVE * d)) / (2 * _MOVE) for d in directions]
    )


def _make(**options):
    """Returns environment, a day, the state at row 100, and an action; with double precision."""
    env = grid_env.make(EnvOptions(tolerance_pu=1e-10, **options))
    series = jax.jit(env.sample_series)(jax.random.PRNGKey(0))
    state = jax.jit(env.start)(series, 100)
    action = 0.2 * np.random.default_rng(0).normal(size=env.layout.action_size).clip(-1, 1)
    if "switch" in env.layout.action:
        action[env.layout.action["switch"]] = 0.0
    return env, series, state, jnp.asarray(action)


def _check_terms(env, series, state, action):
    """Holds each reward term's derivative to differences; returns those with a slope."""
    names = sorted(rewards.TERM_UNITS)

    @jax.jit
    def terms(action):
        after = env.transition(state, action, series).terms
        return jnp.stack([jnp.asarray(after[name], float) for name in names])

    directions = _directions(action.shape)
    slopes = _slopes(terms, action, directions)
    jacobian = np.asarray(jax.jit(jax.jacrev(terms))(action))
    np.testing.assert_allclose(directions @ jacobian.T, slopes, rtol=1e-5, atol=1e-6)
    return {name for name, slope in zip(names, slopes.T) if np.abs(slope).max() > 1e-4}


@pytest.mark.slow
def test_terms_have_the_derivatives_of_finite_differences():
    with jax.experimental.enable_x64():
        moved = _check_terms(*_make(layout="full"))
    assert moved >= {"generation_cost", "load_control_cost", "curtailment", "storage_throughput",
                     "reactive_violation", "losses", "redispatch", "co2"}  # fmt: skip
    assert not moved & _FLAT


@pytest.mark.slow
def test_terms_of_limits_that_are_broken_have_derivatives_too():
    # Loads far beyond the usual ones: overload and undervoltage.
    with jax.experimental.enable_x64():
        env, series, _, action = _make(case="case118", layout="case118_full")
        heavy = series.replace(
            load_p_mw=1.5 * series.load_p_mw, load_q_mvar=3.0 * series.load_q_mvar
        )
        moved = _check_terms(env, heavy, jax.jit(env.start)(heavy, 100), action)
    assert moved >= {"overload", "voltage_violation"}


@pytest.mark.slow
@pytest.mark.parametrize("case, layout", [("case14", "full"), ("case118", "case118_full")])
def test_outages_islands_and_lost_generators_have_derivatives(case, layout):
    count = 32
    with jax.experimental.enable_x64():
        env = grid_env.make(EnvOptions(
            case=case, layout=layout, tolerance_pu=1e-10, branch_faults_per_day=20.0,
            gen_faults_per_day=8.0,
        ))  # fmt: skip
        rng = np.random.default_rng(0)
        series = jax.jit(jax.vmap(env.sample_series))(
            jax.random.split(jax.random.PRNGKey(0), count)
        )
        state = jax.jit(jax.vmap(env.start))(series, jnp.asarray(rng.integers(0, 280, count)))
        actions = jnp.asarray(0.2 * rng.normal(size=(count, env.layout.action_size)).clip(-1, 1))
        actions = actions.at[:, env.layout.action["switch"]].set(0.0)

        def cost(action, state, series):
            after = env.transition(state, action, series)
            return rewards.operating_cost(after.terms, env.options), after

        play = jax.jit(jax.vmap(cost))
        slopes, after = jax.jit(jax.vmap(jax.grad(cost, has_aux=True)))(actions, state, series)
        (directions,) = _directions(actions.shape, 1)
        # Reactive power beyond limits is dear, and known as well as the power flow is solved.
        ahead, back = (play(actions + s * 1e-5 * directions, state, series)[0] for s in (1, -1))
        numeric, slopes = np.asarray(ahead - back) / 2e-5, np.asarray(slopes)
    # What ends an episode is priced at millions: differences of it are rounded.
    usable = ~np.asarray(after.terminated) & ~np.asarray((after.trip_round > 0).any(1))
    close = np.isclose((slopes * directions).sum(1), numeric, rtol=1e-5, atol=1e-4)
    assert np.isfinite(slopes).all()
    assert close[usable].all(), np.flatnonzero(usable & ~close)
    seen = [~after.branch.closed, ~after.gen_on, after.vm_pu == 0]
    assert all((np.asarray(s).any(1) & usable).sum() >= 3 for s in seen)


@pytest.mark.slow
def test_several_steps_have_the_derivatives_of_finite_differences():
    with jax.experimental.enable_x64():
        env, series, state, action = _make(layout="full")

        @jax.jit
        def total(energy, action):
            def advance(state, _):
                state = env.transition(state, action, series)
                return state, state.reward

            start = env.transition(state.replace(energy_mwh=energy), action, series)
            return jax.lax.scan(advance, start, None, length=3)[1].sum()

        energy = jnp.asarray(state.energy_mwh, float)
        of_energy, of_action = jax.jit(jax.grad(total, (0, 1)))(energy, action)
        directions = _directions(action.shape)
        slopes = _slopes(lambda action: total(energy, action), action, directions)
    np.testing.assert_allclose(directions @ np.asarray(of_action), slopes, rtol=1e-5, atol=1e-9)
    assert np.isfinite(of_energy).all()


@pytest.mark.slow
def test_a_batch_has_the_derivatives_of_its_members(env):
    series = jax.jit(jax.vmap(env.sample_series))(jax.random.split(jax.random.PRNGKey(0), 3))
    states = jax.jit(jax.vmap(env.start))(series, jnp.array([0, 100, 200]))
    actions = jax.random.uniform(jax.random.PRNGKey(1), (3, env.layout.action_size), minval=-0.3)
    batch = actions, states, series
    slope = jax.grad(lambda action, state, day: env.transition(state, action, day).reward)
    one = jax.jit(slope)
    each = [one(*jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(3)]
    together = jax.jit(jax.vmap(slope))(*batch)
    np.testing.assert_allclose(together, np.stack(each), rtol=1e-3, atol=1e-6)
    assert np.abs(together).max() > 1e-3


def test_where_there_is_no_solution_derivatives_are_zero_and_finite(env):
    series = jax.jit(env.sample_series)(jax.random.PRNGKey(0))
    state = jax.jit(env.start)(series, 100)
    beyond = series.replace(load_q_mvar=30.0 * series.load_q_mvar)

    def reward(action):
        after = env.transition(state, action, beyond)
        return after.reward, after.terminated

    slopes, terminated = jax.jit(jax.grad(reward, has_aux=True))(jnp.zeros(env.layout.action_size))
    assert terminated and np.isfinite(slopes).all()
