"""Solves a problem file with lightsim2grid's batch solvers, with the fastest of its algorithms.

    python -m benchmarks.peers.lightsim2grid_powerflow PROBLEM.npz ANSWER.npz --batches=1,64 \
        --tolerance=1e-4 --threads=1 --repeats=7

Its two batch classes are tried (`TimeSeriesCPP`, each problem started from the one before;
`InjectionSweepCPP`, each started from the same voltages, here the base) with each of its AC
algorithms that has a KLU factorisation, and each policy of keeping Newton's Jacobian. The fastest
that solves every problem is then timed at every batch. ANSWER.npz gets its `vm_pu` and `va_rad`
`[n_problem, n_bus]` for the largest batch.
"""

import argparse
import time

import numpy as np

from benchmarks.peers import lightsim2grid_grid, reporting

_SEARCH_BATCH = 256  # problems that the algorithms are compared on
_SEARCH_REPEATS = 9
_CLOCK_S = 1e-9  # the least that its own clock can tell from nothing
_REFACTOR = {"refactored at every step": 0, "kept for 4 steps": 1, "kept": 2}  # RefactorPolicyType


def measure(args: argparse.Namespace) -> dict:
    """Returns the report on every batch in `args.batches`."""
    import lightsim2grid
    from lightsim2grid import compilation_options

    file = dict(np.load(args.problem))
    batches = sorted({min(n, len(file["load_p_mw"])) for n in args.batches})
    search = min(_SEARCH_BATCH, batches[-1])
    candidates = []
    for settings in _settings(file, args.threads):
        try:
            solver = Solver(file, settings, args.tolerance)
            times = solver.time(search, _SEARCH_REPEATS)
        except RuntimeError as error:
            candidates.append({**settings, "error": str(error)})
            continue
        candidates.append({
            **settings,
            "converged_share": solver.converged_share(search),
            # By its fastest run, so that a disturbed moment does not decide for another.
            "solves_per_s": search / times["wall"]["min"],
            "iterations": solver.iterations(),
        })  # fmt: skip
    measured = [c for c in candidates if "error" not in c]
    if not measured:
        causes = "; ".join(f"{c['algorithm']}: {c['error']}" for c in candidates)
        raise RuntimeError(f"none of lightsim2grid's algorithms solves the problems: {causes}")
    best = max(measured, key=lambda c: (c["converged_share"], c["solves_per_s"]))
    best = {name: best[name] for name in ("class", "algorithm", "jacobian", "threads")}
    results = []
    for batch in batches:
        solver = Solver(file, best, args.tolerance)  # One serves one batch size.
        times = solver.time(batch, args.repeats)
        results.append({
            "batch": batch,
            "seconds": times["wall"],
            "solves_per_s": batch / times["wall"]["median"],
            "compute_seconds": times["compute"],
            "compute_solves_per_s": batch / times["compute"]["median"],
            "converged_share": solver.converged_share(batch),
            "iterations": solver.iterations(),
        })  # fmt: skip
    voltages = solver.voltages()
    np.savez(args.answer, vm_pu=abs(voltages), va_rad=np.angle(voltages))
    return {
        "peer": "lightsim2grid",
        "versions": {"lightsim2grid": lightsim2grid.__version__, "numpy": np.__version__},
        "built": {
            "klu": compilation_options.klu_solver_available,
            "march_native": compilation_options.compiled_march_native,
            "o3": compilation_options.compiled_o3_optim,
        },
        "settings": best,
        "candidates": candidates,
        "results": results,
    }


def _settings(file, threads: int) -> list[dict]:
    """Returns what to try: every batch class, algorithm and policy that can be combined."""
    chosen = lightsim2grid_grid.algorithms(file, dc=False)
    # A chain of problems cannot be split over threads, and small problems lose by it.
    classes = [("TimeSeriesCPP", 1), *[("InjectionSweepCPP", n) for n in sorted({1, threads})]]
    return [
        {"class": kind, "algorithm": algorithm, "jacobian": policy, "threads": used}
        for kind, used in classes
        for algorithm in chosen
        for policy in (_REFACTOR if algorithm.startswith("NR") else [None])
    ]


class Solver:
    """One of lightsim2grid's batch classes with one algorithm, on one problem file."""

    def __init__(self, file: dict, settings: dict, tolerance_pu: float):
        from lightsim2grid import lightsim2grid_cpp

        algorithm, policy = settings["algorithm"], settings["jacobian"]
        grid = lightsim2grid_grid.solved(file, algorithm)
        self.start = lightsim2grid_grid.start(file)
        self.batch = getattr(lightsim2grid_cpp, settings["class"])(grid)
        if policy is not None:
            config = self.batch.get_algo_config()
            scaling, _, *rest = config.int_params
            config.int_params = [scaling, _REFACTOR[policy], *rest]
            self.batch.set_algo_config(config)
        if settings["threads"] > 1:
            self.batch.nb_thread = settings["threads"]
        self.tolerance_mva = lightsim2grid_grid.tolerance_mva(file, tolerance_pu)
        loads = [load.bus_id for load in grid.get_loads()]
        generators = [gen.bus_id for gen in grid.get_generators()]
        if generators != file["gen"][:, 0].astype(int).tolist():
            raise RuntimeError("lightsim2grid lists the generators in another order than the file")
        if len(set(loads)) != len(loads):
            raise RuntimeError("lightsim2grid has several loads at one bus")
        columns = lambda name: np.ascontiguousarray(file[name][:, loads])
        self.load_p, self.load_q = columns("load_p_mw"), columns("load_q_mvar")
        self.gen_p = np.ascontiguousarray(file["gen_p_mw"])

    def time(self, count: int, repeats: int) -> dict:
        """Returns the times of solving the first `count` problems; the first run is not timed."""
        arrays = [self.gen_p[:count], np.zeros((count, 0)), self.load_p[:count]]
        arrays.append(self.load_q[:count])
        wall, compute = [], []
        for repeat in range(repeats + 1):
            begun = time.perf_counter()
            self.batch.compute_Vs(
                *arrays, self.start, lightsim2grid_grid.MAX_ITERATIONS, self.tolerance_mva
            )
            if repeat:
                wall.append(time.perf_counter() - begun)
                compute.append(max(self.batch.solver_time(), _CLOCK_S))
        return {"wall": reporting.summary(wall), "compute": reporting.summary(compute)}

    def converged_share(self, count: int) -> float:
        """Returns the share of the last run's problems that it says it solved."""
        return self.batch.nb_converged() / count

    def iterations(self) -> float:
        """Returns the mean number of iterations of the last run."""
        return float(np.mean(self.batch.get_row_nb_iter()))

    def voltages(self) -> np.ndarray:
        """Returns the complex voltages of the last run `[n_problem, n_bus]`."""
        return np.array(self.batch.get_voltages())[:, : len(self.start)]


if __name__ == "__main__":
    reporting.main(
        __doc__, measure, "problem", "answer", batches=reporting.numbers, tolerance=float,
        threads=int, repeats=int,
    )  # fmt: skip
