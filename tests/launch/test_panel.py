"""The live panel: which figures of the learner it shows."""

import pytest

from configs import registry
from launch import panel, silence
from launch.run import run_folder

# Of a run of case14 after 294 updates.
FIGURES = {
    "steps": 301_056, "steps_planned": 600_000, "seconds_planned": 3600.0, "run/updates": 294,
    "run/steps_per_second": 9730.0, "run/seconds": 32.2, "run/update_seconds": 0.103,
    "run/lag_mean": 3.5, "run/lag_max": 4.0, "run/queue_size": 2.0, "run/learner_wait_share": 0.02,
    "run/stale_dropped": 8.0, "run/repeats_dropped": 0.0, "run/bad_updates": 0.0,
    "policy/kl": 4.4516, "policy/clip_share": 0.99, "value/explained_variance": -3.58,
    "loss/gradient_norm": 18.305,
}  # fmt: skip
GRADIENTS = {"analytic/loss": -0.032, "analytic/margin": 0.0021}


@pytest.mark.parametrize(
    "more, shown, hidden",
    [
        (GRADIENTS, "objective 0.0320   margin 0.0021   gradient norm 18.3   dropped 8", "KL"),
        ({}, "KL 4.4516   clipped 99%   explained variance -3.58   dropped 8", "objective"),
    ],
    ids=["gradients", "samples"],
)
def test_it_shows_the_figures_of_the_objective(more, shown, hidden, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # A terminal, as far as rich knows.
    monkeypatch.setenv("COLUMNS", "100")
    folder = run_folder.RunFolder(tmp_path)
    folder.create(registry.load("case14"))
    folder.write_status("learner", FIGURES | more)
    with panel.Panel(folder, "case14", 1, 2, silence.Watch(["learner"], 60.0)) as view:
        view.refresh()
    out = capsys.readouterr().out
    assert shown in out and hidden not in out and "return" in out
