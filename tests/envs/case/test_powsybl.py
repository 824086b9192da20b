"""Files that pypowsybl reads: the same power flow as OpenLoadFlow's, and notes of all otherwise."""

import pathlib
import sys
import zipfile

import numpy as np
import pytest
from support import powsybl_round_trip as round_trip

pypowsybl = pytest.importorskip("pypowsybl", reason="make install-formats installs it")

from pypowsybl import network as networks  # noqa: E402

from envs.case import case_file, pandapower_file, powsybl_file, validate  # noqa: E402
from envs.case.convert import convert  # noqa: E402

# IEEE-CDF data, lines between nominal voltages, taps, HVDC, static var compensators, tie lines.
NETWORKS = (
    "ieee9", "ieee14", "ieee57", "ieee300", "four_substations_node_breaker_network",
    "eurostag_tutorial_example1_network", "eurostag_tutorial_example1_with_tie_lines_and_areas",
    "metrix_tutorial_six_buses_network",
)  # fmt: skip
TOLERANCE = 1e-6
THREE_BUSES = pathlib.Path(round_trip.__file__).parent / "three_buses.raw"
# As pypowsybl writes it, OpenLoadFlow does not solve it either: CGMES has no lines between
# nominal voltages.
UNSOLVED = {("ieee300", "CGMES")}


