"""Scenarios: pure, the same for every controller, and each what it says it is."""

import dataclasses
import functools
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.connected import is_whole

from agents.baselines import loadability
from envs import grid_env
from envs.case import case_file, connectivity, fleet as fleet_lib
from envs.options import EnvOptions
from envs.schedule import day_ahead
from envs.step.options import ProtectionOptions
from envs.time_series import outages, renewables, synthetic, weather
from envs.time_series.series import FAULT, IN_SERVICE, LEAD_STEPS, MAINTENANCE
from evaluation.scenarios import cascade, days, emergency, intermittency, peak, storm, suite

OPTIONS = EnvOptions()
N = 96
LARGEST = 1.3  # of nominal load: what the stand-in for loadability lets the grid carry


def simple_factor(grid, load_p_mw, load_q_mvar, injection_mw):
    """Returns a loadability that needs no optimiser."""
    assert load_p_mw.shape == load_q_mvar.shape == (grid.loads.size,)
    assert injection_mw.shape == (grid.n_bus,)
    return LARGEST * grid.bus.load_p_mw.sum() / load_p_mw.sum()


real_factor, real_ordinary = loadability.factor, days.ordinary


@functools.cache
def place(case):
    named = grid_env.check(EnvOptions(case=case))
    return named.grid, named.fleet


