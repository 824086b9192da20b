"""Repeated timing of one call, and of what this machine's cores can do at best."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers import reporting

_LEAST_REPEATS = 3
_COPY_BYTES = 256 * 2**20  # many times a cache
_RATE_REPEATS, _RATE_SECONDS = 9, 0.3


def measure(run: Callable[[], None], repeats: int, seconds: float) -> dict[str, float]:
    """Returns median, min and max of the seconds of `run`, how many `repeats`, and the `first`.

    `run` must not return before its work is done. The first call compiles and is kept apart. Then
    there are `repeats` calls, or as many as fit into `seconds`, but no fewer than three; a call
    that alone takes longer than three times `seconds` is not repeated.
    """
    first = _once(run)
    taken = [_once(run)]
    while len(taken) < repeats:
        if taken[0] > 3 * seconds or (len(taken) >= _LEAST_REPEATS and sum(taken) > seconds):
            break
        taken.append(_once(run))
    return {**reporting.summary(taken), "first": first}


def sgemm_gflops(n: int, batch: int) -> dict:
    """Returns the rates of a single-precision product `[n, n] × [n, batch]` in GFLOP/s.

    By XLA, where our solvers run, and by numpy's BLAS on the cores; counting 2 n² batch operations.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.random(shape, np.float32) for shape in ((n, n), (n, batch)))
    on_device, product = (jnp.asarray(left), jnp.asarray(right)), jax.jit(jnp.matmul)
    out = np.empty((n, batch), np.float32)
    best = lambda run: 2e-9 * n * n * batch / _fastest(run)
    return {
        "n": n,
        "batch": batch,
        "xla_gflops": best(lambda: product(*on_device).block_until_ready()),
        "numpy_gflops": best(lambda: np.matmul(left, right, out=out)),
    }


def copy_gb_per_s() -> float:
    """Returns how fast one thread copies memory, bytes read plus bytes written, in GB/s."""
    source = np.ones(_COPY_BYTES // 4, np.float32)
    target = np.zeros_like(source)
    return 2e-9 * _COPY_BYTES / _fastest(lambda: np.copyto(target, source))


def _fastest(run: Callable[[], None]) -> float:
    return measure(run, _RATE_REPEATS, _RATE_SECONDS)["min"]


def _once(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
