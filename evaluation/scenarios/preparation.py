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
from collections.abc import Callable, Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import chronics, mixture, pool, recorded
from envs.time_series.options import SYNTHETIC
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
        return f"{self.scenario} {self.level}".strip() + f", {self.split}"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which days a pool has."""

    options: EnvOptions
    parts: tuple[mixture.Part, ...]
    days: int  # of the train split, all parts but recorded ones together
    validation_share: float  # so many of them again are of the validation split
    seed: int

    def count(self, part: mixture.Part, split: str) -> int:
        """Returns how many days are of `part` and `split`, at least one; all that are recorded.

        Raises:
          ValueError: no recorded day belongs to `split`.
        """
        if part.scenario == mixture.RECORDED:
            return len(self._recorded(split).day)
        drawn = [part for part in self.parts if part.scenario != mixture.RECORDED]
        most = [max(each.start, each.end) for each in drawn]
        share = max(part.start, part.end) / sum(most)
        share *= self.validation_share if split == "validation" else 1.0
        return max(1, round(self.days * share))

    @functools.cached_property
    def specification(self) -> grid_env.Specification:
        """Grid and fleet of the days; raises ValueError or OSError where there are none such."""
        return grid_env.check(dataclasses.replace(self.options, scenarios="", pool=""))

    def _recorded(self, split: str) -> TimeSeries:
        try:
            return chronics.of_split(self.specification.recorded, split)
        except ValueError as error:
            raise ValueError(f"env.time_series={self.options.time_series}: {error}") from error

    @functools.cached_property
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
        for split in _SPLITS if self.specification.recorded is not None else ():
            self._recorded(split)
        for part in self.parts:
            if part.scenario != mixture.RECORDED:
                draw = _day(self.options, part.scenario, part.level, "train")
                jax.eval_shape(draw, jax.random.PRNGKey(0))


def parse(text: str, field: str, options: EnvOptions) -> tuple[mixture.Part, ...]:
    """Returns the parts of a mixture of what goes with the days of `options`.

    Raises:
      ValueError: as `envs.time_series.mixture`; or nothing was recorded that is asked for.
    """
    known = (*suite.fitting(options), mixture.RECORDED, mixture.SYNTHETIC)
    parts = mixture.parse(text, known, field)
    names = [part.scenario for part in parts]
    if mixture.RECORDED in names and options.time_series == SYNTHETIC:
        raise ValueError(
            f"{field}={text}: env.time_series={SYNTHETIC} has no recorded days; name the folder of "
            "their chronics with env.time_series, or leave recorded out"
        )
    return parts


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
            bare = dataclasses.replace(plan)  # Not with all that it has read.
            executor.submit(bare.check).result()
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


@functools.lru_cache(maxsize=1)
def _named(options: EnvOptions) -> tuple[grid_env.Specification, Mapping[str, TimeSeries] | None]:
    """Returns what `options` name, and the recorded days of each split, if there are any."""
    spec = grid_env.check(dataclasses.replace(options, scenarios="", pool=""))
    days = spec.recorded
    return spec, days and recorded.by_split(days, spec.grid, options.schedule)


def _day(
    options: EnvOptions, scenario: str, level: str, split: str
) -> Callable[[chex.PRNGKey], TimeSeries]:
    """Returns the function that draws a day."""
    spec, days = _named(options)
    if scenario == mixture.SYNTHETIC:  # The environment adds outages, as it does to recorded days.
        scenario, level, days = "normal", "easy", None
    series = suite.make(scenario, level, options, split, days)
    return lambda key: series(key, spec.grid, spec.fleet)


@functools.lru_cache(maxsize=2)
def _one(options: EnvOptions, scenario: str, level: str, split: str, seed: int):
    """Returns the compiled function that draws day i."""
    draw, key = _day(options, scenario, level, split), jax.random.PRNGKey(seed)
    return jax.jit(lambda i: draw(jax.random.fold_in(key, i)))


def _draw(chunk: _Chunk, file: pathlib.Path) -> None:
    """Draws the days of a chunk and writes them."""
    last = chunk.first + chunk.count
    if chunk.scenario == mixture.RECORDED:
        days = _named(chunk.options)[1][chunk.split]
        days = jax.tree.map(lambda leaf: np.asarray(leaf[chunk.first : last]), days)
    else:
        one = _one(chunk.options, chunk.scenario, chunk.level, chunk.split, chunk.seed)
        each = [one(jnp.int32(number)) for number in range(chunk.first, last)]
        days = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    begun = file.with_suffix(".tmp")
    with open(begun, "wb") as opened:
        np.savez(opened, **vars(days))
    begun.rename(file)


def _read(file: pathlib.Path) -> TimeSeries:
    with np.load(file, allow_pickle=False) as arrays:
        return TimeSeries(**{name: arrays[name] for name in arrays.files})
