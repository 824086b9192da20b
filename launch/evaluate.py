"""Evaluates a run's checkpoint beside doing nothing, on the same held-out days.

    python -m launch.evaluate --workdir=runs/case14-20261121-100000
    python -m launch.evaluate --workdir=FOLDER --checkpoint=best --episodes=200

Restores the policy in this process, whatever devices it was trained on; a run may still be going
on. Prints a table and writes it, with every episode, to FOLDER/evaluation.
"""

from __future__ import annotations

import json
import os
import sys

from absl import app, flags, logging

from launch import command_line, exit_codes, run_folder

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run that wrote the checkpoint.")
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "newest", ["newest", "best"],
    "Which one: the newest, or the best by the evaluator's validation days.",
)  # fmt: skip
_EPISODES = flags.DEFINE_integer("episodes", 50, "Held-out days.", lower_bound=1)
_SPLIT = flags.DEFINE_enum(
    "split", "test", ["test", "validation", "train"], "Which days of the year: test is held out."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the days and of the bootstrap.")
_PLATFORM = flags.DEFINE_string("platform", "cpu", "Where to run: cpu, cuda or tpu.")

flags.mark_flag_as_required("workdir")


def main(argv: list[str]) -> int:
    """Evaluates and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a restore.
    os.environ["JAX_PLATFORMS"] = _PLATFORM.value  # Before jax is imported.
    import jax
    import numpy as np
    import rich.console

    from agents import controllers, networks
    from envs import grid_env
    from evaluation import comparison, episodes, metrics
    from launch import compilation, memory
    from learner import checkpoint

    memory.keep()
    compilation.use_cache()
    console = rich.console.Console()
    try:
        folder = run_folder.RunFolder(_WORKDIR.value)
        experiment = folder.experiment()
        env = grid_env.make(experiment.env)
        nets = networks.make(env.layout, experiment.team)
        checkpoints = checkpoint.Checkpoints(folder.path, _CHECKPOINT.value, create=False)
        version = checkpoints.version()
        bundle = checkpoints.policy(version, nets)
    except (ValueError, OSError, run_folder.RunFolderError, checkpoint.CheckpointError) as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.USAGE

    tapes = episodes.held_out(env, _SPLIT.value, _EPISODES.value, _SEED.value)

    @jax.jit
    def play(bundle, weight):
        controller = controllers.learned(nets, bundle.params, bundle.statistics)
        return episodes.play(env, controllers.weighted(controller, weight), tapes)

    bundle = jax.tree.map(jax.numpy.asarray, bundle)

    def measure(name, weight):
        with console.status(f"{name}: {_EPISODES.value} days"):
            played = jax.tree.map(np.asarray, play(bundle, weight))
            return metrics.compute(played), metrics.endings(played)

    try:
        learned, learned_endings = measure("learned", 1.0)
        idle, idle_endings = measure("do nothing", 0.0)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.FAILED
    compared = comparison.compare(learned, idle, _SEED.value)

    grid = "" if env.grid.name == experiment.name else f" on {env.grid.name}"
    console.print(
        f"{experiment.name}{grid}: the {_CHECKPOINT.value} checkpoint (update {version}) beside "
        f"doing nothing on the same {_EPISODES.value} {_SPLIT.value} days; means with 95 % "
        "bootstrap intervals\n"
    )
    console.print(comparison.table(compared))
    for name, endings in (("learned", learned_endings), ("do nothing", idle_endings)):
        if endings:
            console.print(f"{name}: days that ended early: {endings}")
    folder.evaluation.mkdir(exist_ok=True)
    out = folder.evaluation / (
        f"{_CHECKPOINT.value}-{version}-{_SPLIT.value}-{_EPISODES.value}-seed{_SEED.value}.json"
    )
    out.write_text(
        json.dumps(
            {
                "experiment": experiment.name,
                "checkpoint": _CHECKPOINT.value,
                "version": version,
                "split": _SPLIT.value,
                "episodes": _EPISODES.value,
                "seed": _SEED.value,
                "metrics": compared,
                "ended_early": {"learned": learned_endings, "do_nothing": idle_endings},
                "per_episode": {
                    "learned": {name: values.tolist() for name, values in learned.items()},
                    "do_nothing": {name: values.tolist() for name, values in idle.items()},
                },
            },
            indent=2,
        )
        + "\n"
    )
    console.print(f"written to {os.path.relpath(out)}", soft_wrap=True)
    return exit_codes.OK


if __name__ == "__main__":
    app.run(main, flags_parser=command_line.parse)
