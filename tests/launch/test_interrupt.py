"""Ctrl-C and SIGTERM before the first update end a command, with one line and nothing left."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

ROOT = pathlib.Path(__file__).parents[2]
MARK = "GRIDRACER_TEST_RUN"  # In the environment of a command and of everything that it starts.
SECONDS = 5.0


def _start(arguments, mark, cache):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    # An empty cache: the nodes compile, and XLA hears no signal.
    environment.update({MARK: mark, "JAX_COMPILATION_CACHE_DIR": str(cache)})
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        # As in a terminal, even where the tests run in the background and SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _running(mark):
    """Returns the processes that a command has started and that have not ended, itself too."""
    processes = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
        except psutil.Error:
            continue
    return processes


def _handled(pid):
    """Returns whether the process handles SIGTERM, as Python by itself does not."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _interrupt(arguments, tmp_path, delay_s, number, group, wait_for_handler=False):
    """Sends a signal `delay_s` after the start, and returns what became of the command."""
    mark = uuid.uuid4().hex
    process = _start(arguments, mark, tmp_path / "cache")
    try:
        deadline = time.monotonic() + 20
        while wait_for_handler and not _handled(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(delay_s)
        handled = _handled(process.pid)
        began = time.monotonic()
        (os.killpg if group else os.kill)(process.pid, number)
        out, err = process.communicate(timeout=60)
        seconds = time.monotonic() - began
        return process.returncode, seconds, out, err, _running(mark), handled
    finally:
        for left in _running(mark):
            left.kill()


def _check(end):
    code, seconds, out, err, left, handled = end
    if "checkpoint in" in out:  # It had learned already.
        assert code == 0 and not left, end
    elif handled:
        assert code == 130 and seconds < SECONDS and not left, end
        assert err.count("\n") == 1 and err.startswith("interrupted before"), end
    else:  # Python itself was starting.
        assert code != 0 and seconds < SECONDS and not left, end


@pytest.mark.parametrize(
    ("delay_s", "number", "group"),
    [
        (1.0, signal.SIGINT, True),
        (4.0, signal.SIGTERM, False),
        pytest.param(14.0, signal.SIGINT, True, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_start_ends_in_seconds_and_leaves_nothing(tmp_path, delay_s, number, group):
    _check(
        _interrupt(
            ["launch.local", "--config=case14", f"--workdir={tmp_path}/run"],
            tmp_path, delay_s, number, group, wait_for_handler=True,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["launch.evaluate", "--case=case14"], ["launch.bench", "powerflow", "--peers=none"]],
)
def test_other_commands_end_in_one_line_while_they_import(tmp_path, arguments):
    end = _interrupt(arguments, tmp_path, 0.3, signal.SIGINT, True, wait_for_handler=True)
    assert end[-1], "the signal is not handled"
    _check(end)


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.1, 0.5, 1.0, 2.0, 4.0, 7.0, 10.0, 20.0])
def test_a_start_can_be_interrupted_at_any_moment(tmp_path, delay_s):
    for attempt in range(5):
        end = _interrupt(
            ["launch.local", "--config=case14", f"--workdir={tmp_path}/run{attempt}"],
            tmp_path / str(attempt), delay_s, signal.SIGINT, group=attempt % 2 == 0,
        )  # fmt: skip
        code, seconds, out, err, left, handled = end
        print(
            f"| {delay_s} | {'group' if attempt % 2 == 0 else 'alone'} | {code} | {seconds:.1f} | "
            f"{len(out.splitlines())} / {len(err.splitlines())} | {len(left)} | {handled} | "
            f"{(err.strip().splitlines() or [''])[-1][:60]} |"
        )
        _check(end)
