"""The IEEE 13-node feeder: impedances by hand, published totals; microgrids that fit it."""

import dataclasses
import json

import numpy as np
import pytest

from envs.case import case_file, columns, fleet_file, ieee13, place_microgrids

NAME = place_microgrids.NAME


@pytest.fixture(scope="module")
def grid():
    return case_file.load(NAME)


@pytest.fixture(scope="module")
def fleet(grid):
    return fleet_file.load(NAME, grid)


@pytest.mark.parametrize(
    "configuration, ohm_per_mile, us_per_mile",
    [
        # (0.3465 + 0.3375 + 0.3414) / 3 − (0.1560 + 0.1580 + 0.1535) / 3, and alike.
        (601, 0.185967 + 0.596767j, 5.96603 + 1.33233),
        (602, 0.592067 + 0.760233j, 5.43437 + 1.14367),
        # Two phases, three halves of the impedance: 1.5 · ((1.3294 + 1.3238) / 2 − 0.2066).
        (603, 1.68000 + 1.33935j, 2 / 3 * (4.68775 + 0.8999)),
        # One phase, three times.
        (607, 4.02750 + 1.53720j, 88.9912 / 3),
    ],
)
def test_positive_sequence_of_a_configuration(configuration, ohm_per_mile, us_per_mile):
    impedance, charging = ieee13.CONFIGURATIONS[configuration].positive_sequence()
    assert impedance == pytest.approx(ohm_per_mile, abs=2e-5)
    assert charging == pytest.approx(us_per_mile, abs=2e-5)


def test_a_line_in_per_unit_of_five_mva(grid):
    branch = grid.branch
    ends = grid.bus.id[branch.from_bus], grid.bus.id[branch.to_bus]
    (row,) = np.flatnonzero((ends[0] == 650) & (ends[1] == 632))
    base_ohm = 4.16**2 / 5.0
    assert branch.r_pu[row] == pytest.approx(0.18597 * 2000 / 5280 / base_ohm, rel=1e-4)
    assert branch.x_pu[row] == pytest.approx(0.596767 * 2000 / 5280 / base_ohm, rel=1e-4)
    assert branch.rate_mva[row] == pytest.approx(3**0.5 * 4.16 * 0.730)


def test_the_feeder_draws_what_is_published():
    bus = ieee13.feeder().bus
    assert bus.load_p_mw.sum() == pytest.approx(3.466)
    assert bus.load_q_mvar.sum() == pytest.approx(2.102)
    assert bus.shunt_q_mvar.sum() == pytest.approx(0.700)


def test_what_ships_is_what_the_rule_makes(grid, tmp_path):
    made = place_microgrids.grid()
    for table in ("bus", "branch", "gen"):
        for field in dataclasses.fields(getattr(made, table)):
            ours, theirs = (getattr(getattr(g, table), field.name) for g in (grid, made))
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{table}.{field.name}")
    columns.write(place_microgrids.fleet(), tmp_path / "fleet.json")
    shipped = (fleet_file.SHIPPED / f"{NAME}.json").read_text()
    assert (tmp_path / "fleet.json").read_text() == shipped
    assert "Kersting" in grid.source


def test_each_microgrid_can_carry_its_own_load(grid, fleet):
    for number in fleet.microgrids.area:
        inside = fleet.area == number
        load = grid.bus.load_p_mw[inside].sum()
        unit = grid.gen.p_max_mw[inside[grid.gen.bus]].sum()
        battery = fleet.storage.p_max_mw[inside[fleet.storage.bus]].sum()
        sun = fleet.renewables.p_max_mw[inside[fleet.renewables.bus]].sum()
        assert unit < load < unit + battery and load < unit + sun


def test_what_couples_a_microgrid_is_all_that_leads_out_of_it(grid, fleet):
    numbers = grid.bus.id
    ends = [(numbers[grid.branch.from_bus[i]], numbers[grid.branch.to_bus[i]])
            for i in fleet.couplings]  # fmt: skip
    assert fleet.microgrids.name.tolist() == ["MG1", "MG2", "MG3"]
    assert ends == [(680, 711), (675, 721), (633, 731)]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"area": [2, 3, 9]}, "table microgrids, row 3: area is 9, it must be one of the areas"),
        ({"area": [2, 2, 4]}, "row 2: area is 2, .* another each"),
        ({"name": ["MG1", "MG1", "MG3"]}, "row 2: name is 'MG1', it must be text, and another"),
        ({"from_bus": [680, 675, 99]}, "row 3: from_bus is 99, which is no bus of ieee13_mg"),
        ({"from_bus": [671, 675, 633]}, "row 1: 671-711 must be the one branch that leads out of"),
        ({"area": [1, 3, 4]}, "row 1: 680-711 must be .* area 1, which has 3 such branches"),
        ({"buses": [1, 2, 3]}, "table microgrids: buses is not known here"),
    ],
)
def test_microgrids_that_are_none_are_refused(grid, tmp_path, change, message):
    content = place_microgrids.fleet()
    content["microgrids"].update(change)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    with pytest.raises(fleet_file.FleetError, match=message):
        fleet_file.load(str(path), grid)
