"""Problems spread over processes: order, errors, and processes that die."""

import os
import pathlib

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
