"""The table and the page of a sweep, of made-up results."""

import csv
import re

import numpy as np
import pytest

from configs import registry
from evaluation.report import parallel_coordinates
from launch.sweep import folder as folder_lib, report, search as search_lib, trial as trial_lib

RATE, EPOCHS, LAYERS = "learner.learning_rate", "learner.epochs", "team.policy_layers"
VARY = (f"{RATE}=1e-4..1e-2:log", f"{EPOCHS}=1..8", f"{LAYERS}=64|128,128")


class _Fake:
    """Trains until the last trial but one; trials of many epochs fail, with a message to escape."""

    stopping = False

    def __init__(self, last):
        self._left = last

    def train(self, folder, values):
        self._left -= 1
        if not self._left:
            self.stopping = True
            return trial_lib.Outcome(interrupted=True)
        if values[EPOCHS] > 6:
            return trial_lib.Outcome(note="<script>not finite</script>")
        result = -100.0 * values[RATE] + values[EPOCHS]
        return trial_lib.Outcome((result, result + 1.0))


def _written(path, trials):
    """Returns rows of the table, and the page, of a search of so many trials."""
    plan = folder_lib.Plan("case14", registry.load("case14"), VARY, "tpe", trials, (0, 4), 0)
    folder = folder_lib.SweepFolder(path)
    search = search_lib.Search(folder, plan)
    search.run(_Fake(trials), lambda line: None, lambda: report.write(folder, plan, search))
    report.write(folder, plan, search)
    rows = list(csv.DictReader(folder.table.read_text().splitlines()))
    return rows, (path / report.NAME).read_text()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return _written(tmp_path_factory.mktemp("sweep"), 25)


def test_the_table_has_every_trial_the_best_first(written):
    rows, _ = written
    states = [row["state"] for row in rows]
    done = states.count("finished")
    assert sorted(int(row["trial"]) for row in rows) == list(range(1, 26))
    assert set(states[done:]) == {"failed", "unfinished"} and done > 10
    returns = [float(row["return"]) for row in rows[:done]]
    assert returns == sorted(returns, reverse=True)
    for row in rows[:done]:
        first, second = (float(row[f"return_seed_{seed}"]) for seed in (0, 4))
        assert float(row["return"]) == pytest.approx(0.5 * (first + second))
        assert first == pytest.approx(-100.0 * float(row[RATE]) + float(row[EPOCHS]))
    assert all(row["return"] == "" for row in rows[done:])


def test_the_page_has_a_line_for_each_result_and_one_that_is_best(written):
    rows, page = written
    done = sum(row["state"] == "finished" for row in rows)
    assert len(re.findall(r'<path class="l rank\d', page)) == done
    assert len(re.findall(r'<path class="l rank4 best"', page)) == 1
    assert f"{len(rows) - done} without a return are left out" in page


def test_the_page_says_how_to_train_and_evaluate_the_best(written):
    rows, page = written
    best = rows[0]
    assert f"--config=case14 --config.{RATE}={best[RATE]} --config.{EPOCHS}={best[EPOCHS]}" in page
    assert f"trials/{int(best['trial']):03d}/seed_0 --checkpoint=best" in page


def test_the_page_tells_failures_and_importances_and_escapes_both(written):
    _, page = written
    assert "failed &lt;script&gt;not finite" in page and "<script>" not in page
    shares = re.findall(r"<tr><th>(?:learner|team)\.\w+</th><td>(\d+)</td></tr>", page)
    assert len(shares) == 3 and sum(map(int, shares)) == pytest.approx(100, abs=2)


def test_a_sweep_without_a_result_has_a_page(tmp_path):
    rows, page = _written(tmp_path, 1)
    assert [row["state"] for row in rows] == ["unfinished"]
    assert "Parallel coordinates" not in page and "Best" not in page


def test_parallel_coordinates_draw_the_best_last_and_where_it_is():
    axes = [
        parallel_coordinates.Axis("", "x", [(0.0, "low")], [0.0, 1.0, 0.5]),
        parallel_coordinates.Axis("", "y", [], [1.0, 0.0, 0.5]),
    ]
    svg = parallel_coordinates.plot(axes, [1.0, 0.0, 0.5], "a & b")
    lines = re.findall(r'<path class="l (rank\d(?: best)?)" d="M(\S+) (\S+?)l', svg)
    assert [look for look, _, _ in lines] == ["rank0", "rank2", "rank4 best"]
    heights = [float(y) for _, _, y in lines]
    assert heights == sorted(heights), "of the first axis: 1.0 is up, 0.0 down"
    assert "a &amp; b" in svg and np.isclose(heights[1], 0.5 * (heights[0] + heights[2]))
