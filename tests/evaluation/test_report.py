"""Reports: console tables, the page, the comparison. Whatever the days were like, it is written."""

import copy
import dataclasses
import io
import json
import re
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from agents import controllers
from envs import grid_env
from envs.case import case_file, grid as grid_lib
from envs.options import EnvOptions
from envs.step import switching
from envs.step.termination import Reason
from evaluation import (
    element_names,
    episodes,
    l2rpn,
    metrics,
    ranking,
    report_arrays,
    results,
    runner,
    summary,
    tables,
    wording,
)
from evaluation.report import (
    colour_scale,
    compare,
    curve,
    day_records,
    events,
    figures,
    heat,
    numbers,
    one_line,
    page,
    positions,
    svg,
)
from evaluation.scenarios import suite

SCENARIOS = (("normal", "easy"), ("cascade", "hard"), ("failure", "hard"))
DAYS = 10


def _metrics(seed, days=DAYS, scale=1.0):
    rng = np.random.default_rng(seed)
    return {name: (scale * rng.uniform(1.0, 9.0, days)).tolist() for name in metrics.METRICS}


def _arrays(env, ended_at=None, seed=0, episode=2):
    """What `report_arrays.extract` would keep: a day that ends in a step, or none."""
    rng, grid, steps = np.random.default_rng(seed), env.grid, env.horizon
    counted = np.arange(steps) <= (steps if ended_at is None else ended_at)
    closed = np.ones((steps, grid.n_branch), bool)
    closed[2:, 3] = False
    available = closed.copy()
    trip_round = np.zeros((steps, grid.n_branch), np.int8)
    closed[2:, 5], trip_round[2, 5] = False, 1
    closed[1:, 7] = False
    why = np.zeros((steps, grid.n_branch), np.int8)
    why[2:, 5], why[1:, 7] = switching.TRIPPED, switching.OPENED
    gen_on = np.ones((steps, grid.n_gen), bool)
    gen_on[2:, 1] = False
    energised = np.ones((steps, grid.n_bus), bool)
    energised[2:, 4] = False
    reason = np.zeros(steps, np.int32)
    if ended_at is not None:
        reason[ended_at:] = Reason.CASCADE
    quantiles = np.sort(rng.uniform(0.9, 1.1, (steps, 5)), 1)
    loadings = np.sort(rng.uniform(0.0, 1.3, (steps, 3)), 1)
    quantiles[10:20], loadings[10:20] = np.nan, np.nan
    draw = lambda *shape: rng.uniform(0.2, 1.2, shape).astype(np.float32)
    low = np.full(steps, 59.9)
    low[10:20] = np.inf
    return {
        "vm_quantiles": quantiles,
        "rho_quantiles": loadings,
        "frequency_low": low,
        "going": counted.astype(float),
        "action_size": draw(report_arrays.HOURS, env.layout.action_size),
        "episode": np.int64(episode),
        "worst_step": np.int64(2),
        "counted": counted,
        "reason": reason,
        "vm_pu": draw(steps, grid.n_bus),
        "rho": draw(steps, grid.n_branch),
        "closed": closed,
        "energised": energised,
        "trip_round": trip_round,
        "available": available,
        "why": why,
        "gen_on": gen_on,
        "gen_p_mw": 100 * draw(steps, grid.n_gen),
        "plan_p_mw": 100 * draw(steps, grid.n_gen),
        "action": draw(steps, env.layout.action_size),
        "energy_mwh": 10 * draw(steps, env.fleet.n_storage),
        "frequency_hz": 60 + 0.1 * draw(steps),
        "nadir_hz": 60 - 0.1 * draw(steps),
        "shed_share": np.zeros(steps, np.float32),
        "load_mw": 250 * draw(steps),
        "available_mw": 50 * draw(steps),
        "renewable_mw": 40 * draw(steps),
        "cost": 300 * draw(steps),
    }


