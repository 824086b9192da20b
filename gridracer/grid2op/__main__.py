"""Plays Grid2Op's environments in Gridracer, and Gridracer's policies in Grid2Op.

    python -m gridracer.grid2op prepare l2rpn_case14_sandbox     # into environments/
    python -m gridracer.grid2op agreement l2rpn_case14_sandbox
    python -m gridracer.grid2op agreement rte_case14_realistic --steps=100 --backend=pandapower
    python -m gridracer.grid2op agreement rte_case14_realistic --protected --days=28
    python -m gridracer.grid2op score l2rpn_case14_sandbox --workdir=runs/mine --episodes=50

prepare makes case, fleet and chronics for Gridracer of an environment, which is named as in
Grid2Op's wheel, or by the path of its folder. agreement tells how far the physics of both agree.
score plays the policy of --workdir in Grid2Op's Runner, beside two agents of its own.
Results are printed as JSON. docs/howto/grid2op.md says more; `make install-grid2op` comes first.
"""

import json
import pathlib
import sys

from absl import app, flags, logging

from agents.grid2op import play
from envs.inputs import bounds, command_line
from gridracer.grid2op import agreement, prepare, score
from launch.host import runtime
from launch.run import run_folder
from learner import checkpoint

_OUT = flags.DEFINE_string("out", None, "prepare: folder to make; by default environments/NAME.")
_STEPS = command_line.define_number(
    "steps", 287, "agreement, score: steps of each day that are played.", bounds.Range(1, 1440)
)
_SCENARIOS = command_line.define_number(
    "scenarios", 3, "agreement: how many of the scenarios are played.", bounds.Range(1, 1e6)
)
_DAYS = command_line.define_number(
    "days", 1, "agreement: how many days of each scenario are played.", bounds.Range(1, 1e6)
)
_BACKEND = flags.DEFINE_enum(
    "backend", play.LIGHTSIM, play.BACKENDS, "agreement: what solves in Grid2Op."
)
_PROTECTED = flags.DEFINE_bool(
    "protected", False, "agreement: whether overloaded lines trip, in both."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "score: folder of a run, or of a policy that ships, which was trained on it."
)
_EPISODES = command_line.define_number(
    "episodes", 50, "score: how many are played.", bounds.Range(1, 100_000)
)


# Each command returns its report, and what is told below it.
def _prepare(environment: pathlib.Path) -> tuple[dict, str]:
    out = pathlib.Path(_OUT.value or f"{prepare.FOLDER}/{environment.resolve().name}")
    prepare.prepare(environment, out)
    report = {"folder": str(out), "made": sorted(path.name for path in out.iterdir())}
    return report, f"train in it: python -m launch.fused --config={out / prepare.EXPERIMENT}\n"


def _agreement(environment: pathlib.Path) -> tuple[dict, str]:
    report = agreement.measure(
        environment, _SCENARIOS.value, _DAYS.value, _STEPS.value, _BACKEND.value, _PROTECTED.value
    )
    return report, ""


def _score(environment: pathlib.Path) -> tuple[dict, str]:
    if not _WORKDIR.value:
        raise ValueError("--workdir: name the folder of a run whose policy is to play")
    report = score.measure(environment, _WORKDIR.value, _EPISODES.value, _STEPS.value, _progress)
    return report, score.table(report)


def _progress(played: int, of: int) -> None:
    """Tells how far it is: on one line of a terminal, elsewhere a line for each tenth."""
    said, end = f"{played} of {of} episodes played, of all agents", "\n" if played == of else ""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{said}{end}")
    elif 10 * played // of > 10 * (played - 1) // of:
        sys.stderr.write(f"{said}\n")


_COMMANDS = {"prepare": _prepare, "agreement": _agreement, "score": _score}


def main(argv: list[str]) -> None:
    """Does what the command line says, and prints what comes of it."""
    if len(argv) != 3 or argv[1] not in _COMMANDS:
        raise app.UsageError(
            f"say what to do, one of {', '.join(_COMMANDS)}, and the environment, as "
            f"l2rpn_case14_sandbox or its folder, not {' '.join(argv[1:])!r}"
        )
    runtime.keep()
    logging.set_verbosity(logging.ERROR)  # Grid2Op's runner tells each episode.
    try:
        report, below = _COMMANDS[argv[1]](prepare.find(argv[2]))
    except (
        OSError, ValueError, ModuleNotFoundError, run_folder.RunFolderError,
        checkpoint.CheckpointError,
    ) as error:  # fmt: skip
        raise app.UsageError(str(error)) from error
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    sys.stdout.flush()
    sys.stderr.write(below)


if __name__ == "__main__":
    command_line.run(main)
