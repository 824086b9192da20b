"""Solves the first problems of a problem file with pandapower, one at a time.

    python -m benchmarks.peers.pandapower_powerflow PROBLEM.npz ANSWER.npz --count=20 \
        --tolerance=1e-4

The network is made from the file's matrices by `from_ppc`; each solve starts from the voltages of
the last. Its own Newton's method (with numba) and the one that it can borrow from lightsim2grid are
tried, and the faster is reported. ANSWER.npz gets `vm_pu` and `va_rad` `[count, n_bus]`.
"""

import argparse
import statistics
import time

import numpy as np

from benchmarks.peers import reporting


def measure(args: argparse.Namespace) -> dict:
    """Returns the report, and writes the voltages of the fastest solver."""
    import pandapower

    file = dict(np.load(args.problem))
    count = min(args.count, len(file["load_p_mw"]))
    measured, candidates = [], []
    for name, borrow in (("newton", False), ("newton of lightsim2grid", True)):
        try:
            vm, va, seconds = solve(file, count, args.tolerance, borrow)
        except Exception as error:  # The borrowed one may not fit this build.
            candidates.append({"solver": name, "error": f"{type(error).__name__}: {error}"})
            continue
        median = statistics.median(seconds)
        candidates.append({"solver": name, "solves_per_s": 1 / median})
        measured.append((median, name, vm, va, seconds))
    if not measured:
        raise RuntimeError(f"pandapower solved nothing: {candidates}")
    median, name, vm, va, seconds = min(measured, key=lambda m: m[0])
    np.savez(args.answer, vm_pu=vm, va_rad=va)
    return {
        "peer": "pandapower",
        "versions": {"pandapower": pandapower.__version__, "numpy": np.__version__},
        "settings": {"solver": name, "start": "last solution"},
        "candidates": candidates,
        "results": [
            {"batch": 1, "seconds": reporting.summary(seconds), "solves_per_s": 1 / median}
        ],
    }


def solve(file: dict, count: int, tolerance_pu: float, borrow: bool):
    """Returns vm, va in rad `[count, n_bus]` and the seconds of each solve."""
    import pandapower

    net = network(file)
    options = {
        "tolerance_mva": tolerance_pu,  # Its name notwithstanding, it is compared with pu.
        "trafo_model": "pi",
        "calculate_voltage_angles": True,
        "numba": not borrow,
        "lightsim2grid": borrow,
    }
    pandapower.runpp(net, init="flat", **options)
    vm, va, seconds = [], [], []
    for index in range(-1, count):  # The first compiles, and is not timed.
        inject(net, file, max(index, 0))
        begun = time.perf_counter()
        pandapower.runpp(net, init="results", **options)
        if index >= 0:
            seconds.append(time.perf_counter() - begun)
            vm.append(net.res_bus.vm_pu.to_numpy())
            va.append(np.deg2rad(net.res_bus.va_degree.to_numpy()))
    return np.stack(vm), np.stack(va), seconds


def network(file: dict):
    """Returns the file's grid as a pandapower network."""
    from pandapower.converter.pypower import from_ppc

    bus = file["bus"].copy()
    # In per unit the nominal voltage is free. Where buses differ in it, from_ppc would turn a
    # transformer round so that its from side is the higher one, and its tap with it.
    bus[:, 9] = 100.0
    # from_ppc keeps one controlling generator a bus; `inject` gives it the power of all.
    _, first = np.unique(file["gen"][:, 0], return_index=True)
    return from_ppc(
        {
            "version": "2",
            "baseMVA": float(file["base_mva"]),
            "bus": bus,
            "branch": file["branch"].copy(),
            "gen": file["gen"][np.sort(first)],
        },
        f_hz=60,
    )


def inject(net, file: dict, index: int) -> None:
    """Sets the loads and the dispatch of problem `index`."""
    # from_ppc makes a load of a bus that consumes, and a static generator of one that feeds in.
    for table, sign in ((net.load, 1.0), (net.sgen, -1.0)):
        at = table.bus.to_numpy()
        table["p_mw"] = sign * file["load_p_mw"][index, at]
        table["q_mvar"] = sign * file["load_q_mvar"][index, at]
    at_bus = np.zeros(len(file["bus"]))
    np.add.at(at_bus, file["gen"][:, 0].astype(int), file["gen_p_mw"][index])
    net.gen["p_mw"] = at_bus[net.gen.bus.to_numpy()]


if __name__ == "__main__":
    reporting.main(__doc__, measure, "problem", "answer", count=int, tolerance=float)
