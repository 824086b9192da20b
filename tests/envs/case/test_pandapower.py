"""pandapower networks: the same power flow as pandapower's, and notes of all that is otherwise."""

import copy
import json
import subprocess
import sys

import numpy as np
import pandapower
import pytest
from pandapower import networks
from support import pandapower_round_trip as round_trip

from envs.case import case_file, pandapower_file, validate
from envs.case.convert import convert
from envs.powerflow import matrices

# Transmission and distribution, phase shifts, switches, three windings, extended wards, gens that
# share a bus, phases that differ.
QUICK = (
    "case14", "case24_ieee_rts", "example_multivoltage", "example_simple", "mv_oberrhein",
    "create_cigre_network_mv", "GBreducednetwork",
)  # fmt: skip
# pandapower stops at 1e-8 MVA, 1e-7 pu of a feeder's base, and steep voltages make more of it.
TOLERANCE = 1e-6
UNSOLVED = {"case11_iwamoto"}  # pandapower's own power flow does not converge either


def _small(**options):
    """A line between two buses, a load, and what supplies it."""
    net = pandapower.create_empty_network(sn_mva=10.0)
    one, other = (pandapower.create_bus(net, 20.0, min_vm_pu=0.94, max_vm_pu=1.06) for _ in "ab")
    pandapower.create_ext_grid(net, one, min_p_mw=-50.0, max_p_mw=50.0)
    pandapower.create_line(net, one, other, 5.0, "NAYY 4x150 SE", max_loading_percent=80.0)
    pandapower.create_load(net, other, p_mw=1.0, q_mvar=0.2, **options)
    pandapower.create_poly_cost(net, 0, "ext_grid", cp1_eur_per_mw=30.0, cp2_eur_per_mw2=0.5)
    return net


def _agree(net):
    """Returns the conversion of `net`, after its power flow was found to be pandapower's."""
    pandapower.runpp(net, numba=False)
    conversion = case_file.read(net)
    voltages = round_trip.solve_host(conversion.grid)
    found = round_trip.difference(net, conversion.grid, voltages)
    assert max(found.vm_pu, found.va_rad) < TOLERANCE, found
    return conversion


def _texts(conversion, element):
    return [note.text for note in conversion.notes if note.element == element]


@pytest.mark.parametrize("name", QUICK)
def test_power_flow_is_pandapowers(name):
    conversion, sparse, batched = round_trip.compare(name)
    assert sparse.n_bus > 0.25 * len(pandapower_file.networks()[name]().bus)
    for found in (sparse, batched):
        assert max(found.vm_pu, found.va_rad) < TOLERANCE, (found, conversion.lines())


@pytest.mark.parametrize("name", ["case24_ieee_rts", "mv_oberrhein", "create_cigre_network_mv"])
def test_loadings_of_lines_are_pandapowers(name):
    net = pandapower_file.networks()[name]()
    net.line["max_loading_percent"] = 100.0
    pandapower.runpp(net, numba=False, calculate_voltage_angles=True)
    grid = case_file.read(net).grid
    phasor = round_trip.solve_host(grid).phasor
    carried = matrices.carried_mva(grid, matrices.branch_admittance(grid), phasor)
    found = {}
    for branch, share in enumerate(carried / grid.branch.rate_mva):
        found[tuple(grid.bus.id[[grid.branch.from_bus[branch], grid.branch.to_bus[branch]]])] = (
            share
        )
    ends = zip(net.line.from_bus + 1, net.line.to_bus + 1)
    theirs = dict(zip(ends, net.res_line.loading_percent / 100))
    both = found.keys() & theirs.keys()  # a line that is open at one end has another bus there
    assert len(both) > 10 and max(theirs[line] for line in both) > 0.3
    for line in both:
        assert found[line] == pytest.approx(theirs[line], abs=1e-5)


@pytest.mark.slow
def test_power_flow_of_every_network_is_pandapowers():
    agreed, unsolved = [], set()
    for name in pandapower_file.networks():
        try:
            _, sparse, batched = round_trip.compare(name)
        except pandapower.LoadflowNotConverged:
            unsolved.add(name)
            assert case_file.read(pandapower_file.PREFIX + name).grid.n_bus > 0
            continue
        for found in filter(None, (sparse, batched)):
            assert max(found.vm_pu, found.va_rad) < TOLERANCE, (name, found)
        agreed.append(name)
    assert unsolved == UNSOLVED
    assert len(agreed) >= 50


