"""Behavioural cloning: a known policy is found again, and days held out tell how well."""

import jax
import numpy as np
import pytest

from agents import distributions, networks as networks_lib, team as team_lib
from agents.options import TeamOptions
from learner import imitation

OBSERVED, MOVED, DAYS, STEPS = 5, 4, 16, 48


@pytest.fixture(scope="module")
def networks():
    agents = tuple(
        team_lib.Agent(f"agent {part[0]}", np.arange(OBSERVED), np.array(part), 10.0)
        for part in ((0, 2), (1, 3))
    )
    team = team_lib.Team(agents, OBSERVED, MOVED)
    return networks_lib.TeamNetworks(team, TeamOptions(policy_layers=(32,), value_layers=(8,)))


@pytest.fixture(scope="module")
def decisions():
    """Observations far from normal; an action that nobody moves, and one mostly at a limit."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(DAYS * STEPS, OBSERVED))
    normal[:, 4] = 0.0  # what never changes
    x = normal.T
    actions = np.stack([np.tanh(x[0] + x[1]), 0.3 * x[2] - 0.2, np.zeros(x.shape[1]), 3.0 * x[3]])
    observations = 100.0 + 20.0 * normal
    day = np.repeat(np.arange(DAYS), STEPS)
    return observations.astype(np.float32), np.clip(actions.T, -1, 1).astype(np.float32), day


def test_a_known_policy_is_found_again(networks, decisions, key):
    fit = imitation.fit(networks, *decisions, key, steps=2000)
    observations, actions, _ = decisions
    policy = networks.policy(fit.bundle.params, fit.bundle.statistics, observations)
    taken = np.asarray(distributions.squash(policy.mean))
    off = np.sqrt(((taken - actions) ** 2).mean(0))
    assert (fit.error < [0.05, 0.05, 0.03, 0.1]).all(), fit.error
    assert (off < [0.05, 0.05, 0.03, 0.1]).all(), off
    # It spreads as a policy that has not learned yet.
    np.testing.assert_allclose(np.exp(policy.log_std), 0.5, rtol=0.2)
    assert fit.bundle.version == 0 and fit.bundle.value_statistics.weight == 0


def test_days_held_out_are_not_learned_from_and_tell_the_error(networks, decisions, key):
    observations, actions, day = decisions
    held_out = np.isin(day, [7, 15])  # every eighth, from the last on
    # There everything is otherwise: whoever learned from it would err less.
    other = np.where(held_out[:, None], -np.sign(actions), actions)
    strange = np.where(held_out[:, None], observations + 500.0, observations)
    fit = imitation.fit(networks, strange, other, day, key, steps=400)
    np.testing.assert_allclose(fit.bundle.statistics.mean, observations[~held_out].mean(0), 1e-5)
    assert fit.bundle.statistics.count == (~held_out).sum()
    reached = networks.policy(fit.bundle.params, fit.bundle.statistics, strange[held_out]).mean
    error = np.asarray(distributions.squash(reached)) - other[held_out]
    np.testing.assert_allclose(fit.error, np.sqrt((error**2).mean(0)), rtol=1e-3)
    assert fit.error[[0, 1, 3]].min() > 0.8


def test_the_parameters_are_those_of_the_least_error(networks, decisions, key):
    observations, actions, day = decisions
    # What is learned is wrong on the days held out, so that the error there only grows.
    other = np.where(np.isin(day, [7, 15])[:, None], -actions, actions)
    short, long = (
        imitation.fit(networks, observations, other, day, key, steps=steps) for steps in (400, 1200)
    )
    assert short.steps == long.steps == 200
    assert long.error.mean() == pytest.approx(short.error.mean(), rel=0.05)


def test_what_is_not_finite_is_refused(networks, decisions, key):
    observations, actions, day = decisions
    with pytest.raises(FloatingPointError, match="are observations and actions"):
        imitation.fit(networks, observations * np.nan, actions, day, key, steps=200)


def test_a_seed_fits_the_same_policy(networks, decisions, key):
    first, again = (imitation.fit(networks, *decisions, key, steps=200) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first.bundle, again.bundle)