def _evaluated(path, env, names=("learned", "acopf"), scenarios=SCENARIOS, shift=0.0, policy=None):
    """Writes an evaluation of made-up numbers; returns folder, plan, summary and messages."""
    plan = runner.Plan(tuple(names), tuple(scenarios), DAYS, "test", 0)
    said = []
    folder = results.Folder(path, said.append)
    identity = {"environment": dataclasses.asdict(env.options), "split": "test", "seed": 0}
    if policy:
        identity["policy"] = policy
    about = {"commit": "abc", "command": "python -m launch.evaluate --x", "versions": {"jax": "1"}}
    folder.open(identity, about)
    for number, task in enumerate(plan.tasks()):
        if task.controller == runner.BOUND:
            bound = {
                "total_cost": [2.0] * DAYS,
                "operating_rows": [[1.5 / env.horizon] * env.horizon] * DAYS,
                "optimal_rows": [99.0] * DAYS,
            }
            rest = {"seconds": 1.0, "seconds_per_row": 0.012}
            folder.save(task, 0, {"metrics": bound, **rest})
            continue
        measured = _metrics(number)
        if task.controller == "learned":
            measured["total_cost"] = [value + shift for value in measured["total_cost"]]
        died = 3 if task.scenario == "cascade" else None
        folder.save(
            task, 0,
            {
                "metrics": measured,
                "endings": ["CASCADE" if died else "NONE"] * DAYS,
                "l2rpn": {name: [1.0] * DAYS for name in l2rpn.Cost._fields},
                "seconds": 1.0,
                "latency": {"p50_ms": 0.5, "p99_ms": 2.0, "decisions": 120},
            },
            _arrays(env, died, number),
        )  # fmt: skip
    samples, notes = summary.collect(folder, plan, env.grid.n_bus)
    content = {**folder.manifest(), **summary.summarise(samples, notes, plan)}
    (path / "summary.json").write_text(json.dumps(content))
    summary.write_csv(path / "episodes.csv", samples)
    return folder, plan, content, said


@pytest.fixture(scope="module")
def evaluated(env, tmp_path_factory):
    return _evaluated(tmp_path_factory.mktemp("evaluation"), env)


@pytest.fixture(scope="module")
def written(evaluated, env):
    folder, plan, content, _ = evaluated
    content = {**content, "knows": {"learned": controllers.OBSERVATIONS}}
    return page.write(folder, content, plan, env).read_text()


def _console(parts):
    console = rich.console.Console(width=80, record=True, file=io.StringIO())
    for each in parts:
        console.print(each)
    text = console.export_text()
    assert max(map(len, text.splitlines()), default=0) <= 80
    return text


# The page.


def test_the_page_needs_no_network(written):
    addresses = re.findall(r'(?:src|href|srcset|action)\s*=\s*["\']([^"\']*)', written)
    addresses += re.findall(r"url\(([^)]*)\)", written)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "http://" not in written and "https://" not in written and "@import" not in written


def test_the_page_says_who_was_evaluated_in_what(written, evaluated):
    for name, level in evaluated[2]["scenarios"]:
        assert wording.scenario(name, level) in written
        assert suite.SCENARIOS[name].title in written
        assert getattr(suite.SCENARIOS[name], level) in written
    for name in evaluated[2]["controllers"]:
        assert wording.title(name) in written
    for text in (controllers.OBSERVATIONS, "python -m launch.evaluate --x", "abc", "jax 1", "MW"):
        assert text in written


def test_the_page_has_the_numbers_of_the_summary(written, evaluated):
    for row in evaluated[2]["rows"]:
        listed = wording.MAIN if row["scenario"] == summary.ALL else row["metrics"]
        for metric in listed:
            mean, ends = wording.brief(row["metrics"][metric])
            assert f">{mean}</b>" in written and ends in written


def test_a_worst_day_is_told_to_its_end(written):
    assert (
        "Day 3 of 10 (day 2 in episodes.csv) ended at 00:20: branches went on tripping." in written
    )
    assert "10 of 10 days ended early because branches went on tripping" in written
    for text in ("2–4", "tripped", "taken out of service", "opened by the controller"):
        assert text in written


def test_names_are_text_and_never_markup(env, tmp_path):
    evil = "<b>bold"
    other = copy.copy(env)
    other.grid = dataclasses.replace(env.grid, name="<i>case")
    folder, plan, content, _ = _evaluated(tmp_path, other, (evil,), SCENARIOS[:1])
    text = page.write(folder, {**content, "knows": {evil: "<u>all"}}, plan, other).read_text()
    for tag in ("<b>bold", "<i>case", "<u>all"):
        assert tag not in text
        assert tag.replace("<", "&lt;").replace(">", "&gt;") in text


