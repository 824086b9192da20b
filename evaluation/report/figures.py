"""What a controller's days looked like, as small charts over time."""

from collections.abc import Mapping, Sequence

import markupsafe
import numpy as np

from envs import grid_env
from envs.case import grid as grid_lib
from evaluation import wording
from evaluation.report import day_records, svg

_LEFT, _RIGHT, _TOP = 44.0, 464.0, 10.0
_HEIGHT, _BOTTOM = 190.0, 30.0  # of a chart, and what its hours take of it
_UNITS, _UNIT_HEIGHT, _FEW_HEIGHT = 6, 44.0, 74.0  # units drawn; how tall each, and each of few
_FILLED = 1.06  # of the limit: the axis of loadings reaches at least up to here


def voltage(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns bus voltages of all days in pu: all, the middle 90 %, and the median; limits."""
    lowest, p5, median, p95, highest = records.days["vm_quantiles"].T
    low, high = float(env.grid.bus.vm_min_pu.min()), float(env.grid.bus.vm_max_pu.max())
    span = svg.spread(lowest, highest, low, high)
    canvas, x, y, hours = _chart("Bus voltages over the day", env, span, "{:.2f}".format)
    canvas.band(hours, y(lowest), y(highest), "wide")
    canvas.band(hours, y(p5), y(p95), "narrow")
    canvas.line(hours, y(median), "middle")
    for value, words, above in ((high, "Vmax", True), (low, "Vmin", True)):
        _limit(canvas, x, y, value, words, above=above)
    return canvas.markup()


def loading(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns branch loadings of all days, % of the limit: most loaded, 95 % and median."""
    median, p95, highest = 100.0 * records.days["rho_quantiles"].T
    top = max(_FILLED * 100.0, float(np.nanmax(highest, initial=0.0)) * 1.05)
    canvas, x, y, hours = _chart("Branch loadings over the day", env, (0.0, top))
    canvas.band(hours, y(p95), y(highest), "wide")
    canvas.band(hours, y(median), y(p95), "narrow")
    canvas.line(hours, y(median), "middle")
    _limit(canvas, x, y, 100.0, "limit", above=False)
    hard = 100.0 * env.options.protection.hard_limit
    if hard < top:
        _limit(canvas, x, y, hard, "trips at once", above=False)
    return canvas.markup()


def frequency(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns the lowest frequency of all days, and that of the worst day, in Hz."""
    nominal, options = env.frequency.nominal_hz, env.frequency
    lowest = records.days["frequency_low"]
    steps = records.steps
    nadir, final = (records.worst[name][:steps] for name in ("nadir_hz", "frequency_hz"))
    band = (nominal - options.band_hz, nominal + options.band_hz)
    low, high = svg.spread(lowest, nadir, final, band)
    said = "{:.2f}".format if high - low < 2 else "{:.1f}".format
    canvas, x, y, hours = _chart("System frequency", env, (low, high), said)
    canvas.line(hours, y(lowest), "aside")
    canvas.line(hours[:steps], y(nadir), "thin")
    canvas.line(hours[:steps], y(final), "middle")
    for value in band:
        canvas.rule(x.start, float(y(value)), x.stop, float(y(value)), "bound")
    shed = nominal - options.shed_first_hz
    if y.low < shed:
        _limit(canvas, x, y, shed, "relays shed load", above=True)
    _end(canvas, records, x, y, env)
    return canvas.markup()


def generation(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns the units that left their plan most, one above the other, with the plan, in MW."""
    grid, steps = env.grid, records.steps
    chosen = departed(records, grid)
    tall = _FEW_HEIGHT if len(chosen) <= _UNITS // 2 else _UNIT_HEIGHT
    bottom = _TOP + tall * max(len(chosen), 1)
    canvas = svg.Canvas(svg.WIDTH, bottom + _BOTTOM, "Units against their plan on the worst day")
    x = svg.Axis(0.0, env.horizon * env.dt_h, _LEFT + 46, _RIGHT)
    hours = x(_times(env))
    for row, gen in enumerate(chosen):
        floor = _TOP + tall * (row + 1) - 5
        power, plan = records.worst["gen_p_mw"][:steps, gen], records.worst["plan_p_mw"][:, gen]
        top = max(float(grid.gen.p_max_mw[gen]), float(power.max(initial=0.0)))
        least = min(0.0, float(power.min(initial=0.0)), float(grid.gen.p_min_mw[gen]))
        y = svg.Axis(least, top, floor, floor - tall + 14)
        for value in (least, top):
            canvas.rule(x.start, float(y(value)), x.stop, float(y(value)), "grid")
        canvas.line(hours, y(plan), "plan")
        canvas.line(hours[:steps], y(power), "middle")
        middle = floor - 0.5 * tall + 7
        name = f"bus {grid.bus.id[grid.gen.bus[gen]]}"
        canvas.text(x.start - 6, middle - 2, name, "heading", "end")
        span = f"{wording.compact(least)} to {wording.compact(top)}"
        canvas.text(x.start - 6, middle + 11, span, "small", "end")
    svg.across(canvas, x, bottom, _hours(env))
    if records.ended_early:
        at = float(x(steps * env.dt_h))
        canvas.rule(at, _TOP, at, bottom, "end")
    return canvas.markup()


def departed(records: day_records.DayRecords, grid: grid_lib.Grid) -> np.ndarray:
    """Returns the units that left their plan most on the worst day, in the order of the case."""
    apart = np.abs(records.worst["gen_p_mw"] - records.worst["plan_p_mw"])[: records.steps].sum(0)
    return np.sort(grid.units[np.argsort(-apart[grid.units], kind="stable")[:_UNITS]])


def balance(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns load, units, wind and sun on the worst day, in MW."""
    steps, worst = records.steps, records.worst
    units = worst["gen_p_mw"][:steps, env.grid.units].sum(1)
    served = (1.0 - worst["shed_share"][:steps]) * worst["load_mw"][:steps]
    used = worst["renewable_mw"][:steps]
    low, high = svg.spread(0.0, worst["load_mw"], units, worst["available_mw"])
    span = min(low, 0.0), high
    canvas, x, y, hours = _chart("Load, units, wind and sun on the worst day", env, span)
    canvas.line(hours, y(worst["load_mw"]), "plan")
    canvas.line(hours[:steps], y(served), "load")
    canvas.line(hours[:steps], y(units), "middle")
    if env.fleet.n_renewable:
        canvas.band(hours[:steps], y(used), y(worst["available_mw"][:steps]), "spilled")
        canvas.line(hours[:steps], y(used), "renewable")
    _end(canvas, records, x, y, env)
    return canvas.markup()


def storage(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup | None:
    """Returns the energy in all batteries on the worst day in MWh, or none without batteries."""
    capacity = float(env.fleet.storage.energy_mwh.sum())
    if not env.fleet.n_storage or capacity <= 0:
        return None
    stored = records.worst["energy_mwh"][: records.steps].sum(1)
    span = 0.0, 1.08 * capacity
    canvas, x, y, hours = _chart("Energy in batteries on the worst day", env, span, flat=True)
    canvas.line(hours[: records.steps], y(stored), "middle")
    _limit(canvas, x, y, capacity, "full", above=False)
    _end(canvas, records, x, y, env)
    return canvas.markup()


def cost(records: day_records.DayRecords, env: grid_env.GridEnv) -> markupsafe.Markup:
    """Returns what the worst day cost an hour, every price included, in $/h."""
    rate = records.worst["cost"][: records.steps] / env.dt_h
    top = max(float(rate.max(initial=1.0)), 1.0)
    # A step with lost load costs a thousand times one without.
    bent = rate.size > 0 and top > 20.0 * max(float(np.median(rate)), 1.0)
    span = min(0.0, float(rate.min(initial=0.0))), 1.05 * top
    canvas, x, y, hours = _chart("Cost of the worst day", env, span, flat=True, bent=bent)
    canvas.line(hours[: records.steps], y(rate), "middle")
    _end(canvas, records, x, y, env)
    return canvas.markup()


def learning(curves: Sequence[Mapping[str, Sequence[float]]]) -> markupsafe.Markup:
    """Returns the return on validation days against steps, of each run as `curve.read` has it."""
    whole = lambda name: np.concatenate([np.asarray(curve[name], float) for curve in curves])
    nothing = whole("do_nothing")
    low, high = svg.spread(whole("return"), nothing)
    canvas = svg.Canvas(svg.WIDTH, _HEIGHT + 40, "Return against steps of the environment")
    x = svg.Axis(0.0, max(float(whole("step").max()), 1.0), _LEFT + 22, _RIGHT)
    y = svg.Axis(low, high, _HEIGHT, _TOP)
    scale, word = next((s for s in _STEPS if x.high >= s[0]), (1.0, ""))
    ticks = [(value, f"{value / scale:g}{word if value else ''}") for value in x.ticks(5)]
    svg.frame(canvas, x, y, ticks, wording.compact)
    several = len(curves) > 1
    for curve in curves:
        steps, ours = (np.asarray(curve[name], float) for name in ("step", "return"))
        canvas.line(x(steps), y(ours), "middle seed-curve" if several else "middle")
        for at, value in zip(x(steps), y(ours)):
            if np.isfinite(value) and not several:
                canvas.line([at], [value], "point")
    if np.isfinite(nothing).any():
        last = float(nothing[np.isfinite(nothing)][-1])
        _limit(canvas, x, y, last, "do nothing", above=True)
    canvas.text(0.5 * (x.start + x.stop), _HEIGHT + 35, "steps of the environment", "", "middle")
    return canvas.markup()


_STEPS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def _chart(label: str, env: grid_env.GridEnv, span, said=wording.compact, flat=False, bent=False):
    """Returns a chart over the day, its axes, and where on the first the end of each step is."""
    height = 0.7 * _HEIGHT if flat else _HEIGHT
    canvas = svg.Canvas(svg.WIDTH, height, label)
    x = svg.Axis(0.0, env.horizon * env.dt_h, _LEFT, _RIGHT)
    y = svg.Axis(*span, height - _BOTTOM, _TOP, bent)
    svg.frame(canvas, x, y, _hours(env), said, most=4 if flat else 5)
    return canvas, x, y, x(_times(env))


def _times(env: grid_env.GridEnv) -> np.ndarray:
    """Returns the hour at the end of every step `[T]`."""
    return (np.arange(env.horizon) + 1) * env.dt_h


def _hours(env: grid_env.GridEnv) -> list[tuple[float, str]]:
    axis = svg.Axis(0.0, env.horizon * env.dt_h, 0.0, 1.0)
    ticks = np.arange(0, 25, 4).tolist() if axis.high == 24 else axis.ticks(6)
    return [(hour, f"{hour:g} h" if hour == ticks[-1] else f"{hour:g}") for hour in ticks]


def _limit(canvas, x, y, value: float, words: str, *, above: bool) -> None:
    at = float(y(value))
    canvas.rule(x.start, at, x.stop, at, "limit")
    canvas.text(x.stop - 3, at - 4 if above else at + 12, words, "note", "end")


def _end(canvas, records: day_records.DayRecords, x, y, env: grid_env.GridEnv) -> None:
    """Marks where the worst day ended early."""
    if records.ended_early:
        at = float(x(records.steps * env.dt_h))
        canvas.rule(at, min(y.start, y.stop), at, max(y.start, y.stop), "end")
        aside, anchor = (-4, "end") if at > 0.75 * x.stop else (4, "start")
        canvas.text(at + aside, y.stop + 10, "ended", "note", anchor)
