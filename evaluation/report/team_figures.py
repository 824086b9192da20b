"""What the agents of a team tell one another, what they do, and what each earns."""

from collections.abc import Mapping, Sequence

import markupsafe
import numpy as np

from envs import grid_env
from evaluation import overrides, wording
from evaluation.report import colour_scale, day_records, svg

_LEFT, _RIGHT, _TOP = 124.0, 464.0, 6.0
_ROW, _HEADING, _GAP = 13.0, 18.0, 5.0
_AREA, _BAR = 66.0, 13.0  # heights of an area's panel, and of a bar
_BETWEEN = 16.0  # panels
_ACROSS = 4  # heads side by side


def attention_by_hour(attention: np.ndarray, agents: Sequence[str]) -> markupsafe.Markup:
    """Returns how much each agent reads of each, mean over heads, by hour of the day.

    Attention is `[hours, heads, A, A]`, reader before read; hours that no day reached are left out.
    """
    weights = attention.mean(1)  # [hours, A, A]
    known = np.flatnonzero(np.isfinite(weights).all((1, 2)))
    hours, n = int(known.max(initial=-1)) + 1, len(agents)
    weights = np.nan_to_num(weights[:hours])
    most = max(float(weights.max(initial=0.0)), 1e-9)
    height = _TOP + n * (_HEADING + n * _ROW + _GAP)
    canvas = svg.Canvas(svg.WIDTH, height + 44, "Attention among agents, by hour of the day")
    y = _TOP
    width = (_RIGHT - _LEFT) * hours / len(attention)
    for reader, name in enumerate(agents):
        canvas.text(_LEFT, y + 13, f"{name} reads", "heading")
        y += _HEADING
        box = (_LEFT, y, width, n * _ROW)
        colour_scale.cells(canvas, box, weights[:, reader].T / most)
        for row, other in enumerate(agents):
            canvas.text(_LEFT - 5, y + (row + 0.8) * _ROW, other, "small", "end")
        y += n * _ROW + _GAP
    _hours(canvas, svg.Axis(0.0, len(attention), _LEFT, _RIGHT), y - 2, len(attention))
    colour_scale.legend(canvas, _LEFT + 60.0, y + 26, "0 %", f"{100 * most:.3g} % of attention")
    return canvas.markup()


