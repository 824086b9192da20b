"""Runs one command over and over, each time in a fork of a process that has imported it.

    python tests/support/command_server.py COMMAND

A line of JSON on standard input, `{"argv": […], "cwd": …}`, is answered by one on standard output:
`code` (`ACCEPTED` where the work would begin; none where it took too long), `out`, `err` and
`seconds` of processor time. The first line tells the numeric flags and what their help says.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types

ROOT = pathlib.Path(__file__).parents[2]
ACCEPTED = 77
CPU_S, WALL_S = 30, 150  # of one input; the machine may be busy with other work
_MEMORY = 12 * 2**30


def accept(*_, **__):
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(ACCEPTED)


def local():
    # Stands in for what starts the processes; it would import Launchpad.
    program = types.ModuleType("launch.program")
    program.make = accept
    sys.modules["launch.program"] = program
    import launch

    launch.program = program
    return importlib.import_module("launch.local")


def evaluate():
    for name in ("evaluation_request", "host.machine"):
        importlib.import_module(f"launch.{name}")
    importlib.import_module("evaluation.report.compare")
    module = importlib.import_module("launch.evaluate")
    module._evaluate = accept
    return module


def bench():
    module = importlib.import_module("launch.bench")
    for name in ("powerflow", "environment", "contingency"):
        importlib.import_module(f"benchmarks.{name}").measure = accept
    return module


def sweep():
    for name in ("launch.run.checks", "launch.sweep.search", "evaluation.scenarios.preparation"):
        importlib.import_module(name)
    module = importlib.import_module("launch.sweep.__main__")
    module._run = accept
    return module


def convert():
    return importlib.import_module("envs.case.convert")


def place_fleet():
    module = importlib.import_module("envs.case.place_fleet")
    module.fleet_file.SHIPPED = pathlib.Path(tempfile.mkdtemp())
    return module


def files():
    """Readers of files that no command reads before it begins its work."""
    from absl import logging

    from evaluation import results, runner, summary
    from evaluation.report import curve
    from launch.run import run_folder
    from learner import checkpoint

    def main(argv):
        logging.set_verbosity(logging.ERROR)  # As `launch.evaluate` does, for Orbax.
        kind, path = argv[1:]
        said = []
        try:
            if kind == "results":
                plan = runner.Plan((), (("normal", "easy"),), 2, "test", 0)
                folder = results.Folder(path, said.append)
                missing = [task for task in plan.tasks() if folder.batch(task, 0, 2) is None]
                if not missing:
                    summary.summarise(*summary.collect(folder, plan, 14), plan)
            elif kind == "status":
                run_folder.RunFolder(path).status("learner")
            elif kind == "curve":
                curve.read(path)
            elif kind == "checkpoint":
                checkpoint.Checkpoints(path, "best", create=False).run(3)
        except (ValueError, checkpoint.CheckpointError) as error:
            said.append(str(error))
        if said:
            sys.stderr.write(f"error: {said[0]}\n")
            return 2
        return ACCEPTED

    return types.SimpleNamespace(main=main, __name__="files")


def flags_of(module) -> dict[str, list[str]]:
    """Returns kind and help of the flags that the command lists, by name."""
    from absl import flags

    flags_by_name = {}
    names = [module.__name__, "launch.experiment_flags"]
    for flag in [f for name in names for f in flags.FLAGS.get_key_flags_for_module(name)]:
        text = f"{flag.help} {getattr(flag.parser, 'syntactic_help', '')}"
        flags_by_name[flag.name] = [flag.flag_type(), text]
    return flags_by_name


def run(main, argv, cwd) -> dict:
    from envs.inputs import command_line

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.setsid()
            os.chdir(cwd)
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            sys.argv, code = ["command", *argv], 1
            try:
                command_line.run(main)
            except SystemExit as end:
                code = end.code or 0
                if not isinstance(code, int):
                    sys.stderr.write(f"{code}\n")
                    code = 1
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        deadline = time.monotonic() + WALL_S
        while True:
            done, status, usage = os.wait4(child, os.WNOHANG)
            if done or time.monotonic() > deadline or _cpu(child) > CPU_S:
                break
            time.sleep(0.002)
        if not done:
            os.killpg(child, signal.SIGKILL)
            usage = os.wait4(child, 0)[2]
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(200_000).decode(errors="backslashreplace"))
        return {
            "code": os.waitstatus_to_exitcode(status) if done else None,
            "out": texts[0], "err": texts[1], "seconds": usage.ru_utime + usage.ru_stime,
        }  # fmt: skip


def _cpu(process: int) -> float:
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """The other end: a command that takes inputs one after another."""

    def __init__(self, command):
        self._process = subprocess.Popen(
            [sys.executable, __file__, command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
        )  # fmt: skip
        self.flags = json.loads(self._process.stdout.readline())

    def run(self, argv, cwd=ROOT) -> dict:
        argv = [os.fspath(each) for each in argv]
        self._process.stdin.write(json.dumps({"argv": argv, "cwd": str(cwd)}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.communicate()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = globals()[sys.argv[1]]()
    answers.write(json.dumps(flags_of(module)) + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(run(module.main, **json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
