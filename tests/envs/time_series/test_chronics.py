"""Grid2Op's chronics as time series: what is written is what is read, and mistakes are named."""

import bz2
import dataclasses
import datetime

import numpy as np
import pytest
from support import time_series_statistics

from envs.case import fleet as fleet_lib
from envs.options import EnvOptions
from envs.schedule import day_ahead
from envs.time_series import chronics, splits
from envs.time_series.chronics_files import ChronicsError
from envs.time_series.series import FAULT, MAINTENANCE

OPTIONS = EnvOptions(horizon_steps=12)
N_TIME = 3 * 288 + 1  # from 23:55, so three midnights
LOAD_SUBS = (1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13)
LINES = ("0_1_0", "4_0_1", "1_2_2")  # either end may come first


def write(folder, stem, names, values, compress=True):
    rows = [";".join(names), *(";".join(f"{v:.6f}" for v in row) for row in values)]
    text = ("\n".join(rows) + "\n").encode()
    if compress:
        (folder / f"{stem}.csv.bz2").write_bytes(bz2.compress(text))
    else:
        (folder / f"{stem}.csv").write_bytes(text)


@pytest.fixture
def fleet(case14):
    plants = fleet_lib.Renewables(
        np.array([5, 7], np.int32), np.array(["wind", "solar"]), np.array([35.0, 40.0])
    )
    return dataclasses.replace(fleet_lib.plain(case14), renewables=plants)


@pytest.fixture
def recorded():
    rng = np.random.default_rng(0)
    load = 10 + rng.random((N_TIME, 11))
    prod = np.column_stack([100 + 0 * load[:, 0], 70 * rng.random(N_TIME), 40 * rng.random(N_TIME)])
    return load, prod


@pytest.fixture
def scenario(tmp_path, recorded):
    """A folder such as Grid2Op's: three days of January 2019, a fault and maintenance."""
    load, prod = recorded
    folder = tmp_path / "chronics" / "0000"
    folder.mkdir(parents=True)
    (tmp_path / "prods_charac.csv").write_text(
        "Pmax,Pmin,name,type,bus\n140,0,gen_0_0,thermal,0\n70,0,gen_5_1,wind,5\n40,0,gen_7_2,solar,7\n"
    )
    (folder / "start_datetime.info").write_text("2019-01-05 23:55\n")
    (folder / "time_interval.info").write_text("00:05\n")
    names = [f"load_{sub}_{i}" for i, sub in enumerate(LOAD_SUBS)]
    write(folder, "load_p", names, load)
    write(folder, "load_q", names, 0.3 * load, compress=False)
    write(folder, "load_p_forecasted", names, np.roll(load, -1, axis=0))
    write(folder, "prod_p", ("gen_0_0", "gen_5_1", "gen_7_2"), prod)
    out = np.zeros((N_TIME, len(LINES)))
    out[3:5, 1] = 1
    write(folder, "hazards", LINES, out)
    out = np.zeros((N_TIME, len(LINES)))
    out[4:7, 2] = 1
    write(folder, "maintenance", LINES, out)
    return folder


def test_what_is_written_is_read(case14, fleet, scenario, recorded):
    load, prod = recorded
    days = chronics.read(scenario.parent, case14, fleet, OPTIONS)
    assert days.day.tolist() == [6, 7, 8]  # the 6th of January 2019 was a Sunday
    rows = 1 + 288 + np.arange(13)
    np.testing.assert_allclose(days.load_p_mw[1], load[rows], rtol=1e-5)
    np.testing.assert_allclose(days.load_q_mvar[1], 0.3 * load[rows], rtol=1e-4)
    np.testing.assert_allclose(days.renewable_mw[1], prod[rows, 1:] * (0.5, 1.0), rtol=1e-4)
    np.testing.assert_allclose(days.load_forecast_mw[1][:, 0], load[rows + 1].sum(1), rtol=1e-5)
    assert np.isfinite(days.load_forecast_mw).all() and days.plan_p_mw is None
    assert not days.gen_status.any()


