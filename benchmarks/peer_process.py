"""Runs a program of `benchmarks/peers` under the interpreter of the peers' environment."""

import json
import os
import pathlib
import subprocess

_ROOT = pathlib.Path(__file__).parents[1]  # of the repository
DEFAULT = _ROOT / ".venv-peers" / "bin" / "python"
_ABSENT = "not installed: make peers"


def interpreter(choice: str) -> pathlib.Path | None:
    """Returns the interpreter that `--peers` chooses, or none where there is to be none.

    Raises:
      ValueError: it names a file that is not there.
    """
    if choice == "none":
        return None
    if choice == "auto":
        return DEFAULT
    python = pathlib.Path(choice)
    if not os.path.isfile(python):  # Not of pathlib, which fails where a name is too long.
        raise ValueError(
            f"--peers={choice}: no such file; give auto, none, or the path of a Python interpreter "
            "that has the packages of requirements-peers.lock"
        )
    return python


def run(
    python: pathlib.Path, peer: str, timeout_s: float, *files: pathlib.Path, **options: object
) -> dict:
    """Returns what `benchmarks/peers/PEER.py` reports, or `{"error": why it does not}`.

    It gets `files` and `options` as arguments, and inherits the cores that this process is kept on.
    """
    if not python.is_file():
        return {"error": _ABSENT}
    # It sees our folder and its own packages, and neither the user's nor PYTHONPATH's.
    command = [python, "-E", "-s", "-m", f"benchmarks.peers.{peer}", *files]
    command += [f"--{name}={value}" for name, value in options.items()]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=_ROOT
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {timeout_s:.0f} s"}
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        absent = last.startswith("ModuleNotFoundError")
        return {"error": f"{_ABSENT} ({last})" if absent else last}
    return json.loads(done.stdout)


def failed(report: dict) -> bool:
    """Returns whether an installed peer did not do its work; an absent one has not failed."""
    return "error" in report and not report["error"].startswith(_ABSENT)
