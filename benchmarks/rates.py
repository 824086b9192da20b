"""What this machine's cores can do at best: matrix products and copying, measured alike."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing

_COPY_BYTES = 256 * 2**20  # many times a cache
_REPEATS, _SECONDS = 9, 0.3


def sgemm_gflops(n: int, batch: int) -> dict:
    """Returns the rates of a single-precision product `[n, n] × [n, batch]` in GFLOP/s.

    By XLA, where our solvers run, and by numpy's BLAS on the cores; counting 2 n² batch operations.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.random(shape, np.float32) for shape in ((n, n), (n, batch)))
    on_device, product = (jnp.asarray(left), jnp.asarray(right)), jax.jit(jnp.matmul)
    out = np.empty((n, batch), np.float32)
    best = lambda run: 2e-9 * n * n * batch / timing.measure(run, _REPEATS, _SECONDS).min
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
    taken = timing.measure(lambda: np.copyto(target, source), _REPEATS, _SECONDS)
    return 2e-9 * _COPY_BYTES / taken.min
