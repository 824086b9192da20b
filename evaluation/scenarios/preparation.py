"""Days of several scenarios, drawn once by several processes and kept as a pool."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import pathlib
import shutil
import signal
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import mixture, pool
from envs.time_series.series import TimeSeries
from evaluation.scenarios import suite

_SPLITS = ("train", "validation")
_PARTS = "parts"  # folder of what is finished, while the rest is not
_CHUNK = 16  # days that a process draws at a time


class _Chunk(NamedTuple):
    """Some days of a scenario."""

    options: EnvOptions
    scenario: str
    level: str
    split: str
    first: int
    count: int
    seed: int

    def __str__(self) -> str:
        return f"{self.scenario} {self.level}, {self.split}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which days a pool has."""

    options: EnvOptions
    parts: tuple[mixture.Part, ...]
    days: int  # of the train split, all parts together
    validation_share: float  # so many of them again are of the validation split
    seed: int

    def count(self, part: mixture.Part, split: str) -> int:
        """Returns how many days are of `part` and `split`, at least one."""
        most = [max(each.start, each.end) for each in self.parts]
        share = max(part.start, part.end) / sum(most)
        share *= self.validation_share if split == "validation" else 1.0
        return max(1, round(self.days * share))

    @functools.cached_property
    def specification(self) -> grid_env.Specification:
        """Grid and fleet of the days; raises ValueError or OSError where there are none such."""
        return grid_env.check(dataclasses.replace(self.options, scenarios="", pool=""))

    @property
    def identity(self) -> dict:
        """What has to be the same where the days are used."""
        return pool.identity(self.specification.grid, self.specification.fleet, self.options)

    @property
    def digest(self) -> str:
        """A name for all that determines the days."""
        made_of = [self.identity, [*map(str, self.parts)], self.total, self.days, self.seed]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]

    @property
    def total(self) -> int:
        """Days in all."""
        return sum(self.count(part, split) for part in self.parts for split in _SPLITS)

    def check(self) -> None:
        """Raises ValueError or OSError where a day cannot be: traces each scenario once."""
        spec, key = self.specification, jax.random.PRNGKey(0)
        for part in self.parts:
            draw = suite.make(part.scenario, part.level, self.options, "train")
            jax.eval_shape(lambda key, draw=draw: draw(key, spec.grid, spec.fleet), key)


def parse(text: str, field: str) -> tuple[mixture.Part, ...]:
    """Returns the parts of a mixture of our scenarios; raises as `envs.time_series.mixture`."""
    return mixture.parse(text, suite.SCENARIOS, field)


def write(
    plan: Plan, folder: pathlib.Path, processes: int, advance: Callable[[str, int], None]
) -> None:
    """Draws the days of `plan` and writes them as a pool; `advance` is told what, and how many.

    So many `processes` draw them; with 0 this one does.

    Raises:
      ValueError: a scenario does not go with the grid or its fleet.
      OSError: the folder cannot be written.
    """
    chunks = [
        _Chunk(
            plan.options, part.scenario, part.level, split, first,
            min(_CHUNK, plan.count(part, split) - first), plan.seed,
        )
        for part in plan.parts for split in _SPLITS
        for first in range(0, plan.count(part, split), _CHUNK)
    ]  # fmt: skip
    # Named by all that makes them, so that another plan does not take one for its own.
    made_of = hashlib.sha256(json.dumps(plan.identity).encode()).hexdigest()[:12]
    parts = folder / _PARTS
    parts.mkdir(parents=True, exist_ok=True)
    files = {chunk: parts / f"{made_of}-{'-'.join(map(str, chunk[1:]))}.npz" for chunk in chunks}
    missing = [chunk for chunk in chunks if not files[chunk].exists()]
    for chunk in chunks:
        if chunk not in missing:
            advance(str(chunk), chunk.count)
    with _executor(processes) as executor:
        try:
            executor.submit(plan.check).result()
            waiting = {executor.submit(_draw, chunk, files[chunk]): chunk for chunk in missing}
            for done in concurrent.futures.as_completed(waiting):
                done.result()
                advance(str(waiting[done]), waiting[done].count)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    counts = {f"{p}-{split}": plan.count(p, split) for p in plan.parts for split in _SPLITS}
    series = jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(_read, files.values()))
    pool.write(folder, series, plan.identity, counts)
    shutil.rmtree(parts)


class _Here(concurrent.futures.Executor):
    """Does what it is given at once, in this process."""

    def submit(self, function, /, *args):
        """Returns what is done already."""
        future = concurrent.futures.Future()
        future.set_result(function(*args))
        return future


def _executor(processes: int) -> concurrent.futures.Executor:
    if not processes:
        return _Here()
    fresh = multiprocessing.get_context("spawn")  # This process's own JAX stays untouched.
    return concurrent.futures.ProcessPoolExecutor(processes, fresh, _begin)


def _begin() -> None:
    """Prepares a process that draws."""
    jax.config.update("jax_platforms", "cpu")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It is told by the process that began it.


@functools.lru_cache(maxsize=2)
def _one(options: EnvOptions, scenario: str, level: str, split: str, seed: int):
    """Returns the compiled function that draws day i."""
    spec = grid_env.check(options)
    series = suite.make(scenario, level, options, split)
    key = jax.random.PRNGKey(seed)
    return jax.jit(lambda i: series(jax.random.fold_in(key, i), spec.grid, spec.fleet))


def _draw(chunk: _Chunk, file: pathlib.Path) -> None:
    """Draws the days of a chunk and writes them."""
    options = dataclasses.replace(chunk.options, scenarios="", pool="")
    one = _one(options, chunk.scenario, chunk.level, chunk.split, chunk.seed)
    numbers = range(chunk.first, chunk.first + chunk.count)
    days = [jax.tree.map(np.asarray, one(jnp.int32(number))) for number in numbers]
    begun = file.with_suffix(".tmp")
    with open(begun, "wb") as opened:
        np.savez(opened, **vars(jax.tree.map(lambda *leaves: np.stack(leaves), *days)))
    begun.rename(file)


def _read(file: pathlib.Path) -> TimeSeries:
    with np.load(file, allow_pickle=False) as arrays:
        return TimeSeries(**{name: arrays[name] for name in arrays.files})
