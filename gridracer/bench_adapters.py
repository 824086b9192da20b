"""Measures what the environments of other standards cost beside the functions that they wrap."""

from collections.abc import Callable

import jax
import numpy as np

from benchmarks import timing
from benchmarks.comparison import Settings
from envs.case import case_file
from gridracer import gymnasium_env, parallel_env, simulator, tasks, vector_env

CASES = ("case14", "case118")
BATCHES = (1, 64, 256)
_STEPS = 24  # of a repeat: far from the end of a day, which it begins with


def check(settings: Settings) -> None:
    """Raises ValueError or FileNotFoundError where a case is none that ships or a file."""
    for name in settings.cases:
        case_file.load(name)


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns the settings and the results of every case; `say` is told the progress.

    Every repeat begins a day and plays two hours of it on plan. `functions` is the compiled step of
    the environment, called from Python as often; the others do the same and return what their
    standards ask for.
    """
    cases = []
    for name in settings.cases:
        rows = []
        for batch in settings.batches:
            forms = {"functions": _functions, "vector_env": _vector}
            if batch == 1:
                forms |= {"gymnasium_env": _single, "parallel_env": _parallel}
            for form, make in forms.items():
                taken = timing.measure(make(name, batch), settings.repeats, settings.seconds)
                rate = batch * _STEPS / taken["median"]
                rows.append({"form": form, "batch": batch, "seconds": taken, "steps_per_s": rate})
                say(f"{name}: {form}, batch {batch}: {rate:,.0f} steps/s")
        by = {(row["form"], row["batch"]): row["steps_per_s"] for row in rows}
        for row in rows:
            row["over_functions"] = row["steps_per_s"] / by["functions", row["batch"]]
        cases.append({"case": name, "rows": rows})
    return {"settings": {"steps": _STEPS}, "cases": cases}


def _functions(case: str, batch: int) -> Callable[[], None]:
    """Returns what plays the environment's own step, with days apart from states."""
    shared = simulator.shared(tasks.make(case))
    env = shared.env
    step = jax.jit(jax.vmap(env.transition))
    actions = np.zeros((batch, env.layout.action_size), np.float32)
    start = shared.start(jax.random.split(jax.random.PRNGKey(0), batch))
    states, _ = shared.step(start, actions)  # of types as later ones have

    def run():
        now = states.states
        for _ in range(_STEPS):
            now = step(now, actions, start.days)
        jax.block_until_ready(now.reward)

    return run


def _vector(case: str, batch: int) -> Callable[[], None]:
    env = vector_env.make(case, batch)
    actions = np.zeros(env.action_space.shape, np.float32)
    return _played(env, lambda: env.step(actions))


def _single(case: str, batch: int) -> Callable[[], None]:
    env = gymnasium_env.make(case)
    action = np.zeros(env.action_space.shape, np.float32)
    return _played(env, lambda: env.step(action))


def _parallel(case: str, batch: int) -> Callable[[], None]:
    env = parallel_env.make(case, "centralised")
    actions = {"operator": np.zeros(env.action_space("operator").shape, np.float32)}
    return _played(env, lambda: env.step(actions))


def _played(env, step: Callable[[], tuple]) -> Callable[[], None]:
    """Returns what steps on, and begins another day where this one would end."""
    left = 0

    def run():
        nonlocal left
        if left < _STEPS:
            env.reset(seed=0)
            left = env.functional.horizon
        for _ in range(_STEPS):
            step()
        left -= _STEPS

    return run