def attention_by_head(attention: np.ndarray, agents: Sequence[str]) -> markupsafe.Markup:
    """Returns how much each agent reads of each in every head, mean over the day.

    Attention is `[hours, heads, A, A]`, reader before read.
    """
    heads = np.nan_to_num(np.nanmean(attention, 0))  # [heads, A, A]
    most = max(float(heads.max(initial=0.0)), 1e-9)
    down = -(-len(heads) // _ACROSS)
    side = (_RIGHT - _LEFT - (_ACROSS - 1) * 10.0) / _ACROSS
    names = 60.0  # below, written upwards
    height = _TOP + down * (side + _HEADING + 6.0)
    canvas = svg.Canvas(svg.WIDTH, height + names + 24, "Attention among agents, by head")
    for head, weights in enumerate(heads):
        row, column = divmod(head, _ACROSS)
        x, y = _LEFT + column * (side + 10.0), _TOP + row * (side + _HEADING + 6.0)
        canvas.text(x, y + 13, f"head {head + 1}", "heading")
        colour_scale.cells(canvas, (x, y + _HEADING, side, side), weights / most)
        each = side / len(agents)
        for place, name in enumerate(agents):
            if column == 0:
                canvas.text(_LEFT - 5, y + _HEADING + (place + 0.7) * each, name, "small", "end")
            if row == down - 1:
                across = x + (place + 0.5) * each + 4
                canvas.text_upwards(across, y + _HEADING + side + 5, name, "small")
    legend = height + names + 8
    colour_scale.legend(canvas, _LEFT + 60.0, legend, "0 %", f"{100 * most:.3g} % of attention")
    return canvas.markup()


def directives(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns the directive of each area on the worst day, beside what its units then did.

    That is the MW that they produce beyond their plan; the share of its request that the safety
    agent holds back is shaded.
    """
    worst, steps = records.worst, records.steps
    areas, directed = worst["areas"].tolist(), worst["directed"].tolist()
    regions = worst["regions"].tolist() if "regions" in worst else []
    moved = worst["area_redispatch_mw"][:steps]
    reach = max(float(np.abs(moved).max(initial=0.0)), 1.0)
    bottom = _TOP + _HEADING + len(areas) * (_AREA + _BETWEEN)
    canvas = svg.Canvas(svg.WIDTH, bottom + 26, "Directives beside redispatch, by area")
    span = 0.0, env.horizon * env.dt_h
    x_told, x_done = svg.Axis(*span, 78.0, 256.0), svg.Axis(*span, 300.0, _RIGHT)
    hours = (np.arange(steps) + 1) * env.dt_h
    canvas.text(x_told.start, _TOP + 10, "directive, −1 to 1", "heading")
    canvas.text(x_done.start, _TOP + 10, "MW beyond the plan", "heading")
    for row, area in enumerate(areas):
        floor = _TOP + _HEADING + row * (_AREA + _BETWEEN) + _AREA
        told, done = (
            svg.Axis(-1, 1, floor, floor - _AREA),
            svg.Axis(-reach, reach, floor, floor - _AREA),
        )
        for x, y, ends in ((x_told, told, (-1.0, 0.0, 1.0)), (x_done, done, (-reach, 0.0, reach))):
            canvas.rules([(x.start, float(y(v)), x.stop, float(y(v))) for v in ends], "grid")
        for value, below in ((reach, 9), (-reach, -1)):
            words = wording.compact(value)
            canvas.text(x_done.start - 4, float(done(value)) + below, words, "small", "end")
        canvas.text(x_told.start - 6, floor - 0.5 * _AREA + 4, area, "heading", "end")
        if area in regions:
            share = np.clip(worst["safety_share"][:steps, regions.index(area)], 0.0, 1.0)
            held = np.where(share > overrides.LEAST, share, 0.0)
            base = np.full(steps, floor)
            canvas.band(x_done(hours), base, base - held * _AREA, "wide")
        if area in directed:
            given = worst["directives"][:steps, directed.index(area)]
            canvas.line(x_told(hours), told(given), "middle")
        else:
            middle = 0.5 * (x_told.start + x_told.stop)
            canvas.text(middle, floor - 0.5 * _AREA - 4, "hears none", "small", "middle")
        canvas.line(x_done(hours), done(moved[:, row]), "middle")
    for x in (x_told, x_done):
        _hours(canvas, x, bottom - _BETWEEN + 3, span[1], most=4)
    return canvas.markup()


def returns(
    team: Mapping[str, np.ndarray], credits: Mapping[str, Mapping[str, float]]
) -> markupsafe.Markup:
    """Returns each agent's mean return a day, what its area earns, and its credit.

    `team` is that of `DayRecords`; `credits` has by agent `mean`, `low` and `high` of the return
    that the team loses where this agent does nothing, of those that were measured.
    """
    agents = team["agents"].tolist()
    tall = 2 * _BAR + 10.0
    bottom = _TOP + _HEADING + tall * len(agents)
    canvas = svg.Canvas(svg.WIDTH, bottom + 6, "Return of each agent")
    own, area = team["agent_return"].mean(0), team["area_return"].mean(0)
    panel = 150.0 if credits else 250.0
    x = _around(np.concatenate([own, area]), 92.0, 92.0 + panel)
    canvas.text(x.start, _TOP + 10, "reward and, lighter, area", "heading")
    if credits:
        ends = [value for entry in credits.values() for value in entry.values()]
        y = _around(np.array(ends), 330.0, 430.0, bent=True)
        canvas.text(y.start, _TOP + 10, "credit", "heading")
    for row, name in enumerate(agents):
        top = _TOP + _HEADING + row * tall + 3
        canvas.text(86.0, top + _BAR + 2, name, "heading", "end")
        for place, (value, shade) in enumerate(((own[row], "narrow"), (area[row], "wide"))):
            if np.isfinite(value):
                _bar(canvas, x, top + place * _BAR, value, shade)
        if name in credits:
            entry = credits[name]
            low, mean, high = (float(y(entry[end])) for end in ("low", "mean", "high"))
            middle = top + _BAR
            canvas.rule(low, middle, high, middle, "middle")
            canvas.line([mean], [middle], "point")
            words = wording.compact(entry["mean"])
            canvas.text(mean, middle - 6, words, "small", "middle")
    for axis in (x, y) if credits else (x,):
        zero = float(axis(0.0))
        canvas.rule(zero, _TOP + _HEADING, zero, bottom, "axis")
    return canvas.markup()


def _around(values: np.ndarray, start: float, stop: float, *, bent: bool = False) -> svg.Axis:
    """Returns an axis from `start` to `stop` with zero and all known values on it.

    It may be `bent` where a few are much larger than the others.
    """
    known = values[np.isfinite(values)]
    low, high = min(0.0, float(known.min(initial=0.0))), max(0.0, float(known.max(initial=0.0)))
    size = np.abs(known[known != 0])
    bent = bent and size.size > 0 and float(size.max()) > 20.0 * float(np.median(size))
    return svg.Axis(low, high if high > low else low + 1.0, start, stop, bent)


def _bar(canvas: svg.Canvas, x: svg.Axis, top: float, value: float, shade: str) -> None:
    zero, at = float(x(0.0)), float(x(value))
    canvas.shape(f"M{zero:.1f} {top:.1f}H{at:.1f}v{_BAR - 2:g}H{zero:.1f}z", shade)
    canvas.text(max(zero, at) + 4, top + _BAR - 3, wording.compact(value), "small")


def _hours(canvas: svg.Canvas, x: svg.Axis, y: float, hours: float, most: int = 6) -> None:
    whole = np.arange(0, hours + 1e-9, 4 if most > 4 else 8) if hours > 8 else x.ticks(most)
    ticks = [float(hour) for hour in whole]
    svg.across(canvas, x, y, [(h, f"{h:g} h" if h == ticks[-1] else f"{h:g}") for h in ticks])
