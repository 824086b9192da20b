"""What the infos of an environment say of a step, and of a day when it is over."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs import grid_env
from envs.inputs import choices
from envs.step import rewards

# How the steps of a day become one number.
REDUCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "sum": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum,
    "last": lambda before, now: now,
}  # fmt: skip
Function = Callable[[grid_env.State, grid_env.Detail], chex.Array]


class Metric(NamedTuple):
    """A number of each step, and how those of a day become one."""

    function: Function  # of the state that a step led to and what the step was made of; traced
    of_day: str = "mean"  # of `REDUCTIONS`


# Of metrics that are no reward term (those are summed); of others a day has the mean.
_OF_DAY = {
    "rho_max": "max", "after_outage_rho_max": "max", "vm_min_pu": "min", "vm_max_pu": "max",
    "refused_switches": "sum", "cascade_rounds": "max", "de_energised_buses": "max",
    "nadir_hz": "min", "rocof_hz_per_s": "min", "seconds_off_nominal": "sum", "mismatch_pu": "max",
    "reward": "sum", "operating_cost": "sum", "voltage_violations": "sum", "overloads": "sum",
    **dict.fromkeys(rewards.TERM_UNITS, "sum"),
}  # fmt: skip


class Metrics:
    """The metrics of one environment: its own, and those of who uses it."""

    def __init__(self, env: grid_env.GridEnv, own: Mapping[str, Metric | Function] | None = None):
        """Takes metrics to add, by name; a bare function is one whose day is the mean.

        Raises:
          ValueError: one is no function, or there is no such way of making a day of its steps.
        """
        self._options = env.options
        bus = env.grid.bus
        self._limits = np.float32(bus.vm_min_pu), np.float32(bus.vm_max_pu)
        self._own = {
            name: metric if isinstance(metric, Metric) else Metric(metric)
            for name, metric in (own or {}).items()
        }
        for name, metric in self._own.items():
            if not callable(metric.function):
                raise ValueError(
                    f"metrics: {name}={metric.function!r}: must be a function of state and detail"
                )
            choices.require(f"metrics: {name}", metric.of_day, REDUCTIONS)
        self.names: tuple[str, ...] = ()  # in the order of `read`, which sets it when it is traced

    def read(self, state: grid_env.State, detail: grid_env.Detail) -> chex.Array:
        """Returns every metric of a step `[n_metric]`.

        Reward terms in the units of `envs.step.rewards.TERM_UNITS`, what `envs/step/metrics.py`
        tells, the whole grid's reward, `operating_cost` in $, how many energised buses are outside
        voltage limits and how many branches are loaded above theirs.

        Raises:
          ValueError: a metric of the user has the name of another one, or is no single number.
        """
        low, high = self._limits
        outside = (state.vm_pu < low) | (state.vm_pu > high)
        values = {
            **state.terms,
            **state.metrics,
            "reward": state.reward,
            "operating_cost": rewards.operating_cost(state.terms, self._options),
            "voltage_violations": (detail.energised & outside).sum(),
            "overloads": (detail.rho > 1.0).sum(),
        }
        for name, metric in self._own.items():
            if name in values:
                raise ValueError(
                    f"metrics: {name}: the environment has one of that name; give yours another"
                )
            values[name] = metric.function(state, detail)
        self.names = tuple(values)
        for name, value in values.items():
            if jnp.shape(value):
                raise ValueError(
                    f"metrics: {name}: has shape {jnp.shape(value)}: must be one number of a grid"
                )
        return jnp.stack([jnp.asarray(value, jnp.float32) for value in values.values()])

    def of_day(self, name: str) -> str:
        """Returns how the steps of a day become one number of metric `name`."""
        return self._own[name].of_day if name in self._own else _OF_DAY.get(name, "mean")


class DayTotals:
    """Gathers the metrics of the days that a batch of grids is in."""

    def __init__(self, metrics: Metrics, count: int):
        ways = np.array([metrics.of_day(name) for name in metrics.names])
        self._columns = {way: np.flatnonzero(ways == way) for way in np.unique(ways)}
        self._mean = ways == "mean"
        self._values = np.zeros((count, ways.size))
        self._steps = np.zeros(count, int)

    def add(self, values: np.ndarray, played: np.ndarray | bool = True) -> None:
        """Takes the metrics of a step `[B, n_metric]`, of the grids that `played` it `[B]`."""
        total = np.empty_like(self._values)
        for way, columns in self._columns.items():
            total[:, columns] = REDUCTIONS[way](self._values[:, columns], values[:, columns])
        np.copyto(total, values, where=(self._steps == 0)[:, None])
        np.copyto(self._values, total, where=np.reshape(played, (-1, 1)))
        self._steps += played

    def take(self, done: np.ndarray) -> np.ndarray:
        """Returns the metrics `[n, n_metric]` of the days that are `done` `[B]`; others begin."""
        values = self._values[done] / np.where(self._mean, self._steps[done][:, None], 1.0)
        self._steps[done] = 0
        return values
