"""What a report shows of teams, shields and ablations: pictures, marks, events and tables."""

import io
import re

import numpy as np
import pytest
import rich.console

from agents.baselines.look_ahead import Limit
from envs.step import switching
from envs.step.termination import Reason
from evaluation import alterations, element_names, results, runner, summary, tables, wording
from evaluation.report import (
    colour_scale,
    day_records,
    held_back,
    numbers,
    one_line,
    palette,
    positions,
    team_figures,
    team_sections,
)

AGENTS = ["strategic", "area_1", "area_2", "safety"]
NORMAL = ("normal", "easy")


def _worst(env, held=()):
    """A day of a team; of steps `held` one half of what the second area requests is held back."""
    steps, grid = env.horizon, env.grid
    share = np.zeros((steps, 2), np.float32)
    share[list(held), 1] = 0.5
    region_buses = np.stack([np.arange(grid.n_bus) % 2 == 0, np.arange(grid.n_bus) % 2 == 1])
    flat = lambda *shape: np.full((steps, *shape), 0.5)
    return {
        "counted": np.ones(steps, bool), "reason": np.zeros(steps, int),
        "areas": np.array(["area_1", "area_2"]), "directed": np.array(["area_2"]),
        "directives": np.linspace(-1, 1, steps)[:, None],
        "area_redispatch_mw": np.stack([np.linspace(0, 40, steps), np.zeros(steps)], 1),
        "regions": np.array(["area_1", "area_2"]), "region_buses": region_buses,
        "safety_share": share,
        "safety_limit": np.where(share[:, 1] > 0, Limit.OVERLOAD, 0).astype(int),
        "safety_element": np.full(steps, 3), "safety_size": np.full(steps, 0.12),
        "safety_taken": np.zeros(steps),
        "rho": flat(grid.n_branch), "vm_pu": flat(grid.n_bus) + 0.5,
        "energised": np.ones((steps, grid.n_bus), bool),
        "why": np.full((steps, grid.n_branch), switching.CLOSED),
        "available": np.ones((steps, grid.n_branch), bool),
    }  # fmt: skip


def _drawn(text, rows):
    """The levels of the first cells of a picture, `[rows, columns]`, by their colours."""
    group = re.search(r"<g transform=.*?</g>", text)[0]
    columns = int(re.search(r"h(\d+)", group)[1])
    levels = np.zeros((rows, columns), int)
    for colour, path in re.findall(r'stroke="(#\w+)"(?: stroke-width="\d+")? d="(.*?)"', group)[1:]:
        for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)", path):
            place = slice(int(column), int(column) + int(length))
            levels[int(row), place] = colour_scale.COLOURS.index(colour)
    return levels


def test_attention_has_a_row_for_each_reader_and_agent_read():
    weights = np.random.default_rng(0).dirichlet(np.ones(4), (24, 8, 4))
    text = team_figures.attention_by_hour(weights, AGENTS)
    assert [f">{name} reads<" in text for name in AGENTS] == [True] * 4
    assert all(len(re.findall(f">{name}</text>", text)) == 4 for name in AGENTS)
    assert text.count("<g transform=") == 4 + 1  # readers, and the legend
    mean = weights.mean(1)
    expected = np.round((len(colour_scale.COLOURS) - 1) * mean[:, 0].T / mean.max())
    np.testing.assert_array_equal(_drawn(text, 4), expected)
    assert f"{100 * mean.max():.3g} % of attention" in text


def test_attention_of_hours_that_no_day_reached_is_left_out():
    weights = np.full((24, 8, 4, 4), 0.25)
    weights[6:] = np.nan
    text = team_figures.attention_by_hour(weights, AGENTS)
    assert _drawn(text, 4).shape == (4, 6) and "nan" not in text
    assert "nan" not in team_figures.attention_by_head(weights, AGENTS)


def test_every_head_has_cells_of_its_own():
    weights = np.random.default_rng(0).dirichlet(np.ones(4), (24, 8, 4))
    text = team_figures.attention_by_head(weights, AGENTS)
    assert text.count("<g transform=") == 8 + 1 + 4 * 4  # heads, the legend, names written upwards
    assert [f">head {n}<" in text for n in range(1, 9)] == [True] * 8
    mean = weights.mean(0)
    expected = np.round((len(colour_scale.COLOURS) - 1) * mean[0] / mean.max())
    np.testing.assert_array_equal(_drawn(text, 4), expected)


def test_directives_stand_beside_what_areas_did(env):
    worst = _worst(env, range(4))
    text = team_figures.directives(day_records.DayRecords({}, worst, 1, 0), env)
    assert text.count("hears none") == 1 and ">area_1<" in text and ">area_2<" in text
    assert text.count('class="l middle"') == 1 + 2  # a directive, and redispatch of both
    assert len(re.findall(r'class="wide" d="M', text)) == 2 and "nan" not in text


