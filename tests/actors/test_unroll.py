"""The unroll: what it holds is what happened."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actors import unroll as unroll_lib
from agents import bundle as bundle_lib, distributions, networks as networks_lib, team as team_lib
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import series as series_lib
from envs.time_series.series import FAULT
from replay import schema

LENGTH, BATCH = 6, 4
LIMITED = ("reactive_violation", "overload")


def _directed(layout):
    """Returns a team of two: decisions of the first hold for three steps, and are heard."""
    sees, moves, size = layout.observation_size, layout.action_size, layout.action_size
    director = team_lib.Agent(
        "director", np.arange(4), np.array([0, size]), 5.0, critic=np.arange(sees), period=3
    )
    other = team_lib.Agent(
        "other", np.arange(sees), np.arange(1, moves), 2.0, hears=np.array([size])
    )
    compose = lambda action: action[..., :size] * (1.0 - 0.3 * action[..., size:])
    return team_lib.Team((director, other), sees, moves, latents=1, compose=compose)


@pytest.fixture(scope="module", params=["one operator", "directed"])
def short(request):
    """Days of eight steps, so that unrolls cross their ends."""
    env = grid_env.make(EnvOptions(horizon_steps=8))
    layers = TeamOptions(policy_layers=(8,), value_layers=(8,))
    nets = networks_lib.make(env.layout, layers)
    if request.param == "directed":
        nets = networks_lib.TeamNetworks(_directed(env.layout), layers)
    return unroll_lib.Unroller(env, nets, LENGTH, BATCH, limited=LIMITED)


@pytest.fixture(scope="module")
def run(short):
    bundle = bundle_lib.initial(short.networks, jax.random.PRNGKey(1))
    carry, days = short.init(jax.random.PRNGKey(0))
    step = jax.jit(short.unroll)
    done = []
    for index in range(3):
        origin = schema.Origin(*(jnp.int32(n) for n in (0, 0, index, 0)))
        before = carry
        carry, unroll = step(bundle, carry, days, origin)
        done.append((before, unroll, carry))
    assert step._cache_size() == 1, "the carry changed its type and was compiled anew"
    return bundle, days, done


def test_the_spec_is_what_an_unroll_is(short, run):
    _, _, done = run
    spec = short.spec()
    actual = done[0][1]
    assert jax.tree.structure(spec) == jax.tree.structure(actual)
    for name, described, computed in zip(schema.names(spec), *map(jax.tree.leaves, (spec, actual))):
        assert (described.shape, described.dtype) == (computed.shape, computed.dtype), name


def test_grids_start_at_different_hours(run):
    _, _, done = run
    assert done[0][0].states.t.tolist() == [0, 2, 4, 6]


def test_replaying_the_actions_gives_the_same_unroll(short, run):
    """Steps each grid by hand, starting anew from its other day when one ends."""
    _, days, done = run
    step = jax.jit(
        lambda s, a, i: short.env.transition(s, a, series_lib.PooledTimeSeries(days.series, i))
    )
    for grid in range(BATCH):
        before = done[0][0]
        state = jax.tree.map(lambda x, g=grid: x[g], before.states)
        day = int(before.day[grid])
        size, since, kept = short.env.layout.action_size, 0, np.zeros(2)
        directed = short.networks.team.size == 2

        def seen(observation, since, kept, directed=directed):
            return np.append(observation, [since, *kept] if directed else [])

        for _, unroll, _ in done:
            truncated_at = None
            for t in range(LENGTH):
                observed = seen(state.observation, since, kept)
                np.testing.assert_allclose(
                    unroll.observations[t, grid], observed, rtol=1e-4, atol=1e-3
                )
                raw = unroll.raw_actions[t, grid]
                action = distributions.squash(raw)
                if directed:
                    assert since == 0 or np.array_equal(raw[np.array([0, size])], kept)
                    action = action[:size] * (1.0 - 0.3 * action[size])
                    since, kept = (since + 1) % 3, np.asarray(raw)[[0, size]]
                state = step(state, action, jnp.int32(day))
                np.testing.assert_allclose(unroll.rewards[t, grid, 0], state.reward, rtol=1e-4)
                terms = [state.terms[name] for name in LIMITED]
                np.testing.assert_allclose(unroll.costs[t, grid], terms, rtol=1e-3, atol=1e-5)
                assert bool(unroll.truncated[t, grid]) == bool(state.truncated)
                assert bool(unroll.terminated[t, grid]) == bool(state.terminated)
                if state.truncated:
                    truncated_at = seen(state.observation, since, kept)
                    since, kept = 0, np.zeros(2)
                    day = (day + BATCH) % (2 * BATCH)
                    state = jax.tree.map(lambda x, d=day: x[d], days.starts)
            np.testing.assert_allclose(
                unroll.bootstrap_observation[grid],
                seen(state.observation, since, kept),
                rtol=1e-4,
                atol=1e-3,
            )
            if truncated_at is not None:
                np.testing.assert_allclose(
                    unroll.truncation_observation[grid], truncated_at, rtol=1e-4, atol=1e-3
                )


def test_log_probs_are_those_of_the_policy_that_acted(short, run):
    bundle, _, done = run
    unroll = done[1][1]
    policy = short.networks.policy(bundle.params, bundle.statistics, unroll.observations)
    expected = short.networks.log_prob(policy, unroll.raw_actions)
    np.testing.assert_allclose(unroll.log_probs, expected, rtol=1e-4, atol=1e-4)


def test_only_whole_episodes_are_reported(short, run):
    _, _, done = run
    # Grids start at rows 0, 2, 4, 6 of 8: whole days end after 8 and 16, 14, 12 and 10 steps.
    episodes = [float(unroll.summary["episodes"]) for _, unroll, _ in done]
    assert episodes == [0.0, 3.0, 2.0]
    total = sum(float(unroll.rewards.sum()) for _, unroll, _ in done)
    reported = sum(float(unroll.summary["episode_return_sum"]) for _, unroll, _ in done)
    assert total < reported * short.networks.team.size < 0
    for agent in ("director", "other") if short.networks.team.size == 2 else ():
        name = f"agents/{agent}/episode_return_sum"
        assert sum(float(unroll.summary[name]) for _, unroll, _ in done) == pytest.approx(reported)


def test_renewing_replaces_only_days_that_no_grid_is_in(short, run):
    _, days, done = run
    carry = done[-1][2]
    _, renewed = short.renew(0, carry, days)
    for index in range(2 * BATCH):
        same = np.array_equal(days.series.load_p_mw[index], renewed.series.load_p_mw[index])
        assert same == (index in carry.day.tolist())


def test_an_unroll_longer_than_a_day_is_refused(short):
    with pytest.raises(ValueError, match="actor.unroll_length=9"):
        unroll_lib.Unroller(short.env, short.networks, 9, BATCH)


def test_days_are_of_the_part_of_the_run_that_the_version_is_in(short):
    growing = EnvOptions(
        horizon_steps=8, step_minutes=60, branch_faults_per_day=1000.0,
        curriculum="branch_faults_per_day=0..1,protection.enabled=0..1",
    )  # fmt: skip
    env = grid_env.make(growing)
    unroller = unroll_lib.Unroller(env, short.networks, LENGTH, BATCH, updates=10)
    faults = lambda days: (np.asarray(days.series.branch_status) == FAULT).any((1, 2))
    protected = lambda days: np.isfinite(days.starts.protection.hard_limit)
    carry, days = unroller.start(0, 0, 0)
    assert carry.states.protection.hard_limit.shape == (BATCH,)
    assert not faults(days).any() and not protected(days).any()
    # A run that goes on begins where it was, and one program draws all days.
    _, late = unroller.start(0, 0, 1, version=10)
    assert faults(late).all() and protected(late).all()
    _, renewed = unroller.renew(jnp.int32(10), carry, days)
    assert faults(renewed).tolist() == protected(renewed).tolist() == [False] * 4 + [True] * 4
    assert unroller._fresh._cache_size() == 1
    # Who evaluates has all of it.
    series = env.sample_series(jax.random.PRNGKey(0), "validation")
    assert (np.asarray(series.branch_status) == FAULT).any()
    assert jax.eval_shape(env.start, series).protection is None