def test_a_broken_batch_is_named_and_the_page_is_written(env, tmp_path):
    folder, plan, content, said = _evaluated(tmp_path, env)
    broken = tmp_path / "results" / "normal-easy" / "learned" / "000-009.npz"
    broken.write_bytes(broken.read_bytes()[:500])
    text = page.write(folder, content, plan, env).read_text()
    assert any(str(broken) in line for line in said)
    assert "was not kept, or cannot be read" in text


def test_the_page_shows_how_the_policy_was_learned(env, evaluated, tmp_path):
    folder, plan, content, _ = evaluated
    (tmp_path / "metrics").mkdir()
    lines = [
        {"step": step, "evaluation/return": value, "evaluation/do_nothing_return": -9.0}
        for step, value in ((0, -20.0), (4096, -12.0), (8192, None), (4096, -11.0))
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 9000, "eval'
    (tmp_path / "metrics" / "evaluator.jsonl").write_text(text)
    updates = [{"step": step, "run/seconds": step / 1024} for step in (1024, 3072, 5120)]
    (tmp_path / "metrics" / "learner.jsonl").write_text("\n".join(map(json.dumps, updates)))
    points = curve.read(tmp_path)
    assert points == {
        "step": [0, 4096], "return": [-20.0, -11.0], "do_nothing": [-9.0, -9.0],
        "seconds": [1.0, 5.0],  # of the first update that has so many steps
    }  # fmt: skip
    assert (
        "Return on validation days"
        in page.write(folder, content, plan, env, [tmp_path]).read_text()
    )
    assert curve.read(tmp_path / "nowhere") is None


def test_days_without_a_bound_are_told(env, evaluated, tmp_path):
    folder, plan, _, _ = evaluated
    copy = results.Folder(shutil.copytree(folder.path, tmp_path / "copy"))
    for task in plan.tasks():
        if task.controller == runner.BOUND:
            batch = copy.batch(task, 0, DAYS)
            batch["metrics"]["total_cost"] = [float("nan")] * DAYS
            copy.save(task, 0, batch)
    samples, notes = summary.collect(copy, plan, env.grid.n_bus)
    content = {**copy.manifest(), **summary.summarise(samples, notes, plan)}
    json.dumps(content, allow_nan=False)
    assert all(summary.GAP not in row["metrics"] for row in content["rows"])
    assert any(f"{len(SCENARIOS) * DAYS} days have none" in line for line in tables.notes(content))
    assert "The AC-OPF bound" in page.write(copy, content, plan, env).read_text()


def test_recorded_days_that_were_played_again_are_told(env, evaluated):
    folder, plan, content, _ = evaluated
    said = f"{DAYS} days are draws of 1 recorded day, the same again"
    for recorded, told in ((None, False), (DAYS, False), (1, True)):
        content = {**content, "recorded_days": recorded}
        assert any(said in line for line in tables.notes(content)) == told
        text = page.write(folder, content, plan, env).read_text()
        assert (said in text, "Days are recorded ones" in text) == (told, bool(recorded))


def test_what_another_simulator_said_is_shown(env, evaluated):
    folder, plan, content, _ = evaluated
    entry = {
        "scenario": "normal", "level": "easy", "controller": "learned", "episode": 2, "steps": 288,
        "vm_pu": 3.2e-5, "va_rad": 1e-4, "flow_mva": 0.1234, "flow_share": 0.002,
        "cost_usd": 0.02, "cost_share": 1e-5, "unsolved": 1, "worst_step": 12,
    }  # fmt: skip
    content = {**content, "replay": [entry]}
    text = page.write(folder, content, plan, env).read_text()
    assert "Checked in another simulator" in text and "3.2e-05" in text and "0.123" in text
    assert any("3.2e-05 pu" in line for line in tables.notes(content))


def test_only_who_is_better_than_everyone_is_bold(evaluated):
    content = {**evaluated[2], "controllers": ["do_nothing", "learned", "acopf"]}
    task = lambda name: results.Task("normal", "easy", name)
    cost = lambda *values: {"total_cost": np.array(4 * values), "survival": np.full(12, 100.0)}
    samples = {
        task("do_nothing"): cost(5.0, 6.0, 7.0),
        task("learned"): cost(4.0, 5.1, 6.2),
        task("acopf"): cost(1.0, 1.0, 1.0),
    }
    best = lambda: ranking.best(content, samples, "normal", "easy", "total_cost")
    assert best() == "learned"  # AC-OPF knows what is yet to come
    samples[task("learned")] = cost(4.0, 6.5, 7.2)
    assert best() is None


def test_nobody_is_better_for_having_played_fewer_hours(found_days=12):
    rng = np.random.default_rng(0)
    near = lambda value: [value + rng.uniform(0.0, 0.1, found_days)]
    lives = {"survival": near(99.0), "overload": near(5.0), "total_cost": near(1.0)}
    dies = {"survival": near(10.0), "overload": near(1.0), "total_cost": near(50.0)}
    words = lambda differences: {name: each["verdict"] for name, each in differences.items()}
    assert words(summary.differences(dies, lives, 0)) == {
        "survival": "worse", "overload": "unequal", "total_cost": "worse",
    }  # fmt: skip
    dies["survival"] = lives["survival"]
    assert words(summary.differences(dies, lives, 0)) == {
        "survival": "same", "overload": "better", "total_cost": "worse",
    }  # fmt: skip
    fewer = lambda side: {name: [values[:9] for values in each] for name, each in side.items()}
    assert set(words(summary.differences(fewer(dies), fewer(lives), 0)).values()) == {"few"}


def test_dispatch_is_compared_with_the_bound_over_the_hours_that_were_played():
    # Cheap nights and dear days: who ends at noon has bought only the cheap hours.
    rows = np.repeat([[1.0, 3.0]], 12, 1).reshape(1, 24)
    spent = 1.1 * rows[0, :12].sum()
    mine = {
        "total_cost": np.array([60.0]), "survival": np.array([100.0 * 11 / 24]),
        "cost": np.array([spent * 24 / 12]),
    }  # fmt: skip
    bound = {"total_cost": np.array([48.0]), "operating_rows": rows}
    summary._over_bound(mine, bound, np.array([True]))
    assert mine[summary.DISPATCH_GAP][0] == pytest.approx(10.0)
    assert mine[summary.GAP][0] == pytest.approx(25.0)
    bound["total_cost"][:] = np.nan  # Ipopt failed
    summary._over_bound(mine, bound, np.array([True]))
    assert np.isnan(mine[summary.GAP][0])


# Figures.


@pytest.mark.parametrize("n_bus", [*range(3, 40), 64, 128])
def test_buses_of_a_grid_of_any_size_have_places(n_bus):
    rng = np.random.default_rng(n_bus)
    columns = len(dataclasses.fields(grid_lib.Branches))
    branch = grid_lib.Branches(*(np.zeros(n_bus - 1) for _ in range(columns)))
    tree = dataclasses.replace(
        branch, from_bus=np.array([rng.integers(bus) for bus in range(1, n_bus)]),
        to_bus=np.arange(1, n_bus),
    )  # fmt: skip
    grid = dataclasses.replace(case_file.load("case14"), branch=tree)
    bus = type(grid.bus)(*(np.zeros(n_bus) for _ in dataclasses.fields(grid.bus)))
    at = positions.bus_positions(dataclasses.replace(grid, bus=bus))
    assert at.shape == (n_bus, 2) and np.isfinite(at).all() and np.abs(at).max() <= 1.0 + 1e-9
    assert len(np.unique(at.round(6), axis=0)) == n_bus


@pytest.mark.parametrize("ended_at", [None, 3, 0])
def test_every_day_can_be_drawn(env, ended_at):
    arrays = _arrays(env, ended_at)
    records = day_records.DayRecords(arrays, arrays, 1, 0)
    assert records.steps == (env.horizon if ended_at is None else ended_at)
    for draw in (figures.voltage, figures.loading, figures.frequency, figures.generation,
                 figures.balance, figures.storage, figures.cost):  # fmt: skip
        text = draw(records, env)
        assert text.startswith("<svg") and "nan" not in text and "inf" not in text


def test_cells_have_the_colours_of_their_levels():
    levels = np.random.default_rng(0).integers(0, 4, (7, 24))
    colours = ("#000", "#111", "#222", "#333")
    canvas = svg.Canvas(100.0, 50.0, "cells")
    canvas.cells((10.0, 5.0, 48.0, 14.0), levels, colours)
    text = canvas.markup()
    # The lines lie in the middles of rows that are two high.
    assert 'transform="translate(10 6) scale(2 2)"' in text
    assert 'stroke="#000" stroke-width="7" d="M0 3h24"' in text
    drawn = np.zeros(levels.shape, int)
    for colour, path in re.findall(r'stroke="(#\d+)" d="(.*?)"', text):
        for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)", path):
            drawn[int(row), int(column) : int(column) + int(length)] = colours.index(colour)
    np.testing.assert_array_equal(drawn, levels)


