"""Linear programs by HiGHS, through CasADi, which keeps what it has set up for a structure."""

from __future__ import annotations

import casadi
import numpy as np
import scipy.sparse

_KEPT = 64  # structures; beyond that all are made anew
_OPTIONS = {
    # Presolving takes longer than the dual simplex method does on programs as small as these.
    "highs": {"output_flag": False, "presolve": "off", "threads": 1},
    "error_on_fail": False,
}


class Highs:
    """Solves min cᵀx subject to row_low ≤ A x ≤ row_high and low ≤ x ≤ high."""

    def __init__(self):
        self._known: dict[bytes, tuple[casadi.Function, casadi.Sparsity]] = {}

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
          RuntimeError: there is none, or HiGHS did not find it.
        """
        key = matrix.indptr.tobytes() + matrix.indices.tobytes()
        if key not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = _set_up(matrix)
        solver, sparsity = self._known[key]
        found = solver(
            g=cost, a=casadi.DM(sparsity, matrix.data), lba=row_low, uba=row_high, lbx=low, ubx=high
        )
        stats = solver.stats()
        if not stats["success"]:
            raise RuntimeError(
                f"a program of {matrix.shape[1]} unknowns and {matrix.shape[0]} rows: HiGHS says "
                f"{stats['return_status']}"
            )
        return np.array(found["x"]).ravel()


def _set_up(matrix):
    rows, columns = matrix.shape
    sparsity = casadi.Sparsity(rows, columns, matrix.indptr.tolist(), matrix.indices.tolist())
    structure = {"h": casadi.Sparsity(columns, columns), "a": sparsity}
    return casadi.conic("program", "highs", structure, _OPTIONS), sparsity