def test_what_a_network_states_is_kept():
    conversion = case_file.read(_small())
    grid = conversion.grid
    assert (grid.name, grid.base_mva, grid.n_bus, grid.n_branch) == ("network", 10.0, 2, 1)
    assert list(grid.bus.id) == [1, 2] and list(grid.bus.vm_max_pu) == [1.06, 1.06]
    assert (grid.gen.cost_c2[0], grid.gen.cost_c1[0]) == (0.5, 30.0)
    assert (grid.gen.p_min_mw[0], grid.gen.p_max_mw[0]) == (-50.0, 50.0)
    line = np.sqrt(3) * 20.0 * 0.27 * 0.8  # kV, kA of the standard type, the share allowed
    assert grid.branch.rate_mva[0] == pytest.approx(line)
    assert [note.element for note in conversion.notes] == ["ext_grid", "poly_cost"]
    assert "1 with the inertia of a machine of that size" in _texts(conversion, "ext_grid")[0]


def test_a_file_and_a_name_give_what_the_network_in_memory_gives(tmp_path):
    path = tmp_path / "mine.json"
    pandapower.to_json(networks.case9(), str(path))
    grids = [case_file.load(case) for case in (str(path), path, networks.case9())]
    named = case_file.load("pandapower:case9")
    for grid in grids:
        np.testing.assert_allclose(grid.branch.x_pu, named.branch.x_pu)
        np.testing.assert_allclose(
            matrices.bus_admittance(grid).toarray(), matrices.bus_admittance(named).toarray()
        )
    assert grids[0].name == "mine" and named.name == "case9"


def test_convert_writes_it_and_prints_what_was_changed(tmp_path, capsys):
    out = tmp_path / "grid.json"
    convert("pandapower:simple_mv_open_ring_net", None, out, "pandapower, BSD-3")
    printed = capsys.readouterr().out
    assert "8 buses, 7 branches, 1 generators" in printed
    assert "  ext_grid: 1 without a cost: 40 $/MWh assumed (0)" in printed
    grid = case_file.load(str(out))
    assert grid.n_bus == 8 and grid.source.endswith("pandapower, BSD-3")
    assert grid.rated == "current"
    assert not case_file.read(str(out)).notes


def test_loading_warns_of_what_was_changed_once(caplog):
    for _ in range(2):
        case_file.load("pandapower:panda_four_load_branch")
    warned = [r.message for r in caplog.records if "panda_four_load_branch" in r.message]
    assert len(warned) == 1
    assert "ext_grid: 1 without limits of power: the sum of all loads assumed (0)" in warned[0]


def test_dc_lines_become_loads_and_condensers():
    net = _small()
    far = pandapower.create_bus(net, 20.0)
    pandapower.create_line(net, 1, far, 5.0, "NAYY 4x150 SE")
    pandapower.create_dcline(
        net, 0, far, p_mw=0.5, loss_percent=2.0, loss_mw=0.01, vm_from_pu=1.0, vm_to_pu=1.01
    )
    conversion = _agree(net)
    grid = conversion.grid
    assert "1 became a load at one end" in _texts(conversion, "dcline")[0]
    assert grid.bus.load_p_mw[0] == 0.5
    assert grid.bus.load_p_mw[2] == pytest.approx(-(0.5 * 0.98 - 0.01))
    assert grid.condensers.size == 2 and len(net.dcline) == 1  # the network itself is as it was


def test_loads_of_constant_impedance_become_shunts():
    net = _small(const_z_p_percent=100.0, const_z_q_percent=100.0)
    conversion = _agree(net)
    assert (conversion.grid.bus.shunt_p_mw[1], conversion.grid.bus.load_p_mw[1]) == (1.0, 0.0)
    assert "became shunts" in _texts(conversion, "load")[0]


def test_loads_of_constant_current_are_told():
    net = _small(const_i_p_percent=50.0)
    conversion = case_file.read(net)
    assert "as at 1 pu" in _texts(conversion, "load")[0]


def test_static_generators_become_units_only_where_a_voltage_is_held():
    net = _small()
    pandapower.create_sgen(net, 0, p_mw=0.3, max_p_mw=0.4, min_p_mw=0.0, controllable=True)
    pandapower.create_sgen(net, 1, p_mw=0.2, q_mvar=0.1)
    conversion = _agree(net)
    grid = conversion.grid
    assert list(grid.gen.p_max_mw) == [50.0, 0.4] and list(grid.gen.bus) == [0, 0]
    np.testing.assert_allclose(grid.bus.load_p_mw, [0.0, 0.8], atol=1e-12)
    assert _texts(conversion, "sgen") == [
        "1 became negative loads",
        "1 became generators, as another holds the voltage of their bus",
        "1 without a cost: 40 $/MWh assumed",
    ]