def test_the_most_moved_control_has_the_last_colour(env):
    arrays = _arrays(env)
    arrays["action_size"][:] = 0.0
    arrays["action_size"][6, 2] = 0.4
    text = heat.controls(arrays, env)
    assert f'stroke="{colour_scale.COLOURS[-1]}" d="M6 2h1"' in text
    assert "40 % of full control" in text


def test_days_of_which_nothing_is_known_can_be_drawn(env):
    arrays = _arrays(env)
    arrays |= {
        name: np.full_like(arrays[name], np.nan) for name in ("vm_quantiles", "rho_quantiles")
    }
    records = day_records.DayRecords(arrays, arrays, 1, 0)
    for draw in (figures.voltage, figures.loading):
        assert "nan" not in draw(records, env)


def test_grids_without_batteries_or_movable_loads_can_be_drawn(env):
    plain = types.SimpleNamespace(
        grid=env.grid, options=env.options, horizon=env.horizon, dt_h=env.dt_h,
        fleet=types.SimpleNamespace(
            n_storage=0, n_renewable=0, storage=types.SimpleNamespace(energy_mwh=np.zeros(0))
        ),
        layout=types.SimpleNamespace(
            action={"generator": slice(0, 5), "load": slice(5, 5)}, action_size=5,
            action_names=tuple(f"unit power: bus {n}" for n in range(5)),
        ),
    )  # fmt: skip
    arrays = _arrays(plain)
    records = day_records.DayRecords(arrays, arrays, 1, 0)
    assert figures.storage(records, plain) is None
    assert "generators (5)" in heat.controls(arrays, plain)
    assert "loads" not in heat.controls(arrays, plain)
    assert "<svg" in figures.balance(records, plain)
    arrays["action_size"][:] = 0.0
    assert heat.controls(arrays, plain) is None


