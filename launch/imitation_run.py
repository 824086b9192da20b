"""The work of `launch.imitate`: rounds of asking, fitting and scoring, and the run they make."""

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from agents import bundle as bundle_lib, controllers
from agents.baselines import registry
from configs.experiment import Experiment
from envs.case import digest
from evaluation import demonstrations, shared_files, validation
from launch import panel
from launch.host import runtime
from launch.run import metrics_log, parts, run_folder
from learner import checkpoint, imitation, learner as learner_lib

_RECORD = "imitation.json"
_STREAM = 3  # Random numbers of the fit are not the actors' or the learner's.


class Plan(NamedTuple):
    """Who is imitated, and how long."""

    expert: str  # of `registry.BASELINES`
    days: int  # of a round
    rounds: int


class _Round(NamedTuple):
    """A fitted policy, how it does, and what is told of it."""

    fit: imitation.Fit
    scores: dict[str, float]
    about: dict[str, Any]


class Imitation:
    """Imitates an expert in the environment of an experiment."""

    def __init__(
        self, folder: run_folder.RunFolder, experiment: Experiment, plan: Plan, store: pathlib.Path
    ):
        """Builds what is needed; asks nobody yet.

        Args:
          folder: of the run to be written, empty.
          experiment: what the run is of.
          plan: who is imitated.
          store: where the expert's decisions are kept.

        Raises:
          ValueError: the expert cannot be asked as often as planned.
        """
        logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a save.
        runtime.keep()
        self._folder, self._experiment, self._plan = folder, experiment, plan
        self._env, self._networks, self._unroller = parts.build(experiment)
        if self._networks.team.memory_size:
            raise ValueError(
                f"team.kind={experiment.team.kind}: its agents hear one another or hold decisions, "
                f"which {plan.expert} cannot show; imitate with a team that does not, such as "
                "centralised"
            )
        self._expert = registry.make(plan.expert, self._env)
        if plan.rounds > 1 and self._expert.assumes_control:
            raise ValueError(
                f"--rounds={plan.rounds}: {plan.expert} takes for granted that its decisions are "
                "carried out, so that it cannot be asked in states that a policy leads to; give "
                "--rounds=1, or another --expert"
            )
        self._demonstrator = demonstrations.Demonstrator(self._env, self._expert, store)
        self._scorer = validation.Validation(
            self._env, self._networks, experiment.evaluator.episodes
        )

    def run(self, say: Callable[[str], None]) -> None:
        """Imitates and writes the run; `say` takes lines.

        Raises:
          OSError: something cannot be written.
          RuntimeError: the expert cannot decide.
          FloatingPointError: a fit is not finite.
        """
        doing_nothing = self._scorer.score_doing_nothing(lambda: None)
        rounds, asked, actor = [], [], None
        try:
            for number in range(self._plan.rounds):
                new = self._ask(number, actor, say)
                asked += new
                made = self._fit(number, asked)
                made.about["demonstrations"] = str(self._demonstrator.folder(actor))
                made.about["return_of_actor"] = _mean_return(new)
                rounds.append(made)
                actor = self._actor(made.fit.bundle)
                say(_line(made.about, doing_nothing))
        finally:
            self._expert.close()
        best = max(rounds, key=lambda each: each.scores["return"])
        about = {
            **self._plan._asdict(), "made": [each.about for each in rounds],
            "kept": best.about["round"],
        }  # fmt: skip
        self._folder.create(
            self._experiment, lambda folder: self._write(folder, best, about, doing_nothing)
        )
        say(f"round {best.about['round']} is kept, in {self._folder.path}")

    def _ask(self, number: int, actor, say) -> list[demonstrations.Demonstrations]:
        """Returns the decisions on the days of a round, in which `actor` acts, or the expert."""
        days, begun, each = self._plan.days, time.monotonic(), demonstrations.DAYS_EACH
        who, asked = "the policy" if actor else "the expert", []
        for done in range(0, days, each):
            count = min(each, days - done)
            asked.append(self._demonstrator.days(number * days + done, count, actor))
            left = (time.monotonic() - begun) * (days / (done + count) - 1.0)
            say(
                f"round {number + 1} of {self._plan.rounds}: {done + count} of {days} days, "
                f"{panel.clock(left)} left; return of {who} {_mean_return(asked):.2f}"
            )
        return asked

    def _fit(self, number: int, asked: list[demonstrations.Demonstrations]) -> _Round:
        """Returns the policy fitted to all that was asked."""
        observations, actions, day, _ = map(np.concatenate, zip(*asked))
        key = jax.random.fold_in(jax.random.PRNGKey(self._experiment.seed), _STREAM)
        key = jax.random.fold_in(key, number)
        fit = imitation.fit(self._networks, observations, actions, day, key)
        scores = self._scorer.score(fit.bundle, lambda: None)
        about = {
            "round": number + 1, "decisions": len(day), "return": scores["return"],
            "steps": fit.steps, "error": _rms(fit.error),
            "error_of": {
                name: _rms(fit.error[part])
                for name, part in self._env.layout.action.items() if fit.error[part].size
            },
        }  # fmt: skip
        return _Round(fit, scores, about)

    def _actor(self, bundle: bundle_lib.Bundle) -> demonstrations.Actor:
        policy = controllers.learned(self._networks, jax.tree.map(jax.numpy.asarray, bundle))
        return demonstrations.Actor(policy, digest.hexdigest(bundle))

    def _write(self, folder: run_folder.RunFolder, best: _Round, about, doing_nothing) -> None:
        """Fills the folder of the run: it looks like one that has not learned yet."""
        experiment = self._experiment
        learner = learner_lib.Learner(
            self._env, self._networks, experiment.learner, self._unroller.spec(),
            experiment.run.steps, experiment.seed,
        )  # fmt: skip
        learner.begin_with(best.fit.bundle)
        folder.incarnation()  # --resume is the second launch.
        learner.save(checkpoint.Checkpoints(folder.path, "newest"), 0.0, wait=True)
        keeper = checkpoint.Checkpoints(folder.path, "best")
        keeper.save(learner.version, learner.bundle(), best.scores, wait=True)
        log = metrics_log.MetricsLog(folder, "evaluator")
        scores = {**best.scores, "best_return": best.scores["return"]}
        log.write(learner.steps, validation.compared(scores, doing_nothing))
        log.close()
        text = json.dumps(about, indent=2) + "\n"
        shared_files.replace(folder.path / _RECORD, text.encode())


def _mean_return(asked: list[demonstrations.Demonstrations]) -> float:
    return float(np.concatenate([each.returns for each in asked]).mean())


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt((error**2).mean()))


def _line(about: dict[str, Any], doing_nothing: dict[str, float]) -> str:
    parts_of = ", ".join(f"{name} {value:.3f}" for name, value in about["error_of"].items())
    return (
        f"round {about['round']}: {about['decisions']:,} decisions, held-out error "
        f"{about['error']:.4f} ({parts_of}) after {about['steps']:,} steps, return "
        f"{about['return']:.2f} (do nothing {doing_nothing['return']:.2f})"
    )
