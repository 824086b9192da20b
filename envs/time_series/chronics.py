"""Days recorded in Grid2Op's chronics, as time series of a grid.

Names tell where a column belongs, see `chronics_names`. Grid2Op numbers substations from 0, so with
an offset of 1 the data sets on the 14 and 118 bus systems (`rte_case14_*`, `educ_case14_*`,
`l2rpn_case14_sandbox`, `rte_case118_example`, `l2rpn_idf_2023`) name the IEEE buses. Those on 36
substations are parts of the 118 bus system with numbers of their own: they need that grid as a
case file.

    days = chronics.read("…/rte_case14_realistic/chronics", grid, fleet, options, scale=0.86)
    train = chronics.of_split(chronics.planned(days, grid, options.schedule), "train")
"""

import dataclasses
import datetime
import logging
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import WIND, Fleet, Renewables
from envs.case.grid import Grid
from envs.schedule import day_ahead
from envs.time_series import chronics_files as files, chronics_names as names, splits, weather
from envs.time_series.load import GRID_SURPRISE_HOURS
from envs.time_series.options import MINUTES_PER_DAY, RECORDED, TimeSeriesOptions
from envs.time_series.series import FAULT, IN_SERVICE, LEAD_STEPS, MAINTENANCE, TimeSeries

# Chronics hold no day-ahead forecast: it is made of what happened, smoothed over an hour, and
# a smooth error as large as that of synthetic days.
LOAD_ERROR = 0.018  # of total load
WIND_ERROR = 0.08  # of total rated wind power
SUN_ERROR = 0.12  # of total available solar power
_ERROR_CYCLES_PER_DAY = (0.3, 0.7, 1.3, 2.1, 3.1)
_MOST_BYTES = 2**30  # of days; a compiled program takes at most 2 GiB of constants
_PEAK_OVER_NOMINAL = 1.05  # beyond it, reading warns and names a scale


def read(
    folder: str | pathlib.Path,
    grid: Grid,
    fleet: Fleet,
    options: TimeSeriesOptions,
    *,
    scale: float = 1.0,
    bus_offset: int = 1,
) -> TimeSeries:
    """Returns the whole days of a scenario, or of every one in a folder; touches no device.

    Args:
      folder: a scenario's folder, or a folder of such folders.
      grid: every load of the grid must have a column, every column of load_p a load.
      fleet: every wind or solar plant must have a column of its kind at its bus; it is scaled by
        the plant's rated power over the column's Pmax. `renewables` makes such a table.
      options: step and horizon. Steps may be longer than the recording's, not shorter.
      scale: multiplies all load. Nothing is scaled unasked.
      bus_offset: bus number of substation 0.

    Returns:
      Time series from midnight to midnight, every leaf with a leading axis `[n_series]`, numpy
      arrays; without the plan, which `planned` adds where it is not what was recorded.

    Raises:
      FileNotFoundError: there are no chronics in `folder`.
      chronics_files.ChronicsError: a file is missing, or does not fit itself or the grid.
    """
    series = []
    for scenario in files.folders(pathlib.Path(folder)):
        series += _days(scenario, grid, fleet, options, scale, bus_offset)
    return stacked(folder, series, grid, options, scale)