def test_batches_are_merged_and_the_worst_day_is_the_earliest_end(env, tmp_path):
    folder, task = results.Folder(tmp_path), results.Task("normal", "easy", "learned")
    for first, count, died in ((0, 4, None), (4, 2, 50), (6, 1, 30)):
        batch = {"metrics": {"return": [0.0] * count}}
        arrays = _arrays(env, died, first, episode=first)
        arrays["vm_quantiles"] = np.full((env.horizon, 5), 1.0 + 0.01 * first)
        folder.save(task, first, batch, arrays)
    records = day_records.read(folder, task, [(0, 4), (4, 2), (6, 1), (7, 1)], env.dt_h)
    assert (int(records.worst["episode"]), records.steps, records.unread) == (6, 30, 1)
    # At first four days of 1.0, two of 1.04 and one of 1.06; the ends are those of all.
    np.testing.assert_allclose(records.days["vm_quantiles"][0], [1.0, 1.02, 1.02, 1.02, 1.06])
    np.testing.assert_allclose(records.days["vm_quantiles"][40, 2], (4 * 1.0 + 2 * 1.04) / 6)
    assert records.days["going"][-1] == pytest.approx(4 / 7)


def test_buses_stay_where_they_are(case14, case118):
    for grid in (case14, case118):
        first, second = positions.bus_positions(grid), positions.bus_positions(grid)
        np.testing.assert_array_equal(first, second)
        assert np.abs(first).max() <= 1.0 + 1e-9
        apart = np.linalg.norm(first[:, None] - first[None], axis=-1) + 9 * np.eye(grid.n_bus)
        assert apart.min() > 0.01


def test_a_diagram_tells_trips_from_faults_and_choices(env):
    arrays = _arrays(env)
    why = events.service(arrays, 4)
    assert [why[b] for b in (0, 3, 5, 7)] == [
        events.CLOSED, events.OUTAGE, events.TRIPPED, events.OPENED,
    ]  # fmt: skip
    text = one_line.diagram(env.grid, positions.bus_positions(env.grid), arrays, 4)
    for name in ("trippedmark", "outagemark", "openedmark", "hollow"):
        assert text.count(name) == 1
    before = one_line.diagram(env.grid, positions.bus_positions(env.grid), arrays, 0)
    assert "mark" not in before and "hollow" not in before
    place = lambda drawn: re.search(r'halo" d="([^"]*)"', drawn)[1]
    assert place(text) == place(before)


