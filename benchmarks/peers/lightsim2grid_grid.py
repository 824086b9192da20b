"""A problem file's grid in lightsim2grid, and the algorithms that it has for it."""

import numpy as np

MAX_ITERATIONS = 50
_BASE_TOLERANCE_MVA = 1e-6


def of_file(file: dict):
    """Returns the grid of a problem file."""
    from lightsim2grid.network import init_from_matpower

    tables = {name: file[name] for name in ("bus", "gen", "branch")}
    return init_from_matpower({"baseMVA": float(file["base_mva"]), **tables})


def algorithms(file: dict, *, dc: bool) -> list[str]:
    """Returns its DC or AC algorithms with a KLU factorisation; where it was built without, all."""
    available = [a.name for a in of_file(file).available_default_algorithms()]
    chosen = [a for a in available if a.startswith("DC_" if dc else ("NR", "FDPF"))]
    return [a for a in chosen if a.endswith("_KLU")] or chosen


def algorithm_type(name: str):
    """Returns lightsim2grid's own value for an algorithm's name."""
    from lightsim2grid.algorithm import AlgorithmType

    return getattr(AlgorithmType, name)


def start(file: dict) -> np.ndarray:
    """Returns the complex voltages of the file's base, `[n_bus]` pu."""
    return file["vm_pu"] * np.exp(1j * file["va_rad"])


def solved(file: dict, algorithm: str):
    """Returns the grid, its base solved by an AC algorithm.

    Batches of the fast decoupled algorithms need matrices that only a grid's own solve makes.

    Raises:
      RuntimeError: the algorithm does not solve it.
    """
    grid = of_file(file)
    grid.change_algorithm(algorithm_type(algorithm))
    if len(grid.ac_pf(start(file), MAX_ITERATIONS, _BASE_TOLERANCE_MVA)) == 0:
        raise RuntimeError(f"lightsim2grid's {algorithm} does not solve the base")
    return grid


def tolerance_mva(file: dict, tolerance_pu: float) -> float:
    """Returns the tolerance for it: 1 % below the rule, as it stops at the first iterate within."""
    return 0.99 * tolerance_pu * float(file["base_mva"])
