"""Days of Grid2Op's chronics, of profiles or of a pool, drawn from like synthetic ones."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet, Prosumers
from envs.case.grid import Grid
from envs.time_series import chronics, outages, pool, profiles, splits
from envs.time_series.options import SYNTHETIC, TimeSeriesOptions
from envs.time_series.series import IN_SERVICE, TimeSeries


def fleet_with_plants(fleet: Fleet, grid: Grid, options: TimeSeriesOptions) -> Fleet:
    """Returns `fleet` with the wind and solar plants that were recorded, in place of its own.

    Raises:
      ValueError: the chronics do not fit the grid; the message begins with the option.
    """
    plants = _refuse_by_option(options, _reader(options).renewables, grid)
    none = np.zeros(0, np.int32)
    prosumers = Prosumers(none, none, none)  # each would have a plant of the fleet's own
    return dataclasses.replace(fleet, renewables=plants, prosumers=prosumers)


def read(
    grid: Grid, fleet: Fleet, options: TimeSeriesOptions
) -> tuple[TimeSeries | None, np.ndarray | None]:
    """Returns the days `[n_series, …]` of pool or chronics, or none where they are synthetic.

    Those of a pool have a plan, and may have weights, as of `pool.read`.

    Raises:
      ValueError: there are none, or they do not fit; the message begins with the option.
    """
    if options.pool:
        return pool.read(grid, fleet, options)
    if options.scenarios:
        raise ValueError(
            f"env.scenarios={options.scenarios}: their days have to be prepared, by `python -m "
            "launch.prepare`, and env.pool to name them; launch.local and launch.fused do both"
        )
    if options.time_series == SYNTHETIC:
        return None, None
    days = _refuse_by_option(
        options, _reader(options).read, grid, fleet, options, scale=options.load_scale
    )
    return days, None


def by_split(series: TimeSeries, grid: Grid, schedule: str) -> dict[str, TimeSeries]:
    """Returns the days of each split that has any, with their plan, as arrays on the device."""
    days = chronics.planned(series, grid, schedule) if series.plan_p_mw is None else series
    present = {splits.SPLITS[i] for i in set(splits.split_indices(series.day).tolist())}
    return {split: jax.tree.map(jnp.asarray, chronics.of_split(days, split)) for split in present}


def weights_by_split(
    series: TimeSeries, weights: np.ndarray | None
) -> dict[str, chex.Array] | None:
    """Returns the weights of the days of each split, if there are any."""
    if weights is None:
        return None
    of_day = splits.split_indices(series.day)
    return {
        name: jnp.asarray(weights[:, of_day == i])
        for i, name in enumerate(splits.SPLITS)
        if (of_day == i).any()
    }


def require(series: TimeSeries | None, needed: Iterable[str]) -> None:
    """Raises a ValueError where a split that is needed has no recorded day."""
    if series is not None:
        for split in needed:
            chronics.of_split(series, split)


def sample(
    key: chex.PRNGKey,
    pools: Mapping[str, TimeSeries],
    grid: Grid,
    options: TimeSeriesOptions,
    split: str,
    weights: Mapping[str, chex.Array] | None = None,
    progress: chex.Numeric = 1.0,
) -> TimeSeries:
    """Returns a random recorded day of `split`, with maintenance and faults at the options' rates.

    What was recorded as out stays out. Days are drawn alike, or by `weights`, `[2, n_series]` of
    each split at the start and the end of training, of which `progress`, 0 to 1, is behind; so are
    outages by their curriculum.

    Raises:
      ValueError: no recorded day belongs to `split`.
    """
    k_day, k_outage = jax.random.split(jax.random.fold_in(key, splits.index(split)))
    if split not in pools:
        raise ValueError(
            f"env.time_series={options.pool or options.time_series}: no recorded day belongs to "
            f"split {split!r}; of every ten days of the year one is for validation and one for test"
        )
    pool = pools[split]
    if weights is None:
        index = jax.random.randint(k_day, (), 0, len(pool.day))
    else:
        start, end = weights[split]
        index = jax.random.categorical(k_day, jnp.log(start + progress * (end - start)))
    day = jax.tree.map(lambda leaf: leaf[index], pool)
    branch, gen = outages.sample(k_outage, grid, options, options.horizon_steps + 1, progress)
    more = lambda now, new: jnp.where(now == IN_SERVICE, new, now)
    return day.replace(
        branch_status=more(day.branch_status, branch), gen_status=more(day.gen_status, gen)
    )


def _reader(options: TimeSeriesOptions):
    """Returns the module that reads the folder of `options`."""
    return profiles if profiles.is_folder(options.time_series) else chronics


def _refuse_by_option(options: TimeSeriesOptions, read_chronics, *args, **kwargs):
    folder = options.time_series
    if not pathlib.Path(folder).is_dir():
        raise ValueError(
            f"env.time_series={folder}: no such folder; it must be {SYNTHETIC}, or a folder of "
            "Grid2Op's chronics or of profiles"
        )
    try:
        return read_chronics(folder, *args, **kwargs)
    except (OSError, ValueError) as error:
        inside = str(error).removeprefix(f"{folder}: ").removeprefix(f"{folder.rstrip('/')}/")
        raise ValueError(f"env.time_series={folder}: {inside}") from error
