"""Draws how fast runs learned, each team of an experiment over its seeds."""

from collections.abc import Mapping, Sequence

import numpy as np

_COLUMNS = 3
_POINTS = 200  # of the steps that seeds, evaluated at steps of their own, are compared at
_PER_MINUTE = 60.0  # seconds
Curves = Sequence[Mapping[str, Sequence[float]]]  # of each seed, as `evaluation.report.curve`


def draw(experiments: Mapping[str, Mapping[str, Curves]], over: str = "step"):
    """Returns the figure: by how much the teams of each experiment are below its best.

    `experiments` has the curves of each experiment's teams, one of each seed, with `step`,
    `return`, `do_nothing` and, where they are drawn `over` those, `seconds` of its evaluations. The
    line is the median of the seeds, the band reaches from the worst to the best of them; the best
    is the highest return of any. Curves with a `trial` are no seeds: each is a thin line.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(_COLUMNS, len(experiments))
    rows = -(-len(experiments) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 3.2 * rows), layout="constrained", squeeze=False
    )
    for axis, (name, teams) in zip(axes.flat, experiments.items()):
        _draw_one(axis, name, teams, over)
    for axis in axes.flat[len(experiments) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("below the best return, thousand $")
    return figure


def _draw_one(axis, name: str, teams: Mapping[str, Curves], over: str) -> None:
    every = [curve for curves in teams.values() for curve in curves]
    best = max(max(curve["return"]) for curve in every)
    nothing = np.nanmedian(np.concatenate([curve["do_nothing"] for curve in every]))
    # The best itself is no distance below the best; it is drawn at the bottom of the scale.
    floor = max(1e-3, 1e-5 * abs(best - nothing))
    for number, (kind, curves) in enumerate(teams.items()):
        if any(curve.get("trial") for curve in curves):
            _draw_trials(axis, curves, best, floor, over, label=kind, color=f"C{number}")
            continue
        first = max(curve[over][0] for curve in curves)
        last = min(curve[over][-1] for curve in curves)
        known = np.linspace(first, last, _POINTS)
        returns = np.array([_newest(curve, over, known) for curve in curves])
        below = np.maximum(best - returns, floor)
        x = known if over == "step" else known / _PER_MINUTE
        color = f"C{number}"
        axis.fill_between(x, below.min(0), below.max(0), alpha=0.3, linewidth=0, color=color)
        axis.semilogy(x, np.median(below, 0), label=kind, color=color)
    axis.axhline(best - nothing, color="gray", linestyle=":")
    seeded = [c for c in teams.values() if not any(curve.get("trial") for curve in c)]
    counts = sorted({len(curves) for curves in seeded}) or [1]
    seeds = "one seed" if counts == [1] else f"{' or '.join(map(str, counts))} seeds"
    axis.set_title(f"{name}, {seeds}: best {best:,.1f}", fontsize="medium")
    axis.set_xlabel(f"{'steps' if over == 'step' else 'minutes'} (dotted: do nothing)")
    if over == "step":
        axis.ticklabel_format(axis="x", style="sci", scilimits=(3, 3))
    if len(teams) > 1:
        axis.legend(fontsize="small")
    axis.grid(True, which="major", alpha=0.3)


def _draw_trials(axis, curves: Curves, best: float, floor: float, over: str, label, color) -> None:
    """Draws each curve by itself, thin, all under one name."""
    per = 1.0 if over == "step" else _PER_MINUTE
    for curve in curves:
        x = np.asarray(curve[over]) / per
        below = np.maximum(best - np.asarray(curve["return"]), floor)
        axis.semilogy(x, below, label=label, color=color, linewidth=0.6, drawstyle="steps-post")
        label = None


def _newest(curve: Mapping[str, Sequence[float]], over: str, at: np.ndarray) -> np.ndarray:
    """Returns the last return that was known at each of the steps or seconds `at`."""
    known = np.searchsorted(curve[over], at, side="right") - 1
    return np.asarray(curve["return"])[known]
