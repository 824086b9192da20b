"""Observation and action spaces, observations as vectors or by name, and what is refused."""

from collections.abc import Mapping

import numpy as np

from envs.inputs import choices
from envs.step.layout import Layout
from gridracer import packages, simulator as simulator_lib

gymnasium = packages.required("gymnasium")

FLAT, NAMED = FORMS = ("flat", "named")


class Observations:
    """Makes of the environment's observations what was asked for."""

    def __init__(self, layout: Layout, ratings: np.ndarray, units: str, form: str):
        """Takes the rating of each entry `[n]`, by which those per unit are divided.

        Args:
          layout: of the environment.
          ratings: of each entry, in the unit of its block.
          units: per_unit or physical.
          form: flat, a vector, or named, a dict with a vector for each block of `layout`.

        Raises:
          ValueError: there are no such units or there is no such form.
        """
        choices.require("units", units, simulator_lib.UNITS)
        choices.require("observations", form, FORMS)
        self._scale = 1.0 / ratings if units == simulator_lib.PER_UNIT else None
        self._blocks: Mapping[str, slice] | None = layout.observation if form == NAMED else None
        size = layout.observation_size

        def box(length):
            return gymnasium.spaces.Box(-np.inf, np.inf, (length,), np.float32)

        if self._blocks is None:
            self.space: gymnasium.Space = box(size)
        else:
            self.space = gymnasium.spaces.Dict(
                {name: box(part.stop - part.start) for name, part in self._blocks.items()}
            )

    def __call__(self, observation: np.ndarray) -> np.ndarray | dict[str, np.ndarray]:
        """Returns observations `[..., n]` of the environment in the form of the space."""
        values = np.asarray(observation)
        values = values.copy() if self._scale is None else values * self._scale
        if self._blocks is None:
            return values
        return {name: values[..., part] for name, part in self._blocks.items()}


def begun(grids: simulator_lib.Grids | None) -> simulator_lib.Grids:
    """Returns the grids of an environment.

    Raises:
      gymnasium.error.ResetNeeded: there are none yet.
    """
    if grids is None:
        raise gymnasium.error.ResetNeeded("no day has begun: call reset()")
    return grids


def checked(action, shape: tuple[int, ...], whose: str = "action") -> np.ndarray:
    """Returns an action, or several, as float32 of `shape`.

    Raises:
      ValueError: it is of another shape, or has a number that is not finite.
    """
    values = np.asarray(action, np.float32)
    if values.shape != shape:
        raise ValueError(f"{whose} of shape {values.shape}: must be of shape {shape}")
    if not np.isfinite(values).all():
        at = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
        raise ValueError(f"{whose}: {values[at]} at {list(at)}, must be numbers from -1 to 1")
    return values


def actions(size: int) -> gymnasium.spaces.Box:
    """Returns the space of actions: −1 to 1 for each control, 0 as planned."""
    return gymnasium.spaces.Box(-1.0, 1.0, (size,), np.float32)
