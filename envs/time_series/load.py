"""What loads draw on a synthetic day: an expected level, times 1 + noise.

Shape and levels are those of the time series that ship with Grid2Op (RTE, MPL-2.0), measured as
`docs/time_series.md` says: January of `rte_case14_*`, July of `rte_case118_example`. The seasonal
swing lies between the ratios of summer to winter in its other data sets, 0.58 (`l2rpn_idf_2023`)
and 0.81 (`l2rpn_neurips_2020_track1`).
"""

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.grid import Grid
from envs.time_series import noise, splits
from envs.time_series.series import LEAD_STEPS

SEASON_SWING = 0.12  # half the difference between the winter and the summer level
WINTER_DAY = 15  # day of the year on which the level is highest
WEEK = (0.97, 1.0, 1.0, 1.0, 1.0, 0.92, 0.87)  # level of Monday to Sunday
LEVEL = 0.78  # of a mid-season weekday's mean: a winter weekday peaks at 0.95 of nominal
WEEKDAY, WEEKEND = 0, 1
# Level at each full hour over the day's mean: [season: winter, summer][weekday, weekend].
DAILY_SHAPE = np.array([
    [[.98, .93, .91, .89, .86, .87, .92, 1.01, 1.07, 1.08, 1.08, 1.07,
      1.07, 1.06, 1.03, 1.00, .99, .98, 1.03, 1.10, 1.07, 1.01, .97, 1.00],
     [1.08, 1.02, 1.00, .96, .92, .91, .93, .95, .98, 1.01, 1.04, 1.05,
      1.06, 1.06, 1.00, .96, .94, .94, .99, 1.07, 1.07, 1.03, 1.00, 1.05]],
    [[1.00, .92, .89, .85, .82, .82, .87, .96, 1.04, 1.07, 1.09, 1.10,
      1.11, 1.11, 1.08, 1.06, 1.03, 1.01, 1.02, 1.06, 1.06, 1.01, .98, 1.03],
     [1.13, 1.04, 1.00, .95, .90, .88, .88, .90, .93, .99, 1.03, 1.06,
      1.08, 1.10, 1.04, 1.00, .97, .95, .98, 1.03, 1.05, 1.03, 1.02, 1.08]],
])  # fmt: skip

# Known the day before: weather and habits, slowly varying. Shares of a load's expected level.
GRID_STD, AREA_STD, OWN_STD = 0.022, 0.015, 0.040
CYCLES_PER_DAY, VARIANCE = (0.05, 0.5, 1.0, 2.0), (0.55, 0.25, 0.15, 0.05)
# Not known before it happens.
GRID_SURPRISE_STD, GRID_SURPRISE_HOURS = 0.015, 3.0
AREA_SURPRISE_STD, AREA_SURPRISE_HOURS = 0.010, 1.5
GRID_WHITE_STD, OWN_WHITE_STD = 0.001, 0.0102  # from step to step
REACTIVE_STD = 0.014  # of a load's power factor, from step to step


def expected_level(hours: np.ndarray, day: chex.Array) -> chex.Array:
    """Returns the expected load as a share of nominal `[time]` at `hours` `[time]` of `day`."""
    around = np.concatenate([DAILY_SHAPE, DAILY_SHAPE[..., :1]], axis=-1)
    flat = [np.interp(hours % 24.0, np.arange(25), row) for row in around.reshape(4, 25)]
    shapes = jnp.asarray(np.stack(flat).reshape(2, 2, -1), jnp.float32)
    winter = jnp.cos(2 * jnp.pi * (day - WINTER_DAY) / splits.DAYS_PER_YEAR)
    weekday = day % 7
    kind = jnp.where(weekday >= 5, WEEKEND, WEEKDAY)
    shape = 0.5 * (1 + winter) * shapes[0, kind] + 0.5 * (1 - winter) * shapes[1, kind]
    week = jnp.asarray(WEEK, jnp.float32)[weekday]
    return LEVEL * (1.0 + SEASON_SWING * winter) * week * shape


def sample(
    key: chex.PRNGKey, grid: Grid, area: np.ndarray, hours: np.ndarray, day: chex.Array
) -> tuple[chex.Array, chex.Array, chex.Array, chex.Array]:
    """Returns a day of load and what was foreseen of it.

    A load draws P = nominal · level(t) · (1 + known + surprise + white). `area` is `[n_load]`.
    `hours` `[rows + max lead]` are the times of the rows and of those that forecasts look ahead to.

    Returns:
      Active and reactive load `[rows, n_load]` MW and MVAr; the total foreseen at each row for
      each of LEAD_STEPS, `[rows, n_lead]` MW; the total foreseen the day before, `[rows]` MW.
    """
    n_rows = hours.size - max(LEAD_STEPS)
    loads, n_load = grid.loads, grid.loads.size
    _, area = np.unique(area, return_inverse=True)
    n_area = int(area.max(initial=-1)) + 1
    p_nominal, q_nominal = grid.bus.load_p_mw[loads], grid.bus.load_q_mvar[loads]
    known = noise.Slow(CYCLES_PER_DAY, VARIANCE, 1 + n_area + n_load)
    dt_h = hours[1] - hours[0]
    surprise = noise.Surprise.lasting([GRID_SURPRISE_HOURS] + [AREA_SURPRISE_HOURS] * n_area, dt_h)
    late = noise.delay(dt_h)
    waves, shocks = noise.draw(key, known, 1 + late + n_rows, 1 + n_area + 1 + 2 * n_load)
    smooth, common, own, factor = jnp.split(shocks, np.cumsum((1 + n_area, 1, n_load)), axis=1)

    level = expected_level(hours, day)[:, None]
    known_size = np.repeat((GRID_STD, AREA_STD, OWN_STD), (1, n_area, n_load))
    slow = known.sample(waves, hours) * jnp.asarray(known_size, jnp.float32)
    of_grid, of_area, of_load = jnp.split(slow, np.cumsum((1, n_area)), axis=1)
    expected = 1.0 + of_grid + of_area[:, area] + of_load  # [rows + max lead, n_load]

    size = np.repeat((GRID_SURPRISE_STD, AREA_SURPRISE_STD), (1, n_area))
    state = surprise.sample(smooth)
    of_grid, of_area = jnp.split(state[0][late:] * jnp.asarray(size, jnp.float32), [1], axis=1)
    white = GRID_WHITE_STD * common[-n_rows:] + OWN_WHITE_STD * own[-n_rows:]
    happens = expected[:n_rows] + of_grid + of_area[:, area] + white
    share = level[:n_rows] * jnp.maximum(happens, 0.0)

    as_float = lambda x: jnp.asarray(x, jnp.float32)
    day_ahead = level[:, 0] * jnp.matmul(expected, as_float(p_nominal), precision="highest")
    weight = as_float(size * np.append(p_nominal.sum(), np.bincount(area, p_nominal, n_area)))
    seen = tuple(part[:n_rows] for part in state)
    ahead = []
    for k in LEAD_STEPS:
        foreseen = jnp.matmul(surprise.ahead(seen, late + k), weight, precision="highest")
        ahead.append(day_ahead[k : k + n_rows] + level[k : k + n_rows, 0] * foreseen)
    p = share * as_float(p_nominal)
    q = share * (1.0 + REACTIVE_STD * factor[-n_rows:]) * as_float(q_nominal)
    return p, q, jnp.stack(ahead, axis=1), day_ahead[:n_rows]
