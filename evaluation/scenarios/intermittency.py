"""Intermittency: half of the energy from wind and sun, badly foreseen, with sudden ramps."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case import fleet as fleet_lib
from envs.time_series import renewables, series as series_lib, synthetic, weather
from evaluation.scenarios import chance, days

EASY_SHARE, HARD_SHARE = (0.4, 0.5), (0.5, 0.6)  # of the load's energy, as foreseen the day before
# Of which the one that promises most is taken. Such shares come on windy and sunny days; on a calm
# one plants would have to be 20 times as large, and a breeze would give several times the load.
WEATHERS = 8
SURPRISE = 3.0  # standard deviation of unforeseen weather over the usual
EASY_EVENTS, HARD_EVENTS = 1, 3
DEVIATIONS = 2.5  # of the usual weather, by which an event moves it
RISE_H, HOLD_H, RETURN_H = 0.5, (1.0, 3.0), 1.0
FIRST_H, LAST_H = 1.0, 21.0  # when events begin
_DAYLIGHT = 0.5  # of the most the sun gives: events of solar plants begin above it, where they show


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day with much wind and sun, scaled so that their share of energy is as drawn.

    Raises:
      ValueError: the fleet has no plants.
    """
    fleet = setting.fleet
    if not fleet.n_renewable:
        raise ValueError(
            f"scenario intermittency: fleet {fleet.name!r} has neither wind nor sun; choose one "
            "that has: set env.fleet to auto on a shipped case, or to a .json file of your own"
        )
    k_day, k_weather, k_events, k_share = jax.random.split(key, 4)
    day = days.ordinary(k_day, setting)
    shift = events(k_events, setting, day.day)
    times = synthetic.hours(setting.options)
    weathers = jax.vmap(
        lambda k: renewables.sample(k, fleet, times, day.day, surprise=SURPRISE, shift=shift)
    )(jax.random.split(k_weather, WEATHERS))
    best = weathers[2].sum(1).argmax()
    available, ahead, before = (leaf[best] for leaf in weathers)
    least, most = HARD_SHARE if setting.hard else EASY_SHARE
    share = jax.random.uniform(k_share, minval=least, maxval=most)
    factor = share * day.day_ahead_load_mw.sum() / jnp.maximum(before.sum(), 1e-6)
    day = day.replace(
        renewable_mw=factor * available,
        renewable_forecast_mw=factor * ahead,
        day_ahead_renewable_mw=factor * before,
    )
    return days.planned_again(day, setting)


def events(key: chex.PRNGKey, setting: days.Setting, day: chex.Array) -> chex.Array:
    """Returns what ramp events add to the weather of each plant, `[rows, n_renewable]`.

    Each moves the plants of one kind in one area, up or down.
    """
    number = HARD_EVENTS if setting.hard else EASY_EVENTS
    one = lambda shares: _event(shares, setting, day)
    return jax.vmap(one)(jax.random.uniform(key, (number, 4))).sum(0)


def _event(shares, setting, day):
    which, when, how_long, sign = shares
    plants, is_sun = _groups(setting.fleet)
    group = chance.whole(which, 0, len(plants) - 1)
    hours = synthetic.hours(setting.options)[: setting.n_rows]

    first, last = chance.between(setting, FIRST_H, LAST_H)
    within = (np.arange(hours.size) >= first) & (np.arange(hours.size) <= last)
    light = jnp.where(within, weather.clear_sky_share(hours, day), 0.0)
    seen = (light >= _DAYLIGHT * light.max()) | ~jnp.asarray(is_sun)[group]
    begin = jnp.asarray(hours)[chance.one_of(when, within & seen)]

    end = begin + RISE_H + HOLD_H[0] + how_long * (HOLD_H[1] - HOLD_H[0])
    rise = jnp.clip((hours - begin) / RISE_H, 0.0, 1.0)
    fall = jnp.clip((hours - end) / RETURN_H, 0.0, 1.0)
    size = jnp.where(sign < 0.5, -DEVIATIONS, DEVIATIONS)
    return size * (rise - fall)[:, None] * jnp.asarray(plants)[group]


def _groups(fleet: fleet_lib.Fleet) -> tuple[np.ndarray, np.ndarray]:
    """Returns plants of a kind in an area, bool `[n_group, n_renewable]`, and which are solar."""
    kind, area = fleet.renewables.kind, fleet.area[fleet.renewables.bus]
    groups = sorted(set(zip(kind.tolist(), area.tolist())))
    plants = np.stack([(kind == k) & (area == a) for k, a in groups])
    return plants, np.array([k == fleet_lib.SOLAR for k, _ in groups])
