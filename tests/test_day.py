"""Synthetic days: reproducible, split without overlap, and of the intended statistics."""

import jax
import numpy as np
import pytest

from envs import day


@pytest.fixture(scope="module")
def days(env):
    keys = jax.random.split(jax.random.PRNGKey(1), 256)
    return jax.jit(jax.vmap(env.sample_tape))(keys)


def test_splits_share_no_day():
    sets = [set(day.split_days(split).tolist()) for split in day.SPLITS]
    assert sum(map(len, sets)) == len(set.union(*sets)) == day.DAYS_PER_YEAR


def test_a_tape_comes_from_the_days_of_its_split(env):
    for split in day.SPLITS:
        keys = jax.random.split(jax.random.PRNGKey(0), 64)
        drawn = jax.vmap(lambda key, s=split: env.sample_tape(key, s).day)(keys)
        assert set(np.asarray(drawn).tolist()) <= set(day.split_days(split).tolist())
        assert len(set(np.asarray(drawn).tolist())) > 10


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, validation, test"):
        day.split_days("tset")


def test_a_key_gives_the_same_day(env, key):
    first, second = env.sample_tape(key), env.sample_tape(key)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    other = env.sample_tape(jax.random.PRNGKey(7))
    assert not np.array_equal(first.load_p_mw, other.load_p_mw)


def test_shape_of_a_day(env, days):
    total = np.asarray(days.load_p_mw.sum(-1))
    assert total.shape == (256, env.horizon + 1)
    hour = np.arange(env.horizon + 1) * env.dt_h
    mean = total.mean(0)
    assert 17 < hour[mean.argmax()] < 21 and 1 < hour[mean.argmin()] < 6
    nominal = env.grid.bus.load_p_mw.sum()
    assert 0.9 * nominal < total.max() < 1.1 * nominal and total.min() > 0.35 * nominal


def test_weekends_are_lower(days):
    total = np.asarray(days.load_p_mw.sum((-1, -2)))
    weekend = np.asarray(days.day) % 7 >= 5
    assert total[weekend].mean() < 0.95 * total[~weekend].mean()


def test_the_forecast_is_unbiased_and_wrong_by_a_few_percent(days):
    error = np.asarray(days.load_p_mw.sum(-1)) / np.asarray(days.forecast_mw) - 1.0
    assert abs(error.mean()) < 0.005
    assert 0.015 < error.std() < 0.05


def test_noise_is_correlated_in_time_and_between_loads(env, days):
    share = np.asarray(days.load_p_mw) / np.asarray(days.forecast_mw)[..., None]
    noise = share / share.mean((0, 1)) - 1.0
    lag = lambda k: np.corrcoef(noise[:, :-k].ravel(), noise[:, k:].ravel())[0, 1]
    assert lag(1) > 0.9 and lag(1) > lag(12) > lag(72)
    pair = np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]
    assert 0.3 < pair < 0.9


def test_the_plan_covers_the_forecast_and_its_losses(env, days):
    planned = np.asarray(days.plan_p_mw.sum(-1))
    np.testing.assert_allclose(planned, 1.03 * np.asarray(days.forecast_mw), rtol=1e-4)
