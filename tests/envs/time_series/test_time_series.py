"""Synthetic days: reproducible, split without overlap, foreseen without bias, whole in parts."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from support import time_series_statistics

from envs.case import fleet as fleet_lib
from envs.options import EnvOptions
from envs.schedule import day_ahead, schedule
from envs.time_series import noise, splits, synthetic, weather
from envs.time_series.series import LEAD_STEPS

OPTIONS = EnvOptions()
N_DAYS = 384


def with_plants(grid):
    """Returns the plain fleet with two wind and two solar plants, on as many areas."""
    buses = grid.loads[np.array([0, 3, 5, 8])].astype(np.int32)
    area = np.where(np.arange(grid.n_bus) < grid.n_bus // 2, 1, 2).astype(np.int32)
    plants = fleet_lib.Renewables(
        buses, np.array(["wind", "solar", "solar", "wind"]), np.array([40.0, 30.0, 20.0, 25.0])
    )
    return dataclasses.replace(fleet_lib.plain(grid), area=area, renewables=plants)


@pytest.fixture(scope="module")
def fleet(case14):
    return with_plants(case14)


@pytest.fixture(scope="module")
def draw(case14, fleet):
    """Returns a compiled function from keys to stacked time series, as numpy arrays."""
    compiled = jax.jit(jax.vmap(lambda k: synthetic.sample(k, case14, fleet, OPTIONS, "train")))
    return lambda keys: jax.tree.map(np.asarray, compiled(keys))


@pytest.fixture(scope="module")
def days(draw):
    return draw(jax.random.split(jax.random.PRNGKey(1), N_DAYS))


# Splits and keys.


def test_splits_share_no_day():
    sets = [set(splits.days(split).tolist()) for split in splits.SPLITS]
    assert sum(map(len, sets)) == len(set.union(*sets)) == splits.DAYS_PER_YEAR
    assert [round(10 * len(s) / splits.DAYS_PER_YEAR) for s in sets] == [8, 1, 1]


@pytest.mark.parametrize("split", splits.SPLITS)
def test_a_series_comes_from_the_days_of_its_split(split):
    keys = jax.random.split(jax.random.PRNGKey(0), 200)
    drawn = set(np.asarray(jax.vmap(lambda k: splits.draw(k, split))(keys)).tolist())
    assert drawn <= set(splits.days(split).tolist()) and len(drawn) > 20
    assert set(splits.split_indices(np.array(list(drawn))).tolist()) == {splits.index(split)}


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train, validation, test"):
        splits.days("tset")


def test_a_key_gives_the_same_day_alone_and_in_a_batch(case14, fleet, days, draw):
    keys = jax.random.split(jax.random.PRNGKey(1), N_DAYS)
    again = draw(keys)
    jax.tree.map(np.testing.assert_array_equal, days, again)
    alone = jax.jit(lambda k: synthetic.sample(k, case14, fleet, OPTIONS, "train"))(keys[3])
    one = jax.tree.map(lambda leaf: leaf[3], days)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2), alone, one)
    assert len({day.tobytes() for day in days.load_p_mw}) == N_DAYS


def test_every_leaf_has_its_shape_and_is_finite(case14, fleet, days):
    rows = OPTIONS.horizon_steps + 1
    shapes = {
        "load_p_mw": (rows, case14.loads.size),
        "load_q_mvar": (rows, case14.loads.size),
        "renewable_mw": (rows, 4),
        "branch_status": (rows, case14.n_branch),
        "gen_status": (rows, case14.n_gen),
        "load_forecast_mw": (rows, len(LEAD_STEPS)),
        "renewable_forecast_mw": (rows, len(LEAD_STEPS)),
        "day_ahead_load_mw": (rows,),
        "day_ahead_renewable_mw": (rows,),
        "plan_p_mw": (rows, case14.n_gen),
        "day": (),
    }
    assert {name: leaf.shape[1:] for name, leaf in vars(days).items()} == shapes
    for name, leaf in vars(days).items():
        assert np.isfinite(leaf).all(), name
    assert days.branch_status.dtype == days.gen_status.dtype == np.uint8


def test_splits_and_short_episodes_work_on_any_horizon(case14, fleet):
    short = dataclasses.replace(OPTIONS, horizon_steps=1, step_minutes=60)
    sample = jax.jit(lambda key: synthetic.sample(key, case14, fleet, short, "test"))
    series = sample(jax.random.PRNGKey(0))
    assert series.load_p_mw.shape == (2, case14.loads.size) and int(series.day) % 10 == 9


# Load.


def test_shape_of_a_day(case14, days):
    total = days.load_p_mw.sum(-1)
    hour = np.arange(289) / 12
    mean = total.mean(0)
    assert 3 < hour[mean[:200].argmin()] < 6
    nominal = case14.bus.load_p_mw.sum()
    assert 0.9 * nominal < total.max() < 1.1 * nominal and total.min() > 0.4 * nominal


def test_weekends_and_summers_are_lower(days):
    total = days.load_p_mw.sum((-1, -2))
    weekend = days.day % 7 >= 5
    assert total[weekend].mean() < 0.95 * total[~weekend].mean()
    winter = weather.season(jnp.asarray(days.day)) > 0.5
    summer = weather.season(jnp.asarray(days.day)) < -0.5
    assert total[np.asarray(summer)].mean() < 0.88 * total[np.asarray(winter)].mean()


def test_loads_of_an_area_move_together_and_each_by_itself(case14, fleet, days):
    share = days.load_p_mw / days.day_ahead_load_mw[..., None]
    deviation = share / share.mean((0, 1)) - 1.0
    deviation -= deviation.mean((0, 1))
    matrix = np.corrcoef(deviation.reshape(-1, deviation.shape[-1]).T)
    area = fleet.area[case14.loads]
    pairs = list(itertools.combinations(range(area.size), 2))
    same = np.mean([matrix[i, j] for i, j in pairs if area[i] == area[j]])
    other = np.mean([matrix[i, j] for i, j in pairs if area[i] != area[j]])
    assert other < same < 0.9
    assert deviation.std((0, 1)).min() > 0.03


# Wind and sun.


def test_plants_stay_between_nothing_and_rated_power(fleet, days):
    p_max = fleet.renewables.p_max_mw
    assert days.renewable_mw.min() >= 0 and (days.renewable_mw <= p_max * (1 + 1e-5)).all()
    wind = days.renewable_mw[..., fleet.renewables.kind == "wind"] / p_max[[0, 3]]
    assert 0.02 < (wind == 0).mean() < 0.3 and 0.005 < (wind > 0.999).mean() < 0.15


def test_there_is_no_sun_at_night(fleet, days):
    solar = days.renewable_mw[..., fleet.renewables.kind == "solar"]
    hour = np.arange(289) / 12
    assert (solar[:, (hour < 4) | (hour > 20.5)] == 0).all()
    assert (solar[:, hour == 12] > 0).all()
    season = np.asarray(weather.season(jnp.asarray(days.day)))
    assert solar[season < -0.5].mean() > 1.6 * solar[season > 0.5].mean()


def test_the_sun_stands_where_it_does_at_45_degrees():
    hours = np.arange(0, 24, 1 / 12)
    energised = [
        float((weather.clear_sky_share(hours, day) > 0).mean() * 24) for day in (79, 171, 354)
    ]
    np.testing.assert_allclose(energised, [12.0, 15.4, 8.6], atol=0.4)


def test_the_table_of_a_curve_is_its_expectation():
    curve = weather.Curve(weather.wind_share, np.array([0.0, 0.4]))
    z = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(curve(jnp.asarray(z), 0), weather.wind_share(z), atol=3e-3)
    error = 0.4 * np.random.default_rng(0).standard_normal((200_000, 1))
    expected = weather.wind_share(z + error).mean(0)
    np.testing.assert_allclose(curve(jnp.asarray(z), 1), expected, atol=3e-3)


# Forecasts and the plan.


@pytest.mark.parametrize("of", ("load", "renewable"))
def test_forecasts_err_more_the_farther_they_look(days, of):
    sizes = [error.std() for error in time_series_statistics.errors_of_forecasts(days, of)[0]]
    assert all(a < b for a, b in itertools.pairwise(sizes)), sizes
    assert sizes[-1] > 2 * sizes[0] > 0


@pytest.mark.parametrize("of", ("load", "renewable"))
def test_forecasts_are_unbiased(days, of):
    for error in time_series_statistics.errors_of_forecasts(days, of)[0]:
        spread = error.mean(1).std() / np.sqrt(N_DAYS)  # days are independent, rows are not
        assert abs(error.mean()) < 4 * spread


def test_forecasts_of_load_are_as_good_as_operators_are(days):
    errors, total = time_series_statistics.errors_of_forecasts(days, "load")
    relative = [error.std() / total.mean() for error in errors]
    assert 0.002 < relative[0] < 0.008 and 0.01 < relative[-1] < 0.03


def test_the_plan_covers_what_is_foreseen(case14, days):
    foreseen = days.day_ahead_load_mw * (1 + day_ahead.PLANNED_LOSSES) - days.day_ahead_renewable_mw
    floor = day_ahead.least_mw(case14)
    needed = np.maximum(foreseen, floor)
    np.testing.assert_allclose(days.plan_p_mw.sum(-1), needed, rtol=1e-4)


@pytest.mark.parametrize("name", schedule.SCHEDULES)
def test_the_plan_by_table_is_the_schedule(case118, name):
    demand = jnp.linspace(1200.0, 4300.0, 150)
    by_table, direct = (
        day_ahead.plan(case118, name, demand),
        schedule.SCHEDULES[name](case118, demand),
    )
    np.testing.assert_allclose(by_table, direct, atol=0.002 * float(demand.max()))
    np.testing.assert_allclose(by_table.sum(-1), demand, rtol=1e-4)


def test_a_plan_never_falls_below_the_sum_of_pmin(case14):
    gen = dataclasses.replace(case14.gen, p_min_mw=np.where(case14.gen.p_max_mw > 0, 20.0, 0.0))
    grid = dataclasses.replace(case14, gen=gen)
    least = day_ahead.least_mw(grid)
    load, renewable = jnp.array([100.0, 100.0, 30.0]), jnp.array([0.0, 90.0, 0.0])
    needed = day_ahead.demand(grid, load / (1 + day_ahead.PLANNED_LOSSES), renewable)
    np.testing.assert_allclose(needed, [100.0, least, least], rtol=1e-6)
    plan = day_ahead.plan(grid, "proportional", needed)
    np.testing.assert_allclose(plan.sum(-1), needed, rtol=1e-5)


def test_a_fleet_without_plants_has_no_columns(case14):
    plain = fleet_lib.plain(case14)
    series = synthetic.sample(jax.random.PRNGKey(0), case14, plain, OPTIONS, "train")
    assert series.renewable_mw.shape == (289, 0)
    assert not series.renewable_forecast_mw.any() and not series.day_ahead_renewable_mw.any()


# Noise.


def test_noise_is_normal_and_free_of_patterns():
    draw = jax.jit(jax.vmap(lambda key: noise.normals(key, 20_000)))
    x = np.asarray(draw(jax.random.split(jax.random.PRNGKey(0), 32)))
    assert abs(x.mean()) < 0.005 and abs(x.std() - 1) < 0.005
    assert stats.kstest(x[0], "norm").statistic < 0.015
    for lag in (1, 2, 64, 4096):
        assert abs(np.corrcoef(x[:, :-lag].ravel(), x[:, lag:].ravel())[0, 1]) < 0.006
    assert np.abs(np.corrcoef(x) - np.eye(32)).max() < 0.04


def test_a_surprise_is_stationary_and_its_conditional_mean_is_right():
    surprise = noise.Surprise.lasting(np.full(2000, 1.5), 1 / 12)
    shocks = jax.random.normal(jax.random.PRNGKey(0), (60, 2000))
    x, y = surprise.sample(shocks)
    for row in (0, 20, 58):
        assert abs(float(x[row].std()) - 1) < 0.05
        assert abs(float(np.corrcoef(x[row], y[row])[0, 1]) - surprise._tie[0]) < 0.05
    for steps in (1, 6, 30):
        error = x[10 + steps] - surprise.ahead((x[10], y[10]), steps)
        assert abs(float(error.mean())) < 0.08
        np.testing.assert_allclose(error.var(), surprise.unknown(steps)[0], rtol=0.12, atol=1e-4)
        assert abs(np.corrcoef(error, x[10])[0, 1]) < 0.08 or steps == 1


def test_known_noise_has_variance_one():
    slow = noise.Slow((0.05, 0.5, 1.0), (0.5, 0.3, 0.2), 4000)
    shocks = jax.random.normal(jax.random.PRNGKey(0), (slow.n_shocks, 4000))
    x = slow.sample(shocks, np.array([0.0, 6.0, 23.0]))
    np.testing.assert_allclose(x.std(1), 1.0, atol=0.05)
    expected = 0.5 * np.cos(0.05 * np.pi / 2) + 0.3 * np.cos(np.pi / 4)
    assert abs(np.corrcoef(x[0], x[1])[0, 1] - expected) < 0.05
