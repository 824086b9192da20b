"""Noise of three kinds: white, slowly varying and known the day before, and a surprise.

Everything that is random on a synthetic day is a sum of these, each of unit variance, so that what
a forecaster knows at any time is a formula and not a second simulation.
"""

from __future__ import annotations

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

FORECAST_DELAY_H = 1 / 3  # age of what a forecast within the day is made of
_BYTES_MEAN, _BYTES_STD = 4 * 127.5, np.sqrt(4 * (256**2 - 1) / 12)  # of the sum of four bytes


def normals(key: chex.PRNGKey, size: int) -> chex.Array:
    """Returns near-normal noise `[size]` of mean 0 and variance 1.

    Each value is the sum of the four bytes of a random word: within 0.7 % of the normal
    distribution function, never beyond 3.45. The words are a hash of the counter and of 64 bits
    drawn from `key`. Both are for speed: a day of 118 buses takes 58,000 of them, and
    `jax.random.normal` would take longer over them than everything else on the time series
    together.
    """
    seed = jax.random.bits(key, (2,))
    counter = jnp.arange(size, dtype=jnp.uint32)
    words = _mix(_mix(counter * jnp.uint32(0x9E3779B9) + seed[0]) ^ seed[1])
    pairs = (words & 0x00FF00FF) + ((words >> 8) & 0x00FF00FF)
    total = (pairs & 0xFFFF) + (pairs >> 16)
    return (total.astype(jnp.float32) - _BYTES_MEAN) / _BYTES_STD


def _mix(word: chex.Array) -> chex.Array:
    """Returns the hash `lowbias32` of each uint32 (Wellons, Prospecting for Hash Functions)."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)


def delay(dt_h: float) -> int:
    """Returns the age of what a forecast is made of, in steps of `dt_h` hours, at least one."""
    return max(1, round(FORECAST_DELAY_H / dt_h))


@dataclasses.dataclass(frozen=True)
class Slow:
    """Stationary noise made of a few waves of random phase; the day before, it is known.

    x(τ) = Σ_f w_f (a_f cos 2πfτ + b_f sin 2πfτ), a and b normal, Σ w_f² = 1 (Rice, Bell System
    Technical Journal 23, 1944): its autocorrelation is Σ w_f² cos 2πfτ.
    """

    cycles_per_day: tuple[float, ...]
    variance: tuple[float, ...]  # w² of each frequency; they sum to 1
    n_columns: int

    @property
    def n_shocks(self) -> int:
        """Random numbers that each column takes."""
        return 2 * len(self.cycles_per_day)

    def sample(self, shocks: chex.Array, hours: np.ndarray) -> chex.Array:
        """Returns noise `[time, n_columns]` at `hours` `[time]`, of `[n_shocks, n_columns]`."""
        angle = 2 * np.pi * np.outer(hours / 24.0, self.cycles_per_day)  # [time, frequency]
        waves = jnp.asarray(np.concatenate([np.cos(angle), np.sin(angle)], axis=1), jnp.float32)
        weight = jnp.asarray(np.sqrt(np.tile(self.variance, 2))[:, None], jnp.float32)
        return waves @ (weight * shocks)


@dataclasses.dataclass(frozen=True)
class Surprise:
    """Smooth second-order autoregressive noise, which nobody knows before it happens.

    Two equal first-order filters in a row: y' = ρ y + √(1−ρ²) ε and x' = ρ x + c y, with
    ρ = exp(−Δt/T). A single filter would jump from step to step, which wind, clouds and sums of
    consumers do not: here a step of Δt ≪ T changes x by about Δt/T standard deviations. Its
    autocorrelation at lag τ is about (1 + τ/T) exp(−τ/T).
    """

    memory: np.ndarray  # `[n_column]` ρ

    @staticmethod
    def lasting(hours: np.ndarray, dt_h: float) -> Surprise:
        """Returns noise with correlation times T of `hours` `[n_column]`, in steps of `dt_h`."""
        return Surprise(np.exp(-dt_h / np.asarray(hours, float)))

    @property
    def _gain(self) -> np.ndarray:
        return (1 - self.memory**2) / np.sqrt(1 + self.memory**2)  # c, so that x has variance 1

    @property
    def _tie(self) -> np.ndarray:
        return self.memory / np.sqrt(1 + self.memory**2)  # correlation of x and y at one time

    def sample(self, shocks: chex.Array) -> tuple[chex.Array, chex.Array]:
        """Returns x and y `[rows, n_column]`, stationary, of `shocks` `[rows + 1, n_column]`."""
        chex.assert_axis_dimension(shocks, 1, self.memory.size)
        as_float = lambda value: jnp.asarray(value, jnp.float32)
        memory, gain = as_float(self.memory), as_float(self._gain)
        fresh, tie = as_float(np.sqrt(1 - self.memory**2)), as_float(self._tie)
        start = (tie * shocks[1] + as_float(np.sqrt(1 - self._tie**2)) * shocks[0], shocks[1])

        def advance(state, shock):
            x, y = state
            state = (memory * x + gain * y, memory * y + fresh * shock)
            return state, state

        _, later = jax.lax.scan(advance, start, shocks[2:])
        return tuple(jnp.concatenate([first[None], rest]) for first, rest in zip(start, later))

    def ahead(self, state: tuple[chex.Array, chex.Array], steps: int) -> chex.Array:
        """Returns the conditional mean of x `steps` later, E[x(t + k) | x(t), y(t)]."""
        of_x, of_y = self._decay(steps)
        x, y = state
        return jnp.asarray(of_x, x.dtype) * x + jnp.asarray(of_y, x.dtype) * y

    def unknown(self, steps: int) -> np.ndarray:
        """Returns the variance of x `steps` later about that mean, `[n_column]`, at most 1."""
        of_x, of_y = self._decay(steps)
        return np.maximum(1 - (of_x**2 + of_y**2 + 2 * of_x * of_y * self._tie), 0.0)

    def _decay(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        return self.memory**steps, steps * self.memory ** (steps - 1) * self._gain


def draw(
    key: chex.PRNGKey, known: Slow, n_rows: int, n_columns: int
) -> tuple[chex.Array, chex.Array]:
    """Returns shocks for `known`, and `[n_rows, n_columns]` more."""
    n_wave = known.n_shocks * known.n_columns
    flat = normals(key, n_wave + n_rows * n_columns)
    return flat[:n_wave].reshape(known.n_shocks, -1), flat[n_wave:].reshape(n_rows, n_columns)
