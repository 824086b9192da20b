"""Training in one process: the compiled loop, and each seed's checkpoints, scores and logs."""

import dataclasses
import time
from collections.abc import Callable, Sequence

from absl import logging

from agents import bundle as bundle_lib
from configs.experiment import Experiment
from evaluation import validation
from launch import fused_loop, panel, pools
from launch.host import interrupt, runtime
from launch.loggers import choice, forwarding
from launch.run import checks, metrics_log, parts, run_folder, warm_start
from learner import checkpoint, clock as clock_lib, learner as learner_lib

_LINE_S = 10.0  # between two lines of progress
_COMPILING = (
    "compiling, two minutes in all on two free cores, and seconds the next time: what plays "
    "validation days, then an update"
)


def begin(
    folders: Sequence[run_folder.RunFolder],
    experiments: Sequence[Experiment],
    say: Callable[[str], None],
    *,
    resume: bool = False,
    start: str | None = None,
    loggers: Sequence[str] = (),
    prepared: Callable[[], None] = lambda: None,
) -> "Training":
    """Makes the folders, or takes them to go on in, and returns what trains in them.

    Args:
      folders: of the runs, one for each seed.
      experiments: of the runs, alike but for the seed.
      say: takes lines about what takes long.
      resume: whether the runs are there, and go on from their newest checkpoints.
      start: folder of a run whose best policy these begin with.
      loggers: experiment trackers that are sent the metrics as well, by name.
      prepared: called when days are there, and before anything is made in the folders.

    Raises:
      ValueError: a run cannot be made or gone on with; the message names the option.
      OSError: a file cannot be read or written.
      RunFolderError: a folder holds a run already, or another process works in it.
    """
    choice.check(loggers)
    fill = [] if start is None else [warm_start.read(start, experiments[0]).write]
    env = pools.with_pool(experiments[0].env, say)
    experiments = [dataclasses.replace(each, env=env) for each in experiments]
    prepared()
    checks.check_names(experiments[0])
    if resume:
        for folder, experiment in zip(folders, experiments):
            checks.check_budget(folder, experiment)
    try:
        for folder, experiment in zip(folders, experiments):
            folder.hold(say)
            if resume:
                folder.begin_again(experiment)
            else:
                folder.create(experiment, *fill)
        sender = forwarding.Forwarding(folders, loggers, say)
        training = Training(folders, experiments, sender, say)
        sender.begin()
        return training
    except BaseException:
        for folder in folders:
            folder.release()
        raise


