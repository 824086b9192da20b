"""One metric of every controller in every scenario: a mark, its interval and its number."""

from collections.abc import Mapping, Sequence

import markupsafe
import numpy as np

from evaluation import summary as summary_lib, wording
from evaluation.report import palette, svg

_NAME, _VALUE = 100.0, 412.0  # where names end, and where the plot ends and numbers begin
_ROW, _HEADING, _BOTTOM = 16.0, 24.0, 24.0
_LETTERS = 14  # of a name
_BENT_FROM = 50.0  # a largest value beyond which the axis is logarithmic


def plot(
    summary: summary_lib.Summary,
    places: Sequence[tuple[str, str]],
    metric: str,
    looks: Mapping[str, palette.Look],
) -> markupsafe.Markup | None:
    """Returns the plot of a metric in `places` (scenario, level), or none where nobody has it."""
    groups = []
    for name, level in places:
        rows = [(c, wording.row(summary, name, level, c)) for c in summary["controllers"]]
        rows = [(c, row["metrics"][metric]) for c, row in rows if metric in row["metrics"]]
        if rows:
            groups.append((wording.scenario(name, level), rows))
    if not groups:
        return None
    kind = summary_lib.METRICS[metric]
    values = [entry[end] for _, rows in groups for _, entry in rows for end in ("low", "high")]
    x = _axis(values, kind.unit == "% of day")
    tall = sum(_HEADING + _ROW * len(rows) for _, rows in groups)
    canvas = svg.Canvas(svg.WIDTH, tall + _BOTTOM, f"{kind.title} by scenario and controller")
    ticks = {value: float(x(value)) for value in x.ticks(4)}
    for value, at in ticks.items():
        canvas.text(at, tall + 18, wording.compact(value), "", "middle")
    y = 0.0
    for heading, rows in groups:
        canvas.text(2, y + 17, heading, "heading")
        y += _HEADING
        end = y + _ROW * len(rows)
        canvas.rules([(at, y - 2, at, end + 2) for value, at in ticks.items() if value], "grid")
        canvas.rules([(at, y - 2, at, end + 2) for value, at in ticks.items() if not value], "axis")
        for controller, entry in rows:
            _row(canvas, x, y + 0.5 * _ROW, controller, looks[controller], entry)
            y += _ROW
    return canvas.markup()


def _row(canvas, x: svg.Axis, y: float, controller: str, look: palette.Look, entry) -> None:
    name = wording.title(controller)
    short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
    canvas.text(_NAME, y + 4, short, "", "end")
    style = f"--c:var({look.variable})"
    low, middle, high = (float(x(entry[end])) for end in ("low", "mean", "high"))
    if high - low > 0.5:
        canvas.shape(f"M{low:.1f} {y:g}H{high:.1f}", "l whisker", style)
    canvas.shape(f"M{middle:.1f} {y:g}{look.mark}", "mark", style)
    canvas.text(svg.WIDTH - 2, y + 4, wording.interval(entry)[0], "", "end")


def _axis(values: Sequence[float], share: bool) -> svg.Axis:
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    if share:
        return svg.Axis(0.0, 100.0, _NAME + 10, _VALUE - 10)
    least, high = float(finite.min(initial=np.inf)), float(finite.max(initial=1.0))
    if least > _BENT_FROM:  # Far from zero, which would leave the rest no room.
        return svg.Axis(0.8 * least, 1.25 * high, _NAME + 10, _VALUE - 10, high > 5.0 * least)
    low = min(0.0, least)
    return svg.Axis(low, high * 1.05, _NAME + 10, _VALUE - 10, max(high, -low) > _BENT_FROM)
