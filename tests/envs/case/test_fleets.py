"""Fleets: what ships fits its grid and can be carried by it; what is unsound is refused by name."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import mutations

from envs.case import (
    case_file,
    columns,
    connectivity,
    fleet as fleet_lib,
    fleet_file,
    matpower,
    pglib,
    place_fleet,
)
from envs.powerflow import balance, network

NAMES = ["case14", "case30", "case57", "case118", "case300", "case1354"]


@pytest.fixture(scope="module", params=NAMES)
def pair(request):
    grid = case_file.load(request.param)
    return grid, fleet_file.load(request.param, grid)


def test_every_case_has_a_fleet():
    assert fleet_file.names() == case_file.names() == [*NAMES, "ieee13_mg"]


def test_assets_stand_on_buses_of_the_grid_and_prosumers_on_loads(pair):
    grid, fleet = pair
    for bus in (fleet.renewables.bus, fleet.storage.bus, fleet.prosumers.bus):
        assert bus.size and bus.min() >= 0 and bus.max() < grid.n_bus
    prosumers = fleet.prosumers
    assert np.isin(prosumers.bus, grid.loads).all()
    assert (grid.bus.load_p_mw[prosumers.bus] > 0).all()
    np.testing.assert_array_equal(fleet.renewables.bus[prosumers.renewable], prosumers.bus)
    np.testing.assert_array_equal(fleet.storage.bus[prosumers.storage], prosumers.bus)


def test_inertia_in_seconds_of_the_load_is_what_the_page_on_frequency_says(pair):
    grid, fleet = pair
    page = pathlib.Path(__file__).parents[3] / "docs" / "frequency.md"
    rows = [line.strip("| ").split(" | ") for line in page.read_text().splitlines()]
    (at,) = [i for i, row in enumerate(rows) if row == NAMES]
    stated = dict(zip(rows[at], map(float, rows[at + 2])))
    stored = (fleet.units.inertia_s * fleet.units.rating_mva).sum()
    assert stored / (0.75 * grid.bus.load_p_mw.sum()) == pytest.approx(stated[grid.name], abs=0.05)


def test_sums_are_plausible(pair):
    grid, fleet = pair
    load = grid.bus.load_p_mw.sum()
    renewable = fleet.renewables.p_max_mw.sum() / load
    assert 0.15 <= renewable <= 0.35, f"{renewable:.0%} of load"
    assert {"wind", "solar"} == set(fleet.renewables.kind)
    assert 0.05 <= fleet.storage.p_max_mw.sum() / load <= 0.08
    hours = fleet.storage.energy_mwh / fleet.storage.p_max_mw
    assert (np.isclose(hours, 2.0) | np.isclose(hours, 4.0)).all()
    assert (fleet.storage.charge_efficiency * fleet.storage.discharge_efficiency > 0.8).all()


def test_units_have_what_their_kind_has(pair):
    grid, fleet = pair
    units = fleet.units
    for kind in set(units.kind):
        rows = units.kind == kind
        typical = fleet_lib.KINDS[kind]
        assert (units.inertia_s[rows] == typical.inertia_s).all()
        assert (units.droop[rows] == typical.droop).all()
        assert (units.co2_t_per_mwh[rows] == typical.co2_t_per_mwh).all()
    producing = grid.gen.p_max_mw > 0
    np.testing.assert_array_equal(units.kind == "condenser", ~producing)
    assert (units.ramp_mw_per_min[producing] > 0).all()
    assert (units.ramp_mw_per_min[~producing] == 0).all()
    mean = np.average(units.inertia_s, weights=units.rating_mva)
    assert 1.5 <= mean <= 6.3
    assert (units.rating_mva < 6000).all()


def test_kinds_are_pglibs(pair):
    grid, fleet = pair
    fuels = matpower.generator_comments(pglib.folder() / pglib.FILES[grid.name])
    assert len(fuels) == grid.n_gen
    for fuel, kind, low in zip(fuels, fleet.units.kind, grid.gen.p_min_mw):
        assert kind == ("exchange" if low < 0 else place_fleet.FUELS[fuel])


def test_areas_are_complete_and_each_hangs_together(pair):
    grid, fleet = pair
    numbers = np.unique(fleet.area)
    assert numbers.tolist() == list(range(1, numbers.size + 1))
    for number in numbers:
        inside = fleet.area == number
        within = inside[grid.branch.from_bus] & inside[grid.branch.to_bus]
        island = connectivity.islands(grid, within)[inside]
        reached = island == island[0]
        assert reached.all(), (number, grid.bus.id[inside][~reached])


def test_case118_has_the_published_areas_and_no_silent_bus():
    grid = case_file.load("case118")
    fleet = fleet_file.load("case118", grid)
    assert np.bincount(fleet.area)[1:].tolist() == [23, 13, 34, 48]
    area = dict(zip(grid.bus.id.tolist(), fleet.area.tolist()))
    # Buses out of order in most/lib/t/c118swf.m, where area numbers do not follow bus numbers.
    assert [area[bus] for bus in (24, 30, 33, 37, 67, 68, 113, 116, 117)] == [
        4, 1, 1, 3, 3, 4, 2, 4, 1,
    ]  # fmt: skip
    silent = np.setdiff1d(np.arange(118), np.union1d(grid.loads, grid.gen.bus))
    assert silent.size == 10 and np.isin(silent, fleet.renewables.bus).all()


def test_case14_is_modest(case14):
    fleet = fleet_file.load("case14", case14)
    assert case14.bus.id[fleet.renewables.bus].tolist() == [7, 4, 14]
    assert (fleet.n_renewable, fleet.n_storage, len(fleet.prosumers.bus)) == (3, 2, 1)


def test_no_plant_is_more_than_its_branches_can_take(pair):
    grid, fleet = pair
    ends = np.concatenate([grid.branch.from_bus, grid.branch.to_bus])
    capacity = np.bincount(ends, np.tile(grid.branch.rate_mva, 2), grid.n_bus)
    share = fleet.renewables.p_max_mw / capacity[fleet.renewables.bus]
    assert (share <= place_fleet.PLANT_SHARE_OF_BRANCHES + 0.01).all(), share.max()


def test_the_grid_carries_its_fleet_at_full_output(pair):
    grid, fleet = pair
    with jax.experimental.enable_x64():
        without, with_fleet = (
            _loadings(grid, np.zeros(fleet.n_renewable)),
            _loadings(grid, fleet.renewables.p_max_mw, fleet.renewables.bus),
        )
    worst = np.argmax(with_fleet)
    ends = grid.bus.id[[grid.branch.from_bus[worst], grid.branch.to_bus[worst]]]
    message = f"{ends} at {with_fleet.max():.2f}, without the fleet {without.max():.2f}"
    assert with_fleet.max() <= max(1.1, without.max() + 0.2), message


def _loadings(grid, power, bus=()):
    """Loading of every branch at nominal load, units sharing what plants leave by capacity."""
    n, gen = grid.n_bus, grid.gen
    plants = np.bincount(bus, power, n) if len(bus) else np.zeros(n)
    need = grid.bus.load_p_mw.sum() - plants.sum()
    span = gen.p_max_mw - gen.p_min_mw
    dispatch = gen.p_min_mw + span * (need - gen.p_min_mw.sum()) / span.sum()
    p = np.bincount(gen.bus, dispatch, n) + plants - grid.bus.load_p_mw
    base = grid.base_mva
    net = network.build(grid, jnp.float64, p_pu=p / base, q_pu=-grid.bus.load_q_mvar / base)
    assert net.base.converged
    still = balance.Voltages(jnp.zeros((n, 1)), jnp.zeros((n, 1)), jnp.zeros(1))
    return np.asarray(balance.loading(net, still, balance.branch_powers(net, still, None)))[:, 0]


@pytest.mark.parametrize("name", NAMES)
def test_plain_works_for_every_case(name):
    grid = case_file.load(name)
    fleet = fleet_file.load("plain", grid)
    assert fleet.n_renewable == fleet.n_storage == 0
    assert fleet.area.min() == 1 and fleet.area.shape == (grid.n_bus,)
    assert set(fleet.units.kind) <= {"thermal", "condenser"}
    units = grid.units
    np.testing.assert_allclose(
        5 * fleet.units.ramp_mw_per_min[units],
        0.1 * np.maximum(grid.gen.p_max_mw, -grid.gen.p_min_mw)[units],
    )


@pytest.mark.parametrize("name", ["case14", "case118"])
def test_the_recipe_makes_the_shipped_file_again(name, tmp_path):
    grid = case_file.load(name)
    fuels = matpower.generator_comments(pglib.folder() / pglib.FILES[name])
    out = tmp_path / "again.json"
    columns.write(place_fleet.place(grid, fuels, place_fleet.RECIPES[name]), out)
    assert out.read_bytes() == (fleet_file.SHIPPED / f"{name}.json").read_bytes()


def test_what_a_file_says_of_a_unit_wins_over_its_kind(case14, tmp_path):
    data = _case14()
    data["units"]["ramp_mw_per_min"] = [5, 4, 0, 0, 0]
    data["units"]["droop"] = [0.04, None, None, None, None]
    del data["areas"]
    fleet = fleet_file.load(_written(tmp_path, data), case14)
    assert fleet.units.ramp_mw_per_min.tolist() == [5, 4, 0, 0, 0]
    assert fleet.units.droop.tolist() == [0.04] + [np.inf] * 4
    assert fleet.units.inertia_s[0] == 4.0
    np.testing.assert_array_equal(fleet.area, fleet_lib.case_areas(case14))


def _case14():
    return json.loads((fleet_file.SHIPPED / "case14.json").read_text())


def _written(tmp_path, data):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    return str(path)


@pytest.mark.parametrize(
    "table, column, row, value, message",
    [
        ("renewables", "bus", 1, 99, "row 2: bus is 99, which is no bus of case14"),
        ("renewables", "bus", 1, 4.5, "row 2: bus is 4.5, it must be a whole number"),
        ("renewables", "kind", 0, "wnd", 'row 1: kind is "wnd"; did you mean wind?'),
        ("renewables", "kind", 0, ["wind"], "row 1: kind is"),
        ("renewables", "p_max_mw", 0, -5, "row 1: p_max_mw is -5, it must be above 0"),
        ("renewables", "p_max_mw", 0, 1e300, "row 1: p_max_mw is 1e+300, it must be above 0, at"),
        ("renewables", "p_max_mw", 0, float("nan"), "row 1: p_max_mw is NaN, it must be finite"),
        ("renewables", "p_max_mw", 0, "12", 'row 1: p_max_mw is "12", it must be a number'),
        ("storage", "energy_mwh", 1, 0, "row 2: energy_mwh is 0, it must be above 0"),
        ("storage", "charge_efficiency", 1, 92, "row 2: charge_efficiency is 92, it must be above"),
        ("storage", "discharge_efficiency", 0, 0, "row 1: discharge_efficiency is 0, it must be"),
        ("units", "bus", 1, 3, "row 2: bus is 3, the case's generator of this row is at bus 2"),
        ("units", "kind", 0, "nucular", 'row 1: kind is "nucular"; did you mean nuclear?'),
        ("units", "kind", 0, "condenser", "row 1: kind is condenser, but this generator reaches"),
        ("units", "kind", 4, "gas", "row 5: kind is gas, but this generator reaches from Pmin 0"),
        ("prosumers", "bus", 0, 7, "row 1: bus 7 carries no load"),
        ("prosumers", "bus", 0, 13, "row 1: renewable 3 is at bus 14, not at the prosumer's"),
        ("prosumers", "storage", 0, 9, "row 1: storage is 9, it must be null or a row from 1 to 2"),
        ("areas", "1", 0, 2, "row 2: bus 2 is in area 1 already"),
        ("areas", "1", 0, 77, "row 1: bus is 77, which is no bus of case14"),
    ],
)
def test_a_bad_value_is_named(case14, tmp_path, table, column, row, value, message):
    data = _case14()
    data[table][column][row] = value
    path = _written(tmp_path, data)
    with pytest.raises(fleet_file.FleetError) as error:
        fleet_file.load(path, case14)
    where = "areas[1]" if table == "areas" else table
    assert f"{path}: table {where}, {message}" in str(error.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d["storage"]["bus"].pop(), "table storage: columns differ in length"),
        (lambda d: d["storage"].pop("bus"), "table storage: the column bus is missing"),
        (lambda d: d.pop("storage"), "there is no table storage"),
        (lambda d: d.update(batteries={}), "batteries is not known here"),
        (lambda d: d["units"].update(drop=[1] * 5), "drop is not known here; did you mean droop"),
        (lambda d: d["units"].update(droop=[0] * 5), "table units, row 1: droop is 0"),
        (lambda d: d["units"].update(inertia_s=[-1] * 5), "table units, row 1: inertia_s is -1"),
        (lambda d: [d["units"][c].pop() for c in ("bus", "kind")], "4 rows, and case14 has 5"),
        (lambda d: d["areas"]["1"].pop(), "table areas: bus 14 is in no area"),
        (lambda d: d["areas"].update({"3": [1]}), "areas are numbered from 1, in order"),
        (
            lambda d: d["prosumers"].update(renewable=[None], storage=[None]),
            "table prosumers, row 1: it owns neither a plant nor a battery",
        ),
        (
            lambda d: d.update(prosumers={k: v * 2 for k, v in d["prosumers"].items()}),
            "table prosumers, row 2: bus 14 has a prosumer already",
        ),
    ],
)
def test_a_bad_table_is_named(case14, tmp_path, change, message):
    data = _case14()
    change(data)
    path = _written(tmp_path, data)
    with pytest.raises(fleet_file.FleetError) as error:
        fleet_file.load(path, case14)
    assert message in str(error.value) and str(error.value).startswith(f"{path}: ")


def test_a_fleet_of_another_grid_is_refused(case14):
    with pytest.raises(fleet_file.FleetError, match="case118.json: table .*case14"):
        fleet_file.load("case118", case14)


def test_an_unknown_name_suggests_the_nearest(case14):
    with pytest.raises(FileNotFoundError, match="did you mean case14"):
        fleet_file.load("case41", case14)
    with pytest.raises(FileNotFoundError, match="nowhere.json: no such file"):
        fleet_file.load("nowhere.json", case14)


def test_damaged_files_are_read_or_refused_by_name(case14, tmp_path):
    text = (fleet_file.SHIPPED / "case14.json").read_text()
    rng = np.random.default_rng(7)
    read = 0
    for number in range(400):
        mutation = mutations.MUTATIONS[number % len(mutations.MUTATIONS)]
        damaged = mutation(rng, text)
        path = tmp_path / f"{number}.json"
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        try:
            fleet = fleet_file.load(str(path), case14)
        except fleet_file.FleetError as error:
            assert str(error).startswith(f"{path}: "), mutation.__name__
            continue
        read += 1
        assert np.isfinite(fleet.renewables.p_max_mw).all()
        assert (fleet.storage.energy_mwh > 0).all()
    assert 40 <= read <= 360, read