def stacked(
    folder: str | pathlib.Path,
    series: list[TimeSeries],
    grid: Grid,
    options: TimeSeriesOptions,
    scale: float,
) -> TimeSeries:
    """Returns days as one time series `[n_series, …]`; warns of load that the grid is not made for.

    Raises:
      chronics_files.ChronicsError: there are none, or more than devices can hold.
    """
    if not series:
        raise files.ChronicsError(
            f"{folder}: no whole day from midnight in any scenario; an episode of "
            f"env.horizon_steps={options.horizon_steps} needs {options.horizon_steps + 1} rows, "
            "shorten the horizon"
        )
    days = jax.tree.map(lambda *leaves: np.stack(leaves), *series)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(days))
    if size > _MOST_BYTES:
        raise files.ChronicsError(
            f"{folder}: {len(series)} days take {size / 2**20:,.0f} MiB; they may take "
            f"{_MOST_BYTES / 2**20:,.0f}, for each device holds them all; give a folder of fewer "
            "scenarios"
        )
    if options.schedule == RECORDED:
        return days  # What produces the load was recorded, whatever the file's loads are.
    peak, nominal = days.load_p_mw.sum(-1).max(), grid.bus.load_p_mw.sum()
    if peak > _PEAK_OVER_NOMINAL * nominal:
        logging.warning(
            "%s: load peaks at %.0f MW, %s is built for %.0f MW; scale=%.2f brings them together",
            folder, peak, grid.name, nominal, scale * nominal / peak,
        )  # fmt: skip
    return days


def planned(series: TimeSeries, grid: Grid, schedule: str) -> TimeSeries:
    """Returns days `[n_series, …]` with the plan that `schedule` makes of their forecasts."""
    foreseen = (series.day_ahead_load_mw, series.day_ahead_renewable_mw)
    totals = (jnp.asarray(leaf.reshape(-1)) for leaf in foreseen)
    plan = np.asarray(day_ahead.unit_plan(grid, schedule, *totals), np.float32)
    return series.replace(plan_p_mw=plan.reshape(*series.day_ahead_load_mw.shape, -1))


def of_split(series: TimeSeries, split: str) -> TimeSeries:
    """Returns those of `series` whose day belongs to `split`; raises ValueError where none does."""
    chosen = splits.split_indices(np.asarray(series.day)) == splits.index(split)
    if not chosen.any():
        days = sorted(set(np.asarray(series.day).tolist()))
        raise ValueError(
            f"split {split!r}: none of the recorded days {days} belongs to it; record or read more "
            "days, of every ten one is for validation and one for test"
        )
    return jax.tree.map(lambda leaf: leaf[chosen], series)


def renewables(folder: str | pathlib.Path, grid: Grid, *, bus_offset: int = 1) -> Renewables:
    """Returns the wind and solar plants that the chronics in `folder` record, for a fleet."""
    scenario = files.folders(pathlib.Path(folder))[0]
    known, (path, columns) = files.plants(scenario), files.columns(scenario, "prod_p")
    chosen = [n for n in columns if known.get(n, ("", 0.0))[0] in weather.MEMORY]
    return Renewables(
        bus=np.array([names.bus(grid, path, n, "gen", bus_offset) for n in chosen], np.int32),
        kind=np.array([known[n][0] for n in chosen], "<U5"),
        p_max_mw=np.array([known[n][1] for n in chosen], float),
    )


@dataclasses.dataclass(frozen=True)
class Recording:
    """A scenario on the grid: every array `[time, …]` in steps of the recording."""

    load_p_mw: np.ndarray
    load_q_mvar: np.ndarray
    renewable_mw: np.ndarray
    branch_status: np.ndarray
    load_leads_mw: np.ndarray  # `[time, lead]` total load forecast by the files, lead 1 first
    renewable_leads_mw: np.ndarray
    unit_mw: np.ndarray | None  # `[time, n_gen]` where the plan is what was recorded


def _days(folder, grid, fleet, options, scale, bus_offset) -> list[TimeSeries]:
    """Returns the time series of one scenario."""
    start, minutes = files.clock(folder)
    stride, rest = divmod(options.step_minutes, minutes)
    if rest or not stride:
        raise files.ChronicsError(
            f"{folder}: rows are {minutes} minutes apart, env.step_minutes={options.step_minutes} "
            f"is no multiple of that; use {minutes}"
        )
    series = _series(folder, grid, fleet, options, scale, bus_offset)
    return whole_days(series, folder.name, start, minutes, stride, grid, fleet, options)


