"""Measures training: through the service, in synchronous mode too, and in one process."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks.comparison import Settings

EXPERIMENTS = ("case14", "case118")
BATCHES = ()
# How each way of training is started.
_WAYS = {
    "service": ("launch.local",),
    "synchronous": ("launch.local", "--config.run.synchronous"),
    "fused": ("launch.fused",),
}
_POLL_S = 0.2
_OURS_ALONE = ("JAX_PLATFORMS", "XLA_FLAGS", "NPROC", "OMP_NUM_THREADS")  # of a pinned benchmark
_FIGURES = ("run/lag_mean", "run/queue_size", "run/learner_wait_share", "run/update_seconds")
_SHARES = ("acting_share", "queue_wait_share", "variable_wait_share")


def check(settings: Settings) -> None:
    """Does nothing: a command that trains refuses by itself what it cannot train."""


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns the settings and the results of every experiment; `say` is told the progress.

    Raises:
      ValueError: a command refused what it was told, or failed; with its last words.
    """
    cases = []
    for experiment in settings.cases:
        ways = {}
        for way, command in _WAYS.items():
            ways[way] = _train(experiment, command, settings)
            say(f"{experiment}: {way}: {ways[way]['steps_per_s']:,.0f} steps/s")
        ratio = ways["service"]["steps_per_s"] / ways["fused"]["steps_per_s"]
        cases.append({"case": experiment, "ways": ways, "service_over_fused": ratio})
    return {
        "settings": {
            "steps": settings.steps, "target_return": settings.target_return, "seed": settings.seed,
        },
        "cases": cases,
    }  # fmt: skip


def _train(experiment: str, command: tuple[str, ...], settings: Settings) -> dict:
    """Returns what one training run did, as its metrics tell."""
    module, *flags = command
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        begun, first_log_s = time.monotonic(), None
        process = subprocess.Popen(
            [sys.executable, "-m", module, f"--config={experiment}", f"--workdir={run}",
             f"--config.run.steps={settings.steps}", f"--config.seed={settings.seed}", *flags],
            env={k: v for k, v in os.environ.items() if k not in _OURS_ALONE},
            # Training takes every core there is, whatever this process is kept on.
            preexec_fn=lambda: os.sched_setaffinity(0, range(os.cpu_count())),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        log = run / "metrics" / "learner.jsonl"
        try:
            while process.poll() is None:
                if first_log_s is None and log.exists() and log.stat().st_size:
                    first_log_s = time.monotonic() - begun
                time.sleep(_POLL_S)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        said = process.stdout.read()
        if process.returncode:
            last = said.strip().splitlines()[-1] if said.strip() else f"exit {process.returncode}"
            raise ValueError(f"{experiment}: {module}: {last.removeprefix('error: ')}")
        return {
            "seconds": time.monotonic() - begun,
            "first_log_s": first_log_s,
            **_summary(_rows(log), _rows(run / "metrics" / "evaluator.jsonl"), settings),
            "actors": _shares(run / "status"),
        }


def _rows(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _summary(updates: list[dict], scores: list[dict], settings: Settings) -> dict:
    """Returns rates, means, and returns by the clock.

    Rates are from the second validation score on, when the evaluator too has compiled; where there
    is none in time, from the first update on.
    """
    compiled = scores[1]["step"] if len(scores) > 1 else 0
    first = next((u for u in updates[:-1] if u["step"] >= compiled), updates[0])
    last = updates[-1]
    seconds = max(last["run/seconds"] - first["run/seconds"], 1e-9)
    at = lambda step: next((u["run/seconds"] for u in updates if u["step"] >= step), None)
    returns = [(at(row["step"]), row["evaluation/return"]) for row in scores]
    target = settings.target_return
    reached = [s for s, value in returns if target is not None and value >= target]
    counted = [u for u in updates if u["step"] >= first["step"]]
    mean = lambda name: sum(u[name] for u in counted) / len(counted)
    return {
        "steps_per_s": (last["step"] - first["step"]) / seconds,
        "updates_per_s": (last["run/updates"] - first["run/updates"]) / seconds,
        **{name.removeprefix("run/"): mean(name) for name in _FIGURES if name in first},
        "returns": returns,
        "seconds_to_target": reached[0] if reached else None,
    }


def _shares(folder: pathlib.Path) -> list[dict]:
    """Returns where each actor's time went."""
    statuses = [json.loads(path.read_text()) for path in sorted(folder.glob("actor_*.json"))]
    return [{name: status[name] for name in _SHARES if name in status} for status in statuses]