def test_events_come_in_order_with_the_loading_before(env):
    arrays, grid = _arrays(env, 8), env.grid
    arrays["closed"][5:, [5, 7]], arrays["why"][5:, [5, 7]] = True, switching.CLOSED
    arrays["available"][6:, 3] = True
    arrays["shed_share"][3:5], arrays["shed_share"][5] = 0.1, 0.04
    arrays["gen_on"][7:] = True
    branch, unit = lambda b: f"branch {element_names.branch(grid, b)}", element_names.unit(grid, 1)
    loading = lambda b: f"{100 * arrays['rho'][1, b]:.0f} %"
    trace = events.episode_events(arrays, grid)
    assert [tuple(event) for event in trace] == [
        (1, branch(7), "opened by the controller", 0, ""),
        (2, unit, "taken out of service", 0, f"{arrays['gen_p_mw'][1, 1]:.0f} MW"),
        (2, branch(3), "taken out of service", 0, loading(3)),
        (2, branch(5), "tripped", 1, loading(5)),
        (2, "1 bus", "de-energised", 0, ""),
        (3, "10.0 % of load", "shed by frequency relays", 0, ""),
        (5, branch(5), "reclosed by itself", 0, ""),
        (5, branch(7), "closed by the controller", 0, ""),
        (5, "6.0 % of load", "connected again", 0, ""),
        (6, branch(3), "returned to service", 0, ""),
        (6, "4.0 % of load", "connected again", 0, ""),
        (7, unit, "returned to service", 0, ""),
    ]
    by_hand = events.episode_events(arrays, grid, recloses=False)
    assert by_hand[6] == (5, branch(5), "closed by the controller", 0, "")
    arrays["available"][0, 2] = False
    assert events.episode_events(arrays, grid)[0] == (
        0,
        branch(2),
        "out of service from the start",
        0,
        "",
    )
    assert events.clock(2, env.dt_h) == "00:15"


def test_parts_of_a_grid_are_told_apart_by_name(env, case118):
    grid = env.grid
    assert element_names.unit(grid, 1) == "unit at bus 2"
    assert element_names.unit(grid, 2) == "condenser at bus 3"
    parallel = [element_names.branch(case118, b) for b in range(case118.n_branch)]
    assert len(set(parallel)) == case118.n_branch and "42–49 (2 of 2)" in parallel


def test_lines_are_thinned_without_being_moved():
    x = np.linspace(0, 400, 300)
    y = 50 + 30 * np.sin(x / 40)
    y[150] = 5.0
    kept = svg._kept(x, y)
    assert len(kept) < 120
    assert np.abs(np.interp(x, x[kept], y[kept]) - y).max() <= svg._TOLERANCE + 1e-9


# The console.


def test_all_tables_fit_the_console(evaluated):
    text = _console(tables.summary_tables(evaluated[2])) + _console(tables.notes(evaluated[2]))
    for name in evaluated[2]["controllers"]:
        assert wording.title(name) in text
    for place in wording.scenario_levels(evaluated[2]):
        assert wording.scenario(*place) in text
    assert "All scenarios, hard" in text and "All scenarios, easy" not in text
    assert "AC-OPF's bound: 12 ms for each five minutes" in text


def test_of_a_pair_every_metric_is_in_the_table(env, tmp_path):
    content = _evaluated(tmp_path, env, ("learned",), SCENARIOS[:1])[2]
    text = _console(tables.summary_tables(content))
    for metric in (*metrics.METRICS.values(), summary.METRICS[summary.GAP]):
        assert metric.unit in text
        assert metric.title in text.replace("\n ", " ")
    zero = dict.fromkeys(("mean", "low", "high", "iqm", "iqm_low", "iqm_high"), 0.0)
    for row in content["rows"]:
        row["metrics"]["trips"] = zero
    assert "trips" not in _console(tables.summary_tables(content))


@pytest.mark.parametrize("value", [1e7, -1e7, 1e-4, -1e-4, 1.23456e9, 0.0, 123456.0])
def test_extreme_numbers_fit_the_console(env, tmp_path, value):
    content = _evaluated(tmp_path, env, ("learned",), SCENARIOS[:2])[2]
    for row in content["rows"]:
        for entry in row["metrics"].values():
            entry |= {"mean": value, "low": value - abs(value) / 7, "high": value + abs(value) / 7}
            for name in [name for name in entry if name.startswith("less_")]:
                entry[name] = {**entry[name], "mean": value, "low": -value, "high": 2 * value}
    text = _console(tables.summary_tables(content))
    content["scenarios"] = content["scenarios"][:1]
    text += _console(tables.summary_tables(content))
    assert "…" not in text and "nan" not in text


