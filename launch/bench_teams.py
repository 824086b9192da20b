"""Measures what a team costs in training: its steps a second beside one operator's."""

import dataclasses
import time
from collections.abc import Callable

import jax

from benchmarks.comparison import Settings
from benchmarks.peers import reporting
from configs import experiment as experiment_lib, registry
from launch import fused_loop
from launch.run import parts
from learner import learner as learner_lib

EXPERIMENTS = ("case118_hierarchical",)
BATCHES = ()
_LEAST_ROUNDS = 3
_RATES = ("steps_per_s", "steps_per_processor_s")


def check(settings: Settings) -> None:
    """Raises ValueError where an experiment is none, of one operator, or for more devices."""
    for name in settings.cases:
        experiment, devices = registry.load(name), jax.device_count()
        if experiment.team.kind == "centralised":
            raise ValueError(
                f"--cases={name}: is trained by one operator; name experiments of teams, such as "
                f"{', '.join(EXPERIMENTS)}"
            )
        if experiment.learner.devices > devices:
            raise ValueError(
                f"--threads={settings.threads}: {name} learns on {experiment.learner.devices} "
                f"devices and there are {devices}; give --threads={experiment.learner.devices}"
            )


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns the settings and the results of every experiment; `say` is told the progress.

    One operator has the networks of experiments with one, and the team's learner, days and grids.
    Both train in this process, in turns, so that whatever else runs slows both.
    """
    cases = []
    for name in settings.cases:
        experiment = registry.load(name)
        one = dataclasses.replace(
            experiment_lib.MYOPIC_TEAM,
            effective_horizon=experiment.team.effective_horizon,
            activation=experiment.team.activation,
        )
        runs = {
            experiment.team.kind: _Run(experiment, settings.seed),
            one.kind: _Run(dataclasses.replace(experiment, team=one), settings.seed),
        }
        for kind, run in runs.items():
            run.advance()
            run.rounds.clear()  # with what is compiled
            say(f"{name}: {kind}: compiled")
        begun = time.perf_counter()
        for index in range(settings.repeats):
            long = time.perf_counter() - begun > settings.seconds * len(runs)
            if index >= _LEAST_ROUNDS and long:
                break
            for run in runs.values():
                run.advance()
        rows = {kind: run.row() for kind, run in runs.items()}
        team, operator = rows.values()
        ratio = {rate: team[rate]["median"] / operator[rate]["median"] for rate in _RATES}
        cases.append({"case": name, "teams": rows, "team_over_one": ratio})
    return {"settings": {"seed": settings.seed}, "cases": cases}


class _Run:
    """Training in one process, a few updates at a time."""

    def __init__(self, experiment: experiment_lib.Experiment, seed: int):
        env, networks, unroller = parts.build(experiment)
        self._learner = learner_lib.Learner(
            env, networks, experiment.learner, unroller.spec(), experiment.run.steps, seed
        )
        self._loop = fused_loop.FusedLoop(
            unroller, [self._learner], [seed], experiment.actor.count, 0
        )
        self._team = networks.team
        self.rounds = []  # steps a second, and a second of a core

    def advance(self) -> None:
        """Trains until days are renewed."""
        steps, clock, processor = self._learner.steps, time.perf_counter(), time.process_time()
        self._loop.advance()
        steps = self._learner.steps - steps
        taken = time.perf_counter() - clock, time.process_time() - processor
        self.rounds.append(tuple(steps / seconds for seconds in taken))

    def row(self) -> dict:
        """Returns what was measured, and of whom."""
        params = self._learner.state.params["policy"]
        return {
            "agents": self._team.size,
            # Every device has them.
            "policy_parameters": sum(leaf[0].size for leaf in jax.tree.leaves(params)),
            **{rate: reporting.summary(values) for rate, values in zip(_RATES, zip(*self.rounds))},
        }
