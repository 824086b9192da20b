"""Solves many problems at once in processes that keep what they have set up.

Optimisers are not compiled: they solve one grid at a time on a CPU core, a batch over all cores.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import process
from typing import Generic, TypeVar

Problem, Answer = TypeVar("Problem"), TypeVar("Answer")

_solve: Callable[[Problem], Answer] | None = None  # of a worker's process


class Died(RuntimeError):
    """A process ended before it had solved its problems."""


class Workers(Generic[Problem, Answer]):
    """Processes that each called `setup` once, and solve what it returned a function for."""

    def __init__(
        self, setup: Callable[..., Callable[[Problem], Answer]], *arguments, count: int = 0
    ):
        """Starts nothing yet.

        `setup`, a function of a module (it is pickled by name), takes picklable `arguments` and
        returns `solve(problem)`. `count` are processes: 0 for one a core, 1 for this one alone.
        """
        self._setup, self._arguments = setup, arguments
        self.count = count or len(os.sched_getaffinity(0))
        self._pool = self._here = None

    def map(self, problems: Sequence[Problem]) -> list[Answer]:
        """Returns `solve(problem)` of each, in order; raises what it raised.

        Where a process dies, as for want of memory, all are solved once more in new ones.

        Raises:
          Died: it died again.
        """
        if not problems:
            return []
        if self.count == 1 or len(problems) == 1:
            if self._here is None:
                self._here = self._setup(*self._arguments)
            return [self._here(problem) for problem in problems]
        for _ in range(2):
            try:
                return self._spread(problems)
            except process.BrokenProcessPool as error:
                self.close()
                broken = error
        raise Died(
            f"a process of {self._setup.__module__} died twice over the same {len(problems)} "
            "problems, for want of memory or by a fault of a native library; on fewer cores "
            "(taskset --cpu-list 0) it takes less memory"
        ) from broken

    def _spread(self, problems: Sequence[Problem]) -> list[Answer]:
        if self._pool is None:
            # Spawned, as jax has threads that a fork would leave behind in an unknown state.
            self._pool = process.ProcessPoolExecutor(
                self.count, multiprocessing.get_context("spawn"), _begin,
                (self._setup, self._arguments),
            )  # fmt: skip
        chunk = -(-len(problems) // (4 * self.count))
        return list(self._pool.map(_call, problems, chunksize=chunk))

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _begin(setup, arguments) -> None:
    global _solve
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    _solve = setup(*arguments)


def _leave_with_parent() -> None:
    """Ends this process when the one that started it is gone, however that ended."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _call(problem):
    return _solve(problem)
