"""Power that wind and sun make available on a synthetic day, and what was foreseen of it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import WIND, Fleet
from envs.time_series import noise, weather
from envs.time_series.series import LEAD_STEPS

_DAY_AHEAD = len(LEAD_STEPS)  # number of the table for the day-ahead forecast
_NOW = _DAY_AHEAD + 1


def sample(
    key: chex.PRNGKey,
    fleet: Fleet,
    hours: np.ndarray,
    day: chex.Array,
    *,
    surprise: float = 1.0,
    shift: chex.Array | None = None,
) -> tuple[chex.Array, chex.Array, chex.Array]:
    """Returns a day of available power and what was foreseen of it.

    The weather at a plant is z = known + surprise, normal with variance 1; each is a sum over the
    grid, the plant's area and the plant (`weather.MEMORY`). Power is a curve of z.

    `surprise` and `shift` make days that are harder to foresee. Forecasters know of the first, and
    stay unbiased. They do not know of the second before it comes: once they see it, with the
    delay of everything else, they take it to stay as it is.

    Args:
      key: random key.
      fleet: says where the plants are, of which kind, and how large.
      hours: as in `load.sample`.
      day: day of the year.
      surprise: standard deviation of the unforeseen part of z, over the usual.
      shift: added to z, `[rows, n_renewable]`.

    Returns:
      Available power `[rows, n_renewable]` MW, and what was foreseen of its total as in
      `load.sample`.
    """
    n_rows = hours.size - max(LEAD_STEPS)
    available = jnp.zeros((n_rows, 0))
    ahead, day_ahead = jnp.zeros((n_rows, _DAY_AHEAD)), jnp.zeros(n_rows)
    plants = fleet.renewables
    shift = jnp.zeros((n_rows, fleet.n_renewable)) if shift is None else shift
    chex.assert_shape(shift, (n_rows, fleet.n_renewable))
    order = []
    for kind, k in zip(weather.MEMORY, jax.random.split(key, len(weather.MEMORY))):
        chosen = np.flatnonzero(plants.kind == kind)
        if not chosen.size:
            continue
        order.append(chosen)
        area = fleet.area[plants.bus[chosen]]
        shares = _kind(k, kind, area, hours, day, surprise, shift[:, chosen])
        p_max = jnp.asarray(plants.p_max_mw[chosen], jnp.float32)
        available = jnp.concatenate([available, shares[0] * p_max], axis=1)
        ahead, day_ahead = ahead + shares[1] @ p_max, day_ahead + shares[2] @ p_max
    if order:
        available = available[:, np.argsort(np.concatenate(order))]
    return available, ahead, day_ahead


def _kind(key, kind, area, hours, day, size, shift):
    """Returns what `sample` does for plants of one kind, as shares of rated power, one by one.

    Shapes: `[rows, n_plant]`, `[rows, n_lead, n_plant]`, `[rows, n_plant]`.
    """
    memory = weather.MEMORY[kind]
    n_rows = hours.size - max(LEAD_STEPS)
    _, area = np.unique(area, return_inverse=True)
    n_plant, n_area = area.size, int(area.max()) + 1
    known = noise.Slow(memory.cycles_per_day, memory.variance, 1 + n_area)
    dt_h = hours[1] - hours[0]
    lasting_hours = [memory.area_hours] * n_area + [memory.own_hours] * n_plant
    surprise = noise.Surprise.lasting(lasting_hours, dt_h)
    late = noise.delay(dt_h)
    waves, shocks = noise.draw(key, known, 1 + late + n_rows, n_area + n_plant)

    slow = known.sample(waves, hours)
    foreseen = np.sqrt(memory.grid) * slow[:, :1] + np.sqrt(memory.area) * slow[:, 1:][:, area]
    variance = size**2 * np.array([memory.area_surprise, memory.own_surprise])
    of_area, of_plant = (float(x) for x in np.sqrt(variance))
    to_plants = lambda x: of_area * x[:, :n_area][:, area] + of_plant * x[:, n_area:]
    state = surprise.sample(shocks)
    seen = tuple(part[:n_rows] for part in state)
    shift_seen = jnp.concatenate([jnp.zeros((late, n_plant)), shift])[:n_rows]

    def error(lead):  # standard deviation of z, so many steps ahead
        unknown = surprise.unknown(late + lead)
        return np.sqrt(variance @ (unknown[0], unknown[-1]))

    if kind == WIND:
        share, swing, scale = weather.wind_share, weather.WIND_SEASON, jnp.ones_like(hours)
    else:
        share, swing = weather.sky_share, weather.SUN_SEASON
        scale = weather.clear_sky_share(hours, day)
    scale = scale[:, None]
    errors = [*map(error, LEAD_STEPS), np.sqrt(variance.sum()), 0.0]
    curve = weather.Curve(share, np.array(errors))
    foreseen = foreseen + swing * weather.season(day)

    now = scale[:n_rows] * curve(foreseen[:n_rows] + to_plants(state[0][late:]) + shift, _NOW)
    ahead = []
    for table, k in enumerate(LEAD_STEPS):
        z = foreseen[k : k + n_rows] + to_plants(surprise.ahead(seen, late + k)) + shift_seen
        ahead.append(scale[k : k + n_rows] * curve(z, table))
    day_ahead = scale[:n_rows] * curve(foreseen[:n_rows], _DAY_AHEAD)
    return now, jnp.stack(ahead, axis=1), day_ahead
