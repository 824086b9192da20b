"""Parallel coordinates: one axis for each quantity, one line across them for each observation.

A. Inselberg, "The plane with parallel coordinates", The Visual Computer 1, 1985.
"""

from collections.abc import Sequence
from typing import NamedTuple

import markupsafe
import numpy as np

from evaluation.report import svg

CLASSES = 5  # of lines, by rank; the style sheet draws the last one strongest

_APART, _MARGIN = 150.0, 76.0  # between two axes, and beside the outer ones
_TOP, _HEIGHT, _BOTTOM = 44.0, 240.0, 14.0


class Axis(NamedTuple):
    """A quantity: what it is called, and where its ticks and each observation are, 0 to 1."""

    group: str  # above its name, in small letters
    name: str
    ticks: Sequence[tuple[float, str]]
    at: Sequence[float]


def width(axes: int) -> float:
    """Returns how wide a picture with so many axes is."""
    return max(2 * _MARGIN + _APART * (axes - 1), svg.WIDTH)


def plot(axes: Sequence[Axis], rank: Sequence[float], label: str) -> markupsafe.Markup:
    """Returns the picture.

    Args:
      axes: from left to right; all have as many observations.
      rank: of each observation, from 0 for the worst to 1 for the best, which decides its look and
        which lines lie above which.
      label: what the picture is called where it cannot be seen.
    """
    canvas = svg.Canvas(width(len(axes)), _TOP + _HEIGHT + _BOTTOM, label)
    x = _MARGIN + _APART * np.arange(len(axes))
    up = svg.Axis(0.0, 1.0, _TOP + _HEIGHT, _TOP)
    ranks = np.asarray(rank, float)
    levels = np.minimum(CLASSES * ranks, CLASSES - 1).astype(int)
    for each in np.argsort(ranks, kind="stable"):
        best = " best" if each == np.argmax(ranks) else ""
        canvas.line(x, up([axis.at[each] for axis in axes]), f"rank{levels[each]}{best}")
    for place, axis in zip(x, axes):
        canvas.rule(place, up.stop, place, up.start, "axis")
        canvas.text(place, 14, axis.group, "small", "middle")
        canvas.text(place, 30, axis.name, "heading", "middle")
        for at, text in axis.ticks:
            y = float(up(at))
            canvas.rule(place - 4, y, place, y, "tick")
            canvas.text(place + 4, y + 4, text, "halo")
    return canvas.markup()
