"""Puts two evaluations side by side, day by day where their days are the same."""

import csv
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import numpy as np

from envs.inputs import bounds, json_file
from evaluation import intervals, results, summary as summary_lib, wording
from evaluation.report import numbers, page

_NAME = "compare.html"
# Of an identity: what its days follow from, all options of the environment but these.
_DAYS = ("environment", "grid", "fleet", "time_series", "split", "seed")
_NOT_DAYS = ("layout", "reward", "screen_outages", "confirmed_outages")
# Metrics that other options measure otherwise, so that they are not compared.
_MEASURED_BY = {"return": ("reward",), "secure": ("screen_outages", "confirmed_outages")}
_EARLIER_COLUMNS = {"tape": "day"}  # of episodes.csv, up to format 3


class _Summary(TypedDict):
    episodes: int
    scenarios: list[list[str]]
    controllers: list[str]


Rows = dict[results.Task, dict[int, dict[str, float]]]  # by day, by metric


def load(a: str | os.PathLike, b: str | os.PathLike) -> dict[str, Any]:
    """Returns two evaluations, folders that `python -m launch.evaluate` wrote, side by side.

    `paired` says whether their days are the same; then differences are B less A on the days that
    both have. `places` has, by scenario and controller that both have, `a`, `b` and `difference`
    of every metric, the last empty where days differ. `differs` has (what, in A, in B).

    Raises:
      FolderError: one of them is none, or a file of it cannot be read; or they have nothing in
        common.
    """
    paths = pathlib.Path(a), pathlib.Path(b)
    manifests = [results.Folder(path).manifest() for path in paths]
    summaries = [_summary(path) for path in paths]
    rows = [_episodes(path) for path in paths]
    identities = [manifest["identity"] for manifest in manifests]
    paired = _days(identities[0]) == _days(identities[1])
    unlike = _unlike(identities) if paired else []
    names = [name for name in summary_lib.METRICS if name not in unlike]
    tasks = [task for task in rows[0] if task in rows[1]]
    if not tasks:
        raise results.FolderError(
            f"{a} and {b}: no controller was evaluated in the same scenario in both; evaluate one "
            "again with the --controllers and --scenarios of the other"
        )
    places: dict[tuple[str, str], dict[str, Any]] = {}
    for task in tasks:
        entry = _pair(*(side[task] for side in rows), names, paired, identities[0].get("seed", 0))
        place = places.setdefault(
            (task.scenario, task.level),
            {"scenario": task.scenario, "level": task.level, "controllers": {}},
        )
        place["controllers"][task.controller] = entry
    return {
        "folders": [str(path) for path in paths],
        "paired": paired,
        "differs": [*_differs(manifests), *_missing(summaries)],
        "places": list(places.values()),
    }


def write(comparison: Mapping[str, Any], out: pathlib.Path) -> pathlib.Path:
    """Writes `compare.html` of what `load` returned into a folder, and returns where it is."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / _NAME
    path.write_text(
        page.template("compare.html").render(
            title="Two evaluations side by side",
            comparison=comparison,
            main=[_overview(place, comparison["paired"]) for place in comparison["places"]],
            places=[
                (wording.scenario(place["scenario"], place["level"]), [
                    _everything(name, entry, comparison["paired"])
                    for name, entry in place["controllers"].items()
                ])
                for place in comparison["places"]
            ],
        ),
        encoding="utf-8",
    )  # fmt: skip
    return path


def _days(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the days of an evaluation follow from."""
    origin = {name: identity.get(name) for name in _DAYS}
    options = origin["environment"] or {}
    kept = {name: value for name, value in options.items() if name not in _NOT_DAYS}
    return {**origin, "environment": kept}


def _unlike(identities) -> list[str]:
    """Returns the metrics that two evaluations of the same days measure differently."""
    a, b = (identity.get("environment") or {} for identity in identities)
    return [
        metric for metric, options in _MEASURED_BY.items()
        if any(a.get(name) != b.get(name) for name in options)
    ]  # fmt: skip


def _summary(path: pathlib.Path) -> dict[str, Any]:
    def parse(path: pathlib.Path) -> dict[str, Any]:
        summary = json_file.contents(path)
        bounds.accept("", summary, _Summary)
        return summary

    return _read(path / "summary.json", parse)


def _episodes(path: pathlib.Path) -> Rows:
    def parse(path: pathlib.Path) -> Rows:
        rows: Rows = {}
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            row = {_EARLIER_COLUMNS.get(name, name): value for name, value in row.items()}
            task = results.Task(row.pop("scenario"), row.pop("level"), row.pop("controller"))
            day = int(row.pop("day"))
            values = {name: float(row[name]) for name in summary_lib.METRICS if row.get(name)}
            rows.setdefault(task, {})[day] = values
        if not rows:
            raise ValueError("no episode in it")
        return _with_seeds_together(rows)

    return _read(path / "episodes.csv", parse)


