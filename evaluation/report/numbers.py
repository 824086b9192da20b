"""The tables of a page, as rows of text."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from evaluation import alterations, ranking, runner, summary as summary_lib, wording

_MARKS = {"better": "▲", "worse": "▼", "same": "=", "unequal": "◦"}


class Cell(NamedTuple):
    """A number in a table."""

    text: str
    range: str = ""  # its interval
    iqm: str = ""  # the interquartile mean
    word: str = ""  # see `summary.differences`
    best: bool = False

    @property
    def mark(self) -> str:
        """The word as a sign."""
        return _MARKS.get(self.word, "")


class Table(NamedTuple):
    """Rows of cells, with what stands above and beside them."""

    title: str
    columns: list[tuple[str, str]]  # heading and unit
    rows: list[tuple[str, str, list[Cell]]]  # heading, unit or controller, and cells
    note: str = ""


_NONE = Cell("–")


def overview(
    summary: summary_lib.Summary, samples: summary_lib.Samples, name: str, level: str
) -> Table:  # fmt: skip
    """Returns the main metrics of every controller in a scenario, or in all of a level."""
    metrics = wording.available_metrics(summary, name, level)
    leading = {m: ranking.best(summary, samples, name, level, m) for m in metrics}
    columns = [_heading(metric) for metric in metrics] + [("p50 of a decision", "ms")]
    rows = []
    for controller in summary["controllers"]:
        row = wording.row(summary, name, level, controller)
        cells = []
        for metric in metrics:
            entry = row["metrics"].get(metric)
            cells.append(_cell(entry, best=leading[metric] == controller) if entry else _NONE)
        cells.append(_decision(summary, controller))
        rows.append((wording.title(controller), controller, cells))
    return Table(wording.scenario(name, level), columns, rows)


def matrix(summary: summary_lib.Summary, name: str, level: str) -> Table:
    """Returns every metric of every controller in a scenario, with how it fares to doing nothing.

    What is zero for everybody is in the note.
    """
    by_name = {c: wording.row(summary, name, level, c) for c in summary["controllers"]}
    columns = [(wording.title(controller), controller) for controller in by_name]
    rows, idle = [], []
    for metric in summary_lib.METRICS:
        entries = {c: row["metrics"].get(metric) for c, row in by_name.items()}
        if not any(entries.values()):
            continue
        if all(e is not None and e["low"] == e["high"] == 0 for e in entries.values()):
            idle.append(summary_lib.METRICS[metric].title)
            continue
        title, unit = _heading(metric)
        rows.append((title, unit, [_against(entries[c]) for c in by_name]))
    for which in ("p50", "p99"):
        latency = [(row.get("latency") or {}).get(f"{which}_ms") for row in by_name.values()]
        cells = [_NONE if ms is None else Cell(wording.number(ms)) for ms in latency]
        rows.append((f"decision, {which}", "ms", cells))
    ended = [sum(row.get("endings", {}).values()) for row in by_name.values()]
    if any(ended):
        share = f"of {summary['episodes']}"
        rows.append(("days ended early", share, [Cell(str(count)) for count in ended]))
    note = f"Zero for everybody: {wording.listed(idle)}." if idle else ""
    return Table(wording.scenario(name, level), columns, rows, note)


def altered(summary: summary_lib.Summary, name: str, level: str) -> Table | None:
    """Returns what shields and ablations change: differences to the same controller without.

    None where there are none.
    """
    columns = [(_heading(metric)[0], f"{_heading(metric)[1]}") for metric in alterations.TOLD]
    columns += [("held back", "% of steps"), ("limit foreseen", "% of these"), ("p50", "ms")]
    rows = []
    for controller, base in alterations.among(summary["controllers"]).items():
        row = wording.row(summary, name, level, controller)
        metrics = row["metrics"]
        known = lambda metric, m=metrics, b=base: m.get(metric, {}).get(f"less_{b}")
        cells = [cell(known(metric), "+") for metric in alterations.TOLD]
        cells.append(cell(metrics.get("held_back")))
        share = alterations.foreseen_share(metrics)
        cells.append(_NONE if share is None else Cell(wording.number(share)))
        cells.append(_decision(summary, controller))
        rows.append((f"{wording.title(controller)}, less {wording.title(base)}", "", cells))
    return Table(wording.scenario(name, level), columns, rows) if rows else None


def everything(summary: summary_lib.Summary, name: str, level: str, controller: str) -> Table:
    """Returns every metric of a controller in a scenario: mean, IQM, differences."""
    row = wording.row(summary, name, level, controller)
    others = [name for name in summary["controllers"] if name != controller]
    references = [name for name in summary_lib.compared_with(controller) if name in others]
    columns = [("mean", ""), ("interquartile mean", "")]
    columns += [(f"less {wording.title(other)}", "paired") for other in references]
    rows = []
    for metric, entry in row["metrics"].items():
        title, unit = _heading(metric)
        cells = [Cell(*wording.brief(entry)), Cell(*wording.brief(entry, which="iqm"))]
        cells += [cell(entry.get(f"less_{other}"), "+") for other in references]
        if not all(each.text == "0" and not each.range for each in cells):
            rows.append((title, unit, cells))
    return Table(wording.title(controller), columns, rows)


def between_seeds(place: Mapping[str, Any]) -> Table:
    """Returns of an entry of `summary["seeds"]` the mean over seeds and how far they differ."""
    rows = []
    for metric, entry in place["metrics"].items():
        size = max(abs(entry["lowest"]), abs(entry["highest"]))
        if size:
            said = [wording.number(entry[name], size) for name in ("sd", "lowest", "highest")]
            rows.append((*_heading(metric), [Cell(*wording.brief(entry)), *map(Cell, said)]))
    columns = [("mean", ""), ("standard deviation", ""), ("lowest", ""), ("highest", "")]
    title = wording.scenario(place["scenario"], place["level"])
    return Table(f"{title}: {len(place['controllers'])} seeds", columns, rows)


def cell(entry: Mapping[str, Any] | None, sign: str = "") -> Cell:
    """Returns a mean with its interval and verdict, or a dash where there is none."""
    if entry is None:
        return _NONE
    return Cell(*wording.brief(entry, sign), word=entry.get("verdict", ""))


def _heading(metric: str) -> tuple[str, str]:
    kind = summary_lib.METRICS[metric]
    return kind.title, kind.unit


def _cell(entry: Mapping[str, float], *, best: bool = False) -> Cell:
    mean, ends = wording.brief(entry)
    middle, _ = wording.brief(entry, which="iqm")
    return Cell(mean, ends, middle if ends else "", best=best)


def _against(entry: Mapping[str, Any] | None) -> Cell:
    if entry is None:
        return _NONE
    word = entry.get(f"less_{runner.NOTHING}", {}).get("verdict", "")
    return Cell(*wording.brief(entry), word=word)


def _decision(summary: summary_lib.Summary, controller: str) -> Cell:
    """Returns the median over scenarios of the median time of a decision."""
    taken = [
        row["latency"]["p50_ms"] for row in summary["rows"]
        if row["controller"] == controller and row.get("latency")
    ]  # fmt: skip
    return Cell(wording.number(float(np.median(taken)))) if taken else _NONE
