"""How much each control was moved at each hour of the day."""

from collections.abc import Mapping

import markupsafe
import numpy as np

from envs import grid_env
from evaluation import report_arrays
from evaluation.report import colour_scale, svg

_LEFT, _RIGHT, _TOP, _BOTTOM = 124.0, 464.0, 6.0, 44.0
_NAMED = 60  # controls up to which each has its name
# Heights of a row, of a heading, and of a block without names.
_ROW, _HEADING, _TALLEST = 12.0, 17.0, 90.0
_LINES = 60  # of a block; of more controls neighbours share a line
_TITLES = {
    "generator": "generators", "load": "loads", "curtailment": "curtailment",
    "storage": "batteries", "unit_voltage": "unit voltages", "switch": "switches",
    "coupling": "couplings", "unit_power": "units",
}  # fmt: skip


def controls(days: Mapping[str, np.ndarray], env: grid_env.GridEnv) -> markupsafe.Markup | None:
    """Returns the mean size of each control by hour, or none where nothing was ever moved.

    Days have `action_size` `[24, action_size]`, 0 to 1. Where a block has too many to be seen,
    neighbours share a line that shows the largest.
    """
    hours = min(report_arrays.HOURS, int(np.ceil(env.horizon * env.dt_h)))
    size = days["action_size"][:hours]
    known = np.flatnonzero(np.isfinite(size).any(1))
    size = np.nan_to_num(size[: known.max(initial=-1) + 1])  # later no day went on
    most = float(size.max(initial=0.0))
    if most < 1e-6:
        return None
    layout = env.layout
    named = layout.action_size <= _NAMED
    blocks = [(name, cut) for name, cut in layout.action.items() if cut.stop > cut.start]
    tall = [_tall(cut.stop - cut.start, named) for _, cut in blocks]
    bottom = _TOP + sum(tall) + _HEADING * len(blocks)
    canvas = svg.Canvas(svg.WIDTH, bottom + _BOTTOM, "Controls moved, by hour of the day")
    y = _TOP
    for (name, cut), height in zip(blocks, tall):
        count = cut.stop - cut.start
        heading = f"{_TITLES.get(name, name)} ({count})"
        if named:
            canvas.text(_LEFT, y + 12, heading, "heading")
        y += _HEADING if named else 4.0
        width = (_RIGHT - _LEFT) * len(size) / hours
        shares = _lines(size[:, cut].T) / most
        colour_scale.cells(canvas, (_LEFT, y, width, height), shares)
        if named:
            for row, words in enumerate(layout.action_names[cut]):
                text = words.split(": ")[-1]
                canvas.text(_LEFT - 5, y + (row + 0.8) * _ROW, text, "small", "end")
        else:
            canvas.text(_LEFT - 5, y + 0.5 * height + 4, heading, "", "end")
        y += height + (0.0 if named else _HEADING - 4.0)
    step = 4 if hours > 8 else 1
    ticks = [(h, f"{h} h" if h + step > hours else str(h)) for h in range(0, hours + 1, step)]
    svg.across(canvas, svg.Axis(0.0, hours, _LEFT, _RIGHT), y, ticks)
    colour_scale.legend(canvas, _LEFT + 60.0, y + 26, "0 %", f"{100 * most:.3g} % of full control")
    return canvas.markup()


def _tall(count: int, named: bool) -> float:
    return count * _ROW if named else float(np.clip(3.0 * count, _ROW + 4.0, _TALLEST))


def _lines(size: np.ndarray) -> np.ndarray:
    """Returns rows of controls, the largest of neighbours where there are more than can be seen."""
    share = int(np.ceil(len(size) / _LINES))
    return np.maximum.reduceat(size, np.arange(0, len(size), share), axis=0)
