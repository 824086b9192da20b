"""Analyses single outages of a problem file's base with lightsim2grid's `ContingencyAnalysisCPP`.

    python lightsim2grid_contingency.py PROBLEM.npz ANSWER.npz --outages=0,1,2 --tolerance=1e-4 \
        --threads=1 --repeats=7

One operating point, all the given outages, from voltages to flows: by its DC power flow, and by
the fastest of its AC algorithms that have a KLU factorisation. ANSWER.npz gets the AC `vm_pu` and
`va_rad` `[n_outage, n_bus]`, zero where an outage has no solution.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
import warnings

import numpy as np

_MAX_ITERATIONS = 50
_SEARCH_REPEATS = 3


def main() -> None:
    """Measures, and writes one JSON object to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem")
    parser.add_argument("answer")
    parser.add_argument("--outages", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        report = measure(args)
    json.dump(report, sys.stdout)


def measure(args: argparse.Namespace) -> dict:
    """Returns the report on DC and AC analysis."""
    import lightsim2grid

    file = dict(np.load(args.problem))
    results, settings = [], {}
    for what in ("DC", "AC"):
        tried, refused = {}, []
        for algorithm in _algorithms(file, what):
            for threads in sorted({1, args.threads}):
                try:
                    analysis = Analysis(file, algorithm, threads, args)
                    tried[algorithm, threads] = (
                        -analysis.converged(),
                        min(analysis.time(_SEARCH_REPEATS)),
                    )
                except RuntimeError as error:
                    refused.append(f"{algorithm}: {error}")
        if not tried:
            raise RuntimeError(f"lightsim2grid has no {what} analysis: {'; '.join(refused)}")
        algorithm, threads = min(tried, key=tried.get)
        analysis = Analysis(file, algorithm, threads, args)
        taken = analysis.time(args.repeats)
        settings[what] = f"{algorithm} on {threads}"
        results.append({
            "what": what,
            "algorithm": algorithm,
            "threads": threads,
            "seconds": {
                "median": statistics.median(taken), "min": min(taken), "max": max(taken),
                "repeats": len(taken),
            },
            "outages_per_s": len(args.outages) / statistics.median(taken),
            "converged_share": analysis.converged() / len(args.outages),
        })  # fmt: skip
    voltages = analysis.voltages()  # of AC, the last
    np.savez(args.answer, vm_pu=abs(voltages), va_rad=np.angle(voltages))
    return {
        "peer": "lightsim2grid",
        "versions": {"lightsim2grid": lightsim2grid.__version__, "numpy": np.__version__},
        "settings": settings,
        "results": results,
    }


def _algorithms(file: dict, what: str) -> list[str]:
    available = [a.name for a in _grid(file).available_default_algorithms()]
    dc = [a for a in available if a.startswith("DC_")]
    ac = [a for a in available if a.startswith(("NR", "FDPF"))]
    chosen = dc if what == "DC" else ac
    return [a for a in chosen if a.endswith("_KLU")] or chosen


def _grid(file: dict):
    from lightsim2grid.network import init_from_matpower

    tables = {name: file[name] for name in ("bus", "gen", "branch")}
    return init_from_matpower({"baseMVA": float(file["base_mva"]), **tables})


class Analysis:
    """All given outages of one operating point, by one algorithm."""

    def __init__(self, file: dict, algorithm: str, threads: int, args: argparse.Namespace):
        from lightsim2grid import lightsim2grid_cpp
        from lightsim2grid.algorithm import AlgorithmType

        grid = _grid(file)
        self.start = file["vm_pu"] * np.exp(1j * file["va_rad"])
        self.tolerance_mva = 0.99 * args.tolerance * float(file["base_mva"])
        kind = getattr(AlgorithmType, algorithm)
        dc = algorithm.startswith("DC")
        if not dc:
            # Fast-decoupled solvers need matrices that only a grid's own solve makes.
            grid.change_algorithm(kind)
            if len(grid.ac_pf(self.start.copy(), _MAX_ITERATIONS, 1e-6)) == 0:
                raise RuntimeError("does not solve the base")
        self.analysis = lightsim2grid_cpp.ContingencyAnalysisCPP(grid)
        if dc:
            self.analysis.change_algorithm(kind)
        if threads > 1:
            self.analysis.nb_thread = threads
        # Lines come before transformers, each in the file's order.
        line = (file["branch"][:, 8] == 0) & (file["branch"][:, 9] == 0)
        place = np.empty(len(line), int)
        place[np.concatenate([np.flatnonzero(line), np.flatnonzero(~line)])] = np.arange(len(line))
        self.asked = [int(n) for n in place[args.outages]]
        for outage in self.asked:
            self.analysis.add_n1(outage)

    def time(self, repeats: int) -> list[float]:
        """Returns the times of analysing all outages; the first run is not timed."""
        taken = []
        for repeat in range(repeats + 1):
            self.analysis.clear_results_only()
            begun = time.perf_counter()
            self.analysis.compute(self.start, _MAX_ITERATIONS, self.tolerance_mva)
            self.analysis.compute_power_flows()
            if repeat:
                taken.append(time.perf_counter() - begun)
        return taken

    def converged(self) -> int:
        """Returns how many outages it says it solved."""
        if not self.analysis.nb_solved():
            self.time(0)
        return self.analysis.nb_converged()

    def voltages(self) -> np.ndarray:
        """Returns the complex voltages of the last run, by outage as asked for."""
        row = {tuple(outage): n for n, outage in enumerate(self.analysis.my_defaults())}
        found = np.array(self.analysis.get_voltages())[:, : len(self.start)]
        return found[[row[(outage,)] for outage in self.asked]]


if __name__ == "__main__":
    main()
