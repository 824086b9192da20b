"""Draws how fast runs learned, each experiment over its seeds."""

from collections.abc import Mapping, Sequence

import numpy as np

_COLUMNS = 3
_POINTS = 200  # of the steps that seeds, evaluated at steps of their own, are compared at


def draw(experiments: Mapping[str, Sequence[Mapping[str, Sequence[float]]]]):
    """Returns the figure: by how much each experiment is below its best, over steps.

    `experiments` has each experiment's curves, one of each seed, with `step`, `return` and
    `do_nothing` of its evaluations. The line is the median of the seeds, the band reaches from the
    worst to the best of them; the best is the highest return of any.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(_COLUMNS, len(experiments))
    rows = -(-len(experiments) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 3.2 * rows), layout="constrained", squeeze=False
    )
    for axis, (name, curves) in zip(axes.flat, experiments.items()):
        _draw_one(axis, name, curves)
    for axis in axes.flat[len(experiments) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("below the best return, thousand $")
    return figure


def _draw_one(axis, name: str, curves: Sequence[Mapping[str, Sequence[float]]]) -> None:
    first = max(curve["step"][0] for curve in curves)
    last = min(curve["step"][-1] for curve in curves)
    steps = np.linspace(first, last, _POINTS)
    returns = np.array([_newest(curve, steps) for curve in curves])
    best = max(max(curve["return"]) for curve in curves)
    nothing = np.nanmedian(np.concatenate([curve["do_nothing"] for curve in curves]))
    # The best itself is no distance below the best; it is drawn at the bottom of the scale.
    floor = max(1e-3, 1e-5 * abs(best - nothing))
    below = np.maximum(best - returns, floor)
    axis.fill_between(steps, below.min(0), below.max(0), alpha=0.3, linewidth=0)
    axis.semilogy(steps, np.median(below, 0))
    axis.axhline(best - nothing, color="gray", linestyle=":")
    seeds = f"{len(curves)} seeds" if len(curves) > 1 else "one seed"
    axis.set_title(f"{name}, {seeds}: best {best:,.1f}", fontsize="medium")
    axis.set_xlabel("steps (dotted: do nothing)")
    axis.ticklabel_format(axis="x", style="sci", scilimits=(3, 3))
    axis.grid(True, which="major", alpha=0.3)


def _newest(curve: Mapping[str, Sequence[float]], steps: np.ndarray) -> np.ndarray:
    """Returns the last return that was known at each of `steps`."""
    known = np.searchsorted(curve["step"], steps, side="right") - 1
    return np.asarray(curve["return"])[known]