def test_returns_have_a_bar_of_their_own_and_of_the_area():
    nothing = np.full(3, np.nan)
    team = {
        "agents": np.array(AGENTS), "agent_return": np.array([[10.0, 8.0, 6.0, 10.0]] * 3),
        "area_return": np.stack([nothing, 5 + 0 * nothing.size * np.ones(3), np.ones(3), nothing],
                                1),
    }  # fmt: skip
    text = team_figures.returns(team, {})
    assert text.count('class="narrow"') == 4 and text.count('class="wide"') == 2
    assert "credit" not in text
    measured = {"area_1": {"mean": 2.5, "low": 1.0, "high": 4.0}}
    text = team_figures.returns(team, measured)
    assert text.count('class="l point"') == 1 and ">2.5<" in text and "credit" in text


def test_what_was_held_back_is_an_event_for_each_stretch_with_its_reason(env):
    worst = _worst(env, [3, 4, 5, 20, 23])
    worst["safety_limit"][5], worst["safety_limit"][20] = Limit.COLLAPSE, Limit.NONE
    worst["safety_element"][5] = Reason.DIVERGED
    worst["safety_limit"][23] = Limit.NONE
    trace, left = held_back.episode_events(worst, env.grid, env.dt_h)
    assert left == 0
    assert [(event.step, event.where) for event in trace] == [(3, "area_2"), (20, "area_2")]
    assert trace[0].what == (
        "held back by the safety agent until 00:30, at most 50 %: the day would have ended "
        "(diverged)"
    )
    assert trace[1].what == (
        "held back by the safety agent in 2 of 4 steps until 02:00, at most 50 %: no limit foreseen"
    )
    shielded = {
        **{name: values for name, values in worst.items() if not name.startswith("safety")},
        "shield_share": worst["safety_share"][:, 1:],
        **{f"shield_{name}": worst[f"safety_{name}"] for name in ("limit", "element", "size")},
    }
    named, _ = held_back.episode_events(shielded, env.grid, env.dt_h)
    assert {event.where for event in named} == {"grid"}
    assert all("held back by the shield" in event.what for event in named)
    assert held_back.episode_events(_worst(env), env.grid, env.dt_h) == ([], 0)
    often = _worst(env, range(0, 200, 10))
    assert len(held_back.episode_events(often, env.grid, env.dt_h)[0]) == 12
    assert held_back.episode_events(often, env.grid, env.dt_h)[1] == 8


def test_the_reason_says_which_element_and_by_how_much(env):
    worst = _worst(env, [2])
    words = lambda: [what for _, what in held_back.words(worst, env.grid, 2)]
    branch = element_names.branch(env.grid, 3)
    assert words() == [f"50 % held back by the safety agent: branch {branch} would have been at "
                       "112 %"]  # fmt: skip
    worst["safety_limit"][2], worst["safety_size"][2] = Limit.VOLTAGE, 0.02
    bus = env.grid.bus.id[3]
    assert words()[0].endswith(f"bus {bus} would have been 0.020 pu beyond its limits")


def test_the_diagram_marks_held_regions_and_the_branch_that_would_be_overloaded(env):
    worst, at = _worst(env, [2]), positions.bus_positions(env.grid)
    marks = held_back.marks(worst, env, 2)
    assert marks.branches == [3] and marks.buses.sum() == env.grid.n_bus // 2
    text = one_line.diagram(env.grid, at, worst, 2, marks)
    assert text.count(" held") == 1 and text.count("l foreseen") == 1
    held = re.search(r'held" d="([^"]*)"', text)[1]
    assert held.count("M") == env.grid.n_bus // 2 and ">would be 112 %<" in text
    assert held_back.marks(worst, env, 1) is None
    assert held_back.strongest(worst, env.horizon) == 2
    assert held_back.strongest(_worst(env), env.horizon) is None
    worst["safety_limit"][2], worst["safety_element"][2] = Limit.REACTIVE, 1
    marks = held_back.marks(worst, env, 2)
    assert marks.at_buses == [env.grid.gen.bus[1]] and not marks.branches
    assert one_line.diagram(env.grid, at, worst, 2, marks).count("ring foreseen") == 1


# Tables.