def test_lines_are_found_by_their_ends(case14, fleet, scenario):
    days = chronics.read(scenario, case14, fleet, OPTIONS)
    ends = list(zip(case14.bus.id[case14.branch.from_bus], case14.bus.id[case14.branch.to_bus]))
    faulty, planned = ends.index((1, 5)), ends.index((2, 3))
    expected = np.zeros((13, case14.n_branch), np.uint8)
    expected[2:4, faulty], expected[3:6, planned] = FAULT, MAINTENANCE  # row 0 is row 1 of the file
    np.testing.assert_array_equal(days.branch_status[0], expected)


def test_the_plan_covers_what_is_foreseen(case14, fleet, scenario):
    days = chronics.read(scenario, case14, fleet, OPTIONS)
    days = chronics.planned(days, case14, OPTIONS.schedule)
    needed = day_ahead.demand(case14, days.day_ahead_load_mw, days.day_ahead_renewable_mw)
    np.testing.assert_allclose(days.plan_p_mw.sum(-1), needed, rtol=1e-4)
    error = days.day_ahead_load_mw / days.load_p_mw.sum(-1) - 1
    assert 0.003 < error.std() < 0.05 and abs(error.mean()) < 0.03


def test_load_is_scaled_only_when_asked(case14, fleet, scenario):
    plain, half = (chronics.read(scenario, case14, fleet, OPTIONS, scale=s) for s in (1.0, 0.5))
    for name in ("load_p_mw", "load_q_mvar", "load_forecast_mw", "day_ahead_load_mw"):
        np.testing.assert_allclose(getattr(half, name), 0.5 * getattr(plain, name), rtol=1e-5)
    np.testing.assert_array_equal(half.renewable_mw, plain.renewable_mw)


def test_too_much_load_is_said(case14, fleet, scenario, caplog):
    chronics.read(scenario, case14, fleet, OPTIONS, scale=3.0)
    assert "scale=" in caplog.text and "259 MW" in caplog.text


def test_steps_longer_than_the_recording_take_every_other_row(case14, fleet, scenario, recorded):
    slow = EnvOptions(step_minutes=15, horizon_steps=95)
    days = chronics.read(scenario, case14, fleet, slow)
    np.testing.assert_allclose(days.load_p_mw[0], recorded[0][1 + 3 * np.arange(96)], rtol=1e-5)
    with pytest.raises(ChronicsError, match="env.step_minutes=7.*use 5"):
        chronics.read(scenario, case14, fleet, EnvOptions(step_minutes=7, horizon_steps=12))


def test_days_are_dealt_to_splits_by_their_date(case14, fleet, scenario):
    days = chronics.read(scenario, case14, fleet, OPTIONS)
    assert chronics.of_split(days, "train").day.tolist() == [6, 7]
    assert chronics.of_split(days, "validation").load_p_mw.shape[0] == 1
    with pytest.raises(ValueError, match="split 'test'.*6, 7, 8"):
        chronics.of_split(days, "test")


def test_every_date_of_a_year_has_its_day_and_weekday():
    dates = [datetime.date(2019, 1, 1) + datetime.timedelta(days=i) for i in range(364)]
    days = [chronics.day_of(date) for date in dates]
    assert len(set(days)) == splits.DAYS_PER_YEAR
    assert all(day % 7 == date.weekday() for day, date in zip(days, dates))


def test_the_plants_of_a_recording_make_a_fleet(case14, fleet, scenario):
    actual = chronics.renewables(scenario, case14)
    np.testing.assert_array_equal(actual.bus, fleet.renewables.bus)
    assert actual.kind.tolist() == ["wind", "solar"] and actual.p_max_mw.tolist() == [70.0, 40.0]


def test_a_grid_without_plants_needs_no_generation(case14, scenario):
    (scenario / "prod_p.csv.bz2").unlink()
    days = chronics.read(scenario, case14, fleet_lib.plain(case14), OPTIONS)
    assert days.renewable_mw.shape == (3, 13, 0)


def rewrite(scenario, stem, change):
    path = next(p for p in scenario.glob(f"{stem}.csv*"))
    text = (
        bz2.decompress(path.read_bytes()) if path.suffix == ".bz2" else path.read_bytes()
    ).decode()
    path.unlink()
    (scenario / f"{stem}.csv").write_text(change(text))


