"""MATPOWER's struct, from memory and from .mat files: as the .m file, and what it may lack."""

import copy

import numpy as np
import pytest
import scipy.io
from matpowercaseframes import CaseFrames
from pandapower import networks
from pandapower.converter.pypower import to_ppc

from envs.case import case_file, digest, matpower, pglib, validate
from envs.powerflow import matrices

FILE = pglib.folder() / pglib.FILES["case30"]


def _struct(path=FILE):
    """Returns what MATPOWER's loadcase does."""
    frames = CaseFrames(str(path))
    tables = ("bus", "branch", "gen", "gencost")
    return {
        "version": frames.version, "baseMVA": frames.baseMVA,
        **{table: getattr(frames, table).to_numpy() for table in tables},
    }  # fmt: skip


def _changed(table, row, column, value):
    data = _struct()
    data[table] = data[table].astype(float)
    data[table][row, column] = value
    return data


@pytest.mark.parametrize("case", ["case14", "case118"])
def test_a_struct_and_a_mat_file_are_read_as_the_m_file_is(tmp_path, case):
    file = pglib.folder() / pglib.FILES[case]
    expected = matpower.read(file)
    path = tmp_path / "mine.mat"
    scipy.io.savemat(path, {"mpc": _struct(file)})
    for source in (_struct(file), path, str(path)):
        conversion = case_file.read(source)
        assert digest.hexdigest(conversion.grid) == digest.hexdigest(expected)
        assert not conversion.notes
    assert case_file.load(path).name == "mine"


def test_pypower_tables_that_pandapower_writes_are_read():
    ppc = to_ppc(networks.case39(), init="flat", mode="pf")
    conversion = case_file.read(ppc)
    grid = conversion.grid
    assert list(grid.bus.id[:3]) == [1, 2, 3]
    assert "bus: numbers from 0 became numbers from 1" in conversion.lines()
    assert {note.element for note in conversion.notes} == {"bus", "gen"}
    assert (grid.gen.cost_c1 == 40.0).all()
    assert (np.abs(grid.gen.p_max_mw) < 1e5).all()
    theirs = case_file.load("pandapower:case39")
    places = [int(np.flatnonzero(theirs.bus.id == number)[0]) for number in grid.bus.id]
    np.testing.assert_allclose(
        matrices.bus_admittance(grid).toarray(),
        matrices.bus_admittance(theirs).toarray()[np.ix_(places, places)],
        atol=1e-9,
    )


@pytest.mark.parametrize("first", [0, 1])
def test_dc_lines_become_loads_and_condensers(first):
    data = _struct()
    # fbus tbus status Pf Pt Qf Qt Vf Vt Pmin Pmax QminF QmaxF QminT QmaxT loss0 loss1
    line = [3, 30, 1, 10, 8.9, 0, 0, 1.01, 1.02, -10, 10, -5, 5, -4, 4, 1, 0.01]
    off = [4, 29, 0, *line[3:]]
    before = case_file.load(data)
    data["dcline"] = np.array([line, off], float)
    for table, columns in (("bus", [0]), ("branch", [0, 1]), ("gen", [0]), ("dcline", [0, 1])):
        data[table][:, columns] += first - 1
    conversion = case_file.read(data)
    grid = conversion.grid
    change = grid.bus.load_p_mw - before.bus.load_p_mw
    moved = {int(n): x for n, x in zip(grid.bus.id, change) if x}
    assert moved == {3: 10.0, 30: pytest.approx(-8.9)}  # 10 − 1 − 1 %
    ends = grid.gen.bus[before.n_gen :]
    assert list(grid.bus.id[ends]) == [3, 30]
    assert list(grid.gen.vm_setpoint_pu[before.n_gen :]) == [1.01, 1.02]
    assert list(grid.gen.q_max_mvar[before.n_gen :]) == [5.0, 4.0]
    assert (grid.gen.p_max_mw[before.n_gen :] == 0).all()
    assert [note.element for note in conversion.notes if "condensers" in note.text] == ["dcline"]


def test_generators_at_pq_buses_hold_their_set_points_and_that_is_told(tmp_path, caplog):
    usual = _struct()
    at = int(usual["gen"][1, 0])
    data = _changed("bus", at - 1, 1, 1)
    conversion = case_file.read(data)
    told = "1 of type PQ have generators in service, which hold their set-points VG"
    assert f"bus number: {told} ({at})" in conversion.lines()
    assert digest.hexdigest(conversion.grid) == digest.hexdigest(case_file.read(usual).grid)
    text = FILE.read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"\t{at}\t 2"))
    path = tmp_path / "mine.m"
    path.write_text(text.replace(row, row.replace(" 2", " 1", 1)))
    case_file.load(path)
    assert f"{path}: bus number: 1 of type PQ" in caplog.text


def test_limits_that_are_none_are_assumed_and_told():
    data = _struct()
    data["bus"][:, 11] = 2.0  # Vmax
    data["gen"][:, 8], data["gen"][:, 3:5] = 1e9, np.array([1e9, -1e9])
    data.pop("gencost")
    conversion = case_file.read(data)
    grid, lines = conversion.grid, conversion.lines()
    assert (grid.bus.vm_max_pu == 1.1).all() and np.isinf(grid.gen.q_min_mvar).all()
    assert np.allclose(grid.gen.p_max_mw, np.maximum(grid.bus.load_p_mw.sum(), 1.2 * grid.gen.p_mw))
    assert sum("40 $/MWh assumed" in line for line in lines) == 1
    assert sum("the sum of all loads assumed" in line for line in lines) == 1


@pytest.mark.parametrize(
    "data, message",
    [
        ({}, "it needs baseMVA"),
        ({**_struct(), "version": "1"}, "only '2' is read"),
        ({**_struct(), "baseMVA": "much"}, "not a number"),
        ({**_struct(), "bus": "none"}, "table bus is no matrix"),
        ({**_struct(), "bus": np.ones((30, 4))}, r"table bus has the shape \(30, 4\)"),
        (_changed("branch", 3, 0, 99), "table branch, row 4: fbus is 99"),
        (_changed("bus", 3, 2, np.nan), "table bus, row 4: PD is nan"),
        (_changed("gencost", 0, 0, 1), "only polynomial costs"),
        ({**_struct(), "dcline": [[1, 2, 1]]}, "table dcline has 3 columns"),
    ],
)
def test_what_cannot_be_used_is_refused(data, message):
    with pytest.raises(validate.CaseError, match=message):
        case_file.read(copy.deepcopy(data))


def test_files_that_are_no_cases_are_refused(tmp_path):
    path = tmp_path / "other.mat"
    scipy.io.savemat(path, {"x": np.eye(3)})
    with pytest.raises(validate.CaseError, match="no struct with baseMVA"):
        case_file.load(path)
    path.write_bytes(
        b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + b"\0" * 99
    )
    with pytest.raises(validate.CaseError, match="write it with save -v7"):
        case_file.load(path)
    path.write_text("nothing")
    with pytest.raises(validate.CaseError, match="not a .mat file"):
        case_file.load(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no such case file"):
        case_file.load(path)