def test_who_could_be_dispatched_and_is_not_is_told_what_would_do():
    net = _small()
    for controllable in (True, False):
        pandapower.create_sgen(net, 1, p_mw=0.2, type="gas", controllable=controllable)
    pandapower.create_poly_cost(net, 1, "sgen", cp1_eur_per_mw=45.0)
    texts = _texts(case_file.read(net), "sgen")
    assert "2 became negative loads" in texts
    assert any(text.startswith("2 that may be controlled or have a cost") for text in texts), texts
    assert any("make each a gen" in text for text in texts)
    pandapower.create_sgen(net, 0, p_mw=0.1, type="gas", controllable=False)
    pandapower.create_poly_cost(net, 2, "sgen", cp1_eur_per_mw=45.0)
    texts = _texts(case_file.read(net), "sgen")
    assert "3 became negative loads" in texts
    assert any(text.startswith("2 that may be controlled") for text in texts), "the third is held"


def test_piecewise_linear_costs_become_their_mean_slope():
    net = _small()
    net.poly_cost.drop(0, inplace=True)
    pandapower.create_pwl_cost(net, 0, "ext_grid", [[-50.0, 0.0, 10.0], [0.0, 50.0, 20.0]])
    conversion = case_file.read(net)
    assert conversion.grid.gen.cost_c1[0] == 15.0
    assert "mean slope" in _texts(conversion, "pwl_cost")[0]


def test_a_second_external_grid_and_an_island_of_its_own():
    net = _small()
    pandapower.create_ext_grid(net, 1, vm_pu=1.0)
    lonely = pandapower.create_bus(net, 20.0)
    pandapower.create_ext_grid(net, lonely)
    conversion = _agree(net)
    grid = conversion.grid
    assert grid.n_bus == 2 and grid.n_gen == 2 and grid.reference_bus == 0
    assert _texts(conversion, "reference bus") and _texts(conversion, "bus number")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda net: pandapower.create_svc(net, 1, 1, -10, 1.0, 90), "table svc: converters and"),
        (lambda net: net.ext_grid.drop(0, inplace=True), "pandapower: "),
        (lambda net: net.bus.drop(net.bus.index, inplace=True), "there must be one"),
        (lambda net: net.line.drop(0, inplace=True), "0 branches"),
        (lambda net: net.line.__setitem__("length_km", 1e-9), "merge the two buses"),
        (lambda net: net.load.__setitem__("p_mw", np.nan), "network: load 0: p_mw is nan, it must"),
        (lambda net: net.line.at.__setitem__((0, "parallel"), 0), "line 0: parallel is 0, it must"),
        (lambda net: net.line.at.__setitem__((0, "length_km"), -1.0), "line 0: length_km is -1"),
        (lambda net: net.bus.at.__setitem__((1, "vn_kv"), 0.0), "bus 1: vn_kv is 0, .* above 0"),
        (lambda net: net.load.at.__setitem__((0, "bus"), 77), "load 0: bus is 77, there is no"),
        (
            lambda net: pandapower.create_impedance(
                net, 0, 1, rft_pu=0.1, xft_pu=0.1, rtf_pu=0.2, xtf_pu=0.1, sn_mva=1.0
            ),
            "the same in both directions",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(change, message):
    net = copy.deepcopy(_small())
    change(net)
    with pytest.raises(validate.CaseError, match=message) as refused:
        case_file.read(net)
    assert "\n" not in str(refused.value)


def test_a_file_that_names_other_modules_is_refused(tmp_path):
    path = tmp_path / "net.json"
    pandapower.to_json(_small(), str(path))
    text = json.loads(path.read_text())
    text["_object"]["extra"] = {"_module": "subprocess", "_class": "Popen", "_object": "{}"}
    inner = json.dumps({"_module": "shutil", "_class": "rmtree", "_object": "{}"})
    for extra in (text["_object"]["extra"], inner):
        text["_object"]["extra"] = extra
        path.write_text(json.dumps(text))
        with pytest.raises(validate.CaseError, match="it would load"):
            case_file.load(str(path))


def test_names_that_are_none_are_refused_with_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean case39"):
        case_file.load("pandapower:case38x")


def test_without_pandapower_everything_else_works_and_the_remedy_is_named(tmp_path):
    path = tmp_path / "net.json"
    pandapower.to_json(_small(), str(path))
    program = f"""
import sys
for name in ("pandapower", "pypowsybl"):
    sys.modules[name] = None
from envs import grid_env
from envs.case import case_file
assert case_file.load("case14").n_bus == 14
for case in ("pandapower:case9", {str(path)!r}):
    try:
        case_file.load(case)
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("make install-formats" in line for line in lines)