class Training:
    """Trains the runs of several seeds, which are alike but for that."""

    def __init__(
        self,
        folders: Sequence[run_folder.RunFolder],
        experiments: Sequence[Experiment],
        sender: forwarding.Forwarding | None = None,
        say: Callable[[str], None] = lambda text: None,
    ):
        """Builds what is trained, from the newest checkpoints where there are any.

        `sender`, if any, sends the metrics on, and is closed with the rest. `say` takes lines about
        what takes long.

        Raises:
          ValueError: these are not of the same update.
        """
        logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a save.
        runtime.keep()
        self._sender, self._say = sender, say
        self._options = options = experiments[0]
        env, self.networks, unroller = parts.build(options)
        self._scorer = validation.Validation(env, self.networks, options.evaluator.episodes)
        self._runs = [
            _Seed(folder, experiment, env, self.networks, unroller)
            for folder, experiment in zip(folders, experiments)
        ]
        versions = [run.learner.version for run in self._runs]
        if len(set(versions)) > 1:
            names = (folder.path.name for folder in folders)
            at = ", ".join(f"{name} at {version}" for name, version in zip(names, versions))
            raise ValueError(
                f"--workdir={folders[0].path.parent}: seeds go on together from the same update, "
                f"and there is {at}; resume each by itself"
            )
        self._loop = fused_loop.FusedLoop(
            unroller, [run.learner for run in self._runs], [each.seed for each in experiments],
            options.actor.count, self._runs[0].incarnation,
        )  # fmt: skip
        self._clock = clock_lib.Clock(self._first.seconds_before, self._first.steps)
        self._stop = False
        self._doing_nothing: dict[str, float] | None = None  # scored when training begins
        self._returns: list[float] = []  # of each seed, when it was scored last
        self._saved, self._scored = time.monotonic(), None
        self.rates: dict[str, float] = {}  # of the last round
        self.outcome = "interrupted"  # until it has finished

    @property
    def _first(self) -> learner_lib.Learner:
        return self._runs[0].learner

    @property
    def ended(self) -> bool:
        """Whether the budget is spent, or somebody said to stop; what is left is `finish`."""
        return self._stop or self._spent()

    def stop(self) -> None:
        """Has training end after the round that is going on."""
        self._stop = True

    def advance(self) -> list[dict[str, float]]:
        """Makes the updates until days are renewed, and what is due then: scores, a checkpoint.

        Returns:
          For each seed the metrics of the last update and, where there were any, the new scores,
          with the `step` that they are of.

        Raises:
          FloatingPointError: too many updates were not finite.
        """
        if self._doing_nothing is None:
            self._begin()
        logs = self._loop.advance()
        self.rates = self._clock.updated(self._first.steps)
        rows = [run.log(made, self.rates) for run, made in zip(self._runs, logs)]
        options, now = self._options, time.monotonic()
        if self._scored is None or now - self._scored >= options.evaluator.period_seconds:
            rows = [row | scores for row, scores in zip(rows, self._score())]
            self._scored = time.monotonic()
        if now - self._saved >= options.run.checkpoint_seconds:
            self.save()
            self._saved = now
        return rows

    def finish(self) -> list[dict[str, float]]:
        """Keeps the last checkpoint, scores it and closes everything; returns each seed's scores.

        How training ended is `outcome` from then on: finished, or interrupted.
        """
        if self._doing_nothing is None:
            self._begin()
        self.outcome = "finished" if self._spent() else "interrupted"
        self.save(wait=True)
        rows = self._score()
        self.close()
        return rows

    def close(self) -> None:
        """Closes every file; what was not saved is lost."""
        for run in self._runs:
            run.close(self.outcome)
        self.give_up()

    def give_up(self) -> None:
        """Ends what training has started, where it failed; nothing is written."""
        if self._sender:
            self._sender.close()

    def run(self, say) -> str:
        """Trains until the budget is spent or an interrupt; returns which. `say` takes lines.

        Raises:
          FloatingPointError: too many updates were not finite.
        """
        said = time.monotonic()
        self._begin()
        while not self.ended:
            self.advance()
            interrupt.call(self.stop)  # From now on there is something to keep.
            now = time.monotonic()
            if now - said >= _LINE_S or self.rates["run/seconds"] == 0.0:
                said = now
                say(self.line())
        self.finish()
        say(self.line())
        return self.outcome

    def save(self, wait: bool = False) -> None:
        """Writes a checkpoint of every seed, from which --resume goes on."""
        for run in self._runs:
            run.save(self._clock.seconds, wait)

    @property
    def experiment(self) -> Experiment:
        """The first seed's experiment."""
        return self._options

    @property
    def updates(self) -> int:
        """How many updates each seed has made, those of earlier launches too."""
        return self._first.version

    def bundle(self) -> bundle_lib.Bundle:
        """Returns what the first seed has learned so far, on the host."""
        return self._first.bundle()

    def _begin(self) -> None:
        self._say(_COMPILING)
        begun = time.monotonic()
        self._doing_nothing = self._scorer.score_doing_nothing(lambda: None)
        self._saved = time.monotonic()
        for run in self._runs:
            if run.started_warm:  # What it began with may stay the best.
                run.score(self._scorer, self._doing_nothing)
        seconds = time.monotonic() - begun
        self._say(f"validation days are ready after {seconds:.0f} s; compiling an update")

    def _spent(self) -> bool:
        seconds = 60.0 * self._options.run.max_minutes
        return self._first.version >= self._first.updates or self._clock.seconds >= seconds

    def _score(self) -> list[dict[str, float]]:
        rows = [run.score(self._scorer, self._doing_nothing) for run in self._runs]
        self._returns = [row["evaluation/return"] for row in rows]
        return rows

    def line(self) -> str:
        """Returns in a line how far training is and what its policies return."""
        learner, rate = self._first, self.rates.get("run/steps_per_second", 0.0)
        per_second = rate * len(self._runs)
        begun = f"{learner.steps:,} of {learner.updates * learner.steps_per_update:,} steps"
        left = (learner.updates - learner.version) * learner.steps_per_update
        seconds = left / max(rate, 1e-9)
        shown = " ".join(f"{score:.2f}" for score in self._returns)
        best = " ".join(f"{run.best_return:.2f}" for run in self._runs)
        returns = f"return {shown} (best {best}; do nothing {self._doing_nothing['return']:.2f})"
        if self.rates.get("run/seconds") == 0.0:  # It was compiled meanwhile: no pace to tell yet.
            return f"{begun}, {returns}"
        return f"{begun}, {per_second:,.0f} steps/s, {returns}, {panel.clock(seconds)} left"


