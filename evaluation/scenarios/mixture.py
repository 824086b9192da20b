"""Days of several scenarios, by weight, drawn once and kept as a pool."""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs import grid_env
from envs.inputs import choices
from envs.options import EnvOptions
from envs.time_series import pool
from envs.time_series.series import TimeSeries
from evaluation.scenarios import suite

ALL = "all"
_SPLITS = ("train", "validation")
_PARTS = "parts"  # folder of what is finished, while the rest is not


class Part(NamedTuple):
    """A scenario of a mixture."""

    scenario: str
    level: str
    weight: float

    def __str__(self) -> str:
        return f"{self.scenario}-{self.level}"


def parse(texts: Sequence[str]) -> tuple[Part, ...]:
    """Returns the parts that texts of the form `SCENARIO:LEVEL=WEIGHT` name.

    Raises:
      ValueError: a text is of another form, or names what does not exist, or one twice.
    """
    parts: list[Part] = []
    for text in texts:
        name, _, weight = text.partition("=")
        scenario, _, level = name.partition(":")
        choices.require("--scenarios", scenario, (*suite.SCENARIOS, ALL))
        choices.require(f"--scenarios={scenario}", level or "hard", suite.LEVELS)
        try:
            value = float(weight or 1)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise ValueError(f"--scenarios={text}: the weight must be a number above 0")
        names = suite.SCENARIOS if scenario == ALL else (scenario,)
        parts += [Part(each, level or "hard", value) for each in names]
    if len({str(part) for part in parts}) < len(parts) or not parts:
        raise ValueError(f"--scenarios={','.join(texts)}: name one or more, each once")
    return tuple(parts)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which days a pool has."""

    options: EnvOptions
    parts: tuple[Part, ...]
    days: int  # of the train split, all parts together
    validation_share: float  # so many of them again are of the validation split
    seed: int

    def count(self, part: Part, split: str) -> int:
        """Returns how many days are of `part` and `split`, at least one."""
        share = part.weight / sum(each.weight for each in self.parts)
        share *= self.validation_share if split == "validation" else 1.0
        return max(1, round(self.days * share))

    @functools.cached_property
    def specification(self) -> grid_env.Specification:
        """Grid and fleet of the days; raises ValueError or OSError where there are none such."""
        return grid_env.check(self.options)

    @property
    def total(self) -> int:
        """Days in all."""
        return sum(self.count(part, split) for part in self.parts for split in _SPLITS)


def write(plan: Plan, folder: pathlib.Path, advance: Callable[[str, int], None]) -> None:
    """Draws the days of `plan` and writes them as a pool; `advance` is told what, and how many.

    Raises:
      ValueError: a scenario does not go with the grid or its fleet.
      OSError: the folder cannot be written.
    """
    spec = plan.specification
    same = pool.identity(spec.grid, spec.fleet, plan.options)
    made_of = hashlib.sha256(json.dumps(same).encode()).hexdigest()[:12]
    drawn, counts = [], {}
    for part in plan.parts:
        for split in _SPLITS:
            counts[f"{part}-{split}"] = count = plan.count(part, split)
            # Named by all that makes it, so that another plan does not take it for its own.
            name = f"{made_of}-{part}-{split}-{count}-{plan.seed}"
            drawn.append(_part(folder / _PARTS / name, plan, spec, part, split, advance))
    series = jax.tree.map(lambda *leaves: np.concatenate(leaves), *drawn)
    pool.write(folder, series, same, counts)
    shutil.rmtree(folder / _PARTS)


def _part(path: pathlib.Path, plan: Plan, spec, part: Part, split: str, advance) -> TimeSeries:
    """Returns the days of one scenario and split, from `path` if they are there."""
    count, what = plan.count(part, split), f"{part.scenario} {part.level}, {split}"
    finished, begun = (path.parent / f"{path.name}.{end}" for end in ("npz", "tmp"))
    if finished.exists():
        with np.load(finished, allow_pickle=False) as file:
            advance(what, count)
            return TimeSeries(**{name: file[name] for name in file.files})
    series = suite.make(part.scenario, part.level, plan.options, split)
    key = jax.random.PRNGKey(plan.seed)
    one = jax.jit(lambda i: series(jax.random.fold_in(key, i), spec.grid, spec.fleet))
    days = []
    advance(what, 0)
    for index in range(count):
        days.append(jax.tree.map(np.asarray, one(jnp.int32(index))))
        advance(what, 1)
    days = jax.tree.map(lambda *leaves: np.stack(leaves), *days)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(begun, "wb") as file:
        np.savez(file, **vars(days))
    begun.rename(finished)
    return days
