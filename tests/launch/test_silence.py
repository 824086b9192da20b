"""A node that says nothing, or whose loop stands still, is named first and ended then."""

import pytest

from configs import registry
from launch import panel, silence
from launch.run import run_folder

LIMIT_S = 60.0


class Nodes:
    """Nodes that live by a clock of their own, and a watch that looks at them twice a second."""

    def __init__(self, *names):
        self.now = 0.0
        self.statuses = {name: {} for name in names}
        self.watch = silence.Watch(names, LIMIT_S, clock=lambda: self.now)

    def say(self, name, doing="updating", limited=True, moves=True, **more):
        former = self.statuses[name].get("progress", 0)
        self.statuses[name] = {
            "state": "running", "time": self.now, "doing": doing, "limited": limited,
            "progress": former + moves, **more,
        }  # fmt: skip

    def live(self, seconds, **says):
        """Lets time pass; `says` are the arguments of `say` for each node that still speaks."""
        for _ in range(int(2 * seconds)):
            self.now += 0.5
            for name, arguments in says.items():
                self.say(name, **arguments)
            self.watch.look(self.statuses.get)


def test_a_process_without_a_sign_of_life_is_named_at_half_of_the_limit():
    nodes = Nodes("learner", "actor_0")
    nodes.live(5, learner={}, actor_0={})
    nodes.live(30, actor_0={})
    assert not nodes.watch.silences()
    nodes.live(5, actor_0={})
    (silent,) = nodes.watch.silences()
    assert str(silent) == "learner has been silent for 35 s, last updating"
    assert silent.limit_s == LIMIT_S and not silent.runs
    nodes.live(1, learner={}, actor_0={})
    assert not nodes.watch.silences()


def test_a_loop_that_stands_still_is_told_from_one_that_compiles_or_waits():
    nodes = Nodes("learner", "actor_0", "evaluator")
    nodes.live(
        40,
        learner={"moves": False},
        actor_0={"doing": "compiling", "limited": False, "moves": False},
        evaluator={"doing": "waiting for its turn"},
    )
    (silent,) = nodes.watch.silences()
    assert str(silent) == "learner has stood still for 40 s, last updating" and silent.runs


def test_a_process_that_compiles_must_still_give_signs_of_life():
    nodes = Nodes("learner")
    nodes.live(300, learner={"doing": "compiling", "limited": False, "moves": False})
    nodes.live(61)
    (silent,) = nodes.watch.silences()
    assert silent.seconds > silent.limit_s and silent.doing == "compiling" and not silent.runs


def test_a_loop_may_take_three_times_as_long_as_it_ever_took():
    nodes = Nodes("learner")
    nodes.live(50, learner={"doing": "compiling", "limited": False, "moves": False})
    nodes.live(5, learner={})
    nodes.live(140, learner={"moves": False})
    (silent,) = nodes.watch.silences()
    assert silent.limit_s == pytest.approx(150, abs=2) and silent.seconds < silent.limit_s
    nodes.live(12, learner={"moves": False})
    assert nodes.watch.silences()[0].seconds > silent.limit_s


def test_a_process_that_never_comes_up_is_silent_after_ten_times_the_limit():
    nodes = Nodes("learner", "actor_0")
    nodes.live(599, learner={})
    (silent,) = nodes.watch.silences()
    assert silent.node == "actor_0" and silent.seconds < silent.limit_s == 10 * LIMIT_S
    nodes.live(2, learner={})
    assert nodes.watch.silences()[0].seconds > 10 * LIMIT_S


def test_nobody_is_silent_while_the_launcher_itself_was_stopped():
    nodes = Nodes("learner")
    nodes.live(5, learner={})
    nodes.now += 3600.0
    nodes.watch.look(nodes.statuses.get)
    assert not nodes.watch.silences()


def test_a_node_that_has_ended_is_not_silent():
    nodes = Nodes("evaluator")
    nodes.live(5, evaluator={})
    nodes.statuses["evaluator"]["state"] = "ended"
    nodes.live(100)
    assert not nodes.watch.silences()


def test_the_panel_shows_old_figures_as_old_and_who_is_silent(tmp_path, capsys):
    folder = run_folder.RunFolder(tmp_path)
    folder.create(registry.load("case14_ppo"))
    figures = {
        "steps": 1000, "steps_planned": 9000, "seconds_planned": 3600.0, "run/updates": 5,
        "run/steps_per_second": 777.0, "run/seconds": 1.0, "run/lag_mean": 1.0,
    }  # fmt: skip
    nodes = Nodes("learner", "actor_0", "evaluator")

    def line():
        folder.write_status("learner", nodes.statuses["learner"])
        panel.Panel(folder, "case14", 1, 8, nodes.watch).refresh()
        return capsys.readouterr().out

    nodes.live(3, learner={"reported": 1.0, **figures}, actor_0={}, evaluator={})
    assert "777 steps/s" in line() and " left" in line() and "ago" not in line()
    nodes.live(12, learner={"reported": 1.0, **figures}, actor_0={}, evaluator={})
    assert "all 14 s ago" in line() and "777" not in line() and " left" not in line()
    nodes.live(40, actor_0={}, evaluator={})
    assert "learner has been silent for 40 s, last updating" in line()