def test_large_numbers_keep_the_digits_that_count():
    row = lambda mean, half: {"mean": mean, "low": mean - half, "high": mean + half}
    assert wording.brief(row(1_957_762.0, 58_115.0)) == ("1,957,762", "1,900k to 2,016k")
    assert wording.brief(row(-287_913.0, 6_300.0), "+") == ("−287,913", "−294.2k to −281.6k")
    assert wording.brief(row(308.76, 9.8), "+") == ("+308.8", "+299.0 to +318.6")
    assert wording.interval(row(0.001, 0.0009)) == ("0.0010", "0.0001 to 0.0019")
    assert wording.interval(row(3.0, 0.0)) == ("3", "")
    for value, text in ((1e7, "10M"), (1e-4, "1e−4"), (-1234.5, "−1.23k"), (99.96, "100"),
                        (-0.5, "−0.5"), (float("nan"), "–"), (999_999, "1M")):  # fmt: skip
        assert wording.compact(value) == text


def test_verdicts_follow_the_direction_of_each_metric():
    cost, survival = metrics.METRICS["cost"], metrics.METRICS["survival"]
    fell = {"low": -3.0, "high": -1.0}
    assert summary.verdict(cost, fell, 90.0) == "better"
    assert summary.verdict(survival, fell, 90.0) == "worse"
    assert summary.verdict(cost, {"low": -1.0, "high": 2.0}, 90.0) == "same"
    assert summary.verdict(cost, fell, 1e6) == "same"  # that sure, of next to nothing


# Two evaluations side by side.


