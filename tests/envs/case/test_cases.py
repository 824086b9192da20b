"""Case files: what ships equals PGLib, and what cannot be used is refused by name."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandapower
import pytest

from envs.case import case_file, matpower, pglib, validate

PGLIB = pglib.folder()
CASE14 = PGLIB / "pglib_opf_case14_ieee.m"


@pytest.mark.parametrize("name", pglib.FILES)
def test_every_case_of_pglib_that_ships_equals_it(name):
    shipped, read = case_file.load(name), matpower.read(PGLIB / pglib.FILES[name])
    assert shipped.base_mva == read.base_mva
    for table in ("bus", "branch", "gen"):
        for field in dataclasses.fields(getattr(read, table)):
            np.testing.assert_array_equal(
                getattr(getattr(shipped, table), field.name),
                getattr(getattr(read, table), field.name),
                err_msg=f"{table}.{field.name}",
            )
    assert "CC-BY-4.0" in shipped.source and "PGLib-OPF v23.07" in shipped.source
    assert shipped.source.startswith(pglib.FILES[name])


def test_the_shipped_cases_are_those_of_pglib_in_order_of_size_and_a_feeder():
    names = ["case14", "case30", "case57", "case118", "case300", "case1354"]
    assert list(pglib.FILES) == names
    assert case_file.names() == [*names, "ieee13_mg"]


def test_the_shipped_cases_stay_small():
    sizes = {path.stem: path.stat().st_size for path in case_file.SHIPPED.glob("*.json")}
    assert sizes["case1354"] < 300_000 and sum(sizes.values()) < 500_000, sizes


def _parallel(grid):
    ends = np.sort(np.stack([grid.branch.from_bus, grid.branch.to_bus]), axis=0)
    return grid.n_branch - np.unique(ends, axis=1).shape[1]


def _silent(grid):
    """Numbers of the buses with neither load nor generator."""
    return np.setdiff1d(grid.bus.id, grid.bus.id[np.union1d(grid.loads, grid.gen.bus)])


def test_known_numbers_of_case14(case14):
    assert (case14.n_bus, case14.n_branch, case14.n_gen) == (14, 20, 5)
    assert case14.units.tolist() == [0, 1] and case14.condensers.tolist() == [2, 3, 4]
    assert case14.bus.load_p_mw.sum() == pytest.approx(259.0)
    assert _silent(case14).tolist() == [7]


def test_known_numbers_of_case118():
    grid = case_file.load("case118")
    assert (grid.n_bus, grid.n_branch, grid.n_gen) == (118, 186, 54)
    assert (grid.units.size, grid.condensers.size, grid.loads.size) == (19, 35, 99)
    assert (grid.bus.load_p_mw > 0).sum() == 99
    assert _parallel(grid) == 7
    assert grid.bus.load_p_mw.sum() == pytest.approx(4242.0)
    assert _silent(grid).tolist() == [5, 9, 30, 37, 38, 63, 64, 68, 71, 81]


def test_what_is_unusual_in_the_large_cases_is_kept():
    case300, case1354 = case_file.load("case300"), case_file.load("case1354")
    assert (case300.branch.x_pu < 0).sum() == 1  # a series capacitor
    assert (case300.branch.shift_rad != 0).sum() == 1
    assert (case300.bus.load_p_mw < 0).sum() == 8
    assert case300.bus.id.max() == 9533  # numbers are no indices
    assert (case1354.branch.shift_rad != 0).sum() == 6
    assert (case1354.bus.load_p_mw < 0).sum() == 52
    assert (case1354.gen.p_min_mw < 0).sum() == 67
    assert _parallel(case1354) == 281


def test_limits_of_angle_differences_are_read(case14):
    sad = matpower.read(PGLIB / "sad" / "pglib_opf_case14_ieee__sad.m").branch
    np.testing.assert_allclose(np.rad2deg(sad.angle_max_rad), 8.609764, rtol=1e-6)
    np.testing.assert_array_equal(sad.angle_min_rad, -sad.angle_max_rad)
    np.testing.assert_allclose(np.rad2deg(case14.branch.angle_max_rad), 30.0)


@pytest.mark.parametrize(
    "columns, low, high",
    [
        ("0.0 0.0", -np.inf, np.inf),
        ("-360 360", -np.inf, np.inf),
        ("-400 10", -np.inf, np.deg2rad(10.0)),
        ("-Inf 10", -np.inf, np.deg2rad(10.0)),
        ("0 10", 0.0, np.deg2rad(10.0)),
        ("", -np.inf, np.inf),
    ],
)
def test_angle_differences_are_unconstrained_as_in_matpower(tmp_path, columns, low, high):
    path = tmp_path / "angles.m"
    text = CASE14.read_text()
    assert text.count("\t 1\t -30.0\t 30.0;") == 20
    path.write_text(text.replace("\t 1\t -30.0\t 30.0;", f"\t 1\t {columns};"))
    branch = matpower.read(path).branch
    assert set(branch.angle_min_rad) == {low} and set(branch.angle_max_rad) == {high}


def test_a_json_file_from_before_angle_limits_has_none(case14, tmp_path):
    path = tmp_path / "old.json"
    data = json.loads((case_file.SHIPPED / "case14.json").read_text())
    for column in ("angle_min_rad", "angle_max_rad"):
        del data["branch"][column]
    path.write_text(json.dumps(data))
    branch = case_file.read_json(path).branch
    assert np.all(branch.angle_min_rad == -np.inf) and np.all(branch.angle_max_rad == np.inf)
    np.testing.assert_array_equal(branch.rate_mva, case14.branch.rate_mva)


def test_json_round_trip_keeps_missing_limits(case14, tmp_path):
    no_limit = np.array([np.inf] * 20)
    low = np.array([-np.inf] + [0.0] * 4)
    grid = dataclasses.replace(
        case14,
        branch=dataclasses.replace(
            case14.branch, rate_mva=no_limit, angle_min_rad=-no_limit, angle_max_rad=no_limit
        ),
        gen=dataclasses.replace(case14.gen, q_min_mvar=low),
    )
    case_file.write_json(grid, tmp_path / "g.json")
    again = case_file.read_json(tmp_path / "g.json")
    assert np.all(again.branch.angle_min_rad == -np.inf)
    assert np.all(again.branch.angle_max_rad == np.inf)
    assert np.all(again.branch.rate_mva == np.inf) and again.gen.q_min_mvar[0] == -np.inf


@pytest.mark.parametrize("case", ["case5_pjm", "case39_epri", "case200_activ"])
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
        ("21.7\t 12.7", "NaN\t 12.7", "table bus, row 2: PD is nan, it must be a finite number"),
        ("21.7\t 12.7", "x21\t 12.7", "table bus, row 2, column 3: 'x21' is not a number"),
        ("21.7\t 12.7", "12.7", "table bus, row 2 has 12 columns"),
        ("21.7\t 12.7", "1e300\t 12.7", "table bus, row 2: load_p_mw must be between"),
        ("0.01938\t 0.05917", "1e-9\t 0.0", "table branch, row 1: impedance is zero or below"),
        ("\t6\t 11\t", "\t6\t 11.5\t", "table branch, row 11: T_BUS is 11.5, it must be a whole"),
        ("\t 40.0\t 0.0\t", "\t 40.0\t 50.0\t", "table gen, row 3: Qmin is above Qmax"),
        ("0.000000\t   7.9", "-1.0\t   7.9", "table gen, row 1: cost_c2 must be between 0 and"),
        ("3\t   0.000000\t   7.9", "7\t   0.000000\t   7.9", "table gencost, row 1: only poly"),
        ("'2'", "'1'", "mpc.version is '1', only '2' is read"),
        ("100.0;", "-100;", "baseMVA is -100.0"),
        ("100.0;", "oops;", "mpc.baseMVA is 'oops', not a number"),
        (
            "];",
            "];\nmpc.bus(:, 3) = 2 * mpc.bus(:, 3);",
            "table mpc.bus is assigned more than once",
        ),
        ("];", "];\nmpc.dcline = [1 2 1 0];", "DC lines are not modelled"),
        ("1.06000\t    0.94000", "0.90\t    0.94000", "table bus, row 1: Vmin is above Vmax"),
        ("\t 340\t 0.0;", "\t 340\t 400.0;", "table gen, row 1: Pmin is above Pmax"),
        ("\t6\t 11\t", "\t6\t 99\t", "table branch, row 11: tbus is 99"),
        ("-30.0\t 30.0;", "31.0\t 30.0;", "table branch, row 1: ANGMIN is above ANGMAX"),
        ("-30.0\t 30.0;", "NaN\t 30.0;", "table branch, row 1: ANGMIN is nan, it must be a number"),
        ("mpc.branch = [", "mpc.brunch = [", "branch"),
    ],
)
def test_bad_cases_are_refused_with_file_table_and_row(tmp_path, old, new, message):
    path = _mutated(tmp_path, old, new)
    with pytest.raises(validate.CaseError) as error:
        matpower.read(path)
    assert message in str(error.value) and str(path) in str(error.value)


def _without_largest(tmp_path):
    """Writes case14 without the generator at its reference bus, bus 1."""
    path = tmp_path / "moved.m"
    path.write_text(CASE14.read_text().replace("\t 100.0\t 1\t 340", "\t 100.0\t 0\t 340", 1))
    return path


def test_a_reference_bus_without_generator_gives_way_to_the_largest_unit_and_says_so_once(
    tmp_path, caplog
):
    path = _without_largest(tmp_path)
    grid, again = matpower.read(path), matpower.read(path)
    assert grid.bus.id[grid.reference_bus] == 2
    assert grid.bus.type.tolist() == again.bus.type.tolist()
    assert grid.bus.type.tolist() == [1, 3, 2, 1, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: reference bus 1 has no generator in service; bus 2, which has the largest unit "
        "(59 MW), takes its place"
    ]


@pytest.mark.parametrize(
    "case, file, taken",
    [
        ("case500_goc", 311, 312),
        ("case1888_rte", 1320, 1675),
        ("case1951_rte", 1320, 1675),
        ("case2848_rte", 1759, 2321),
        ("case2868_rte", 1759, 2321),
    ],
)
def test_pglib_files_whose_reference_bus_has_no_generator_are_read(case, file, taken, caplog):
    grid = matpower.read(PGLIB / f"pglib_opf_{case}.m")
    at_reference = grid.gen.p_max_mw[grid.gen.bus == grid.reference_bus]
    assert at_reference.max() == grid.gen.p_max_mw.max()
    said = [record.getMessage() for record in caplog.records]
    said = "".join(line for line in said if "of type PQ have generators" not in line)
    assert f"reference bus {file} has no generator in service; bus {taken}, " in said


def test_convert_says_which_bus_became_the_reference(tmp_path):
    path, out = _without_largest(tmp_path), tmp_path / "moved.json"
    answer = _convert(path, f"--out={out}", "--source=me")
    assert answer.returncode == 0, answer.stderr
    assert "reference bus 1 has no generator in service; bus 2" in answer.stderr
    assert case_file.read_json(out).reference_bus == 1


def test_rows_are_counted_as_in_the_file_when_some_are_out_of_service(tmp_path):
    text = CASE14.read_text().replace("\t 1\t -30.0\t 30.0;", "\t 0\t -30.0\t 30.0;", 1)
    path = tmp_path / "row.m"
    path.write_text(text.replace("\t6\t 11\t", "\t6\t 99\t"))
    with pytest.raises(validate.CaseError, match="table branch, row 11: tbus is 99"):
        matpower.read(path)
    path.write_text(text.replace("0.09498\t 0.1989", "0\t 0"))
    with pytest.raises(validate.CaseError, match="table branch, row 11: impedance"):
        matpower.read(path)


def test_the_layout_of_a_matpower_file_does_not_matter(case14, tmp_path):
    text = CASE14.read_text()
    one_line = text.replace(";\n\t", "; ").replace("\t", ", ")
    commented = "%{\nmpc.bus = [9 9 9];\n%}\n" + text.replace(
        "mpc.gen = [", "% mpc.gen = [1 2 3];\nmpc.gen = ["
    )
    for index, variant in enumerate((text.replace("\n", "\r\n"), one_line, commented)):
        assert variant != text
        path = tmp_path / f"{index}.m"
        path.write_bytes(variant.encode())
        read = matpower.read(path)
        np.testing.assert_array_equal(read.bus.load_p_mw, case14.bus.load_p_mw)
        np.testing.assert_array_equal(read.gen.p_max_mw, case14.gen.p_max_mw)
        np.testing.assert_array_equal(read.branch.x_pu, case14.branch.x_pu)


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
    for content in (json.dumps({"name": "x"}), "[" * 100_000, "[1]", '{"name": 1, "name": 2}'):
        path.write_text(content)
        with pytest.raises(validate.CaseError, match="no.json: not a Gridracer case file"):
            case_file.load(str(path))


@pytest.mark.parametrize(
    "table, column, row, value, message",
    [
        ("bus", "id", 3, "four", 'table bus, row 4: id is "four", it must be a number'),
        ("bus", "id", 3, 4.5, "table bus, row 4: id is 4.5, it must be a whole number"),
        ("bus", "load_p_mw", 1, None, "table bus, row 2: load_p_mw is null"),
        ("bus", "load_p_mw", 1, float("nan"), "table bus, row 2: load_p_mw is NaN"),
        ("branch", "to_bus", 0, 14, "table branch, row 1: names a bus that is not there"),
        ("gen", "p_max_mw", 1, [1], "table gen, row 2: p_max_mw is [1]"),
    ],
)
def test_a_bad_value_in_json_is_named(case14, tmp_path, table, column, row, value, message):
    path = tmp_path / "bad.json"
    data = json.loads((case_file.SHIPPED / "case14.json").read_text())
    data[table][column][row] = value
    path.write_text(json.dumps(data))
    with pytest.raises(validate.CaseError) as error:
        case_file.load(str(path))
    assert message in str(error.value) and str(path) in str(error.value)


def test_a_misspelt_column_in_json_suggests_the_nearest(tmp_path):
    path = tmp_path / "bad.json"
    text = (case_file.SHIPPED / "case14.json").read_text()
    path.write_text(text.replace("load_p_mw", "load_p_nw"))
    with pytest.raises(
        validate.CaseError, match="load_p_nw is not known here; did you mean load_p_mw"
    ):
        case_file.load(str(path))


def _convert(*arguments):
    command = [sys.executable, "-m", "envs.case.convert", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_convert_makes_the_shipped_file_again(tmp_path):
    out, file = tmp_path / "case30.json", PGLIB / pglib.FILES["case30"]
    done = _convert(file, "--name=case30", f"--out={out}", f"--source={pglib.SOURCE}")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (case_file.SHIPPED / "case30.json").read_bytes()


def test_convert_calls_nobodys_file_pglibs(tmp_path):
    out = tmp_path / "case14.json"
    done = _convert(CASE14, f"--out={out}")
    assert done.returncode == 2 and "--source" in done.stderr and not out.exists()
    assert _convert(CASE14, f"--out={out}", "--source=me, CC0").returncode == 0
    assert case_file.read_json(out).source == f"{CASE14.name}, me, CC0"
    done = _convert("--all", "--source=me")
    assert done.returncode == 2 and "nor --source" in done.stderr


@pytest.mark.parametrize("flags", [(), ("--out=./case14.json",), ("--out=a", "--fleet=a")])
def test_convert_writes_over_nothing_that_it_reads_or_writes(tmp_path, flags):
    file = tmp_path / "case14.json"
    pandapower.to_json(pandapower.networks.case14(), str(file))
    before = file.read_bytes()
    command = [sys.executable, "-m", "envs.case.convert", "case14.json", "--source=me", *flags]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "; give another --" in done.stderr, done.stderr
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_what_is_no_case_is_refused(tmp_path):
    with pytest.raises(validate.CaseError, match="a case is a name, .* not of type int"):
        case_file.load(3)
    path = tmp_path / "cut.json"
    path.write_bytes((case_file.SHIPPED / "case14.json").read_bytes()[:500])
    with pytest.raises(validate.CaseError, match="cut.json: no JSON, or cut off: "):
        case_file.load(path)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean case14"):
        case_file.load("case41")


def test_branches_are_found_by_the_numbers_of_their_buses():
    grid = case_file.load("case118")
    assert list(grid.branches_between(42, 49)) == list(grid.branches_between(49, 42)) == [65, 66]
    for index in (0, 65, grid.n_branch - 1):
        ends = grid.bus.id[[grid.branch.from_bus[index], grid.branch.to_bus[index]]]
        assert index in grid.branches_between(*ends)
    with pytest.raises(ValueError, match="case118 has no bus 999"):
        grid.branches_between(1, 999)
    with pytest.raises(ValueError, match="no branch in service between 1 and 118"):
        grid.branches_between(1, 118)
