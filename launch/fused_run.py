"""The work of `launch.fused`: the compiled loop, and each seed's checkpoints, scores and logs."""

import time
from collections.abc import Sequence

from absl import logging

from configs.experiment import Experiment
from evaluation import validation
from launch import fused_loop, panel
from launch.host import interrupt, runtime
from launch.run import metrics_log, parts, run_folder, warm_start
from learner import checkpoint, clock as clock_lib, learner as learner_lib

_LINE_S = 10.0  # between two lines of progress


class Training:
    """Trains the runs of several seeds, which are alike but for that."""

    def __init__(self, folders: Sequence[run_folder.RunFolder], experiments: Sequence[Experiment]):
        """Builds what is trained, from the newest checkpoints where there are any.

        Raises:
          ValueError: these are not of the same update.
        """
        logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a save.
        runtime.keep()
        self._options = options = experiments[0]
        env, networks, unroller = parts.build(options)
        self._scorer = validation.Validation(env, networks, options.evaluator.episodes)
        self._runs = [
            _Seed(folder, experiment, env, networks, unroller)
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

    @property
    def _first(self) -> learner_lib.Learner:
        return self._runs[0].learner

    def run(self, say) -> str:
        """Trains until the budget is spent or an interrupt; returns which. `say` takes lines.

        Raises:
          FloatingPointError: too many updates were not finite.
        """
        options, learner = self._options, self._first
        doing_nothing = self._scorer.score_doing_nothing(lambda: None)
        said, saved, scored = time.monotonic(), time.monotonic(), None
        for run in self._runs:
            if run.started_warm:  # What it began with may stay the best.
                run.score(self._scorer, doing_nothing)
        while not (self._stop or self._spent()):
            logs = self._loop.advance()
            rates = self._clock.updated(learner.steps)
            interrupt.call(self._interrupt)  # From now on there is something to keep.
            for run, rows in zip(self._runs, logs):
                run.log(rows, rates)
            now = time.monotonic()
            if scored is None or now - scored >= options.evaluator.period_seconds:
                scores = [run.score(self._scorer, doing_nothing) for run in self._runs]
                scored = time.monotonic()
            if now - saved >= options.run.checkpoint_seconds:
                self._save()
                saved = now
            if now - said >= _LINE_S or rates["run/seconds"] == 0.0:
                said = now
                say(self._line(rates, scores, doing_nothing))
        outcome = "finished" if self._spent() else "interrupted"
        self._save(wait=True)
        scores = [run.score(self._scorer, doing_nothing) for run in self._runs]
        say(self._line(rates, scores, doing_nothing))
        for run in self._runs:
            run.close(outcome)
        return outcome

    def _spent(self) -> bool:
        seconds = 60.0 * self._options.run.max_minutes
        return self._first.version >= self._first.updates or self._clock.seconds >= seconds

    def _interrupt(self) -> None:
        self._stop = True

    def _save(self, wait: bool = False) -> None:
        for run in self._runs:
            run.save(self._clock.seconds, wait)

    def _line(self, rates, scores, doing_nothing) -> str:
        learner = self._first
        per_second = rates["run/steps_per_second"] * len(self._runs)
        left = (learner.updates - learner.version) * learner.steps_per_update
        seconds = left / max(rates["run/steps_per_second"], 1e-9)
        shown = " ".join(f"{score:.2f}" for score in scores)
        best = " ".join(f"{run.best_return:.2f}" for run in self._runs)
        return (
            f"{learner.steps:,} of {learner.updates * learner.steps_per_update:,} steps, "
            f"{per_second:,.0f} steps/s, return {shown} (best {best}; do nothing "
            f"{doing_nothing['return']:.2f}), {panel.clock(seconds)} left"
        )


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

    def log(self, rows: Sequence[dict[str, float]], rates: dict[str, float]) -> None:
        """Logs the updates that were made last."""
        for version, row in enumerate(rows, self.learner.version - len(rows) + 1):
            own = {**row, **rates, "run/updates": version}
            self._logs[0].write(version * self.learner.steps_per_update, own)

    def score(self, scorer: validation.Validation, doing_nothing: dict[str, float]) -> float:
        """Scores what was learned so far, keeps it if it is the best yet; returns its return."""
        bundle = self.learner.bundle()
        scores = scorer.score(bundle, lambda: None)
        if scores["return"] > self.best_return:
            self.best_return = scores["return"]
            self._best.save(int(bundle.version), bundle, scores)
        row = validation.compared({**scores, "best_return": self.best_return}, doing_nothing)
        self._logs[1].write(self.learner.steps, row)
        return scores["return"]

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
