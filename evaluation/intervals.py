"""How sure one can be of a mean."""

from collections.abc import Sequence

import numpy as np
import scipy.stats

_RESAMPLES = 1_999
_TRIMMED = 0.25  # of each end, for the interquartile mean


def describe(strata: Sequence[np.ndarray], seed: int = 0) -> dict[str, float]:
    """Returns mean and interquartile mean over strata, with 95 % percentile-bootstrap intervals.

    Each stratum, the samples `[n]` of a scenario, is drawn from by itself, so that every resample
    has all of them, as Agarwal et al. (Deep RL at the edge of the statistical precipice, 2021) do
    for the runs of each task.

    Returns:
      `mean`, `low`, `high`, `iqm`, `iqm_low`, `iqm_high`.
    """
    rng = np.random.default_rng(seed)
    strata = [np.asarray(samples, np.float64) for samples in strata]
    mean = float(np.mean([samples.mean() for samples in strata]))
    middle = float(np.mean([interquartile_mean(samples) for samples in strata]))
    if all(len(samples) < 2 or np.ptp(samples) == 0 for samples in strata):
        ends = {"low": mean, "high": mean, "iqm_low": middle, "iqm_high": middle}
        return {"mean": mean, "iqm": middle, **ends}
    means, middles = np.zeros(_RESAMPLES), np.zeros(_RESAMPLES)
    for samples in strata:
        drawn = samples[rng.integers(0, len(samples), (_RESAMPLES, len(samples)))]
        means += drawn.mean(1) / len(strata)
        middles += interquartile_mean(drawn) / len(strata)
    low, high = np.percentile(means, [2.5, 97.5])
    iqm_low, iqm_high = np.percentile(middles, [2.5, 97.5])
    return {
        "mean": mean, "low": float(low), "high": float(high),
        "iqm": middle, "iqm_low": float(iqm_low), "iqm_high": float(iqm_high),
    }  # fmt: skip


def between_seeds(strata: Sequence[np.ndarray]) -> dict[str, float]:
    """Returns the mean over several trainings of the same, and how far they differ.

    Seeds are few, and a bootstrap of few is too narrow: the interval is Student's, of the variances
    between seeds and between days, with the degrees of freedom of Welch and Satterthwaite.

    Args:
      strata: of each scenario `[seeds, n]`, two seeds or more; days are the same for all seeds.

    Returns:
      `mean`, and `low` and `high`, its 95 % interval; of the seeds' means `sd` (the standard
      deviation, over one less than their number), `lowest` and `highest`.
    """
    each = np.mean([samples.mean(1) for samples in strata], axis=0)
    days = [samples.mean(0) for samples in strata]
    parts = [(each.var(ddof=1) / len(each), len(each) - 1)]
    parts += [(d.var(ddof=1) / d.size / len(days) ** 2, d.size - 1) for d in days if d.size > 1]
    variance = sum(part for part, _ in parts)
    reach = 0.0
    if variance > 0:
        freedom = variance**2 / sum(part**2 / freedom for part, freedom in parts)
        reach = float(scipy.stats.t.ppf(0.975, freedom) * np.sqrt(variance))
    mean = float(each.mean())
    return {
        "mean": mean, "low": mean - reach, "high": mean + reach,
        "sd": float(each.std(ddof=1)), "lowest": float(each.min()), "highest": float(each.max()),
    }  # fmt: skip


def interquartile_mean(samples: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half of samples `[…, n]`, of each row."""
    return scipy.stats.trim_mean(samples, _TRIMMED, axis=-1)
