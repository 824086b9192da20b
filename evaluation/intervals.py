"""How sure one can be of a mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats

_RESAMPLES = 9_999


class Interval(NamedTuple):
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def of_mean(samples: np.ndarray, seed: int = 0) -> Interval:
    """Returns the mean of `[n]` samples with its 95 % percentile-bootstrap interval."""
    mean = float(np.mean(samples))
    if len(samples) < 2 or np.ptp(samples) == 0:
        return Interval(mean, mean, mean)
    found = scipy.stats.bootstrap(
        (samples,), np.mean, n_resamples=_RESAMPLES, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Interval(
        mean, float(found.confidence_interval.low), float(found.confidence_interval.high)
    )
