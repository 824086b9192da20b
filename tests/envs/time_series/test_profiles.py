"""Days of profiles as SimBench has them: values by hand, splits, and what does not fit."""

import collections
import datetime
import pathlib
import re

import jax
import numpy as np
import pandapower
import pandas
import pytest
from support import mutations

from envs import grid_env
from envs.case import case_file, fleet as fleet_lib, pandapower_net
from envs.options import EnvOptions
from envs.time_series import profiles, profiles_export
from envs.time_series.chronics_files import ChronicsError

DAYS = 3
QUARTERS = 96 * DAYS
START = datetime.datetime(2016, 1, 7)  # a Thursday: days 7 to 9, of each split one
RNG = np.random.default_rng(3)
HOUSE_P, HOUSE_Q, SUN, BIO = (RNG.random(QUARTERS) for _ in range(4))


def _net():
    """Returns a feeder of two buses with loads, one behind a switch, and three plants."""
    net = pandapower.create_empty_network(sn_mva=1.0)
    buses = [pandapower.create_bus(net, 20.0) for _ in range(4)]
    pandapower.create_ext_grid(net, buses[0])
    for one, other in ((0, 1), (1, 2)):
        pandapower.create_line(net, buses[one], buses[other], 2.0, "NAYY 4x150 SE")
    pandapower.create_switch(net, buses[2], buses[3], et="b")
    for bus, p_mw in ((1, 0.2), (3, 0.4)):
        pandapower.create_load(net, bus, p_mw=p_mw, q_mvar=0.1)
    for bus, p_mw, type_ in ((1, 0.3, "PV"), (3, 0.1, "Biomass_MV")):
        pandapower.create_sgen(net, bus, p_mw=p_mw, type=type_)
    net.load["profile"], net.sgen["profile"] = "H0-A", ["PV1", "BM1"]
    minutes = datetime.timedelta(minutes=15)
    times = [f"{START + i * minutes:%d.%m.%Y %H:%M}" for i in range(QUARTERS)]
    net.profiles = {
        "load": pandas.DataFrame({
            "time": times, "H0-A_pload": HOUSE_P, "H0-A_qload": HOUSE_Q, "G1-A_pload": 0.0,
            "G1-A_qload": 0.0,
        }),
        "renewables": pandas.DataFrame({"time": times, "PV1": SUN, "BM1": BIO}),
    }  # fmt: skip
    return net


def _commas(path):
    path.write_text(path.read_text().replace(";", ","))


@pytest.fixture
def folder(tmp_path):
    """A folder with the grid and its days."""
    net = _net()
    profiles_export.write(net, tmp_path / "days")
    net.sgen["in_service"] = False
    case_file.write_json(case_file.load(net), tmp_path / "grid.json")
    return tmp_path


def _read(folder, **options):
    grid = case_file.load(folder / "grid.json")
    fleet = fleet_lib.plain(grid)
    plants = profiles.renewables(folder / "days", grid)
    fleet = type(fleet)(**{**vars(fleet), "renewables": plants})
    options = EnvOptions(time_series=str(folder / "days"), **options)
    return grid, profiles.read(folder / "days", grid, fleet, options, scale=options.load_scale)


def test_a_plan_of_what_units_did_is_refused(folder):
    options = EnvOptions(
        case=str(folder / "grid.json"), time_series=str(folder / "days"), schedule="recorded"
    )
    with pytest.raises(ValueError, match="env.schedule=recorded: profiles in .*days do not tell"):
        grid_env.check(options)


def test_bus_numbers_are_those_of_the_grid():
    net = _net()
    assert pandapower_net.bus_numbers(net) == {0: 1, 1: 2, 2: 3, 3: 3}
    assert list(case_file.load(net).bus.id) == [1, 2, 3]


def test_values_are_those_of_the_profiles_interpolated(folder):
    grid, days = _read(folder)
    assert days.load_p_mw.shape == (DAYS, 289, 2) and days.renewable_mw.shape == (DAYS, 289, 1)
    # The last quarter is held, so that the last day is whole: it begins a step before midnight.
    p = days.load_p_mw[0]
    np.testing.assert_allclose(p[::3][:96, 0], 0.2 * HOUSE_P[:96], rtol=1e-6)
    np.testing.assert_allclose(p[1, 0], 0.2 * (2 * HOUSE_P[0] + HOUSE_P[1]) / 3, rtol=1e-6)
    np.testing.assert_allclose(p[::3][:96, 1], 0.4 * HOUSE_P[:96] - 0.1 * BIO[:96], rtol=1e-5)
    np.testing.assert_allclose(days.load_q_mvar[1, ::3][:96, 0], 0.1 * HOUSE_Q[96:192], rtol=1e-6)
    np.testing.assert_allclose(days.renewable_mw[1, ::3][:96, 0], 0.3 * SUN[96:192], rtol=1e-6)
    # The nearest days that are a Thursday, a Friday and a Saturday, where day 0 is a Monday.
    assert list(days.day % 7) == [3, 4, 5] and list(np.diff(days.day)) == [1, 1]
    assert grid.n_bus == 3


def test_steps_may_be_longer_and_loads_are_scaled(folder):
    _, days = _read(folder, step_minutes=30, horizon_steps=48, load_scale=2.0)
    assert days.load_p_mw.shape == (DAYS, 49, 2)
    np.testing.assert_allclose(days.load_p_mw[0, :48, 0], 0.4 * HOUSE_P[:96:2], rtol=1e-6)


