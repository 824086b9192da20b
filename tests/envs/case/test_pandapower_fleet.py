"""Fleets of pandapower networks: plants and batteries that the case goes without."""

import dataclasses
import json

import numpy as np
import pandapower
import pytest
from pandapower import networks
from support import pandapower_round_trip as round_trip

from envs.case import case_file, fleet_file, validate
from envs.case.convert import convert
from envs.case.fleet import SOLAR, WIND

TOLERANCE = 1e-6  # pu and rad; pandapower stops at 1e-8 MVA


@pytest.fixture
def feeder():
    """CIGRE's feeder of medium voltage with all that may stand on it, batteries charging."""
    return networks.create_cigre_network_mv(with_der="all")


def _written(net, folder):
    """Returns the grid and the fleet that `convert` writes of the file of `net`."""
    path, out, fleet = (folder / name for name in ("net.json", "grid.json", "fleet.json"))
    pandapower.to_json(net, str(path))
    convert(path, None, out, "test", fleet)
    grid = case_file.load(str(out))
    return grid, fleet_file.load(str(fleet), grid)


def _notes(net, element, with_fleet=True):
    read = case_file.read_with_fleet(net)[0] if with_fleet else case_file.read(net)
    return [str(note) for note in read.notes if note.element == element]


@pytest.mark.parametrize("der", ["pv_wind", "all"])
def test_case_and_fleet_at_nominal_output_are_pandapowers_network(der, tmp_path, capsys):
    net = networks.create_cigre_network_mv(with_der=der)
    grid, fleet = _written(net, tmp_path)
    batteries = 2 if der == "all" else 0
    assert f"9 wind and solar plants (1.71 MW), {batteries} batteries" in capsys.readouterr().out
    assert fleet.n_renewable == 9 and fleet.n_storage == batteries
    # Here plants stand at their rating, and batteries charge at theirs.
    load = grid.bus.load_p_mw.copy()
    np.subtract.at(load, fleet.renewables.bus, fleet.renewables.p_max_mw)
    np.add.at(load, fleet.storage.bus, fleet.storage.p_max_mw)
    whole = dataclasses.replace(grid, bus=dataclasses.replace(grid.bus, load_p_mw=load))
    pandapower.runpp(net, numba=False)
    for voltages in (round_trip.solve_host(whole), round_trip.solve_batched(whole)):
        found = round_trip.difference(net, whole, voltages)
        assert found.n_bus == 15 and max(found.vm_pu, found.va_rad) < TOLERANCE, found
    bare = round_trip.difference(net, grid, round_trip.solve_host(grid))
    assert bare.vm_pu > 100 * TOLERANCE  # plants and batteries are no loads of the case


def test_plants_have_the_kind_and_rating_that_the_network_states(feeder):
    net = feeder
    for name, value in (("max_p_mw", 0.05), ("sn_mva", 0.04)):
        net.sgen.loc[0, name] = value
    net.sgen.loc[1, "sn_mva"] = 0.03
    net.sgen.loc[2, ["sn_mva", "scaling"]] = np.nan, 0.5
    net.sgen.loc[3, "in_service"] = False
    net.sgen.loc[4, ["type", "name"]] = "wye", "WKA 9"
    net.sgen.loc[5, ["type", "name", "controllable"]] = "wye", "mine", True
    net.sgen.loc[6, ["type", "name"]] = "wye", "mine too"
    read, content = case_file.read_with_fleet(net)
    plants = content["renewables"]
    assert plants["bus"] == [4, 5, 6, 9, 10, 12, 8]
    assert plants["kind"] == [SOLAR, SOLAR, SOLAR, WIND, SOLAR, SOLAR, WIND]
    assert plants["p_max_mw"] == [0.05, 0.03, 0.03, 0.03, 0.03, 0.01, 1.5]
    lines = [str(note) for note in read.notes if note.element == "sgen"]
    assert "sgen: 1 whose type and name do not tell wind from sun are taken for solar (5)" in lines
    assert "sgen: 5 became negative loads (6, 9, 10, 11, 12)" in lines
    assert "sgen: 1 out of service were left out (3)" in lines
    assert len(net.sgen) == 13 and len(net.storage) == 2  # the network itself is as it was


