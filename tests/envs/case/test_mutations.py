"""A thousand damaged case files: each is read as a sound grid or refused by name, nothing else."""

import collections
import dataclasses
import re
import time

import numpy as np
import pytest

from envs.case import case_file, grid, pglib, validate
from envs.powerflow import admittance, base_point, network

PGLIB = pglib.folder()
UNLIMITED = ("rate_mva", "angle_min_rad", "angle_max_rad", "q_min_mvar", "q_max_mvar")
FILES = 1000
SOLVED_PER_SIZE = 40  # of the grids that were read, by number of buses; more add only time
WEIGHTS = {"case14": 0.45, "case30": 0.35, "case57": 0.12, "case118": 0.08}

VALUES = (
    "NaN", "Inf", "-Inf", "0", "-0.0", "-1", "1", "0.5", "2.5", "1e300", "-1e300", "1e-300", "1e9",
    "99999", "9" * 400, "abc", "", "1.2.3", "0x10", "1e", "--1", "1/0", "null", "true", "[1]", "{}",
    "'1'", "'", "%", "é", "\x00", "1,5", ";", "[", "]", "NULL", "(2)", "pi", "+3", "٣",
)  # fmt: skip


def _numbers(text):
    """Returns the spans of the numbers of the data, comments left out."""
    found = re.finditer(r"%[^\n]*|-?\b\d[\d.eE+-]*", text)
    return [match.span() for match in found if match.group()[0] != "%"]


def _pick(rng, items):
    return items[int(rng.integers(len(items)))]


def value(rng, text):
    start, end = _pick(rng, _numbers(text))
    return text[:start] + _pick(rng, VALUES) + text[end:]


def scaled(rng, text):
    start, end = _pick(rng, _numbers(text))
    try:
        number = float(text[start:end])
    except ValueError:
        return text[:start] + text[end:]
    number *= _pick(rng, (-1, 0.5, 1.01, 2, 10, 1e3, 1e-6, 1e12))
    return f"{text[:start]}{number!r}{text[end:]}"


def exchanged(rng, text):
    spans = _numbers(text)
    (a, b), (c, d) = sorted(spans[i] for i in rng.choice(len(spans), 2, replace=False))
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def several_values(rng, text):
    for _ in range(int(rng.integers(2, 6))):
        text = _pick(rng, (value, scaled, exchanged))(rng, text)
    return text


def _lines(change):
    def mutation(rng, text):
        lines = text.splitlines(keepends=True)
        change(rng, lines, int(rng.integers(len(lines))))
        return "".join(lines)

    mutation.__name__ = change.__name__
    return mutation


@_lines
def line_deleted(rng, lines, at):
    del lines[at]


@_lines
def lines_deleted(rng, lines, at):
    del lines[at : at + int(rng.integers(2, 30))]


@_lines
def line_doubled(rng, lines, at):
    lines.insert(at, lines[at])


@_lines
def line_moved(rng, lines, at):
    lines.insert(int(rng.integers(len(lines))), lines.pop(at))


@_lines
def lines_shuffled(rng, lines, at):
    part = lines[at : at + 10]
    lines[at : at + 10] = [part[i] for i in rng.permutation(len(part))]


@_lines
def line_joined(rng, lines, at):
    lines[at] = lines[at].rstrip("\n")