def test_an_environment_plays_them(folder):
    options = EnvOptions(
        case=str(folder / "grid.json"), time_series=str(folder / "days"), horizon_steps=12
    )
    env = grid_env.make(options)
    assert list(env.fleet.renewables.kind) == ["solar"]
    assert list(env.fleet.renewables.p_max_mw) == [0.3]
    split = next(iter(env.recorded_days))
    series = env.sample_series(jax.random.PRNGKey(0), split)
    assert np.isfinite(series.load_p_mw).all() and series.load_p_mw.shape == (13, 2)


def test_nodes_may_be_names_of_the_table_beside(folder):
    before = _read(folder)[1]
    (folder / "days" / "Node.csv").write_text("id;type\nHV\nfirst;b\nsecond;b\n")
    for name in ("Load.csv", "RES.csv"):
        path = folder / "days" / name
        path.write_text(path.read_text().replace(";2;", ";first;").replace(";3;", ";second;"))
    np.testing.assert_array_equal(_read(folder)[1].load_p_mw, before.load_p_mw)


def _replaced(name, old, new):
    def change(days: pathlib.Path):
        text = (days / name).read_text()
        assert old in text
        (days / name).write_text(text.replace(old, new, 1))

    return change


def test_summer_time_does_not_move_days(folder):
    """Local times jump an hour, as SimBench's do; rows are quarters of an hour all the same."""
    before = _read(folder)[1]
    for name in ("LoadProfile.csv", "RESProfile.csv"):
        lines = (folder / "days" / name).read_text().splitlines()
        for number, line in enumerate(lines[20:120], 20):
            time, _, rest = line.partition(";")
            later = datetime.datetime.strptime(time, "%d.%m.%Y %H:%M")
            lines[number] = f"{later + datetime.timedelta(hours=1):%d.%m.%Y %H:%M};{rest}"
        (folder / "days" / name).write_text("\n".join(lines) + "\n")
    np.testing.assert_array_equal(_read(folder)[1].load_p_mw, before.load_p_mw)


def test_times_may_be_as_iso_has_them(folder):
    before = _read(folder)[1]
    for name in ("LoadProfile.csv", "RESProfile.csv"):
        path = folder / "days" / name
        path.write_text(re.sub(r"(\d\d)\.(\d\d)\.(\d{4}) ", r"\3-\2-\1 ", path.read_text()))
    np.testing.assert_array_equal(_read(folder)[1].load_p_mw, before.load_p_mw)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda days: _commas(days / "LoadProfile.csv"), "separate columns by ';'"),
        (lambda days: (days / "Load.csv").unlink(), "Load.csv: missing; it says which profile"),
        (_replaced("Load.csv", "0;2;", "0;9;"), "node '9' is no bus of"),
        (_replaced("Load.csv", "0;2;", "0;x;"), "neither the number of a bus nor a name"),
        (_replaced("Load.csv", "0;2;", "0;1;"), "which has no load in"),
        (_replaced("Load.csv", "H0-A", "H0-Z"), "no column 'H0-Z_pload'"),
        (_replaced("Load.csv", "0.2", "much"), "pLoad is 'much', it must be a finite number"),
        (_replaced("Load.csv", ";pLoad", ";p"), "no column 'pLoad'"),
        (_replaced("LoadProfile.csv", "07.01.2016 00:30", "07.01.2016 00:31"), "evenly apart"),
        (_replaced("LoadProfile.csv", "07.01.2016 00:30", "2016-01-07"), "not a table of times"),
        (_replaced("LoadProfile.csv", "00:30;", "00:30;abc"), "not a table of times"),
        (_replaced("RESProfile.csv", "07.01.2016 00:00", "06.01.2016 23:45"), "evenly apart"),
        (lambda days: (days / "RESProfile.csv").unlink(), "RESProfile.csv: missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(folder, change, message):
    change(folder / "days")
    with pytest.raises(ChronicsError, match=message):
        _read(folder)
    with pytest.raises(ValueError, match="^env.time_series="):
        grid_env.check(EnvOptions(case=str(folder / "grid.json"), time_series=str(folder / "days")))


def test_a_load_without_a_row_is_named(folder):
    path = folder / "days" / "Load.csv"
    path.write_text("".join(line for line in path.open() if not line.startswith("0;")))
    plants = folder / "days" / "RES.csv"
    plants.write_text("".join(line for line in plants.open() if not line.startswith("0;")))
    with pytest.raises(ChronicsError, match="no row for the load at bus 2"):
        _read(folder)


def test_a_network_without_profiles_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the network has no profiles"):
        profiles_export.write(pandapower.create_empty_network(), tmp_path)


def test_a_digest_tells_whether_the_tables_are_the_same(folder):
    days = folder / "days"
    before = profiles.digest(days)
    assert profiles.digest(days) == before
    _replaced("Load.csv", "0.2", "0.3")(days)
    assert profiles.digest(days) != before


def _damage(folder, count):
    """Returns how many of `count` damages of the tables were read and how many refused."""
    days, kinds = folder / "days", collections.Counter()
    sound = {path: path.read_bytes() for path in sorted(days.glob("*.csv"))}
    rng = np.random.default_rng(20261124)
    for number in range(count):
        path = list(sound)[number % len(sound)]
        mutation = mutations.MUTATIONS[number // len(sound) % len(mutations.MUTATIONS)]
        if mutation is mutations.table_renamed:  # is of case files
            continue
        damaged = mutation(rng, sound[path].decode())
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        try:
            _, read = _read(folder)
        except ChronicsError as error:  # any other exception ends the test
            assert str(days) in str(error) and "\n" not in str(error), error
            kinds["refused"] += 1
        else:
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(read))
            kinds["read"] += 1
        path.write_bytes(sound[path])
    return kinds


@pytest.mark.parametrize("count", [120, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_tables_are_read_or_refused_by_name(folder, count):
    kinds = _damage(folder, count)
    print(kinds)
    assert min(kinds["read"], kinds["refused"]) >= count // 10
