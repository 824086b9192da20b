"""The trials of a search, with something that trains nothing: order, resuming, failures."""

import math

import pytest

from configs import registry
from launch.sweep import folder as folder_lib, search as search_lib, trial as trial_lib

RATE, EPOCHS = "learner.learning_rate", "learner.epochs"
RANGES = (f"{RATE}=1e-4..1e-2:log", f"{EPOCHS}=1..8")
VALUES = (f"{EPOCHS}=1,2,4", "team.policy_layers=64|128,128")


def _plan(vary, search="tpe", trials=6):
    experiment = registry.load("case14")
    return folder_lib.Plan("case14", experiment, vary, search, trials, (0, 1), 7)


def _return(values):
    return values[EPOCHS] - abs(math.log10(values.get(RATE, 1e-3)) + 3)


class Fake:
    """Trains at once; is interrupted in its `ends_in`-th trial, and fails with some values."""

    def __init__(self, ends_in=None, fails=lambda values: False):
        self.stopping, self.trained = False, []
        self._ends_in, self._fails = ends_in, fails

    def train(self, folder, values):
        self.trained.append((folder.name, dict(values)))
        if len(self.trained) == self._ends_in:
            self.stopping = True
            return trial_lib.Outcome(interrupted=True)
        if self._fails(values):
            return trial_lib.Outcome(note="too many updates were not finite")
        return trial_lib.Outcome((_return(values) - 0.5, _return(values) + 0.5))


def _run(path, plan, trainer=None):
    """Returns the search after a launch, what trained, and the lines that it said."""
    search, trainer, lines = search_lib.Search(_folder(path), plan), trainer or Fake(), []
    search.run(trainer, lines.append, lambda: None)
    return search, trainer, lines


def _folder(path):
    path.mkdir(exist_ok=True)
    return folder_lib.SweepFolder(path)


def test_a_grid_is_every_combination_once_in_order(tmp_path):
    search, trainer, _ = _run(tmp_path, _plan(VALUES, "grid"))
    assert trainer.trained == [
        (f"{number + 1:03d}", {EPOCHS: epochs, "team.policy_layers": layers})
        for number, (epochs, layers) in enumerate(
            (epochs, layers) for epochs in (1, 2, 4) for layers in ("64", "128,128")
        )
    ]
    assert [row.result for row in search.rows()] == [1, 1, 2, 2, 4, 4]
    assert search.best().number == 4 and search.rows()[0].returns == [0.5, 1.5]


@pytest.mark.parametrize("kind", ["tpe", "random", "grid"])
def test_an_interrupted_search_goes_on_as_one_that_was_not(kind, tmp_path):
    plan = _plan(VALUES if kind == "grid" else RANGES, kind, 6 if kind == "grid" else 14)
    whole, _, _ = _run(tmp_path / "whole", plan)
    _, first, _ = _run(tmp_path / "parts", plan, Fake(ends_in=4))
    parts, second, _ = _run(tmp_path / "parts", plan)
    assert second.trained[0] == first.trained[-1], "the unfinished trial, in its folder"
    assert len(first.trained) + len(second.trained) == plan.trials + 1, "nothing else again"
    assert [row.values for row in parts.rows()] == [row.values for row in whole.rows()]
    assert [row.result for row in parts.rows()] == [row.result for row in whole.rows()]


def test_tpe_comes_nearer_to_the_best_than_it_begins(tmp_path):
    search, _, _ = _run(tmp_path, _plan(RANGES, trials=30))
    results = [row.result for row in search.rows()]
    assert sum(results[-10:]) > sum(results[:10]) + 10
    assert set(search.importances()) == {RATE, EPOCHS}


def test_importances_of_few_trials_are_not_told(tmp_path):
    search, _, _ = _run(tmp_path, _plan(RANGES))
    assert search.importances() == {}


def test_more_trials_go_on_from_those_there_are(tmp_path):
    _run(tmp_path, _plan(RANGES, trials=3))
    search, trainer, _ = _run(tmp_path, _plan(RANGES, trials=5))
    assert len(trainer.trained) == 2 and len(search.rows()) == 5


def test_a_trial_that_fails_is_recorded_and_the_others_are_trained(tmp_path):
    fails = lambda values: values[EPOCHS] == 4
    search, trainer, lines = _run(tmp_path, _plan(VALUES, "grid"), Fake(fails=fails))
    states = [row.state for row in search.rows()]
    assert states == ["finished"] * 4 + ["failed"] * 2 and len(trainer.trained) == 6
    assert search.rows()[-1].note == "too many updates were not finite"
    assert "failed: too many updates were not finite; best 2.00 of trial 3" in lines[-1]


def test_a_search_of_which_all_fails_has_no_best(tmp_path):
    search, _, lines = _run(tmp_path, _plan(VALUES, "grid"), Fake(fails=lambda values: True))
    assert search.best() is None and len(lines) == 12


def test_the_same_values_are_not_trained_twice(tmp_path):
    search, trainer, _ = _run(tmp_path, _plan((f"{EPOCHS}=1,2,4",), "random", 3))
    rows = search.rows()
    different = {row.values[EPOCHS] for row in rows}
    assert len(trainer.trained) == len(different) < 3, "else this seed shows nothing"
    again = [row for row in rows if row.note]
    assert all(row.note.startswith("as trial ") for row in again)
    assert all(row.result == _return(row.values) for row in rows)


def test_lines_tell_the_trial_its_result_the_best_and_the_time_left(tmp_path):
    _, _, lines = _run(tmp_path, _plan(VALUES, "grid"))
    assert lines[0] == f"trial 1 of 6  {EPOCHS}=1 team.policy_layers=64"
    assert lines[1] == "  return 1.00 (seeds 0.50 1.50); best 1.00 of trial 1; 0:00, 0:00 left"


def test_half_a_line_in_the_journal_is_no_harm(tmp_path):
    _run(tmp_path, _plan(RANGES, trials=2))
    journal = folder_lib.SweepFolder(tmp_path).study
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    search, _, _ = _run(tmp_path, _plan(RANGES, trials=3))
    assert len(search.rows()) == 3 and journal.read_bytes().startswith(whole)


def test_a_journal_that_is_none_is_refused_by_its_name(tmp_path):
    folder = _folder(tmp_path)
    folder.study.write_text("nothing\nof the kind\n")
    with pytest.raises(folder_lib.FolderError, match="study.journal: cannot be read"):
        search_lib.Search(folder, _plan(RANGES))