@_lines
def line_half(rng, lines, at):
    lines[at] = lines[at][: len(lines[at]) // 2] + "\n"


@_lines
def line_commented(rng, lines, at):
    lines[at] = "%" + lines[at]


STATEMENTS = (
    "mpc.bus(1, 3) = 5;", "mpc.gen = [];", "mpc.baseMVA = 1;", "mpc.branch = x;", "mpc = 1;",
    "mpc.dcline = [1 2 1];",
)  # fmt: skip


@_lines
def line_assigned(rng, lines, at):
    lines.insert(at, _pick(rng, STATEMENTS) + "\n")


def column_dropped(rng, text):
    lines = text.splitlines(keepends=True)
    column = int(rng.integers(13))
    opened = _pick(rng, [i for i, line in enumerate(lines) if line.rstrip().endswith("[")] or [0])
    for index in range(opened + 1, len(lines)):
        words = lines[index].split("\t")
        if lines[index].startswith("]") or len(words) <= column:
            break
        lines[index] = "\t".join(words[:column] + words[column + 1 :])
    return "".join(lines)


TABLES = (
    "mpc.bus", "mpc.gen", "mpc.gencost", "mpc.branch", "mpc.baseMVA", "mpc.version",
    '"bus"', '"gen"', '"branch"', '"base_mva"', '"source"',
)  # fmt: skip


def table_renamed(rng, text):
    name = _pick(rng, [name for name in TABLES if name in text])
    return text.replace(name, name[:-2] + name[-1], 1)


def table_dropped(rng, text):
    start = _pick(rng, [i for i in range(len(text)) if text[i] in "[{"] or [0])
    end = max(text.find("]", start), text.find("}", start))
    return text[:start] + text[end + 1 :]


def truncated(rng, text):
    return text[: int(rng.integers(len(text)))]


def beheaded(rng, text):
    return text[int(rng.integers(len(text))) :]


def bracket_lost(rng, text):
    at = _pick(rng, [i for i in range(len(text)) if text[i] in "[]{}();:,'\""] or [0])
    return text[:at] + text[at + 1 :]


def bracket_added(rng, text):
    at = int(rng.integers(len(text)))
    return text[:at] + _pick(rng, "[]{}();:,'\"%=") * int(rng.integers(1, 4)) + text[at:]


def signs_flipped(rng, text):
    at = int(rng.integers(len(text)))
    return (
        text[:at]
        + text[at : at + 400].replace("\t ", "\t-").replace(", ", ", -")
        + text[at + 400 :]
    )


def bytes_flipped(rng, text):
    data = bytearray(text.encode())
    for at in rng.integers(len(data), size=int(rng.integers(1, 8))):
        data[at] = int(rng.integers(256))
    return bytes(data)


def garbage(rng, text):
    size = int(rng.integers(2000))
    if rng.random() < 0.5:
        return rng.bytes(size)
    at = int(rng.integers(len(text)))
    return text[:at].encode() + rng.bytes(size) + text[at:].encode()


def encoded(rng, text):
    return text.encode(_pick(rng, ("utf-16", "utf-8-sig", "utf-32", "utf-7", "cp037")))


def nested(rng, text):
    start, end = _pick(rng, _numbers(text))
    depth = int(rng.integers(1, 20_000))
    return text[:start] + "[" * depth + text[start:end] + "]" * depth + text[end:]


def harmless(rng, text):
    return _pick(rng, (text + "\n\n", text.replace("\n", "\r\n"), text.replace("  ", "    ")))


MUTATIONS = (
    value, value, value, value, scaled, scaled, scaled, scaled, exchanged, exchanged,
    several_values, line_deleted, lines_deleted, line_doubled, line_moved, line_moved,
    lines_shuffled, line_joined, line_half, line_commented, line_assigned, column_dropped,
    table_renamed, table_dropped, truncated, beheaded, bracket_lost, bracket_added, signs_flipped,
    bytes_flipped, garbage, encoded, nested, harmless,
)  # fmt: skip


def _mutants(folder):
    """Yields (mutation, path of the damaged file), the same every time."""
    rng = np.random.default_rng(20240607)
    texts = {}
    for name in WEIGHTS:
        text = (PGLIB / pglib.FILES[name]).read_text()
        # PGLib's notes of how the case was made, as long as the data, can be damaged at no risk.
        texts[name, ".m"] = text[text.index("function") : text.rindex("];") + 3]
        texts[name, ".json"] = (case_file.SHIPPED / f"{name}.json").read_text()
    for number in range(FILES):
        name = rng.choice(list(WEIGHTS), p=list(WEIGHTS.values()))
        suffix = ".m" if number % 5 < 3 else ".json"
        mutation = MUTATIONS[number % len(MUTATIONS)]
        damaged = mutation(rng, texts[name, suffix])
        path = folder / f"{number}-{mutation.__name__}{suffix}"
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        yield mutation.__name__, path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Every damaged file with what became of it: a grid or a CaseError; and the longest time."""
    found, slowest = [], 0.0
    for mutation, path in _mutants(tmp_path_factory.mktemp("mutants")):
        start = time.perf_counter()
        try:
            result = case_file.load(str(path))
        except validate.CaseError as error:
            result = error
        slowest = max(slowest, time.perf_counter() - start)  # any other exception ends the test
        found.append((mutation, path, result))
    return found, slowest


def test_damaged_files_are_read_or_refused_by_name_and_soon(outcome):
    found, slowest = outcome
    kinds = collections.Counter(isinstance(result, grid.Grid) for _, _, result in found)
    print(f"{kinds[True]} read, {kinds[False]} refused, the slowest took {slowest:.2f} s")
    assert len(found) == FILES
    assert kinds[True] >= 200 and kinds[False] >= 500, kinds
    assert slowest < 2.0
    for mutation, path, result in found:
        if isinstance(result, validate.CaseError):
            message = str(result)
            assert message.startswith(f"{path}: ") and len(message) < 600, (mutation, message)


def test_every_mutation_is_noticed_and_messages_are_many(outcome):
    found, _ = outcome
    refused = collections.Counter(m for m, _, r in found if isinstance(r, validate.CaseError))
    assert set(refused) == {mutation.__name__ for mutation in MUTATIONS} - {"harmless"}
    named = sum(", row " in str(r) for _, _, r in found if isinstance(r, validate.CaseError))
    assert named >= 200


def test_what_is_read_is_sound(outcome):
    for _, path, result in outcome[0]:
        if not isinstance(result, grid.Grid):
            continue
        assert validate.check(result, str(path)) is result
        bus, branch, gen = result.bus, result.branch, result.gen
        columns = [
            getattr(table, field.name)
            for table in (bus, branch, gen)
            for field in dataclasses.fields(table)
            if field.name not in UNLIMITED
        ]
        for column in columns:
            assert np.isfinite(column.astype(np.float32)).all()
            assert np.isfinite(np.square(column.astype(np.float32))).all()
        assert not np.isnan(branch.rate_mva).any()
        assert (branch.angle_min_rad <= branch.angle_max_rad).all()
        assert (gen.q_min_mvar <= gen.q_max_mvar).all()


def test_what_is_read_solves_or_says_that_it_did_not(outcome):
    counts, solved = collections.Counter(), collections.Counter()
    for _, path, result in outcome[0]:
        if not isinstance(result, grid.Grid) or counts[result.n_bus] >= SOLVED_PER_SIZE:
            continue
        counts[result.n_bus] += 1
        net = network.build(result)
        found = net.base
        solved[found.converged] += 1
        for array in (found.vm_pu, found.va_rad, net.chord.inverse, *net.decoupled):
            assert np.isfinite(array).all(), path
        if found.converged:
            y_bus = admittance.bus_admittance(result)
            voltage = found.vm_pu * np.exp(1j * found.va_rad)
            left = (voltage * np.conj(y_bus @ voltage)).real
            p, _ = base_point.nominal_injections(result)
            slack = (left - p).sum()
            np.testing.assert_allclose(left, p + slack * found.participation, atol=1e-6)
    print(f"{solved[True]} solved, {solved[False]} did not converge")
    assert solved[True] >= 40