@pytest.mark.parametrize("format_", round_trip.FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_power_flow_is_openloadflows(tmp_path, name, format_):
    if (name, format_) in UNSOLVED:
        pytest.skip("OpenLoadFlow does not solve it either")
    network = getattr(networks, f"create_{name}")()
    conversion, error = round_trip.compare(round_trip.write(network, format_, tmp_path))
    assert error < TOLERANCE, conversion.lines()


@pytest.mark.parametrize("format_", ["XIIDM", "PSS/E"])
def test_lines_that_leave_the_grid_end_in_a_load(tmp_path, format_):
    network = networks.create_micro_grid_nl_network()
    conversion, error = round_trip.compare(round_trip.write(network, format_, tmp_path))
    assert conversion.grid.n_bus == 9
    assert error < TOLERANCE


def test_what_is_otherwise_is_told(tmp_path):
    network = networks.create_four_substations_node_breaker_network()
    conversion, _ = round_trip.compare(round_trip.write(network, "XIIDM", tmp_path))
    notes = {note.element: note for note in conversion.notes}
    assert notes["hvdc line"].rows == ("HVDC1", "HVDC2")
    assert notes["static var compensator"].rows == ("SVC",)
    assert len(notes["switch"].rows) == 10
    grid = conversion.grid
    # Of the converter at S2VL1 the load remains: 10 MW less what two stations lose, 1.1 % each.
    assert grid.bus.load_p_mw.min() < 240.0 and (grid.gen.p_max_mw[grid.units] > 0).all()
    three = round_trip.write(networks.create_micro_grid_be_network(), "XIIDM", tmp_path)
    lines = "\n".join(case_file.read(three).lines())
    assert "three-winding transformer: 1 became 3 branches with 1 star buses" in lines
    assert "generator: 1 that hold the voltage of another bus hold their own's" in lines
    assert "line that leaves the grid: 5 became branches that end in a load" in lines


def test_a_folder_of_cgmes_profiles_is_read_as_its_zip(tmp_path):
    path = round_trip.write(networks.create_ieee14(), "CGMES", tmp_path)
    folder = tmp_path / "profiles"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    assert case_file.read(folder).grid.n_bus == 14
    assert case_file.load(folder).name == "profiles"


def test_a_raw_file_keeps_its_numbers_and_limits_and_is_read_whole_or_not_at_all(tmp_path):
    path, text = tmp_path / "mine.raw", THREE_BUSES.read_text()
    text = text.replace("\n     2,'BUS", "\n   205,'BUS").replace("\n     2,'1 '", "\n   205,'1 '")
    text = text.replace("     1,     2,", "     1,   205,").replace(
        "\n     2,     3,", "\n   205,     3,"
    )
    path.write_text(text.replace("1.02000,   0.0000,1.10000,0.90000", "1.02,0.0,1.05,0.95", 1))
    grid = case_file.read(path).grid
    assert grid.bus.id.tolist() == [1, 205, 3]
    assert grid.bus.id[grid.branch.from_bus].tolist() == [1, 205]
    assert grid.bus.vm_max_pu.tolist() == [1.05, 1.1, 1.1]
    assert grid.bus.vm_min_pu.tolist() == [0.95, 0.9, 0.9]
    path.write_text(text[:1500])
    with pytest.raises(validate.CaseError, match="mine.raw: has no line Q, which ends a RAW file"):
        case_file.read(path)


def test_a_raw_file_written_by_hand_is_read():
    """Version 33, by Siemens PTI's description of the format: what each number should become."""
    grid = case_file.load(THREE_BUSES)
    branch, gen = grid.branch, grid.gen
    assert (grid.n_bus, grid.n_branch, grid.n_gen, grid.base_mva) == (3, 2, 1, 100.0)
    np.testing.assert_allclose(grid.bus.load_p_mw, [0.0, 60.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(grid.bus.load_q_mvar, [0.0, 20.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(grid.bus.shunt_q_mvar, [0.0, 0.0, 15.0], atol=1e-9)
    np.testing.assert_allclose(grid.bus.base_kv, [138.0, 138.0, 69.0])
    np.testing.assert_allclose(branch.r_pu, [0.01, 0.005], rtol=1e-6)
    np.testing.assert_allclose(branch.x_pu, [0.1, 0.08], rtol=1e-6)
    np.testing.assert_allclose(branch.b_pu, [0.02, 0.0], atol=1e-9)
    np.testing.assert_allclose(branch.tap, [1.0, 0.98], rtol=1e-6)
    np.testing.assert_allclose(branch.rate_mva, [90.0, 90.0], rtol=1e-6)
    assert (gen.vm_setpoint_pu[0], gen.p_max_mw[0], gen.q_min_mvar[0]) == (1.02, 100.0, -60.0)
    assert grid.reference_bus == 0


def test_ratings_are_the_lower_limit_of_both_ends(tmp_path):
    network = networks.create_eurostag_tutorial_example1_with_power_limits_network()
    grid = case_file.read(round_trip.write(network, "XIIDM", tmp_path)).grid
    assert list(grid.branch.rate_mva) == [500.0, 500.0, np.inf, np.inf]  # MVA, of 500 and 1100
    network = networks.create_micro_grid_be_network()
    grid = case_file.read(round_trip.write(network, "XIIDM", tmp_path)).grid
    # 1,443 A at 225 kV; a leg of the transformer of three windings, 938 A at 380 kV.
    assert grid.branch.rate_mva[0] == pytest.approx(np.sqrt(3) * 1.443 * 225.0)
    assert np.sqrt(3) * 356.516 == pytest.approx(grid.branch.rate_mva[10])


def test_nothing_but_the_error_is_written(tmp_path, capfd):
    path = round_trip.write(networks.create_ieee9(), "XIIDM", tmp_path)
    path.write_bytes(b"\xff" + path.read_bytes())
    with pytest.raises(validate.CaseError):
        case_file.load(path)
    assert capfd.readouterr().err == ""


def test_a_ucte_file_is_read(tmp_path):
    path = tmp_path / "two.uct"
    path.write_text(
        "##C 2007.05.01\n"
        "##N\n"
        "##ZFR\n"
        # Voltage; load and generation, P and Q; limits of both; what is generated is negative.
        f"{'FAAAAA1':8} {'GEN':12} 0 3 {400:6.1f} {0:7.1f} {0:7.1f} {-200:7.1f} {0:7.1f} "
        f"{-900:7.1f} {900:7.1f} {-500:7.1f} {500:7.1f}\n"
        f"{'FBBBBB1':8} {'LOAD':12} 0 0        {100:7.1f} {30:7.1f} {0:7.1f} {0:7.1f}\n"
        "##L\n"
        f"{'FAAAAA1':8} {'FBBBBB1':8} 1 0 {1:6.3f} {10:6.3f} {20:8.5f} {1000:6}\n"
    )
    grid = case_file.read(path).grid
    assert (grid.n_bus, grid.n_branch, grid.n_gen) == (2, 1, 1)
    assert grid.branch.x_pu[0] == pytest.approx(10.0 / 380.0**2 * 100.0, rel=1e-6)
    assert grid.bus.load_p_mw.sum() == pytest.approx(100.0)


def test_convert_writes_it_and_prints_what_was_changed(tmp_path, capsys):
    path = round_trip.write(networks.create_ieee14(), "PSS/E", tmp_path)
    out = tmp_path / "grid.json"
    convert(str(path), None, out, "IEEE, free")
    printed = capsys.readouterr().out
    assert "14 buses, 20 branches, 5 generators" in printed
    assert "gen: 5 without a cost: 40 $/MWh assumed" in printed
    assert case_file.load(str(out)).n_bus == 14


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path):
    path = tmp_path / "wrong.raw"
    for content in ("", "nothing", "0, 100.0, 33\n\n\n0 /\n"):
        path.write_text(content)
        with pytest.raises(validate.CaseError) as refused:
            case_file.load(path)
        assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)
    archive = tmp_path / "wrong.zip"
    archive.write_text("nothing")
    with pytest.raises(validate.CaseError, match="not a .zip file"):
        case_file.load(archive)
    with pytest.raises(FileNotFoundError, match="no such case file"):
        case_file.load(tmp_path / "absent.raw")


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = round_trip.write(networks.create_ieee14(), "CGMES", tmp_path)
    monkeypatch.setattr(pandapower_file, "LARGEST_MB", 0.001)
    with pytest.raises(validate.CaseError, match="case files may have"):
        case_file.load(path)
    monkeypatch.setattr(powsybl_file, "_LARGEST_UNZIPPED", 1)
    monkeypatch.setattr(pandapower_file, "LARGEST_MB", path.stat().st_size / 1e6 + 1e-4)
    with pytest.raises(validate.CaseError, match="unpacks into"):
        case_file.load(path)


def test_endless_identifiers_are_refused_before_they_take_minutes(tmp_path):
    path = round_trip.write(networks.create_ieee14(), "CGMES", tmp_path)
    with zipfile.ZipFile(path) as archive:
        profiles = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in profiles.items():
            archive.writestr(name, text.replace("_L7-9-1_ACLS", "_L7" + 20_000 * "["))
    folder = tmp_path / "profiles"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    for source in (path, folder, next(folder.glob("*EQ.xml"))):
        with pytest.raises(validate.CaseError, match="has a word of"):
            case_file.load(source)


def test_without_pypowsybl_the_remedy_is_named(tmp_path, monkeypatch):
    path = round_trip.write(networks.create_ieee9(), "PSS/E", tmp_path)
    monkeypatch.setitem(sys.modules, "pypowsybl", None)
    with pytest.raises(
        validate.CaseError, match="PSS/E is read by pypowsybl.*make install-formats"
    ):
        case_file.load(path)
