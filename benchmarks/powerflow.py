"""Measures power flows: ours and the peers', on the same grid and the same injections."""

from collections.abc import Callable

import numpy as np

from benchmarks import comparison, ours_powerflow, problem as problem_lib, timing
from benchmarks.comparison import Settings
from envs.case import case_file
from envs.inputs import choices

CASES = ("case14", "case118", "case300", "case1354")
BATCHES = (1, 16, 64, 256, 1024, 4096)
_PANDAPOWER_SOLVES = 20
_PEER_TIMEOUT_S = 900.0
_PATIENCE = 10.0  # a batch expected to take this many times `seconds` is not begun


def check(settings: Settings) -> None:
    """Raises a ValueError or FileNotFoundError that names the flag or case that cannot be."""
    for method in settings.methods:
        choices.require("--methods", method, ours_powerflow.METHODS)
    for case in settings.cases:
        case_file.load(case)


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns the settings and the results of every case; `say` is told the progress."""
    cases = [_case(name, settings, say) for name in settings.cases]
    return {
        "settings": {
            "tolerance_pu": settings.tolerance_pu,
            "load_spread": problem_lib.LOAD_SPREAD,
            "start": "the solved base",
            "threads": settings.threads,
            "seed": settings.seed,
        },
        "rates": {"copy_gb_per_s": timing.copy_gb_per_s()},
        "cases": cases,
    }


def _case(name: str, settings: Settings, say) -> dict:
    grid = case_file.load(name)
    label = grid.name
    say(f"{label}: drawing {max(settings.batches):,} problems around a solved base")
    problem = problem_lib.draw(grid, max(settings.batches), settings.seed)
    ours = []
    for method in settings.methods or ours_powerflow.METHODS:
        ours += _ours(grid, problem, method, settings, lambda text: say(f"{label}: {text}"))
    peers = _peers(problem, settings, lambda text: say(f"{label}: {text}"))
    return {
        "case": name,
        "name": grid.name,
        "n_bus": grid.n_bus,
        "n_branch": grid.n_branch,
        "n_gen": grid.n_gen,
        "source": grid.source,
        "ours": ours,
        "sgemm": [timing.sgemm_gflops(grid.n_bus, batch) for batch in settings.batches],
        "peers": peers,
        "best": _best(ours, peers),
    }


def _ours(grid, problem, method: str, settings: Settings, say) -> list[dict]:
    """Returns one row for each batch, smallest first."""
    rows, largest = [], ours_powerflow.METHODS[method].largest_batch(grid)
    expected_s = 0.0
    for batch in sorted(settings.batches):
        row = {"method": method, "batch": batch}
        if batch > largest:
            row["skipped"] = f"{method} on {grid.n_bus} buses takes batches up to {largest}"
        elif expected_s * batch > _PATIENCE * settings.seconds:
            row["skipped"] = f"would take about {expected_s * batch:.0f} s; raise --seconds"
        else:
            row |= _timed(grid, problem.first(batch), method, settings)
            expected_s = row["seconds"]["median"] / batch
            say(f"{method}, batch {batch:,}: {row['solves_per_s']:,.0f} solves/s")
        if "skipped" in row:
            say(f"{method}, batch {batch:,}: skipped, {row['skipped']}")
        rows.append(row)
    return rows


def _timed(grid, problem, method: str, settings: Settings) -> dict:
    prepared = ours_powerflow.METHODS[method].prepare(grid, problem, settings.tolerance_pu)
    taken = timing.measure(prepared.run, settings.repeats, settings.seconds)
    reported = prepared.report()
    per_second = problem.size / taken["median"]
    flops = prepared.flops_per_iteration
    return {
        "seconds": taken,
        "solves_per_s": per_second,
        **reported,
        **_reference_check(problem, *prepared.voltages(), settings.tolerance_pu),
        "arithmetic": {
            "flops_per_iteration": flops,
            "gflops_reached": flops and 1e-9 * flops * reported["iterations"] * per_second,
        },
    }


def _reference_check(problem: problem_lib.Problem, vm_pu, va_rad, tolerance_pu: float) -> dict:
    """Returns what the voltages are worth, in float64 and by nobody's solver."""
    residual = problem.residual(vm_pu, va_rad)
    return {
        "max_mismatch_pu": float(residual.mismatch_pu.max()),
        "within_tolerance_share": float(np.mean(residual.mismatch_pu <= tolerance_pu)),
        "max_setpoint_error_pu": float(residual.setpoint_error_pu.max()),
    }


def _peers(problem: problem_lib.Problem, settings: Settings, say) -> dict[str, dict]:
    """Returns each peer's report by its name, checked like ours; empty without peers."""
    if settings.python is None:
        return {}
    options = {
        "lightsim2grid": {
            "batches": ",".join(map(str, settings.batches)),
            "threads": settings.threads,
            "repeats": settings.repeats,
        },
        "pandapower": {"count": _PANDAPOWER_SOLVES},
    }
    reports = {}
    for peer, own in options.items():
        report, voltages = problem.solve_by_peer(
            settings.python, f"{peer}_powerflow", _PEER_TIMEOUT_S,
            tolerance=settings.tolerance_pu, **own,
        )  # fmt: skip
        if "error" in report:
            say(f"{peer}: {report['error']}")
        else:
            solved = problem.first(len(voltages["vm_pu"]))
            report["reference_check"] = _reference_check(
                solved, **voltages, tolerance_pu=settings.tolerance_pu
            )
            fastest = max(row["solves_per_s"] for row in report["results"])
            say(f"{peer}: {fastest:,.0f} solves/s")
        reports[peer] = report
    return reports


def _best(ours: list[dict], peers: dict[str, dict]) -> dict:
    """Returns the fastest that solved every problem to the tolerance, of us and of each peer.

    A peer is checked on its largest batch. Ratios are ours over the peer's.
    """
    fastest = lambda rows: max((row["solves_per_s"] for row in rows), default=None)
    solved = lambda row: row.get("within_tolerance_share") == 1.0
    rates = {
        name: fastest(report["results"]) if solved(report.get("reference_check", {})) else None
        for name, report in peers.items()
    }
    return comparison.ratios(fastest(filter(solved, ours)), rates)
