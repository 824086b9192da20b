"""Analyses single outages of a problem file's base with lightsim2grid's `ContingencyAnalysisCPP`.

    python -m benchmarks.peers.lightsim2grid_contingency PROBLEM.npz ANSWER.npz --outages=0,1,2 \
        --tolerance=1e-4 --threads=1 --repeats=7

One operating point, all the listed outages, from voltages to flows: by its DC power flow, and by
the fastest of its AC algorithms that have a KLU factorisation. ANSWER.npz gets the AC `vm_pu` and
`va_rad` `[n_outage, n_bus]`, zero where an outage has no solution.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.peers import lightsim2grid_grid, reporting

_SEARCH_REPEATS = 3


def measure(args: argparse.Namespace) -> dict:
    """Returns the report on DC and AC analysis."""
    import lightsim2grid

    file = dict(np.load(args.problem))
    results, settings = [], {}
    for what in ("DC", "AC"):
        best = _fastest(file, what, args)
        seconds = reporting.summary(best.time(args.repeats))
        settings[what] = f"{best.algorithm} on {best.threads}"
        results.append({
            "what": what,
            "algorithm": best.algorithm,
            "threads": best.threads,
            "seconds": seconds,
            "outages_per_s": len(args.outages) / seconds["median"],
            "converged_share": best.converged() / len(args.outages),
        })  # fmt: skip
    voltages = best.voltages()  # of AC, the last
    np.savez(args.answer, vm_pu=abs(voltages), va_rad=np.angle(voltages))
    return {
        "peer": "lightsim2grid",
        "versions": {"lightsim2grid": lightsim2grid.__version__, "numpy": np.__version__},
        "settings": settings,
        "results": results,
    }


def _fastest(file: dict, what: str, args: argparse.Namespace) -> Analysis:
    """Returns the analysis, "DC" or "AC", that solves the most outages, and soonest."""
    tried, refused = [], []
    for algorithm in lightsim2grid_grid.algorithms(file, dc=what == "DC"):
        for threads in sorted({1, args.threads}):
            try:
                analysis = Analysis(file, algorithm, threads, args)
                seconds = min(analysis.time(_SEARCH_REPEATS))
            except RuntimeError as error:
                refused.append(f"{algorithm}: {error}")
                continue
            tried.append((-analysis.converged(), seconds, analysis))
    if not tried:
        raise RuntimeError(f"lightsim2grid has no {what} analysis: {'; '.join(refused)}")
    return min(tried, key=lambda one: one[:2])[2]


class Analysis:
    """All listed outages of one operating point, by one algorithm."""

    def __init__(self, file: dict, algorithm: str, threads: int, args: argparse.Namespace):
        from lightsim2grid import lightsim2grid_cpp

        self.algorithm, self.threads = algorithm, threads
        self.start = lightsim2grid_grid.start(file)
        self.tolerance_mva = lightsim2grid_grid.tolerance_mva(file, args.tolerance)
        if algorithm.startswith("DC"):
            grid = lightsim2grid_grid.of_file(file)
            self.analysis = lightsim2grid_cpp.ContingencyAnalysisCPP(grid)
            self.analysis.change_algorithm(lightsim2grid_grid.algorithm_type(algorithm))
        else:
            grid = lightsim2grid_grid.solved(file, algorithm)
            self.analysis = lightsim2grid_cpp.ContingencyAnalysisCPP(grid)
        if threads > 1:
            self.analysis.nb_thread = threads
        # Lines come before transformers, each in the file's order.
        line = (file["branch"][:, 8] == 0) & (file["branch"][:, 9] == 0)
        place = np.empty(len(line), int)
        place[np.concatenate([np.flatnonzero(line), np.flatnonzero(~line)])] = np.arange(len(line))
        self.outages = [int(n) for n in place[args.outages]]
        for outage in self.outages:
            self.analysis.add_n1(outage)

    def time(self, repeats: int) -> list[float]:
        """Returns the times of analysing all outages; the first run is not timed."""
        taken = []
        for repeat in range(repeats + 1):
            self.analysis.clear_results_only()
            begun = time.perf_counter()
            self.analysis.compute(self.start, lightsim2grid_grid.MAX_ITERATIONS, self.tolerance_mva)
            self.analysis.compute_power_flows()
            if repeat:
                taken.append(time.perf_counter() - begun)
        return taken

    def converged(self) -> int:
        """Returns how many outages it says it solved in the last run."""
        return self.analysis.nb_converged()

    def voltages(self) -> np.ndarray:
        """Returns the complex voltages of the last run, by outage as listed."""
        row = {tuple(outage): n for n, outage in enumerate(self.analysis.my_defaults())}
        voltages = np.array(self.analysis.get_voltages())[:, : len(self.start)]
        return voltages[[row[(outage,)] for outage in self.outages]]


if __name__ == "__main__":
    reporting.main(
        __doc__, measure, "problem", "answer", outages=reporting.numbers, tolerance=float,
        threads=int, repeats=int,
    )  # fmt: skip
