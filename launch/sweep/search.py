"""Chooses the trials of a sweep with Optuna, and has one after another trained."""

import itertools
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import optuna
from optuna.storages import journal
from optuna.trial import TrialState

from launch import option_fields, panel
from launch.sweep import folder as folder_lib, space as space_lib, trial as trial_lib

_NAME = "sweep"  # of the study
_LEAST = 10  # trials from which importances are told
_STATES = {TrialState.COMPLETE: "finished", TrialState.FAIL: "failed"}  # others are unfinished


class Row(NamedTuple):
    """A trial as it is reported."""

    number: int  # from 0
    state: str  # finished, failed or unfinished
    values: dict[str, Any]  # by field; lists as text
    result: float | None  # mean of the seeds' best returns
    returns: Sequence[float]
    seconds: float  # that the launch took which finished it
    note: str  # why it failed, or which trial with the same values it takes its result from


class Trains(Protocol):
    """What trains a trial: `launch.sweep.trial.Trainer`."""

    stopping: bool

    def train(self, folder: pathlib.Path, values: Mapping[str, Any]) -> trial_lib.Outcome:
        """Trains with `values` by field, or goes on with what is in `folder`."""


class Search:
    """The trials of a sweep, those of earlier launches too.

    What trial `n` is follows from the search's seed, from `n` and from the results so far, so that
    an interrupted search goes on as one that was not.
    """

    def __init__(self, folder: folder_lib.SweepFolder, plan: folder_lib.Plan):
        """Opens the study in the folder of the sweep.

        Raises:
          FolderError: it cannot be read.
          OSError: it cannot be written.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._folder, self._plan = folder, plan
        self._space = space_lib.parse(plan.vary)
        self._distributions = {each.field: _distribution(each) for each in self._space}
        _cut_half_lines(folder.study)
        try:
            storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder.study)))
            self._study = optuna.create_study(
                storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True
            )
        except (ValueError, KeyError, optuna.exceptions.OptunaError) as error:
            raise folder_lib.FolderError(f"{folder.study}: cannot be read: {error}") from error

    def rows(self) -> list[Row]:
        """Returns every trial so far, in order."""
        about = self._study.user_attrs
        return [_row(trial, about.get(str(trial.number), {})) for trial in self._trials()]

    def importances(self) -> dict[str, float]:
        """Returns how much each field decides of the result, summing to 1; none of few trials.

        PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023).
        """
        complete = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
        if len(complete) < _LEAST or len({trial.value for trial in complete}) < 2:
            return {}
        return optuna.importance.get_param_importances(self._study)

    def run(self, trainer: Trains, say: Callable[[str], None], report: Callable[[], None]) -> None:
        """Trains the trials that are left, until `trainer` is stopping.

        Args:
          trainer: what trains them.
          say: is told lines of progress.
          report: is called after every trial.

        Raises:
          RunFolderError: another process trains a trial.
          OSError: a folder cannot be written.
        """
        took: list[float] = []
        of = self._plan.trials
        for number in range(of):
            trial = self._asked(number)
            if trial.state.is_finished():
                continue
            if trainer.stopping:
                return
            say(f"trial {number + 1} of {of}  {_said(trial.params)}")
            began = time.monotonic()
            outcome = self._outcome(trial, trainer)
            seconds = time.monotonic() - began
            if outcome.interrupted:
                return
            took.append(seconds)
            self._study.set_user_attr(
                str(number), {"returns": outcome.returns, "seconds": seconds, "note": outcome.note}
            )
            if outcome.returns:
                self._study.tell(number, float(np.mean(outcome.returns)))
            else:
                self._study.tell(number, state=TrialState.FAIL)
            left = panel.clock(float(np.mean(took)) * (of - number - 1))
            say(f"  {self._became(number)}; {panel.clock(seconds)}, {left} left")
            report()

    def best(self) -> Row | None:
        """Returns the best trial so far, none where none has finished."""
        done = [row for row in self.rows() if row.result is not None]
        return max(done, key=lambda row: row.result, default=None)

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _asked(self, number: int) -> optuna.trial.FrozenTrial:
        """Returns a trial, which is chosen now unless it was before."""
        trials = self._trials()
        if number == len(trials) and self._plan.search == "grid":
            every = space_lib.combinations(self._space)
            values = next(itertools.islice(every, number, None))
            self._study.enqueue_trial({f: _plain(value) for f, value in values.items()})
        if number >= len(trials) or trials[number].state == TrialState.WAITING:
            self._study.sampler = self._sampler(number)
            self._study.ask(self._distributions)
        return self._trials()[number]

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = np.random.SeedSequence([self._plan.search_seed, number]).generate_state(1)[0]
        if self._plan.search == "tpe":
            return optuna.samplers.TPESampler(seed=int(seed))
        return optuna.samplers.RandomSampler(seed=int(seed))

    def _outcome(self, trial: optuna.trial.FrozenTrial, trainer: Trains) -> trial_lib.Outcome:
        if trial.params.keys() != self._distributions.keys():
            return trial_lib.Outcome(note="the sweep was killed while it was chosen")
        twin = self._twin(trial)
        if twin is not None:
            returns = self._study.user_attrs[str(twin.number)]["returns"]
            return trial_lib.Outcome(tuple(returns), f"as trial {twin.number + 1}")
        return trainer.train(self._folder.trial(trial.number), trial.params)

    def _twin(self, trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial | None:
        """Returns an earlier trial with the same values, which need not be trained again."""
        earlier = self._trials()[: trial.number]
        return next((each for each in earlier if each.params == trial.params), None)

    def _became(self, number: int) -> str:
        """Returns what became of a trial, and which is the best so far."""
        row, best = self.rows()[number], self.best()
        so_far = f"best {best.result:.2f} of trial {best.number + 1}" if best else "none is better"
        if row.result is None:
            return f"failed: {row.note}; {so_far}"
        seeds = " ".join(f"{value:.2f}" for value in row.returns)
        several = f" (seeds {seeds})" if len(row.returns) > 1 else ""
        note = f", {row.note}" if row.note else ""
        return f"return {row.result:.2f}{several}{note}; {so_far}"


def _row(trial: optuna.trial.FrozenTrial, about: Mapping[str, Any]) -> Row:
    state = _STATES.get(trial.state, "unfinished")
    return Row(
        trial.number, state, trial.params, trial.value, about.get("returns", ()),
        about.get("seconds", 0.0), about.get("note", ""),
    )  # fmt: skip


def _said(values: Mapping[str, Any]) -> str:
    return " ".join(f"{field}={short(value)}" for field, value in values.items())


def short(value: Any) -> str:
    """Returns a value in as many digits as tell it from others."""
    return f"{value:.4g}" if isinstance(value, float) else option_fields.as_text(value)


def _plain(value: Any) -> Any:
    """Returns a value as Optuna can store it: lists as text."""
    return option_fields.as_text(value) if isinstance(value, tuple) else value


def _distribution(dimension: space_lib.Dimension) -> optuna.distributions.BaseDistribution:
    if dimension.values:
        return optuna.distributions.CategoricalDistribution(list(map(_plain, dimension.values)))
    kinds = {
        int: optuna.distributions.IntDistribution, float: optuna.distributions.FloatDistribution
    }  # fmt: skip
    return kinds[dimension.kind](dimension.low, dimension.high, log=dimension.log)


def _cut_half_lines(path: pathlib.Path) -> None:
    """Removes a last line that was not written to its end, as where the disk was full.

    Optuna would add the next one to it, and then could read neither.
    """
    if path.exists():
        whole = path.read_bytes()
        os.truncate(path, whole.rfind(b"\n") + 1)
