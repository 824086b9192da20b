"""Writes `report.html`: one page with the whole of an evaluation."""

import datetime
import pathlib
from collections.abc import Mapping, Sequence

import jinja2

from envs import grid_env
from envs.step import termination
from evaluation import ranking, results, runner, summary as summary_lib, wording
from evaluation.report import curve, figure, figures, forest, numbers, palette, positions, sections

_NAME, _NAMED = "report.html", 4  # of the page; controllers that its title has by name
_MORE_FACTS = ("policy", "commit", "platform")  # as the manifest has them


def write(
    folder: results.Folder,
    summary: summary_lib.Summary,
    plan: runner.Plan,
    env: grid_env.GridEnv,
    run_paths: Sequence[pathlib.Path] = (),
) -> pathlib.Path:
    """Writes the page into the folder of an evaluation, and returns where it is.

    `summary` is its manifest and summary in one, with `knows` by controller and any `replay`;
    `run_paths` those of the runs that learned the policies, to show how.
    """
    batches = plan.batches(env.grid.n_bus)
    samples, _ = summary_lib.collect(folder, plan, env.grid.n_bus)
    looks = palette.looks(summary["controllers"])
    at = positions.bus_positions(env.grid)
    chosen = ranking.opened_first(summary, samples)
    part = lambda *task: sections.part(summary, folder, results.Task(*task), batches, env, at)
    scenarios = [
        {
            "id": f"{name}-{level}",
            "title": wording.scenario(name, level),
            "sentence": wording.sentence(name, level),
            "matrix": numbers.matrix(summary, name, level),
            "parts": [part(name, level, controller) for controller in summary["controllers"]],
        }
        for name, level in summary["scenarios"]
    ]
    page = template("page.html").render(
        title=f"{env.grid.name}: {_who(summary)}",
        facts=_facts(summary, env),
        kinds=_kinds(summary),
        people=[
            (name, wording.title(name), summary.get("knows", {}).get(name, ""), looks[name])
            for name in summary["controllers"]
        ],
        looks=looks,
        restoration_hours=termination.RESTORATION_HOURS,
        chosen=chosen,
        overviews=_overviews(summary, samples),
        plots=list(_plots(summary, looks)),
        altered=_altered(summary),
        scenarios=scenarios,
        bound=_bound(summary),
        replay=_replay(summary),
        seeds=[numbers.between_seeds(place) for place in summary["seeds"]],
        learned=_learned(run_paths),
        summary=summary,
        recorded=summary.get("recorded_days") is not None,
        repeated=wording.repeated(summary),
        step=wording.step(summary),
        command=summary["about"].get("command", ""),
    )
    path = folder.path / _NAME
    path.write_text(page, encoding="utf-8")
    return path


def template(name: str) -> jinja2.Template:
    """Returns a template of this package; values put into it are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("evaluation.report"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template(name)


def _who(summary: summary_lib.Summary) -> str:
    names = [wording.title(name) for name in summary["controllers"]]
    if len(names) <= _NAMED:
        return wording.listed(names)
    return f"{len(names)} controllers, {len(summary['scenarios'])} kinds of days"


def _facts(summary: summary_lib.Summary, env: grid_env.GridEnv):
    """Returns what a page is of, as (what, value)."""
    grid, identity, about = env.grid, summary["identity"], summary["about"]
    facts = [
        ("case", f"{grid.name}: {grid.n_bus} buses, {grid.n_branch} branches, "
                 f"{len(grid.units)} units, {env.fleet.n_renewable} wind and solar plants, "
                 f"{env.fleet.n_storage} batteries"),
        ("layout", f"{env.options.layout}, {env.layout.action_size} controls"),
        ("days", f"{summary['episodes']} of each scenario, split {identity['split']}, "
                 f"seed {identity['seed']}, {env.horizon} steps of {wording.step(summary)} each"),
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


def _kinds(summary: summary_lib.Summary) -> dict[str, list[tuple[str, str, str]]]:
    """Returns by title of a scenario its levels, as (level, id, sentence)."""
    kinds: dict[str, list[tuple[str, str, str]]] = {}
    for name, level in summary["scenarios"]:
        entry = (level, f"{name}-{level}", wording.sentence(name, level))
        kinds.setdefault(wording.scenario(name), []).append(entry)
    return kinds


def _overviews(summary: summary_lib.Summary, samples: summary_lib.Samples) -> list[numbers.Table]:
    """Returns a table of each level: of all its scenarios, or of its only one."""
    tables = []
    for level in dict.fromkeys(level for _, level in summary["scenarios"]):
        names = [name for name, at in summary["scenarios"] if at == level]
        whole = summary_lib.ALL if len(names) > 1 else names[0]
        tables.append(numbers.overview(summary, samples, whole, level))
    return tables


def _altered(summary: summary_lib.Summary) -> list[numbers.Table]:
    """Returns what shields and ablations change in each scenario, and in all of a level."""
    places = wording.scenario_levels(summary)
    tables = [numbers.altered(summary, *place) for place in places]
    return [table for table in tables if table is not None]


def _plots(summary: summary_lib.Summary, looks: Mapping[str, palette.Look]):
    """Returns cost and survival by scenario, one pair of each level."""
    bounded = any(summary_lib.GAP in row["metrics"] for row in summary["rows"])
    for level in dict.fromkeys(level for _, level in summary["scenarios"]):
        places = [(name, at) for name, at in summary["scenarios"] if at == level]
        for metric in (summary_lib.GAP if bounded else "total_cost", "survival"):
            drawn = forest.plot(summary, places, metric, looks)
            if drawn is not None:
                kind = summary_lib.METRICS[metric]
                yield figure.Figure(
                    f"{kind.title[0].upper()}{kind.title[1:]}, {kind.unit}; {level} days",
                    "mean and its 95 % interval", drawn,
                )  # fmt: skip


def _bound(summary: summary_lib.Summary) -> list[tuple[str, str, str, str]]:
    """Returns of each scenario what AC-OPF says a day costs, its time a row and what it solved."""
    rows = []
    for name, level in summary["scenarios"]:
        entry = summary["bound"].get(f"{name}-{level}")
        if entry:
            rows.append((
                wording.scenario(name, level),
                "–" if entry["total_cost"] is None else wording.number(entry["total_cost"]),
                wording.number(1e3 * entry["seconds_per_row"]),
                wording.number(entry["optimal_rows"]),
            ))  # fmt: skip
    return rows


def _replay(summary: summary_lib.Summary) -> list[tuple[str, ...]]:
    """Returns of each replayed day whose it is, and how far the other simulator disagrees."""
    return [
        (
            wording.scenario(entry["scenario"], entry["level"]), wording.title(entry["controller"]),
            str(entry["episode"] + 1), str(entry["steps"]),
            f"{entry['vm_pu']:.1e}", f"{entry['va_rad']:.1e}",
            f"{entry['flow_mva']:.3f}", f"{100 * entry['flow_share']:.3f}",
            f"{entry['cost_usd']:.2f}", f"{100 * entry['cost_share']:.4f}", str(entry["unsolved"]),
        )
        for entry in summary.get("replay") or []
    ]  # fmt: skip


def _learned(run_paths: Sequence[pathlib.Path]) -> figure.Figure | None:
    curves = [points for points in map(curve.read, run_paths) if points is not None]
    if not curves:
        return None
    note = "mean over them, at every evaluation while it learned"
    note += f"; each of {len(curves)} seeds" if len(curves) > 1 else ""
    return figure.Figure("Return on validation days", note, figures.learning(curves))