def test_the_same_days_are_compared_day_by_day(env, tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    _evaluated(folders[0], env, policy={"run": "one", "update": 7})
    _evaluated(folders[1], env, ("learned",), policy={"run": "one", "update": 9}, shift=-0.25)
    comparison = compare.load(*map(str, folders))
    assert comparison["paired"]
    assert ("policy.update", "7", "9") in comparison["differs"]
    assert any(what == "controllers" for what, _, _ in comparison["differs"])
    assert [*comparison["places"][0]["controllers"]] == ["do_nothing", "learned"]
    difference = comparison["places"][0]["controllers"]["learned"]["difference"]["total_cost"]
    assert difference["mean"] == pytest.approx(-0.25)
    assert difference["verdict"] == "better"
    text = compare.write(comparison, tmp_path / "out").read_text()
    assert (tmp_path / "out" / "compare.html").is_file()
    assert "−0.25" in text and "policy.update" in text and "http" not in text
    assert "policy.update: A 7, B 9" in _console(tables.compared(comparison))


def test_an_evaluation_of_the_format_before_is_compared(env, tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        _evaluated(folder, env, ("learned",), SCENARIOS[:1])
    now = compare.load(*folders)
    episodes_csv, manifest = folders[0] / "episodes.csv", folders[0] / "evaluation.json"
    episodes_csv.write_text(episodes_csv.read_text().replace(",day,", ",tape,", 1))
    identity = json.loads(manifest.read_text())
    identity["identity"]["format"] = 3
    manifest.write_text(json.dumps(identity))
    earlier = compare.load(*folders)
    assert earlier["paired"] and earlier["places"] == now["places"]
    assert ("format", "3", str(results.FORMAT)) in earlier["differs"]


def test_other_days_are_not_compared_day_by_day(env, tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        _evaluated(folder, env, ("learned",), SCENARIOS[:1])
    manifest = json.loads((folders[1] / "evaluation.json").read_text())
    manifest["identity"]["seed"] = 5
    (folders[1] / "evaluation.json").write_text(json.dumps(manifest))
    comparison = compare.load(*folders)
    assert not comparison["paired"]
    assert ("seed", "0", "5") in comparison["differs"]
    assert not comparison["places"][0]["controllers"]["learned"]["difference"]
    text = compare.write(comparison, tmp_path).read_text()
    assert "The days differ" in text and "B less A" not in text
    assert "The days differ" in _console(tables.compared(comparison))


def test_what_days_do_not_follow_from_may_differ(env, tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        _evaluated(folder, env, ("learned",), SCENARIOS[:1])

    def load(**changes):
        manifest = json.loads((folders[0] / "evaluation.json").read_text())
        manifest["identity"]["environment"] |= changes
        (folders[1] / "evaluation.json").write_text(json.dumps(manifest))
        comparison = compare.load(*folders)
        return comparison["paired"], comparison["places"][0]["controllers"]["learned"]["difference"]

    paired, difference = load(layout="other", reward="layered")
    assert paired and "secure" in difference and "return" not in difference
    paired, difference = load(confirmed_outages=3)
    assert paired and "return" in difference and "secure" not in difference
    assert load(surplus_price=1.0) == (False, {})
    manifest = json.loads((folders[0] / "evaluation.json").read_text())
    manifest["identity"]["grid"] = "0123456789ab"
    (folders[1] / "evaluation.json").write_text(json.dumps(manifest))
    assert not compare.load(*folders)["paired"]


def test_folders_that_cannot_be_compared_are_named(env, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    _evaluated(good, env, ("learned",), SCENARIOS[:1])
    with pytest.raises(results.FolderError, match="bad: no evaluation here"):
        compare.load(good, bad)
    _evaluated(bad, env, ("learned",), SCENARIOS[1:2])
    with pytest.raises(results.FolderError, match="no controller was evaluated in the same"):
        compare.load(good, bad)
    (bad / "episodes.csv").write_text("scenario,level,controller,day,cost\nnormal,easy,x,0,much\n")
    with pytest.raises(results.FolderError, match=r"bad/episodes.csv: cannot be read"):
        compare.load(good, bad)
    (bad / "summary.json").write_text("{")
    with pytest.raises(results.FolderError, match=r"bad/summary.json: cannot be read"):
        compare.load(good, bad)
    (bad / "summary.json").unlink()
    with pytest.raises(results.FolderError, match=r"bad/summary.json: is not there"):
        compare.load(good, bad)


# Played, not made up.


def test_what_was_played_is_what_is_shown(tmp_path):
    env = grid_env.make(EnvOptions(horizon_steps=24))
    nothing = controllers.do_nothing(env)
    cheap = jnp.zeros(env.layout.action_size).at[0].set(1.0).at[1].set(-1.0)
    act = controllers.per_grid(lambda state, series: cheap)
    saving = dataclasses.replace(nothing, name="saving", act=act)
    days = episodes.held_out(env, "test", 10, seed=0)
    player = episodes.Player(env, record=True)
    plan = runner.Plan(("saving",), (("normal", "easy"),), 10, "test", 0, bound=False)
    folder = results.Folder(tmp_path)
    folder.open({"environment": dataclasses.asdict(env.options), "split": "test", "seed": 0}, {})
    day = {name: [1.0] * 10 for name in l2rpn.Cost._fields}
    played = {c.name: player.play(c, days) for c in (nothing, saving)}
    for name in (runner.NOTHING, runner.UNTRIPPED, "saving"):
        mine = played["saving" if name == "saving" else "do_nothing"]
        measured = metrics.compute(mine.outcomes, env)
        arrays = report_arrays.extract(mine, jax.tree.map(np.asarray, days), env, 0)
        folder.save(
            results.Task("normal", "easy", name), 0,
            {
                "metrics": {n: v.tolist() for n, v in measured.items()}, "l2rpn": day,
                "endings": metrics.endings(mine.outcomes), "seconds": 1.0,
            },
            arrays,
        )  # fmt: skip
    samples, notes = summary.collect(folder, plan, env.grid.n_bus)
    content = {**folder.manifest(), **summary.summarise(samples, notes, plan)}
    cost = wording.row(content, "normal", "easy", "saving")["metrics"]["cost"]
    assert cost["less_do_nothing"]["verdict"] == "better"
    assert re.search(r"operating cost.*better", _console(tables.summary_tables(content)))
    rows = {row[0]: row[2] for row in numbers.matrix(content, "normal", "easy").rows}
    assert rows["operating cost"][1].word == "better"
    text = page.write(folder, content, plan, env).read_text()
    assert "it was played to its end" in text and "00:" in text


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("steps", [[0], [0, 500], [0, 2_048, 4_096], [0, 3_000_000]])
def test_learning_curves_of_any_length_are_drawn(steps, seeds):
    chart = figures.learning(
        [{"step": steps, "return": [1.0] * len(steps), "do_nothing": [0.0] * len(steps)}] * seeds
    )
    assert "steps of the environment" in chart and "nan" not in chart
    assert chart.count("seed-curve") == (seeds if seeds > 1 else 0)
