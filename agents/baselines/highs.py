"""Linear programs by HiGHS, through CasADi, which keeps what it has set up for a structure."""

import functools

import casadi
import numpy as np
import scipy.sparse

_STRUCTURES = 64  # that are kept, the last used
_OPTIONS = {
    # Presolving takes longer than the dual simplex method does on programs as small as these.
    "highs": {"output_flag": False, "presolve": "off", "threads": 1},
    "error_on_fail": False,
}


class Highs:
    """Solves min cᵀx subject to row_low ≤ A x ≤ row_high and low ≤ x ≤ high."""

    def __init__(self):
        """Has set up nothing yet."""
        self._program = functools.lru_cache(_STRUCTURES)(_set_up)

    def solve(
        self,
        cost: np.ndarray,
        matrix: scipy.sparse.csc_matrix,
        row_low: np.ndarray,
        row_high: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> np.ndarray:
        """Returns the optimum `[n]`.

        Raises:
          RuntimeError: there is none, or HiGHS does not reach it.
        """
        starts, rows = (np.asarray(x, np.int32).tobytes() for x in (matrix.indptr, matrix.indices))
        solver, sparsity = self._program(matrix.shape[0], starts, rows)
        answer = solver(
            g=cost, a=casadi.DM(sparsity, matrix.data), lba=row_low, uba=row_high, lbx=low, ubx=high
        )
        stats = solver.stats()
        if not stats["success"]:
            raise RuntimeError(
                f"a program of {matrix.shape[1]} unknowns and {matrix.shape[0]} rows: HiGHS says "
                f"{stats['return_status']}"
            )
        return np.array(answer["x"]).ravel()


def _set_up(n_row: int, starts: bytes, rows: bytes) -> tuple[casadi.Function, casadi.Sparsity]:
    """Returns the solver of a structure in compressed columns, and the structure."""
    starts, rows = (np.frombuffer(x, np.int32).tolist() for x in (starts, rows))
    n = len(starts) - 1
    sparsity = casadi.Sparsity(n_row, n, starts, rows)
    structure = {"h": casadi.Sparsity(n, n), "a": sparsity}
    return casadi.conic("program", "highs", structure, _OPTIONS), sparsity