def whole_days(
    series: Recording,
    name: str,
    start: datetime.datetime,
    minutes: int,
    stride: int,
    grid: Grid,
    fleet: Fleet,
    options: TimeSeriesOptions,
) -> list[TimeSeries]:
    """Returns the days of a recording that are whole, without a plan.

    Its rows are `minutes` apart from `start`, and every `stride`-th is a step. `name` seeds the
    errors of the forecasts that it does not hold.
    """
    rng = np.random.default_rng((0, zlib.crc32(name.encode())))
    foreseen = _foreseen(series, fleet, start, minutes, stride, rng)
    load_ahead, renewable_ahead, load_day_ahead, renewable_day_ahead = foreseen
    n_time = len(load_day_ahead)
    days = []
    midnight = datetime.datetime.combine(start.date(), datetime.time())
    for day in range(n_time * minutes // MINUTES_PER_DAY + 2):
        date = midnight + datetime.timedelta(days=day)
        rows = _rows(date, start, minutes, stride, options.horizon_steps, n_time)
        if rows is None:
            continue
        take = lambda array, rows=rows: np.asarray(array[rows], np.float32)
        days.append(
            TimeSeries(
                load_p_mw=take(series.load_p_mw),
                load_q_mvar=take(series.load_q_mvar),
                renewable_mw=take(series.renewable_mw),
                branch_status=series.branch_status[rows],
                gen_status=np.full((rows.size, grid.n_gen), IN_SERVICE, np.uint8),
                load_forecast_mw=take(load_ahead),
                renewable_forecast_mw=take(renewable_ahead),
                day_ahead_load_mw=take(load_day_ahead),
                day_ahead_renewable_mw=take(renewable_day_ahead),
                plan_p_mw=None if series.unit_mw is None else take(series.unit_mw),
                day=np.int32(day_of(date.date())),
            )
        )
    return days


def _rows(date, start, minutes, stride, horizon, n_time) -> np.ndarray | None:
    """Returns the rows of an episode from midnight of `date`, None where it is not recorded whole.

    A recording that ends with the last step of the day lends the step before midnight as row 0.
    """
    first, rest = divmod(round((date - start).total_seconds() / 60), minutes)
    if first + stride * horizon >= n_time:
        first -= stride
    if rest or first < 0 or first + stride * horizon >= n_time:
        return None
    return first + stride * np.arange(horizon + 1)


def day_of(date: datetime.date) -> int:
    """Returns the day of the time series' year for `date`: the nearest with its day of the week.

    Time series count 52 whole weeks of which day 0 is a Monday. Dates of one year keep their
    distance, so no two of a month fall on one day.
    """
    day = date.timetuple().tm_yday - 1
    shift = (date.weekday() - day + 3) % 7 - 3
    return (day + shift) % splits.DAYS_PER_YEAR


def _series(folder, grid, fleet, options, scale, bus_offset) -> Recording:
    load_p, load_q = files.required(folder, "load_p"), files.required(folder, "load_q")
    n_time = len(load_p.values)
    load_q.expect_rows(n_time, load_p.path)
    to_load = names.loads(load_p, grid, bus_offset)
    q_map = names.loads(load_q, grid, bus_offset)
    to_plant, prod = np.zeros((0, fleet.n_renewable)), None
    renewable = np.zeros((n_time, 0))
    unit_mw = None
    if fleet.n_renewable or options.schedule == RECORDED:
        prod = files.required(folder, "prod_p")
        prod.expect_rows(n_time, load_p.path)
    if options.schedule == RECORDED:
        unit_mw = prod.values @ names.units(folder, prod, grid, bus_offset)
    if fleet.n_renewable:
        to_plant = names.plants(folder, prod, grid, fleet, bus_offset)
        renewable = np.clip(prod.values @ to_plant, 0.0, fleet.renewables.p_max_mw)

    def leads(stem, like, weights):
        table = files.table(folder, stem) if like is not None else None
        if table is None:
            return np.zeros((n_time, 0))
        if len(table.values) % n_time:
            raise files.ChronicsError(
                f"{table.path}: {len(table.values)} rows, but {like.path.name} has {n_time}; "
                "forecasts need one row, or the same number of rows, for each"
            )
        return (table.values @ weights[names.order(table, like)]).reshape(n_time, -1)

    status = np.full((n_time, grid.n_branch), IN_SERVICE, np.uint8)
    for stem, mark in (("hazards", FAULT), ("maintenance", MAINTENANCE)):
        table = files.table(folder, stem)
        if table is not None:
            table.expect_rows(n_time, load_p.path)
            for column, branch in names.branches(table, grid, bus_offset):
                status[table.values[:, column] > 0, branch] = mark
    return Recording(
        load_p_mw=scale * load_p.values @ to_load,
        load_q_mvar=scale * load_q.values @ q_map,
        renewable_mw=renewable,
        branch_status=status,
        load_leads_mw=leads("load_p_forecasted", load_p, scale * to_load.sum(1)),
        renewable_leads_mw=leads(
            "prod_p_forecasted", prod if fleet.n_renewable else None, to_plant.sum(1)
        ),
        unit_mw=unit_mw,
    )


def _foreseen(series, fleet, start, minutes, stride, rng):
    """Returns forecasts `[time, n_lead]` of load and renewables, then those of the day before."""
    n_time = len(series.load_p_mw)
    day = (start.hour * 60 + start.minute + minutes * np.arange(n_time)) / 1440.0
    load, plants = series.load_p_mw.sum(1), series.renewable_mw
    is_wind = fleet.renewables.kind == WIND
    wind, sun = plants[:, is_wind].sum(1), plants[:, ~is_wind].sum(1)
    smooth = lambda x: _smooth(x, max(1, round(60 / minutes)))
    rated = fleet.renewables.p_max_mw[is_wind].sum()
    load_before = smooth(load) * (1 + LOAD_ERROR * _waves(rng, day))
    wind_before = np.clip(smooth(wind) + WIND_ERROR * rated * _waves(rng, day), 0.0, rated)
    sun_before = smooth(sun) * np.maximum(1 + SUN_ERROR * _waves(rng, day), 0.0)

    def ahead(now, before, recorded, hours):
        columns = []
        for lead in LEAD_STEPS:
            steps = lead * stride
            if steps <= recorded.shape[1]:
                columns.append(recorded[:, steps - 1])
                continue
            # The error so far fades as that of synthetic days does.
            share = steps * minutes / 60.0 / hours
            later = before[np.minimum(np.arange(n_time) + steps, n_time - 1)]
            columns.append(later + (1 + share) * np.exp(-share) * (now - before))
        return np.maximum(np.stack(columns, axis=1), 0.0)

    before = wind_before + sun_before
    wind_hours = weather.MEMORY[WIND].area_hours
    load_ahead = ahead(load, load_before, series.load_leads_mw, GRID_SURPRISE_HOURS)
    renewable_ahead = ahead(wind + sun, before, series.renewable_leads_mw, wind_hours)
    return load_ahead, renewable_ahead, load_before, before


def _waves(rng, day: np.ndarray) -> np.ndarray:
    """Returns smooth noise `[time]` of variance 1 over days `[time]`."""
    phase = rng.uniform(0.0, 2 * np.pi, len(_ERROR_CYCLES_PER_DAY))
    angle = 2 * np.pi * np.outer(day, _ERROR_CYCLES_PER_DAY) + phase
    return np.sqrt(2 / phase.size) * np.cos(angle).sum(1)


def _smooth(x: np.ndarray, width: int) -> np.ndarray:
    """Returns the running mean over `width` rows to either side, fewer at the ends."""
    total = np.concatenate([[0.0], np.cumsum(x)])
    place = np.arange(x.size)
    low, high = np.maximum(place - width // 2, 0), np.minimum(place + width // 2 + 1, x.size)
    return (total[high] - total[low]) / (high - low)