def test_a_controllable_generator_of_no_kind_stays_a_unit_where_a_voltage_is_held(feeder):
    net = feeder
    pandapower.create_sgen(net, 0, p_mw=1.0, max_p_mw=2.0, min_p_mw=0.0, controllable=True)
    pandapower.create_sgen(net, 0, p_mw=1.0, type="WP", controllable=True)
    read, content = case_file.read_with_fleet(net)
    assert content["units"]["kind"] == ["exchange", "thermal"]
    assert list(read.grid.gen.p_max_mw)[1:] == [2.0]
    assert content["renewables"]["kind"].count(WIND) == 2


def test_batteries_have_the_energy_power_and_efficiency_that_the_network_states(feeder):
    net = feeder
    net.storage.loc[0, ["max_e_mwh", "min_e_mwh", "min_p_mw", "soc_percent"]] = 2.0, 0.5, -0.4, 70.0
    net.storage["efficiency_percent"] = [81.0, np.nan]
    net.storage.loc[1, ["min_p_mw", "max_p_mw", "q_mvar"]] = np.nan, np.nan, 0.1
    read, content = case_file.read_with_fleet(net)
    assert content["storage"] == {
        "bus": [6, 11],
        "p_max_mw": [0.4, 0.2],
        "energy_mwh": [1.5, pytest.approx(0.8)],
        "charge_efficiency": [0.9, 0.92],
        "discharge_efficiency": [0.9, 0.92],
    }
    assert [str(note) for note in read.notes if note.element == "storage"] == [
        "storage: 2 became batteries of the fleet (0, 1)",
        "storage: 1 without max_e_mwh: 4 hours at rated power assumed (1)",
        "storage: 1 without an efficiency: 0.92 each way assumed (1)",
        "storage: soc_percent of 1 was left out: days begin with batteries half full (0)",
        "storage: reactive power of 1 was left out: in a fleet they are at unity power factor (1)",
    ]


def test_the_external_grid_is_an_exchange_that_can_take_what_plants_and_batteries_give(feeder):
    feeder.sgen.loc[8, "sn_mva"] = 30.0
    read, content = case_file.read_with_fleet(feeder)
    gen, without = read.grid.gen, case_file.read(feeder).grid.gen
    assert content["units"]["kind"] == ["exchange"] and content["units"]["inertia_s"] == [None]
    assert content["units"]["ramp_mw_per_min"] == [pytest.approx(gen.p_max_mw[0])]
    size = read.grid.bus.load_p_mw.clip(0.0).sum() + 0.21 + 30.0 + 0.8
    assert gen.p_max_mw[0] == -gen.p_min_mw[0] == pytest.approx(size)
    assert gen.p_max_mw[0] > without.p_max_mw[0]
    feeder.ext_grid[["min_p_mw", "max_p_mw"]] = -3.0, 50.0
    limited = case_file.read_with_fleet(feeder)[0].grid.gen
    assert (limited.p_min_mw[0], limited.p_max_mw[0]) == (-3.0, 50.0)


def test_what_is_on_no_island_in_service_is_left_out(feeder):
    away = pandapower.create_bus(feeder, 20.0)
    pandapower.create_sgen(feeder, away, p_mw=1.0, type="PV")
    read, content = case_file.read_with_fleet(feeder)
    assert len(content["renewables"]["bus"]) == 9
    assert "not connected to the island" in " ".join(map(str, read.notes))


def test_without_a_fleet_notes_say_what_one_would_hold(feeder):
    remedy = "`python -m envs.case.convert --fleet=FILE` makes"
    (constant,) = _notes(feeder, "storage", with_fleet=False)
    assert constant.startswith("storage: 2 became constant loads") and remedy in constant
    negative = _notes(feeder, "sgen", with_fleet=False)
    assert negative == [
        "sgen: 4 became negative loads (9, 10, 11, 12)",
        f"sgen: 9 became negative loads; {remedy} wind and solar plants of them "
        "(0, 1, 2, 3, 4, 5, 6, 7 and 1 more)",
    ]
    assert any(remedy in line for line in _notes(feeder, "ext_grid", with_fleet=False))
    for element in ("sgen", "storage", "ext_grid"):
        assert not any(remedy in line for line in _notes(feeder, element))


def test_other_cases_have_no_such_fleet(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"name": "mine"}))
    for case in ("case14", str(path)):
        with pytest.raises(validate.CaseError, match="pandapower"):
            case_file.read_with_fleet(case)
