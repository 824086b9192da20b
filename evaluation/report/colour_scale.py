"""The colours that stand for shares from 0 to 1 in heat maps."""

import numpy as np

from evaluation.report import svg

# Cividis (Nuñez, Anderton and Renslow, PLoS ONE 13, 2018): to be told apart without seeing red and
# green, too. More levels would be told apart by nobody, and take room.
COLOURS = (
    "#00224d", "#11356f", "#3a486b", "#575d6d", "#6f7073", "#898678", "#a59b73",
    "#c3b368", "#e1cc54", "#fde737",
)  # fmt: skip
_WIDE, _TALL = 120.0, 9.0  # of a legend


def cells(
    canvas: svg.Canvas, box: tuple[float, float, float, float], shares: np.ndarray
) -> None:  # fmt: skip
    """Fills a box (x, y, width, height) with the colours of shares `[rows, columns]` in 0 to 1."""
    highest = len(COLOURS) - 1
    canvas.cells(box, np.clip(np.round(highest * shares), 0, highest).astype(int), COLOURS)


def legend(canvas: svg.Canvas, x: float, y: float, least: str, most: str) -> None:
    """Draws all colours in a row at a point, with what the first and the last stand for."""
    cells(canvas, (x, y, _WIDE, _TALL), np.linspace(0.0, 1.0, len(COLOURS))[None])
    canvas.text(x - 5, y + 9, least, "", "end")
    canvas.text(x + _WIDE + 5, y + 9, most)
