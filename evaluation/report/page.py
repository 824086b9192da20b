"""Writes `report.html`: one page with everything an evaluation found."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Mapping
from typing import Any

import jinja2

from envs import grid_env
from envs.step import reward_terms
from evaluation import results, runner, standing, summary, wording
from evaluation.report import curve, figures, forest, numbers, palette, positions, sections

_NAME, _NAMED = "report.html", 4  # of the page; controllers that its title has by name
_MORE_FACTS = ("policy", "commit", "platform")  # as the manifest has them


def write(
    folder: results.Folder,
    found: Mapping[str, Any],
    plan: runner.Plan,
    env: grid_env.GridEnv,
    run_path: pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes the page into the folder, and returns where it is.

    Args:
      folder: the evaluation's, with the results of every batch.
      found: its manifest and summary; `knows` by controller and `replay` where there are any.
      plan: what was evaluated.
      env: where.
      run_path: of the run that learned the policy, to show how.
    """
    batches = plan.batches(env.grid.n_bus)
    samples, _ = summary.collect(folder, plan, env.grid.n_bus)
    looks = palette.looks(found["controllers"])
    at = positions.of(env.grid)
    chosen = standing.shown_first(found, samples)
    tasks = lambda place: [results.Task(*place, name) for name in found["controllers"]]
    scenarios = [
        {
            "id": f"{name}-{level}",
            "title": wording.scenario(name, level),
            "sentence": wording.sentence(name, level),
            "matrix": numbers.matrix(found, name, level),
            "parts": [
                (
                    sections.part(found, folder, task, batches, env, at),
                    sections.headline(found, task),
                    sections.reasons(found, task),
                )
                for task in tasks((name, level))
            ],
        }
        for name, level in found["scenarios"]
    ]
    page = template("page.html").render(
        title=f"{env.grid.name}: {_who(found)}",
        facts=_facts(found, env),
        kinds=_kinds(found),
        people=[
            (name, wording.title(name), found.get("knows", {}).get(name, ""), looks[name])
            for name in found["controllers"]
        ],
        looks=looks,
        restoration_hours=reward_terms.RESTORATION_HOURS,
        titles={name: wording.title(name) for name in found["controllers"]},
        chosen=chosen,
        overviews=_overviews(found, samples),
        plots=list(_plots(found, looks)),
        scenarios=scenarios,
        bound=_bound(found),
        replay=_replay(found),
        learned=_learned(run_path),
        found=found,
        step=wording.step(found),
        command=found["about"].get("command", ""),
    )
    path = folder.path / _NAME
    path.write_text(page, encoding="utf-8")
    return path


def template(name: str) -> jinja2.Template:
    """Returns a template of this package; what it is given is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evaluation.report"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(name)


def _who(found: Mapping[str, Any]) -> str:
    names = [wording.title(name) for name in found["controllers"]]
    if len(names) <= _NAMED:
        return wording.listed(names)
    return f"{len(names)} controllers, {len(found['scenarios'])} kinds of days"


def _facts(found: Mapping[str, Any], env: grid_env.GridEnv):
    """Returns what a page is of, as (what, value)."""
    grid, identity, about = env.grid, found["identity"], found["about"]
    facts = [
        ("case", f"{grid.name}: {grid.n_bus} buses, {grid.n_branch} branches, "
                 f"{len(grid.units)} units, {env.fleet.n_renewable} wind and solar plants, "
                 f"{env.fleet.n_storage} batteries"),
        ("layout", f"{env.options.layout}, {env.layout.action_size} controls"),
        ("days", f"{found['episodes']} of each scenario, split {identity['split']}, "
                 f"seed {identity['seed']}, {env.horizon} steps of {wording.step(found)} each"),
    ]  # fmt: skip
    facts += [(name, str(about[name])) for name in _MORE_FACTS if about.get(name)]
    if about.get("versions"):
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        facts.append(("versions", versions))
    if about.get("date"):
        begun = datetime.datetime.fromisoformat(about["date"])
        facts.append(("begun", begun.strftime("%Y-%m-%d %H:%M")))
    if about.get("command"):
        facts.append(("command", about["command"]))
    return facts


def _kinds(found: Mapping[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    """Returns by title of a scenario its levels, as (level, id, sentence)."""
    kinds: dict[str, list[tuple[str, str, str]]] = {}
    for name, level in found["scenarios"]:
        entry = (level, f"{name}-{level}", wording.sentence(name, level))
        kinds.setdefault(wording.scenario(name), []).append(entry)
    return kinds


def _overviews(found: Mapping[str, Any], samples: summary.Samples) -> list[numbers.Table]:
    """Returns a table of each level: of all its scenarios, or of its only one."""
    tables = []
    for level in dict.fromkeys(level for _, level in found["scenarios"]):
        names = [name for name, at in found["scenarios"] if at == level]
        tables.append(
            numbers.overview(found, samples, summary.ALL if len(names) > 1 else names[0], level)
        )
    return tables


def _plots(found: Mapping[str, Any], looks: Mapping[str, palette.Look]):
    """Returns cost and survival by scenario, one pair of each level."""
    bounded = any(summary.GAP in row["metrics"] for row in found["rows"])
    for level in dict.fromkeys(level for _, level in found["scenarios"]):
        places = [(name, at) for name, at in found["scenarios"] if at == level]
        for metric in (summary.GAP if bounded else "total_cost", "survival"):
            drawn = forest.plot(found, places, metric, looks)
            if drawn is not None:
                kind = summary.METRICS[metric]
                yield sections.Figure(
                    f"{kind.title[0].upper()}{kind.title[1:]}, {kind.unit}; {level} days",
                    "mean and its 95 % interval", drawn,
                )  # fmt: skip


def _bound(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Returns of each scenario what AC-OPF says a day costs, its time a row and what it solved."""
    rows = []
    for name, level in found["scenarios"]:
        entry = found["bound"].get(f"{name}-{level}")
        if entry:
            rows.append((
                wording.scenario(name, level),
                "–" if entry["total_cost"] is None else wording.number(entry["total_cost"]),
                wording.number(1e3 * entry["seconds_per_row"]),
                wording.number(entry["optimal_rows"]),
            ))  # fmt: skip
    return rows


def _replay(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**entry, "place": wording.scenario(entry["scenario"], entry["level"])}
        for entry in found.get("replay") or []
    ]


def _learned(run_path: pathlib.Path | None) -> sections.Figure | None:
    points = curve.read(run_path) if run_path else None
    if points is None:
        return None
    return sections.Figure(
        "Return on validation days", "mean over them, at every evaluation while it learned",
        figures.learning(points),
    )  # fmt: skip
