"""Grids of Grid2Op's environments: the same network as pandapower's, and chronics that fit it."""

import dataclasses
import shutil

import numpy as np
import pandapower
import pytest
from support import time_series_statistics

from envs.case import case_file, fleet as fleet_lib, fleet_file, grid2op, validate
from envs.case.convert import convert
from envs.options import EnvOptions
from envs.powerflow import matrices
from envs.time_series import chronics, chronics_files

# Environment, buses, branches, generators, and the number of the first bus.
SHIPPED = (
    ("rte_case5_example", 5, 8, 2, 1),
    ("rte_case14_realistic", 14, 20, 5, 1),
    ("l2rpn_neurips_2020_track1", 36, 59, 22, 33),
    ("l2rpn_wcci_2022_dev", 118, 186, 62, 1),
)


def _folder(name):
    return time_series_statistics.folder(name).parent


@pytest.mark.parametrize("name, n_bus, n_branch, n_gen, first", SHIPPED)
def test_the_network_is_pandapowers(name, n_bus, n_branch, n_gen, first):
    path = _folder(name) / "grid.json"
    grid = grid2op.read(path).grid
    assert (grid.name, grid.n_bus, grid.n_branch, grid.n_gen) == (name, n_bus, n_branch, n_gen)
    assert grid.bus.id[0] == first
    net = pandapower.from_json(str(path))
    pandapower.runpp(net, init="flat", calculate_voltage_angles=True)
    inside = net._ppc["internal"]  # in its own order of buses, and per unit of its own base
    place = net._pd2ppc_lookups["bus"]
    theirs = inside["Ybus"].toarray()[np.ix_(place, place)] * net.sn_mva / grid.base_mva
    left_out = theirs - matrices.bus_admittance(grid).toarray()
    iron = np.diag(left_out).real  # of transformers, MW at 1 pu voltage
    np.testing.assert_allclose(left_out - np.diag(iron), 0.0, atol=1e-9)
    assert iron.min() > -1e-9 and iron.max() * grid.base_mva < 0.03
    at = place[net.bus.index]
    np.testing.assert_allclose(
        np.where(grid.bus.load_p_mw == grid2op._NOMINAL_MW, 0.0, grid.bus.load_p_mw)[at],
        net.load.groupby("bus").p_mw.sum().reindex(net.bus.index, fill_value=0.0), atol=1e-9,
    )  # fmt: skip


def test_ratings_costs_and_limits_are_those_beside_the_network():
    grid = grid2op.read(_folder("l2rpn_neurips_2020_track1") / "grid.json").grid
    # thermal_limits[0] is 60.9 A of a line at 138 kV; the fourth generator, at substation 41.
    assert grid.branch.rate_mva[0] == pytest.approx(np.sqrt(3) * 0.0609 * 138.0)
    assert np.isfinite(grid.branch.rate_mva).all()
    fourth = (grid.bus.id[grid.gen.bus[3]], grid.gen.p_max_mw[3], grid.gen.cost_c1[3])
    assert fourth == (42, 250.0, 36.0)
    wind = grid.gen.p_max_mw[1]  # gen_39_17, of 67.2 MW, holds its voltage and no more
    assert wind == 0.0 and grid.gen.vm_setpoint_pu[1] > 1.0


