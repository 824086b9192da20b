"""Wind and sun: from a normal number that stands for the weather to a share of rated power.

A plant's weather z is normal with variance 1. Its available power is a curve of z, so its
expectation, once z is known up to a normal error, is an integral of that curve, tabulated here for
every error that a forecast makes. Forecasts are therefore unbiased at any lead, and saturate as
power does.
"""

import dataclasses

import chex
import jax.numpy as jnp
import numpy as np
import scipy.special

from envs.case.fleet import SOLAR, WIND
from envs.time_series import splits

# Wind. Speeds are Rayleigh-distributed, the usual assumption where only the mean is known
# (IEC 61400-12-1); the curve is the cubic one between cut-in and rated speed. Storm shut-down is
# left out.
MEAN_SPEED, CUT_IN_SPEED, RATED_SPEED = 6.8, 3.0, 13.0  # m/s at hub height
WIND_SEASON = 0.3  # added to z in mid-winter, taken off in mid-summer

# Sun. Haurwitz's clear sky (Journal of Meteorology 2, 1945) on a plane that faces the equator.
LATITUDE = 45.0  # degrees north
TILT = 15.0  # degrees; less than is usual, for the plants of an area face several ways
DIFFUSE = 0.15  # share of the light that comes from the whole sky
CLEAR_SKY, CLEAR_SKY_LOSS = 1.098, 0.057  # kW/m², and the exponent of 1 / sin(elevation)
PERFORMANCE = 0.70  # power at 1 kW/m² over rated power
SKY_MEAN, SKY_SLOPE, SKY_LEAST = 0.75, 0.22, 0.10  # share that clouds let through, over z
SUN_SEASON = -0.3  # added to z in mid-winter: winters are cloudier


@dataclasses.dataclass(frozen=True)
class Memory:
    """How the weather of one kind varies: variances (sum 1) and correlation times."""

    grid: float  # known the day before, shared by all plants
    area: float  # known the day before, shared by an area
    area_surprise: float
    own_surprise: float
    area_hours: float
    own_hours: float
    cycles_per_day: tuple[float, ...]
    variance: tuple[float, ...]  # of the known part, over these frequencies


MEMORY = {
    WIND: Memory(0.60, 0.20, 0.15, 0.05, 4.0, 1.5, (0.05, 0.3, 1.0), (0.70, 0.27, 0.03)),
    SOLAR: Memory(
        0.40, 0.25, 0.25, 0.10, 1.0, 0.5, (0.05, 0.5, 1.0, 2.0), (0.60, 0.25, 0.10, 0.05)
    ),
}

_Z, _POINTS = 6.0, 385  # tables reach from −_Z to _Z
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)


def wind_share(z: np.ndarray) -> np.ndarray:
    """Returns available power over rated power, 0 to 1, for weather `z` (high is windy)."""
    speed = MEAN_SPEED * 2 / np.sqrt(np.pi) * np.sqrt(-scipy.special.log_ndtr(-np.asarray(z)))
    cube = (speed**3 - CUT_IN_SPEED**3) / (RATED_SPEED**3 - CUT_IN_SPEED**3)
    return np.clip(cube, 0.0, 1.0)


def sky_share(z: np.ndarray) -> np.ndarray:
    """Returns the share of clear-sky power that clouds let through, for `z` (high is clear)."""
    return np.clip(SKY_MEAN + SKY_SLOPE * np.asarray(z), SKY_LEAST, 1.0)


def clear_sky_share(hours: np.ndarray, day: chex.Array) -> chex.Array:
    """Returns power under a clear sky over rated power `[time]`; zero while the sun is down."""
    angle = jnp.deg2rad(15.0 * (jnp.asarray(hours % 24.0, jnp.float32) - 12.0))
    # Cooper, Solar Energy 12, 1969.
    tilt_of_axis = jnp.deg2rad(23.45 * jnp.sin(2 * jnp.pi * (284 + day + 1) / splits.DAYS_PER_YEAR))

    def height(latitude):
        latitude = np.deg2rad(latitude)
        level = np.sin(latitude) * jnp.sin(tilt_of_axis)
        return level + np.cos(latitude) * jnp.cos(tilt_of_axis) * jnp.cos(angle)

    elevation = height(LATITUDE)  # sine of it
    clear = CLEAR_SKY * jnp.exp(-CLEAR_SKY_LOSS / jnp.maximum(elevation, 1e-3))
    facing = (1 - DIFFUSE) * jnp.maximum(height(LATITUDE - TILT), 0.0) + DIFFUSE * elevation
    return jnp.where(elevation > 0, jnp.minimum(PERFORMANCE * clear * facing, 1.0), 0.0)


def season(day: chex.Array) -> chex.Array:
    """Returns 1 in mid-winter, −1 in mid-summer."""
    return jnp.cos(2 * jnp.pi * (day - 15) / splits.DAYS_PER_YEAR)


class Curve:
    """The expectation of a curve of z under normal errors, tabulated."""

    def __init__(self, share, errors: np.ndarray):
        """Tabulates E[share(m + s ε)] for every standard deviation s in `errors`."""
        m = np.linspace(-_Z, _Z, _POINTS)
        weights = _WEIGHTS / _WEIGHTS.sum()
        self._tables = np.stack([share(m[:, None] + s * _NODES) @ weights for s in errors])

    def __call__(self, z: chex.Array, table: int) -> chex.Array:
        """Returns the expectation at mean `z` under the error numbered `table`; z's shape."""
        values = jnp.asarray(self._tables[table], jnp.float32)
        place = (jnp.clip(z, -_Z, _Z) + _Z) * ((_POINTS - 1) / (2 * _Z))
        low = jnp.minimum(place.astype(jnp.int32), _POINTS - 2)
        left = values[low]
        return left + (place - low) * (values[low + 1] - left)