def _with_seeds_together(rows: Rows) -> Rows:
    """Returns the rows with the mean over seeds, day by day, as `learned` in place of each seed."""
    together, seeds = {}, {}
    for task, days in rows.items():
        if summary_lib.is_learned(task.controller):
            seeds.setdefault(task._replace(controller="learned"), []).append(days)
        else:
            together[task] = days
    for task, runs in seeds.items():
        together[task] = {
            day: {
                name: float(np.mean([run[day][name] for run in runs]))
                for name in values
                if all(name in run.get(day, {}) for run in runs)
            }
            for day, values in runs[0].items()
        }
    return together


def _read(path: pathlib.Path, parse):
    try:
        return parse(path)
    except FileNotFoundError:
        raise results.FolderError(
            f"{path}: is not there; the same command that made the folder writes it when it is done"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, csv.Error) as error:
        raise results.FolderError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); the same command that made "
            "the folder writes it again"
        ) from error


def _pair(a: Mapping[int, Mapping], b: Mapping[int, Mapping], names, paired: bool, seed: int):
    """Returns each metric of `names` of both, and B less A where the days are the same."""
    days = sorted({*a} & {*b}) if paired else []
    entry: dict[str, Any] = {"a": {}, "b": {}, "difference": {}, "days": len(days)}
    strata: tuple[dict, dict] = {}, {}
    for name in names:
        mine = [_column(side, days or sorted(side), name) for side in (a, b)]
        if any(values is None for values in mine):
            continue
        for letter, side, values in zip("ab", strata, mine):
            side[name] = [values]
            entry[letter][name] = intervals.describe([values], seed)
    if days:
        entry["difference"] = summary_lib.differences(strata[1], strata[0], seed)
    return entry


def _column(rows: Mapping[int, Mapping[str, float]], days, name: str) -> np.ndarray | None:
    values = [rows[day].get(name) for day in days]
    return np.array(values, float) if values and None not in values else None


def _differs(manifests) -> Iterator[tuple[str, str, str]]:
    """Returns what differs between two manifests, entry by entry."""
    flat = [_flat(manifest) for manifest in manifests]
    for name in dict.fromkeys([*flat[0], *flat[1]]):
        a, b = (side.get(name, "–") for side in flat)
        if a != b:
            yield name, str(a), str(b)


def _missing(summaries) -> Iterator[tuple[str, str, str]]:
    """Returns how many days, which scenarios and which controllers only one of two has."""
    for name in ("episodes", "scenarios", "controllers"):
        a, b = (side.get(name) for side in summaries)
        if a != b:
            said = [
                ", ".join(" ".join(x) if isinstance(x, list) else str(x) for x in side)
                if isinstance(side, list) else str(side)
                for side in (a, b)
            ]  # fmt: skip
            yield name, *said


def _flat(entry: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        return {name: entry}
    flat = {}
    for key, value in entry.items():
        # The first two levels of a manifest are headings.
        inner = key if name in ("", "identity", "about", "environment") else f"{name}.{key}"
        flat |= _flat(value, inner)
    return flat


def _overview(place: Mapping[str, Any], paired: bool) -> numbers.Table:
    """Returns the main metrics of every controller: B less A, or both where days differ."""
    metrics = [
        metric for metric in wording.MAIN
        if any(metric in entry["a"] for entry in place["controllers"].values())
    ]  # fmt: skip
    columns = [(summary_lib.METRICS[m].title, summary_lib.METRICS[m].unit) for m in metrics]
    rows = []
    for name, entry in place["controllers"].items():
        sides = (("B less A", "difference"),) if paired else (("A", "a"), ("B", "b"))
        sign = "+" if paired else ""
        for said, side in sides:
            cells = [numbers.cell(entry[side].get(metric), sign) for metric in metrics]
            rows.append((f"{wording.title(name)}, {said}", "", cells))
    return numbers.Table(wording.scenario(place["scenario"], place["level"]), columns, rows)


def _everything(name: str, entry: Mapping[str, Any], paired: bool) -> numbers.Table:
    """Returns every metric of a controller in A, in B, and B less A where it is known."""
    columns = [("A", ""), ("B", "")] + ([("B less A", "paired")] if paired else [])
    rows = []
    for metric in entry["a"]:
        cells = [numbers.cell(entry[side][metric]) for side in "ab"]
        if paired:
            cells.append(numbers.cell(entry["difference"][metric], "+"))
        if any(cell.text != "0" or cell.range for cell in cells):
            kind = summary_lib.METRICS[metric]
            rows.append((kind.title, kind.unit, cells))
    note = f"{entry['days']} days that both have" if paired else ""
    return numbers.Table(wording.title(name), columns, rows, note)
