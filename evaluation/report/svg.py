"""Small charts as SVG text: colours and type come from the page's style sheet, dark or light."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import markupsafe
import numpy as np

WIDTH = 480  # of a chart, in its own units; a phone shows it nearly as wide as that
_TOLERANCE = 0.5  # how far a line may be from what it shows, in the same units
_MARGIN = 0.06  # of what is shown, on either side of it
_NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


class Axis(NamedTuple):
    """Maps values from `low` to `high` onto `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float
    bent: bool = False  # logarithmic beyond ±1, so that zero and thousands are both on it

    def __call__(self, values) -> np.ndarray:
        """Returns where `values` are."""
        at, low, high = (
            np.sign(x) * np.log10(1.0 + np.abs(x)) if self.bent else x
            for x in (np.asarray(values, float), np.float64(self.low), np.float64(self.high))
        )
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Returns round values on it, at most about `most`."""
        if self.bent:
            reach = int(math.log10(1.0 + max(abs(self.low), abs(self.high)))) + 1
            decades = [10.0**n for n in range(reach)]
            ticks = self._within([0.0, *decades, *(-power for power in decades)])
            if len(ticks) < 3:
                ticks = self._within([k * power for power in decades for k in (1, 2, 5)])
            if len(ticks) > most + 1:
                ticks = [value for value in ticks if abs(value) != 1.0]
            return ticks[:: math.ceil(len(ticks) / (most + 2))]
        step = nice_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(n * step, 10) + 0.0 for n in range(first, last + 1)]

    def _within(self, values: Iterable[float]) -> list[float]:
        return sorted(value for value in {*values} if self.low <= value <= self.high)


def nice_step(least: float) -> float:
    """Returns the round number that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * nice for nice in _NICE if power * nice >= least * (1 - 1e-9))


def spread(*values) -> tuple[float, float]:
    """Returns a range with all finite `values` and some margin."""
    flat = np.concatenate([np.ravel(np.asarray(v, float)) for v in values])
    flat = flat[np.isfinite(flat)]
    low, high = (flat.min(), flat.max()) if flat.size else (0.0, 1.0)
    wide = max(high - low, 1e-9 * max(abs(low), abs(high), 1.0))
    middle = 0.5 * (low + high)
    half = wide * (0.5 + _MARGIN)
    return float(middle - half), float(middle + half)


class Canvas:
    """Collects the parts of one picture."""

    def __init__(self, width: float, height: float, label: str):
        """Takes the size, and what the picture is called where it cannot be seen."""
        self.width, self.height, self._label = width, height, label
        self._parts: list[str] = []

    def line(self, x, y, name: str) -> None:
        """Draws a line through points; NaN breaks it. `name` is its class in the style sheet."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        runs = _runs(np.isfinite(x) & np.isfinite(y))
        self.shape("".join(_points(x[run], y[run], "M") for run in runs), f"l {name}")

    def band(self, x, low, high, name: str) -> None:
        """Fills between two lines; NaN breaks it."""
        x, low, high = (np.asarray(v, float) for v in (x, low, high))
        path = "".join(
            _points(x[run], high[run], "M") + _points(x[run][::-1], low[run][::-1], "L") + "z"
            for run in _runs(np.isfinite(low) & np.isfinite(high))
        )
        self.shape(path, name)

    def rule(self, x1: float, y1: float, x2: float, y2: float, name: str) -> None:
        """Draws a straight line."""
        self.shape(f"M{_n(x1)} {_n(y1)}L{_n(x2)} {_n(y2)}", f"l {name}")

    def rules(self, ends: Iterable[Sequence[float]], name: str) -> None:
        """Draws straight lines `(x1, y1, x2, y2)` as one, to the nearest unit."""
        whole = np.round(np.asarray(list(ends), float).reshape(-1, 4)).astype(int).tolist()
        path = "".join(f"M{a} {b}l{c - a} {d - b}" for a, b, c, d in whole).replace(" -", "-")
        self.shape(path, f"l {name}")

    def dots(self, at: Iterable[Sequence[float]], name: str) -> None:
        """Draws points as lines of no length: caps, round or square, and width are the style's."""
        whole = np.round(np.asarray(list(at), float).reshape(-1, 2)).astype(int).tolist()
        self.shape("".join(f"M{x} {y}h0" for x, y in whole), name)

    def text(self, x: float, y: float, words: str, name: str = "", anchor: str = "start") -> None:
        """Writes words; `anchor` is start, middle or end."""
        anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
        styled = f' class="{name}"' if name else ""
        self._parts.append(
            f'<text x="{_n(x)}" y="{_n(y)}"{styled}{anchored}>{markupsafe.escape(words)}</text>'
        )

    def text_upwards(self, x: float, y: float, words: str, name: str = "") -> None:
        """Writes words from the bottom to the top, so that they end at a point."""
        self._parts.append(f'<g transform="translate({_n(x)} {_n(y)}) rotate(-90)">')
        self.text(0.0, 0.0, words, name, "end")
        self._parts.append("</g>")

    def shape(self, path: str, name: str, style: str = "") -> None:
        """Draws an SVG path as it is, unless it is empty."""
        styled = f' style="{style}"' if style else ""
        if path:
            self._parts.append(f'<path class="{name}" d="{path}"{styled}/>')

    def cells(
        self, box: tuple[float, float, float, float], levels: np.ndarray, colours: Sequence[str]
    ) -> None:
        """Fills a box (x and y of its corner, width, height) with cells of equal size.

        Their colours are those of `levels`, whole numbers `[rows, columns]`.
        """
        (x, y, width, height), (rows, columns) = box, levels.shape
        # Lines along the middles of rows, as wide as a row is high, in units of cells.
        whole = f'stroke-width="{rows}" d="M0 {0.5 * (rows - 1):g}h{columns}"'
        paths = [f'<path stroke="{colours[0]}" {whole}/>']  # the others are drawn over it
        paths += [
            f'<path stroke="{colours[level]}" d="{_along_rows(levels == level)}"/>'
            for level in np.unique(levels[levels > 0])
        ]
        place = f"translate({_n(x)} {y + 0.5 * height / rows:.6g})"
        scale = f"scale({width / columns:.6g} {height / rows:.6g})"
        self._parts.append(
            f'<g transform="{place} {scale}" shape-rendering="crispEdges">{"".join(paths)}</g>'
        )

    def markup(self) -> markupsafe.Markup:
        """Returns the picture."""
        body = "".join(self._parts)
        label = markupsafe.escape(self._label)
        return markupsafe.Markup(
            f'<svg viewBox="0 0 {_n(self.width)} {_n(self.height)}" role="img" '
            f'aria-label="{label}">{body}</svg>'
        )


def frame(
    canvas: Canvas, x: Axis, y: Axis, x_ticks: Iterable[tuple[float, str]],
    said: Callable[[float], str], most: int = 5,
) -> None:  # fmt: skip
    """Draws the grid of a chart, and at its axes numbers as `said` writes them."""
    rows = [(value, float(y(value))) for value in y.ticks(most)]
    canvas.rules([(x.start, at, x.stop, at) for _, at in rows], "grid")
    for value, at in rows:
        canvas.text(x.start - 5, at + 4, said(value), anchor="end")
    across(canvas, x, max(y.start, y.stop), x_ticks)
    canvas.rule(x.start, max(y.start, y.stop), x.stop, max(y.start, y.stop), "axis")


def across(canvas: Canvas, x: Axis, bottom: float, ticks: Iterable[tuple[float, str]]) -> None:
    """Draws the ticks of a horizontal axis, and what is written at them."""
    places = [(float(x(value)), text) for value, text in ticks]
    canvas.rules([(at, bottom, at, bottom + 4) for at, _ in places], "tick")
    for at, text in places:
        canvas.text(at, bottom + 17, text, anchor="middle")


def _n(value: float) -> str:
    """Returns a coordinate with one digit, as short as can be."""
    return f"{round(float(value), 1):g}"


def _runs(known: np.ndarray) -> list[slice]:
    """Returns the stretches of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], known.astype(np.int8), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2])]


def _along_rows(cells: np.ndarray) -> str:
    """Returns a path along the middles of the rows of chosen cells, bool `[rows, columns]`."""
    return "".join(
        f"M{run.start} {row}h{run.stop - run.start}"
        for row, line in enumerate(cells) for run in _runs(line)
    )  # fmt: skip


def _points(x: np.ndarray, y: np.ndarray, begin: str) -> str:
    """Returns a path through points, those left out that a straight line shows as well."""
    kept = _kept(x, y)
    tenths = np.round(10.0 * np.stack([x[kept], y[kept]], 1)).astype(int)
    steps = np.diff(tenths, axis=0)
    if not len(steps):  # A point by itself: a line of no length shows as a dot.
        steps = np.zeros((1, 2), int)
    there = f"{begin}{_tenth(tenths[0, 0])} {_tenth(tenths[0, 1])}"
    more = " ".join(map(_tenth, steps.ravel().tolist()))
    return f"{there}l{more}".replace(" -", "-")


@functools.cache
def _tenth(value: int) -> str:
    """Returns a tenth of an integer, as short as can be."""
    text = f"{value / 10:g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _kept(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Returns which points a line needs so that it is nowhere off by more than the tolerance."""
    xs, ys = x.tolist(), y.tolist()
    kept, low, high = [0], -math.inf, math.inf  # slopes that pass all points since the last kept
    for i in range(1, len(xs)):
        last = kept[-1]
        across, up = xs[i] - xs[last], ys[i] - ys[last]
        if across == 0.0 or not low <= up / across <= high:
            if i - 1 > last:
                kept.append(i - 1)
            low, high = -math.inf, math.inf
            across, up = xs[i] - xs[i - 1], ys[i] - ys[i - 1]
            if across == 0.0:
                continue
        one, other = (up - _TOLERANCE) / across, (up + _TOLERANCE) / across
        if one > other:
            one, other = other, one
        low, high = one if one > low else low, other if other < high else high
    return [*kept, len(xs) - 1] if len(xs) > 1 else kept