def _summary(names, days=12):
    """A summary of made-up days, on which every ablation returns one less than what it is of."""
    plan = runner.Plan(tuple(names), (NORMAL,), days, "test", 0, bound=False)
    rng = np.random.default_rng(0)
    usual = {name: rng.uniform(1.0, 2.0, days) for name in summary.metrics.METRICS}
    samples, notes = {}, {}
    for name in ("do_nothing", *names):
        task = results.Task(*NORMAL, name)
        samples[task] = dict(usual)
        if alterations.unaltered(name):
            samples[task]["return"] = usual["return"] - 1.0 + 0.01 * rng.uniform(-1, 1, days)
        samples[task]["held_back"] = np.full(days, 20.0)
        samples[task]["foreseen"] = np.full(days, 5.0)
        notes[task] = {
            "endings": {}, "seconds": 1.0, "seconds_per_row": None,
            "latency": {"p50_ms": 0.5, "p99_ms": 2.0, "decisions": 120},
        }  # fmt: skip
    content = summary.summarise(samples, notes, plan)
    return {**content, "identity": {"seed": 0}}


NAMES = ("learned", "learned+shield", "learned-no-safety", "learned-only-area_1", "random+shield")


def test_what_a_change_costs_is_the_paired_difference_to_the_same_without():
    content = _summary(NAMES)
    for name in NAMES[1:4]:
        less = wording.row(content, *NORMAL, name)["metrics"]["return"]["less_learned"]
        assert less["mean"] == pytest.approx(-1.0, abs=0.01) and less["verdict"] == "worse"
    assert "less_learned" not in wording.row(content, *NORMAL, "learned")["metrics"]["return"]
    assert alterations.among(content["controllers"]) == dict.fromkeys(NAMES[1:4], "learned")
    table = numbers.altered(content, *NORMAL)
    assert [row[0] for row in table.rows] == [
        "learned, shield, less learned", "no safety, less learned", "only area_1, less learned",
    ]  # fmt: skip
    for _, _, cells in table.rows:
        assert cells[0].word == "worse" and cells[0].text.startswith("−")
        assert [cell.text for cell in cells[-3:]] == ["20", "25", "0.500"]
    assert numbers.altered(_summary(("learned",)), *NORMAL) is None


def test_the_console_tells_changes_in_80_columns():
    console = rich.console.Console(width=80, record=True, file=io.StringIO())
    for table in tables.summary_tables(_summary(NAMES)):
        console.print(table)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    row = [line for line in text.splitlines() if line.startswith(" only area_1")][-1]
    assert row.split()[-3:] == ["20", "25", "0.5"]


def test_credit_is_what_is_lost_without_an_agent():
    names = ("learned", "learned-no-directives", "learned-no-area_1")
    content, team = _summary(names), {
        "agents": np.array(AGENTS),
        "credits": np.array(["no-directives", "no-area_1", "no-area_2", "no-safety"]),
    }  # fmt: skip
    measured = team_sections.credits(team, content, results.Task(*NORMAL, "learned"))
    assert [*measured] == ["strategic", "area_1"]
    for entry in measured.values():
        assert entry["mean"] == pytest.approx(1.0, abs=0.01)
        assert entry["low"] < entry["mean"] < entry["high"]
    content = _summary(("learned", "learned-no-strategic"))  # credit alone was requested
    assert [*team_sections.credits(team, content, results.Task(*NORMAL, "learned"))] == [
        "strategic"
    ]


def test_of_many_agents_those_are_drawn_whose_areas_earn_or_lose_most():
    earned = np.arange(-10.0, 10.0)[None]
    team = {
        "agents": np.array([f"bus_{n}" for n in range(20)]), "agent_return": earned,
        "area_return": earned,
    }  # fmt: skip
    content, task = _summary(("learned",)), results.Task(*NORMAL, "learned")
    records = day_records.DayRecords({}, {"counted": np.ones(3), "reason": np.zeros(3)}, 1, 0, team)
    (drawn,) = team_sections.figures(records, content, task, None)
    assert "of the 12 agents" in drawn.note
    shown = set(map(int, re.findall(r">bus_(\d+)<", drawn.svg)))
    assert shown == {*range(7), *range(15, 20)}
    assert not list(team_sections.figures(records, content, task._replace(
        controller="learned-no-bus_3"), None))  # fmt: skip


def test_the_page_says_in_how_many_overrides_a_limit_was_foreseen():
    entry = lambda mean: {"mean": mean}
    metrics = {"held_back": entry(20.0), "foreseen": entry(5.0), "averted": entry(2.0)}
    said = team_sections.held_back(metrics)
    assert said.startswith("Something was held back in 20 % of steps; in 25 % of these ")
    assert "in 10 % holding back kept it" in said
    assert team_sections.held_back({"held_back": entry(0.0)}) == ""


def test_many_ablations_have_looks_of_their_own():
    names = ["learned", *(f"learned-no-{number}" for number in range(20))]
    looks = palette.looks(names)
    assert len({(look.light, look.mark) for look in looks.values()}) == len(names)