def test_chronics_fit_the_grid_that_was_converted(tmp_path):
    name = "l2rpn_neurips_2020_track1"
    out = tmp_path / "grid.json"
    convert(_folder(name) / "grid.json", None, out, "RTE, MPL-2.0")
    grid = case_file.load(str(out))
    assert grid.name == name and grid.source == "grid.json, RTE, MPL-2.0"
    recorded = time_series_statistics.folder(name)
    plants = chronics.renewables(recorded, grid)
    fleet = dataclasses.replace(fleet_lib.plain(grid), renewables=plants)
    days = chronics.read(recorded, grid, fleet, EnvOptions())
    cut = np.flatnonzero(grid.bus.id[grid.loads] == 38)  # interco_29_37 brings power in
    assert days.load_p_mw.shape[1:] == (289, len(grid.loads)) and days.load_p_mw[..., cut].max() < 0


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("grid.json", "{}", "not a pandapower network, as Grid2Op keeps its grids"),
        ("grid.json", "nothing", "not a pandapower network"),
        ("config.py", "config = {'thermal_limits': [1.0]}", "has 1 values, and the grid 8 lines"),
        ("prods_charac.csv", "name,Pmax\ngen_0_0,much\n", "gen_0_0: ValueError"),
        ("prods_charac.csv", "name,Pmax\n", "no row for the generator 'gen_0_0' at bus 0"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, file, content, message):
    for name in ("grid.json", "prods_charac.csv", "config.py"):
        shutil.copy(_folder("rte_case5_example") / name, tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(validate.CaseError, match=message) as refused:
        grid2op.read(tmp_path / "grid.json")
    assert str(tmp_path / file) in str(refused.value)
    (tmp_path / file).unlink()
    if file != "config.py":
        with pytest.raises(FileNotFoundError, match=f"{file}|no such file"):
            grid2op.read(tmp_path / "grid.json")


def test_set_points_are_those_of_the_chronics_and_limits_leave_room_for_them():
    grid = grid2op.read(_folder("rte_case14_realistic") / "grid.json").grid
    # prod_v says 142.1 kV at 138, 22 at 20 and 13.2 at 12; grid.json 1.045, 1.07 and 1.09 pu.
    held = [142.1 / 138, 142.1 / 138, 22.0 / 20, 13.2 / 12, 142.1 / 138]
    np.testing.assert_allclose(grid.gen.vm_setpoint_pu, held)
    assert (grid.bus.vm_max_pu[grid.gen.bus] >= grid.gen.vm_setpoint_pu).all()


def test_the_fleet_has_kinds_ramps_plants_and_batteries_of_the_environment(tmp_path):
    path = _folder("educ_case14_storage") / "grid.json"
    case, file = tmp_path / "case.json", tmp_path / "fleet.json"
    convert(path, None, case, "RTE, MPL-2.0", file)
    grid = case_file.load(str(case))
    fleet = fleet_file.load(str(file), grid)
    assert fleet.source == "prods_charac.csv, RTE, MPL-2.0"
    assert fleet.units.kind.tolist() == [
        "nuclear", "thermal", "inverter", "inverter", "inverter", "hydro",
    ]  # fmt: skip
    np.testing.assert_allclose(fleet.units.ramp_mw_per_min * 5, [5, 10, 0, 0, 0, 15])
    assert fleet.units.inertia_s[2] == 0.0
    plants, batteries = fleet.renewables, fleet.storage
    assert grid.bus.id[plants.bus].tolist() == [6, 6, 8] and plants.p_max_mw.sum() == 180
    assert grid.bus.id[batteries.bus].tolist() == [6, 8]
    np.testing.assert_allclose(batteries.energy_mwh, [15, 7])
    np.testing.assert_allclose(batteries.charge_efficiency, [0.95, 1])


def test_a_recorded_plan_is_prod_p_of_units_and_needs_their_grid():
    path = _folder("rte_case14_realistic")
    grid = grid2op.read(path / "grid.json").grid
    plants = chronics.renewables(path / "chronics", grid)
    fleet = dataclasses.replace(fleet_lib.plain(grid), renewables=plants)
    folder = path / "chronics" / "000"
    options = EnvOptions(schedule="recorded", time_series=str(folder))
    days = chronics.read(folder, grid, fleet, options)
    prod = chronics_files.required(folder, "prod_p")
    column = prod.names.index("gen_0_4")
    at = np.flatnonzero(grid.bus.id[grid.gen.bus] == 1)[0]
    # Row 0 of a day is midnight, the second of the recording, which begins at 23:55.
    np.testing.assert_allclose(days.plan_p_mw[0, :, at], prod.values[1:290, column], rtol=1e-6)
    assert not days.plan_p_mw[..., grid.condensers].any()
    other = case_file.load("case14")
    fleet = dataclasses.replace(fleet_lib.plain(other), renewables=plants)
    with pytest.raises(chronics_files.ChronicsError, match="is at bus 3, where case14 has no unit"):
        chronics.read(folder, other, fleet, options)


@pytest.mark.parametrize("limits", ["None", "AMPERES", "{'a': 100.0 * 2}"])
def test_limits_are_config_pys_by_name_or_the_networks_own_or_refused(tmp_path, limits):
    copy = tmp_path / "rte_case5_example"
    shutil.copytree(_folder(copy.name), copy)
    amperes = [100.0 + line for line in range(8)]
    (copy / "config.py").write_text(
        f"AMPERES = {amperes}\nconfig = {{'thermal_limits': {limits}}}\n"
    )
    if limits[0] == "{":
        with pytest.raises(validate.CaseError, match="config.py: thermal_limits, line 2: computed"):
            grid2op.read(copy / "grid.json")
        return
    grid = grid2op.read(copy / "grid.json").grid
    if limits == "None":  # what Grid2Op takes then
        amperes = [600.0, 220.0, 160.0, 160.0, 600.0, 300.0, 300.0, 160.0]
    kv = grid.bus.base_kv[grid.branch.from_bus]
    np.testing.assert_allclose(grid.branch.rate_mva, np.sqrt(3) * kv * np.array(amperes) / 1e3)