@functools.cache
def ordinary(case):
    """Returns a few ordinary days, made once: compiling them again takes longer than a scenario."""
    count = 24 if case == "case14" else 6
    make = jax.jit(jax.vmap(lambda key: real_ordinary(key, setting(case))))
    return jax.tree.map(np.asarray, make(jax.random.split(jax.random.PRNGKey(1), count)))


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Lets scenarios start from one of a few days, and do without an optimiser."""

    def one_of_a_few(key, setting):
        days_of_case = ordinary(setting.grid.name)
        chosen = jax.random.randint(key, (), 0, days_of_case.day.size)
        series = jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], days_of_case)
        rows = lambda leaf: leaf[: setting.n_rows] if leaf.ndim else leaf
        return jax.tree.map(rows, series)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loadability, "factor", simple_factor)
        patch.setattr(days, "ordinary", one_of_a_few)
        yield


def fresh(name, level, case="case14", *, plants=True, n=N, options=OPTIONS):
    """Returns `n` time series in a batch, as numpy arrays."""
    grid, fleet = place(case)
    if not plants:  # nothing but the areas
        fleet = dataclasses.replace(fleet_lib.plain(grid), area=fleet.area)
    ordinary(case)  # outside of any trace
    series = suite.make(name, level, options, "test")
    keys = jax.random.split(jax.random.PRNGKey(3), n)
    days = jax.jit(jax.vmap(lambda key: series(key, grid, fleet)))(keys)
    return jax.tree.map(np.asarray, days)


batch = functools.cache(fresh)


def setting(case="case14", hard=True, **change):
    return days.Setting(*place(case), dataclasses.replace(OPTIONS, **change), "test", hard)


def spans(status):
    """Returns (element, first row, rows out) of everything that is out on one time series."""
    return [
        (int(i), int(status[:, i].argmax()), int((status[:, i] > 0).sum()))
        for i in np.flatnonzero(status.any(0))
    ]


def assert_repaired(failures, n_rows=OPTIONS.horizon_steps + 1):
    for _, start, length in failures:
        assert start + length == n_rows or 4 <= length / 12 <= 8, (start, length)


# All of them.


def test_days_are_the_same_for_every_count_layout_and_reward(env, monkeypatch):
    monkeypatch.setattr(days, "ordinary", real_ordinary)
    options = dataclasses.replace(OPTIONS, layout="voltages", reward="layered")
    other = types.SimpleNamespace(
        grid=env.grid, fleet=env.fleet, options=options, recorded_days=None
    )
    three = suite.draw(env, "emergency", "hard", "test", 3, seed=0)
    two = suite.draw(other, "emergency", "hard", "test", 2, seed=0)
    for name, leaf in vars(three).items():
        np.testing.assert_array_equal(leaf[:2], getattr(two, name), err_msg=name)
    assert three.load_p_mw.shape == (3, 289, env.grid.loads.size)
    assert len({day.tobytes() for day in np.asarray(three.load_p_mw)}) == 3
    assert set(np.asarray(three.day) % 10) == {9}, "days of the split"


def test_scenarios_do_not_share_their_days():
    one, two = batch("normal", "easy"), batch("failure", "easy")
    assert not np.allclose(one.load_p_mw, two.load_p_mw, rtol=0.01)
    numbers = [scenario.number for scenario in suite.SCENARIOS.values()]
    assert len(set(numbers)) == len(numbers) == 7
    assert all(name == scenario.name for name, scenario in suite.SCENARIOS.items())


@pytest.mark.parametrize(
    "name, level", itertools.product(("peak", "intermittency", "cascade", "weather"), ("hard",))
)
def test_the_plan_is_made_on_the_day_ahead_columns(name, level):
    series, (grid, _) = batch(name, level), place("case14")
    foreseen = series.day_ahead_load_mw * (1 + day_ahead.PLANNED_LOSSES)
    needed = np.maximum(foreseen - series.day_ahead_renewable_mw, day_ahead.least_mw(grid))
    np.testing.assert_allclose(series.plan_p_mw.sum(-1), needed, rtol=1e-3, atol=0.05)
    assert series.plan_p_mw.max() <= grid.gen.p_max_mw.max() + 1e-3


@pytest.mark.parametrize("name", ("normal", "peak", "failure", "cascade", "emergency", "weather"))
def test_short_episodes_without_plants_hold_the_scenario_too(name):
    options = dataclasses.replace(OPTIONS, horizon_steps=24)
    series = fresh(name, "hard", plants=False, n=8, options=options)
    for leaf, value in vars(series).items():
        assert np.isfinite(value).all(), leaf
        assert leaf == "day" or value.shape[:2] == (8, 25), leaf
    assert series.branch_status.dtype == series.gen_status.dtype == np.uint8
    assert not series.branch_status[:, 0].any() and not series.gen_status[:, 0].any()
    out = series.branch_status.any((1, 2)) | series.gen_status.any((1, 2))
    if name in ("failure", "cascade", "emergency"):
        assert out.all()


@pytest.mark.parametrize(
    "name, level, split, message",
    (
        ("failures", "easy", "test", "did you mean failure"),
        ("failure", "medium", "test", "easy, hard"),
        ("failure", "easy", "tset", "train, validation, test"),
    ),
)
def test_names_that_do_not_exist_are_refused(name, level, split, message):
    with pytest.raises(ValueError, match=message):
        suite.make(name, level, OPTIONS, split)


def test_intermittency_needs_plants(case14):
    draw = suite.make("intermittency", "easy", OPTIONS, "test")
    with pytest.raises(ValueError, match="fleet 'plain' has neither wind nor sun; choose"):
        draw(jax.random.PRNGKey(0), case14, fleet_lib.plain(case14))


def test_cascade_needs_protection():
    off = dataclasses.replace(OPTIONS, protection=ProtectionOptions(enabled=False))
    with pytest.raises(ValueError, match="env.protection.enabled"):
        suite.make("cascade", "easy", off, "test")


# Normal operation and peak load.


def test_normal_days_are_whole_or_have_one_branch_in_maintenance():
    easy, hard = batch("normal", "easy"), batch("normal", "hard")
    assert not easy.branch_status.any() and not easy.gen_status.any()
    planned = (hard.branch_status == MAINTENANCE).any(1).sum(1)
    assert (planned == 1).all()
    faults = (hard.branch_status == FAULT).any(1).sum(1)
    assert abs(faults.mean() - 0.5) < 4 * np.sqrt(0.5 / N)
    assert 0 < (hard.gen_status == FAULT).any(1).sum(1).mean() < 0.1 + 4 * np.sqrt(0.1 / N)


def test_peak_days_peak_at_their_share_of_loadability(case14):
    series, usual = batch("peak", "hard"), batch("normal", "easy")
    peak = series.load_p_mw.sum(-1).max(-1)
    np.testing.assert_allclose(peak, 0.95 * LARGEST * case14.bus.load_p_mw.sum(), rtol=1e-4)
    assert not series.branch_status.any() and not series.gen_status.any()
    # What was foreseen is as near to what happens as on other days, and loads keep their factor.
    error = lambda t: (t.load_forecast_mw[:, :-1, 0] / t.load_p_mw[:, 1:].sum(-1) - 1).std()
    assert 0.8 < error(series) / error(usual) < 1.25
    ahead = lambda t: (t.day_ahead_load_mw / t.load_p_mw.sum(-1)).mean()
    assert abs(ahead(series) / ahead(usual) - 1) < 0.01
    factor = lambda t: t.load_q_mvar.sum((0, 1)) / t.load_p_mw.sum((0, 1))
    np.testing.assert_allclose(factor(series), factor(usual), rtol=0.01)


def test_loadability_of_a_day_is_the_least_of_the_rows_that_can_bind(case14, monkeypatch):
    _, fleet = place("case14")
    load = np.ones((5, case14.loads.size), np.float32) * np.array([1, 3, 5, 4, 2.0])[:, None]
    renewable = np.zeros((5, fleet.n_renewable), np.float32)
    renewable[2] = 50.0
    series = jax.tree.map(lambda leaf: leaf[0], batch("normal", "easy"))
    series = series.replace(load_p_mw=load, load_q_mvar=0.5 * load, renewable_mw=renewable)
    calls = []

    def factor(grid, p, q, injection):
        np.testing.assert_allclose(q, 0.5 * p)
        calls.append((p[0], injection.sum()))
        return {5.0: 2.0, 4.0: 1.5}[p[0]]

    monkeypatch.setattr(loadability, "factor", factor)
    factor = peak.most(jax.tree.map(jnp.asarray, series), setting())
    assert float(factor) == 1.5 and calls == [(5.0, 50.0 * fleet.n_renewable), (4.0, 0.0)]


def test_ac_optimal_power_flow_carries_a_peak_day_and_not_much_more(monkeypatch):
    monkeypatch.setattr(loadability, "factor", real_factor)
    series = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), batch("normal", "easy"))
    series = peak.loaded(series, setting(), 0.95)
    assert abs(float(peak.most(series, setting())) * 0.95 - 1) < 2e-3


# Failures.


def test_easy_failures_are_of_one_element_and_repaired():
    series, (grid, _) = batch("failure", "easy"), place("case14")
    may_trip = outages.may_trip(grid)
    failures = []
    for branch, gen in zip(series.branch_status, series.gen_status):
        assert set(np.unique(branch)) | set(np.unique(gen)) == {IN_SERVICE, FAULT}
        (span,) = spans(branch) + spans(gen)
        assert all(is_whole(grid, {b}) for b, *_ in spans(branch))
        assert all(may_trip[g] for g, *_ in spans(gen))
        failures.append(span)
    assert_repaired(failures)
    hours = np.array([start for _, start, _ in failures]) / 12
    assert 1 <= hours.min() < 4 and 19 < hours.max() <= 22
    assert 0 < series.gen_status.any((1, 2)).mean() < 0.5
    assert len(np.unique(series.branch_status.any(1).argmax(1))) > 10


def test_a_second_failure_comes_while_the_first_is_out():
    easy, hard = batch("failure", "easy"), batch("failure", "hard")
    np.testing.assert_array_equal(easy.load_p_mw, hard.load_p_mw)
    join = lambda series: np.concatenate([series.branch_status, series.gen_status], axis=2)
    twice = 0
    for one, two in zip(join(easy), join(hard)):
        (first,), failures = spans(one), spans(two)
        assert first in failures and len(failures) <= 2
        for second in set(failures) - {first}:
            assert first[1] <= second[1] < first[1] + first[2]
            twice += 1
        assert_repaired(failures)
    assert abs(twice / N - 0.5) < 4 * 0.5 / np.sqrt(N)


# Intermittency.


def test_wind_and_sun_have_their_share_of_the_energy_foreseen():
    series = batch("intermittency", "hard")
    share = series.day_ahead_renewable_mw.sum(1) / series.day_ahead_load_mw.sum(1)
    assert 0.5 <= share.min() < 0.52 and 0.58 < share.max() <= 0.6001
    assert not series.branch_status.any() and not series.gen_status.any()
    # Scaled to what promises much, not calm days blown up out of all proportion.
    _, fleet = place("case14")
    blown_up = (series.renewable_mw / fleet.renewables.p_max_mw).max((1, 2))
    assert np.median(blown_up) < 6


def test_intermittent_days_are_badly_foreseen():
    def error(series):
        foreseen = series.day_ahead_renewable_mw
        return (series.renewable_mw.sum(-1) - foreseen).std() / foreseen.mean()

    usual = jax.tree.map(np.asarray, ordinary("case14"))
    assert error(batch("intermittency", "hard")) > 1.8 * error(usual)


def weather_days(n, case="case14", **change):
    """Returns `n` days of wind and sun: available, foreseen within the day, and the day before."""
    _, fleet = place(case)
    one = lambda key: renewables.sample(key, fleet, synthetic.hours(OPTIONS), 100, **change)
    days = jax.jit(jax.vmap(one))(jax.random.split(jax.random.PRNGKey(2), n))
    return [np.asarray(leaf) for leaf in days]


@pytest.fixture
def linear(monkeypatch):
    """Lets power show the weather: on a line, expectations do not depend on the error."""
    for curve in ("wind_share", "sky_share"):
        monkeypatch.setattr(weather, curve, lambda z: 0.5 + 0.02 * np.asarray(z))


def test_unforeseen_weather_varies_three_times_as_much(linear):
    assert intermittency.SURPRISE == 3.0
    usual, wild = weather_days(8), weather_days(8, surprise=3.0)
    np.testing.assert_allclose(wild[2], usual[2], rtol=1e-4)
    off = lambda day: day[0].sum(-1) - day[2]
    np.testing.assert_allclose(off(wild), 3 * off(usual), rtol=2e-2, atol=5e-3)
    ahead = lambda day: day[1][..., 0] - np.roll(day[2], -1, axis=1)
    np.testing.assert_allclose(ahead(wild)[:, :-1], 3 * ahead(usual)[:, :-1], rtol=2e-2, atol=5e-3)


def test_forecasts_stay_unbiased_where_weather_is_three_times_as_uncertain():
    available, ahead, renewable_day_ahead = weather_days(384, surprise=3.0)
    total, scale = available.sum(-1), renewable_day_ahead.mean()
    errors = [total - renewable_day_ahead]
    errors += [total[:, k:] - ahead[:, :-k, i] for i, k in enumerate(LEAD_STEPS)]
    for error in errors:
        mean = error.mean(1) / scale  # days are independent, rows are not
        assert abs(mean.mean()) < 4 * mean.std() / np.sqrt(mean.size), mean.mean()


def test_an_event_is_seen_late_and_then_taken_to_persist(linear):
    _, fleet = place("case14")
    is_wind = fleet.renewables.kind == "wind"
    shift = np.where(np.arange(289) >= 100, 2.5, 0.0)[:, None] * is_wind
    usual, moved = weather_days(4), weather_days(4, shift=jnp.asarray(shift, jnp.float32))
    change = moved[0] - usual[0]
    assert not change[..., ~is_wind].any() and not change[:, :100].any()
    power = change[:, 150].sum(-1)
    assert (power > 0.04 * fleet.renewables.p_max_mw[is_wind].sum()).all()
    np.testing.assert_array_equal(moved[2], usual[2])
    foreseen = moved[1] - usual[1]
    assert not foreseen[:, :104].any(), "20 minutes late, at every lead"
    np.testing.assert_allclose(
        foreseen[:, 104:], power[:, None, None] + 0 * foreseen[:, 104:], rtol=1e-3
    )


def test_an_event_moves_plants_of_one_kind_in_one_area():
    _, fleet = place("case118")
    plants = fleet.renewables
    bound = setting("case118", hard=False)
    moves = jax.jit(lambda key: intermittency.events(key, bound, 100))
    groups, sizes = set(), []
    for seed in range(30):
        shift = np.asarray(moves(jax.random.PRNGKey(seed)))
        moved = np.abs(shift).max(0) > 0
        kinds, areas = set(plants.kind[moved]), set(fleet.area[plants.bus[moved]].tolist())
        assert len(kinds) == len(areas) == 1
        same = (plants.kind == kinds.pop()) & (fleet.area[plants.bus] == areas.pop())
        np.testing.assert_array_equal(moved, same)
        groups.add(tuple(moved))
        size = shift[:, moved][:, 0]
        under_way = np.flatnonzero(size)
        held = np.flatnonzero(np.abs(size) > 2.499)
        sizes.append(size[held[0]])
        assert under_way[0] >= 13 and abs(held[0] - under_way[0] - 5) <= 1, "half an hour"
        assert 11 <= held.size <= 38 and abs(under_way[-1] - held[-1] - 11) <= 1
        assert not np.diff(under_way).max() > 1
    assert len(groups) > 5 and set(np.round(sizes, 2)) == {-2.5, 2.5}


def test_hard_days_have_three_events_and_short_ones_too():
    for horizon, least in ((288, 25), (24, 1)):
        under_way = []
        for hard in (False, True):
            bound = setting("case118", hard, horizon_steps=horizon)
            moves = jax.jit(jax.vmap(lambda k: intermittency.events(k, bound, 100)))  # noqa: B023
            shift = np.asarray(moves(jax.random.split(jax.random.PRNGKey(0), 40)))
            assert shift.shape[1] == horizon + 1 and not shift[:, 0].any()
            moved = (shift != 0).any(1).sum(1)  # plants
            under_way.append((moved.mean(), (shift != 0).any(2).sum(1).min()))
        (few, _), (many, _) = under_way
        assert many > 1.5 * few and min(rows for _, rows in under_way) >= least


# Cascades.


@pytest.mark.parametrize("length", (2, 3))
def test_chains_hang_together_in_one_area_and_leave_the_grid_whole(length):
    grid, fleet = place("case118")
    choice = cascade.chains(grid, fleet.area, length)
    ends = np.stack([grid.branch.from_bus, grid.branch.to_bus], 1)
    assert len(choice) > 100 and len(np.unique(choice, axis=0)) == len(choice)
    for chain in choice:
        for a, b in itertools.pairwise(chain):
            assert a != b and set(ends[a]) & set(ends[b])
        assert len(set(fleet.area[ends[chain]].ravel())) == 1 and len(set(chain)) == length
        assert is_whole(grid, set(chain.tolist()))
    assert set(fleet.area[ends[choice[:, 0], 0]]) == set(fleet.area)
    if length == 3:
        first, middle, last = choice.T
        order = [(middle < first) & (middle < last), (middle > first) & (middle > last)]
        assert all(0.1 < kind.mean() < 0.6 for kind in order), "no order of branches is left out"


def test_an_area_without_a_chain_is_refused(case14):
    with pytest.raises(ValueError, match="3 branches that share buses"):
        cascade.chains(case14, np.arange(case14.n_bus), 3)


@pytest.mark.parametrize("level, length, share", (("easy", 2, 0.8), ("hard", 3, 0.9)))
def test_adjacent_branches_trip_within_15_minutes_of_a_loaded_hour(case14, level, length, share):
    series = batch("cascade", level)
    total = series.load_p_mw.sum(-1)
    np.testing.assert_allclose(
        total.max(-1), share * LARGEST * case14.bus.load_p_mw.sum(), rtol=1e-4
    )
    ends = np.stack([case14.branch.from_bus, case14.branch.to_bus], 1)
    late = []
    for load, status in zip(total, series.branch_status):
        failures = spans(status)
        assert len(failures) == length and is_whole(case14, {b for b, *_ in failures})
        assert_repaired(failures)
        starts = [start for _, start, _ in failures]
        # But for the initial row and the last, after which not all could trip.
        assert (load[1:-3] > load[min(starts)]).sum() < 48, "in the four hours of highest load"
        late.append(max(starts) - min(starts))
        shared = [bool(set(ends[a]) & set(ends[b]))
                  for (a, *_), (b, *_) in itertools.combinations(failures, 2)]  # fmt: skip
        assert sum(shared) >= length - 1
    assert max(late) == 3 and min(late) < 2
    assert not series.gen_status.any()


# Emergencies.


def test_the_largest_infeed_is_lost():
    series, (grid, _) = batch("emergency", "easy", "case118"), place("case118")
    lost = []
    for status, plan in zip(series.gen_status, series.plan_p_mw):
        ((gen, start, _),) = failures = spans(status)
        assert plan[start, gen] == plan[start].max() > 0
        assert_repaired(failures)
        lost.append((gen, start))
    hours = np.array(lost)[:, 1] / 12
    assert 1 <= hours.min() < 4 and 18 < hours.max() <= 21
    assert not series.branch_status.any() and grid.gen.is_unit[np.array(lost)[:, 0]].all()


def test_where_no_unit_can_be_replaced_the_strongest_branch_is_lost(case14, monkeypatch):
    monkeypatch.setattr(outages, "may_trip", lambda grid: ~grid.gen.is_unit)
    series = fresh("emergency", "easy", n=8)
    assert not series.gen_status.any()
    (lost,) = set(np.nonzero(series.branch_status.any((0, 1)))[0].tolist())
    others = [case14.branch.rate_mva[b] for b in range(case14.n_branch) if is_whole(case14, {b})]
    assert is_whole(case14, {lost}) and case14.branch.rate_mva[lost] == max(others)


@pytest.mark.parametrize("case", ("case14", "case30", "case118"))
def test_a_corridor_is_all_that_the_grid_can_do_without(case):
    grid, fleet = place(case)
    area = emergency.areas(grid, fleet)
    assert len(set(area)) > 1
    sides = np.stack([area[grid.branch.from_bus], area[grid.branch.to_bus]], 1)
    for lost in emergency.corridors(grid, fleet):
        out = set(np.flatnonzero(lost).tolist())
        (pair,) = {frozenset(side) for side in sides[lost].tolist()}
        assert len(pair) == 2 and is_whole(grid, out)
        kept = [b for b in range(grid.n_branch) if frozenset(sides[b].tolist()) == pair]
        for branch in set(kept) - out:
            assert not is_whole(grid, out | {branch})
            weaker = grid.branch.rate_mva[list(out)] <= grid.branch.rate_mva[branch]
            assert weaker.all(), "the strongest stays"


def test_hard_emergencies_lose_a_corridor_at_once():
    series, (grid, fleet) = batch("emergency", "hard"), place("case14")
    choice = {tuple(np.flatnonzero(lost)) for lost in emergency.corridors(grid, fleet)}
    for status in series.branch_status:
        failures = spans(status)
        assert tuple(b for b, *_ in failures) in choice
        assert len({(start, length) for _, start, length in failures}) == 1
        assert_repaired(failures)
    assert not series.gen_status.any()


# Storms.


@pytest.fixture(scope="module")
def storms():
    return fresh("weather", "hard", "case118", plants=False)


def test_a_storm_takes_as_many_branches_as_it_should(storms):
    grid, _ = place("case118")
    assert storm.expected_faults(grid, True) == 5 and storm.expected_faults(grid, False) == 2
    number = storms.branch_status.any(1).sum(1)
    assert abs(number.mean() - 5) < 4 * number.std() / np.sqrt(N) and number.std() > 1
    for status in storms.branch_status:
        assert_repaired(spans(status))
    small, _ = place("case14")
    assert storm.expected_faults(small, False) == 1 and storm.expected_faults(small, True) < 2.5


def test_what_a_storm_takes_is_near_in_time_and_space(storms):
    grid, _ = place("case118")
    distance = connectivity.distances(grid)
    ends = np.stack([grid.branch.from_bus, grid.branch.to_bus], 1)
    apart = lambda a, b: distance[np.ix_(ends[a], ends[b])].min()
    soon, anywhere = [], []
    rng = np.random.default_rng(0)
    for status in storms.branch_status:
        failures = spans(status)
        starts = [start for _, start, _ in failures]
        assert not starts or max(starts) - min(starts) <= 72, "six hours"
        for (a, when_a, _), (b, when_b, _) in itertools.combinations(failures, 2):
            # Both are within reach of the storm, which takes three hours at least.
            passed = np.ceil(distance.max() * abs(when_a - when_b) / 36)
            assert apart(a, b) <= 2 * storm.REACH + passed + 1
            if abs(when_a - when_b) <= 6:
                soon.append(apart(a, b))
            anywhere.append(apart(*rng.choice(grid.n_branch, 2)))
    assert len(soon) > 50 and np.mean(soon) < 0.4 * np.mean(anywhere)


def test_a_storm_moves_along_a_path():
    grid, _ = place("case118")
    bound = setting("case118")
    near = jax.jit(lambda a, b: storm._near(a, b, bound, jnp.int32(60), jnp.int32(48)))
    distance = connectivity.distances(grid)
    ends = np.stack([grid.branch.from_bus, grid.branch.to_bus], 1)
    for shares in np.random.default_rng(0).random((6, 2)):
        there = np.asarray(near(*shares))
        rows = np.flatnonzero(there.any(1))
        assert rows.min() == 60 and rows.max() == 107
        buses = [np.unique(ends[there[row]]) for row in rows]
        assert all(distance[np.ix_(b, b)].max() <= 2 * storm.REACH for b in buses)
        assert all(np.intersect1d(a, b).size for a, b in itertools.pairwise(buses))
        assert distance[np.ix_(buses[0], buses[-1])].max() >= 0.5 * distance.max() - 1


def test_wind_is_strong_and_sun_weak_while_a_storm_passes():
    _, fleet = place("case14")
    is_wind = fleet.renewables.kind == "wind"
    shift = np.asarray(storm._shift(setting(), jnp.int32(60), jnp.int32(48)))
    assert not shift[:61].any() and not shift[108:].any() and shift[61:108].all()
    assert (shift[80, is_wind] == storm.STRENGTH).all()
    assert (shift[80, ~is_wind] == -storm.STRENGTH).all()
    # On the time series it shows while branches fault: more wind than on the day as a whole.
    series = batch("weather", "hard")
    struck = [(day, spans(status)) for day, status in enumerate(series.branch_status)]
    faults = [(day, start) for day, failures in struck for _, start, _ in failures]
    wind = series.renewable_mw[..., is_wind].sum(-1)
    assert np.mean([wind[fault] for fault in faults]) > 1.3 * wind.mean()


# What they are made of.


def test_distances_count_branches(case14):
    distances = connectivity.distances(case14)
    assert distances[0, 0] == 0 and (distances == distances.T).all() and distances.max() == 5
    ends = case14.branch.from_bus, case14.branch.to_bus
    assert (distances[ends] == 1).all() and (distances == 1).sum() == 2 * len(set(zip(*ends)))


def test_case_files_of_one_branch_in_a_row_have_no_failures():
    grid = case_file.load("case14")
    tree = np.array([0, 2, 3, 4, 7, 9, 10, 11, 12, 13, 14, 16, 17])
    branch = dataclasses.replace(
        grid.branch,
        **{f.name: getattr(grid.branch, f.name)[tree] for f in dataclasses.fields(grid.branch)},
    )
    bus = dataclasses.replace(grid.bus, load_p_mw=10 * grid.bus.load_p_mw)
    radial = dataclasses.replace(grid, branch=branch, bus=bus)
    fleet = fleet_lib.plain(radial)
    for name, level in (("failure", "easy"), ("emergency", "easy"), ("emergency", "hard")):
        draw = suite.make(
            name, level, dataclasses.replace(OPTIONS, schedule="proportional"), "test"
        )
        with pytest.raises(ValueError, match="case14: .*use a meshed case"):
            draw(jax.random.PRNGKey(0), radial, fleet)