MISTAKES = {
    "a missing file": (
        lambda s: (s / "load_q.csv").unlink(),
        "no load_q.csv or load_q.csv.bz2",
    ),
    "no start": (lambda s: (s / "start_datetime.info").unlink(), "start_datetime.info: missing"),
    "a bus that is not there": (
        lambda s: rewrite(s, "load_p", lambda t: t.replace("load_1_0", "load_77_0", 1)),
        "load_p.csv: column 'load_77_0' is at bus 78",
    ),
    "a bus without load": (
        lambda s: rewrite(s, "load_p", lambda t: t.replace("load_1_0", "load_6_0", 1)),
        "column 'load_6_0' is at bus 7, which has no load",
    ),
    "a name without a bus": (
        lambda s: rewrite(s, "load_p", lambda t: t.replace("load_1_0", "interco", 1)),
        "column 'interco' names no bus",
    ),
    "another length": (
        lambda s: rewrite(s, "load_q", lambda t: t[: t[:-1].rindex("\n") + 1]),
        f"load_q.csv: {N_TIME - 1} rows, but load_p.csv.bz2 beside it has {N_TIME}",
    ),
    "not a number": (
        lambda s: rewrite(s, "load_p", lambda t: t.replace("\n1", "\nx1", 1)),
        "load_p.csv: not a table of numbers.*x1",
    ),
    "not finite": (
        lambda s: rewrite(s, "load_q", lambda t: t[: t.rindex("\n3") + 1] + ";".join(["nan"] * 11)),
        f"load_q.csv: column load_1_0, row {N_TIME} below the names is nan",
    ),
    "a line that is not there": (
        lambda s: rewrite(s, "hazards", lambda t: t.replace("0_1_0", "0_13_0", 1)),
        "hazards.csv: column '0_13_0' names no branch",
    ),
    "no kinds of plants": (
        lambda s: (s.parent.parent / "prods_charac.csv").unlink(),
        "no prods_charac.csv",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(case14, fleet, scenario, mistake):
    spoil, message = MISTAKES[mistake]
    spoil(scenario)
    with pytest.raises(ChronicsError, match=message):
        chronics.read(scenario, case14, fleet, OPTIONS)


def test_a_plant_that_was_not_recorded_is_named(case14, fleet, scenario):
    plants = dataclasses.replace(fleet.renewables, bus=np.array([5, 8], np.int32))
    with pytest.raises(ChronicsError, match="no solar column left for plant 1.*bus 9"):
        chronics.read(scenario, case14, dataclasses.replace(fleet, renewables=plants), OPTIONS)


def test_a_load_that_was_not_recorded_is_named(case14, fleet, scenario):
    load = case14.bus.load_p_mw.copy()
    load[6] = 5.0
    grid = dataclasses.replace(case14, bus=dataclasses.replace(case14.bus, load_p_mw=load))
    with pytest.raises(ChronicsError, match="no column for the load at bus 7 "):
        chronics.read(scenario, grid, fleet, OPTIONS)


def test_a_folder_without_chronics_is_refused(tmp_path, case14, fleet):
    with pytest.raises(FileNotFoundError, match="load_p.csv"):
        chronics.read(tmp_path, case14, fleet, OPTIONS)


@pytest.mark.parametrize("data_set", ("educ_case14_redisp", "l2rpn_case14_sandbox"))
def test_what_grid2op_ships_is_read(case14, data_set):
    plants = chronics.renewables(time_series_statistics.folder(data_set), case14)
    assert sorted(plants.kind) == ["solar", "solar", "wind"]
    assets = dataclasses.replace(fleet_lib.plain(case14), renewables=plants)
    days = chronics.read(time_series_statistics.folder(data_set), case14, assets, EnvOptions())
    assert days.load_p_mw.shape[1:] == (289, 11) and len(days.day) >= 3
    assert days.renewable_mw.max() > 0 and (days.renewable_mw <= plants.p_max_mw).all()
