"""A thousand damaged case files: each is read as a sound grid or refused by name, nothing else."""

import collections
import dataclasses
import time

import numpy as np
import pytest
from support import mutations

from envs.case import case_file, grid, pglib, validate
from envs.powerflow import base_point, matrices, network

PGLIB = pglib.folder()
UNLIMITED = ("rate_mva", "angle_min_rad", "angle_max_rad", "q_min_mvar", "q_max_mvar")
FILES = 1000
SOLVED_PER_SIZE = 40  # of the grids that were read, by number of buses; more add only time
WEIGHTS = {"case14": 0.45, "case30": 0.35, "case57": 0.12, "case118": 0.08}


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
        mutation = mutations.MUTATIONS[number % len(mutations.MUTATIONS)]
        damaged = mutation(rng, texts[name, suffix])
        path = folder / f"{number}-{mutation.__name__}{suffix}"
        path.write_bytes(damaged if isinstance(damaged, bytes) else damaged.encode())
        yield mutation.__name__, path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Every damaged file with what became of it: a grid or a CaseError; and the longest time."""
    outcomes, slowest = [], 0.0
    for mutation, path in _mutants(tmp_path_factory.mktemp("mutants")):
        start = time.perf_counter()
        try:
            result = case_file.load(str(path))
        except validate.CaseError as error:
            result = error
        slowest = max(slowest, time.perf_counter() - start)  # any other exception ends the test
        outcomes.append((mutation, path, result))
    return outcomes, slowest


def test_damaged_files_are_read_or_refused_by_name_and_soon(outcome):
    outcomes, slowest = outcome
    kinds = collections.Counter(isinstance(result, grid.Grid) for _, _, result in outcomes)
    print(f"{kinds[True]} read, {kinds[False]} refused, the slowest took {slowest:.2f} s")
    assert len(outcomes) == FILES
    assert kinds[True] >= 200 and kinds[False] >= 500, kinds
    assert slowest < 2.0
    for mutation, path, result in outcomes:
        if isinstance(result, validate.CaseError):
            message = str(result)
            assert message.startswith(f"{path}: ") and len(message) < 600, (mutation, message)


def test_every_mutation_is_noticed_and_messages_are_many(outcome):
    outcomes, _ = outcome
    refused = collections.Counter(m for m, _, r in outcomes if isinstance(r, validate.CaseError))
    assert set(refused) == {mutation.__name__ for mutation in mutations.MUTATIONS} - {"harmless"}
    named = sum(", row " in str(r) for _, _, r in outcomes if isinstance(r, validate.CaseError))
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


@pytest.mark.slow
def test_what_is_read_solves_or_says_that_it_did_not(outcome):
    counts, solved = collections.Counter(), collections.Counter()
    for _, path, result in outcome[0]:
        if not isinstance(result, grid.Grid) or counts[result.n_bus] >= SOLVED_PER_SIZE:
            continue
        counts[result.n_bus] += 1
        net = network.build(result)
        base = net.base
        solved[base.converged] += 1
        for array in (base.vm_pu, base.va_rad, net.inverse_jacobian, *net.decoupled):
            assert np.isfinite(array).all(), path
        if base.converged:
            y_bus = matrices.bus_admittance(result)
            voltage = base.vm_pu * np.exp(1j * base.va_rad)
            left = (voltage * np.conj(y_bus @ voltage)).real
            p, _ = base_point.nominal_injections(result)
            slack = (left - p).sum()
            np.testing.assert_allclose(left, p + slack * base.participation, atol=1e-6)
    print(f"{solved[True]} solved, {solved[False]} did not converge")
    assert solved[True] >= 40