class _Seed:
    """One seed's folder: its learner, checkpoints and logs."""

    def __init__(self, folder: run_folder.RunFolder, experiment, env, networks, unroller):
        self._folder = folder
        self.incarnation = folder.incarnation()
        self.learner = learner_lib.Learner(
            env, networks, experiment.learner, unroller.spec(), experiment.run.steps,
            experiment.seed,
        )  # fmt: skip
        self._newest = checkpoint.Checkpoints(folder.path, "newest")
        self._best = checkpoint.Checkpoints(folder.path, "best")
        self.best_return, self.started_warm = float("-inf"), False
        if self.incarnation and self._newest.any():
            for note in self.learner.restore(self._newest, networks):
                logging.error(note)
        elif start := warm_start.kept(folder, networks):
            self.learner.begin_with(start)
            self.started_warm = True
        if self.incarnation and self._best.any():
            self.best_return = self._best.recover(networks)[0].run["return"]
        self._logs = [metrics_log.MetricsLog(folder, node) for node in ("learner", "evaluator")]

    def log(self, rows: Sequence[dict[str, float]], rates: dict[str, float]) -> dict[str, float]:
        """Logs the updates that were made last; returns the last one's metrics."""
        for version, row in enumerate(rows, self.learner.version - len(rows) + 1):
            own = {**row, **rates, "run/updates": version}
            self._logs[0].write(version * self.learner.steps_per_update, own)
        return {"step": self.learner.steps, **own}

    def score(
        self, scorer: validation.Validation, doing_nothing: dict[str, float]
    ) -> dict[str, float]:
        """Scores what was learned so far, and keeps it if it is the best yet; returns the log."""
        bundle = self.learner.bundle()
        scores = scorer.score(bundle, lambda: None)
        if scores["return"] > self.best_return:
            self.best_return = scores["return"]
            self._best.save(int(bundle.version), bundle, scores)
        row = validation.compared({**scores, "best_return": self.best_return}, doing_nothing)
        self._logs[1].write(self.learner.steps, row)
        return {"step": self.learner.steps, **row}

    def save(self, seconds: float, wait: bool) -> None:
        """Writes a checkpoint, from which --resume goes on."""
        self.learner.save(self._newest, seconds, wait)

    def close(self, outcome: str) -> None:
        """Waits for what is being written, and says how the run ended."""
        self._newest.wait()
        self._best.wait()
        for log in self._logs:
            log.close()
        self._folder.write_status("learner", {"state": "ended", "outcome": outcome})
