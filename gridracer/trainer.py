"""Training in one process from Python: what `launch.fused` does, step by step."""

import datetime
import os
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from configs.experiment import Experiment, check_one_process
from gridracer import devices
from launch import config_file, option_fields
from launch.host import interrupt
from launch.run import run_folder

if typing.TYPE_CHECKING:  # They import jax, which a trainer has to prepare first.
    from gridracer import evaluation, policy

Metrics = dict[str, float]
Callback = Callable[["Trainer", Metrics], Any]


class Trainer:
    """Trains one experiment in this process; iterating over it yields metrics.

        trainer = Trainer("case14", "runs/mine", callbacks=[stop_when_good])
        trainer.train()
        print(trainer.evaluate(days=10).mean("learned", "cost"))

    The loop, its numbers and the run folder are those of `python -m launch.fused`, to the last bit:
    --resume, launch.evaluate and TensorBoard work on it, and `restore` on theirs. It computes on
    the devices that the command would take, so make it before jax computes anything else, or where
    jax has `learner.devices` of them.
    """

    def __init__(
        self,
        config: Experiment | str | os.PathLike = config_file.BASE,
        workdir: str | os.PathLike | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        start: str | os.PathLike | None = None,
        callbacks: Iterable[Callback] = (),
        loggers: Sequence[str] = (),
        say: Callable[[str], None] = lambda text: None,
    ):
        """Makes the run folder and builds what is trained; what takes long is compiled later.

        Args:
          config: an experiment, the name of one, or the path of a YAML or JSON file of one.
          workdir: folder of the run; by default `runs/EXPERIMENT-DATE-TIME`.
          overrides: fields that differ, nested or by path: `{"run.steps": 10_000}`.
          start: folder of a run whose best policy this one begins with.
          callbacks: called as `callback(trainer, metrics)` after each round; see `__next__`.
          loggers: experiment trackers that are sent the metrics as well: wandb, mlflow.
          say: takes lines about what takes long, such as `print`.

        Raises:
          ValueError: an option is not accepted, or jax has begun with too few devices.
          OSError: a file cannot be read or written.
          RunFolderError: the folder holds a run already, or another process works in it.
        """
        experiment = config if isinstance(config, Experiment) else config_file.load(config)
        experiment = config_file.changed(experiment, overrides or {})
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = run_folder.RunFolder(workdir or f"runs/{experiment.name}-{now}")
        self._begin(folder, experiment, callbacks, say, start=start, loggers=loggers)

    @classmethod
    def restore(
        cls,
        folder: str | os.PathLike,
        *,
        overrides: Mapping[str, Any] | None = None,
        callbacks: Iterable[Callback] = (),
        loggers: Sequence[str] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> "Trainer":
        """Returns a trainer that goes on with a run from its newest checkpoint, as --resume does.

        Grids are on days of their own again, as after every launch: what follows is the same, bit
        for bit, as if the command went on, and not as if nobody had stopped.

        Args:
          folder: of the run, whoever made it.
          overrides: fields of `run` that differ, such as a larger budget, `{"run.steps": 20_000}`.
          callbacks: as of `Trainer`.
          loggers: as of `Trainer`; a tracker's run is gone on with, too.
          say: as of `Trainer`.

        Raises:
          ValueError: the budget is spent, or a field would change what the run has been so far.
          RunFolderError: there is no run, or another process works in it.
          CheckpointError: no checkpoint can be read.
        """
        held = run_folder.RunFolder(folder)
        former = held.experiment()
        experiment = config_file.changed(former, overrides or {})
        for path in option_fields.changed(former, experiment):
            if not path.startswith("run."):
                raise ValueError(
                    f"{path}: cannot change, the run goes on as it was configured; only fields of "
                    "run may, or make another Trainer with start=FOLDER"
                )
        trainer = cls.__new__(cls)
        trainer._begin(held, experiment, callbacks, say, resume=True, loggers=loggers)
        return trainer

    def _begin(self, folder, experiment: Experiment, callbacks, say, **how) -> None:
        check_one_process(experiment)
        if note := devices.take(experiment.learner.devices):
            say(note)
        # After jax has begun with the devices that are needed.
        from launch import fused_run

        self.callbacks = list(callbacks)
        self.outcome: str | None = None  # "finished" or "interrupted", once it has ended
        self._held = folder
        self._training = fused_run.begin([folder], [experiment], say, **how)

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the run."""
        return self._held.path

    @property
    def experiment(self) -> Experiment:
        """The experiment, with every field."""
        return self._training.experiment

    @property
    def updates(self) -> int:
        """How many updates were made, those before a restore too."""
        return self._training.updates

    def __iter__(self) -> Iterator[Metrics]:
        """Returns itself: a loop that was left goes on where it was when it is begun again."""
        return self

    def __next__(self) -> Metrics:
        """Trains a round, calls the callbacks, and returns the round's metrics.

        A round is the updates until days are renewed, a day's worth of steps of every grid. Its
        metrics are those of its last update by the names of docs/metrics.md, `step`, the steps
        learned from so far, and, where policies were scored in it, `evaluation/…`. The last one,
        when the budget is spent or somebody said to stop, has the final scores alone. Every update
        is in the folder's `metrics/learner.jsonl`.

        A callback that returns True stops training, as `stop` does. Ctrl-C waits for the round.

        Raises:
          FloatingPointError: too many updates were not finite.
          OSError: the folder cannot be written.
        """
        if self.outcome is not None:
            raise StopIteration
        with interrupt.deferred():
            metrics = self._round()
        for callback in self.callbacks:
            said = callback(self, metrics)
            if isinstance(said, bool | np.bool_) and said:
                self.stop()
        return metrics

    def _round(self) -> Metrics:
        try:
            if not self._training.ended:
                return self._training.advance()[0]
            (metrics,) = self._training.finish()
            self._release(self._training.outcome)
            return metrics
        except BaseException:  # The state may be gone with what failed; the checkpoint is not.
            self._training.give_up()
            self._release("failed")
            raise

    def train(self) -> str:
        """Trains until the budget is spent or somebody says to stop; returns which.

        Returns:
          "finished" or "interrupted".

        Raises:
          RuntimeError: it has ended before.
          FloatingPointError: too many updates were not finite.
          OSError: the folder cannot be written.
          KeyboardInterrupt: after Ctrl-C; a checkpoint was kept.
        """
        self._check_going_on("train")
        try:
            for _ in self:
                pass
        except KeyboardInterrupt:
            self.close()
            raise
        return self.outcome

    def stop(self) -> None:
        """Has training end after the round that is going on, with a checkpoint and final scores."""
        self._training.stop()

    def save(self) -> pathlib.Path:
        """Writes a checkpoint of the whole state now; returns the folder of checkpoints.

        Raises:
          RuntimeError: training has ended; its last state is saved.
          OSError: it cannot be written.
        """
        self._check_going_on("save")
        self._training.save(wait=True)
        return self.folder / "checkpoints" / "newest"

    def evaluate(
        self, controllers=None, scenarios=("normal",), days: int = 50, **more
    ) -> "evaluation.Evaluation":
        """Returns the evaluation of what was learned so far, as `gridracer.evaluate` does.

        It is of the newest checkpoint, made now while training goes on; `checkpoint="best"` is that
        of the highest return on validation days.
        """
        from gridracer import evaluation

        if self.outcome is None and more.get("checkpoint") != "best":
            self.save()
        more = {"checkpoint": "newest", **more}
        return evaluation.evaluate(self.folder, controllers, scenarios, days, **more)

    def policy(self, checkpoint: str | None = None) -> "policy.Policy":
        """Returns what acts as was learned so far, or as a checkpoint, `newest` or `best`, does."""
        from gridracer import policy

        if checkpoint is not None:
            return policy.load_policy(self.folder, checkpoint)
        return policy.Policy(self.experiment, self._training.networks, self._training.bundle())

    def close(self) -> None:
        """Ends training where it is, with a checkpoint; what has ended stays as it is."""
        if self.outcome is None:
            self._training.save(wait=True)
            self._training.close()
            self._release(self._training.outcome)

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _release(self, outcome: str) -> None:
        self.outcome = outcome
        self._held.release()

    def _check_going_on(self, what: str) -> None:
        if self.outcome is not None:
            raise RuntimeError(
                f"{what}: training has ended ({self.outcome}) in {self.folder}; "
                "Trainer.restore(FOLDER) goes on, with overrides={'run.steps': MORE} if it is "
                "finished"
            )
