"""Problems spread over processes: order, errors, and processes that die."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from agents.baselines import workers


def _square(offset):
    return lambda x: x * x + offset


def _raising():
    def solve(x):
        raise ArithmeticError(f"no solution of {x}")

    return solve


def _dying(marks, often):
    """Returns what kills its process until `often` of them have died."""

    def solve(x):
        dead = len(list(pathlib.Path(marks).iterdir()))
        if dead < often:
            pathlib.Path(marks, str(os.getpid())).touch()
            os._exit(9)
        return x

    return solve


@pytest.mark.parametrize("count", [1, 2])
def test_answers_come_in_the_order_of_problems(count):
    pool = workers.Workers(_square, 3, count=count)
    try:
        assert pool.map([]) == []
        assert pool.map(list(range(9))) == [x * x + 3 for x in range(9)]
        assert pool.map([5]) == [28]
    finally:
        pool.close()


def test_what_a_problem_raises_is_raised_here():
    pool = workers.Workers(_raising, count=2)
    try:
        with pytest.raises(ArithmeticError, match="no solution of 1"):
            pool.map([1, 2])
    finally:
        pool.close()


def test_a_process_that_died_is_replaced_once(tmp_path):
    pool = workers.Workers(_dying, str(tmp_path), 1, count=2)
    try:
        assert pool.map([1, 2, 3]) == [1, 2, 3]
    finally:
        pool.close()
    assert len(list(tmp_path.iterdir())) >= 1


def test_a_process_that_dies_again_is_an_error_that_says_so(tmp_path):
    pool = workers.Workers(_dying, str(tmp_path), 99, count=2)
    with pytest.raises(workers.Died, match="died twice over the same 3 problems"):
        pool.map([1, 2, 3])


def _runs(pid):
    """Whether a process is there and not merely waiting to be buried."""
    try:
        return "\nState:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def _pid():
    return lambda x: os.getpid()


_OWNER = """
import time
from agents.baselines import workers
from tests.agents.baselines import test_workers
if __name__ == "__main__":
    pool = workers.Workers(test_workers._pid, count=2)
    print(*set(pool.map(list(range(64)))), flush=True)
    time.sleep(60)
"""


def test_processes_leave_with_the_one_that_started_them(tmp_path):
    script = tmp_path / "owner.py"
    script.write_text(_OWNER)
    root = pathlib.Path(__file__).parents[3]
    owner = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert pids and all(map(_runs, pids))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 20.0
    while any(map(_runs, pids)):
        assert time.monotonic() < deadline, f"of {pids} some are still there"
        time.sleep(0.1)
