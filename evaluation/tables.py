"""The summary of an evaluation as tables for the console, 80 columns wide."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import rich.box
import rich.markup
import rich.table

from evaluation import alterations, metrics, runner, summary as summary_lib, wording

_COLOURS = {"better": "green", "worse": "red", "same": "dim"}
_NAME_WIDTH = 13  # of a controller; longer names are cut
_CHANGE_WIDTH = 17  # of one with a change
_HEADINGS = {
    "survival": "surv.\n%", "total_cost": "cost\n$/day", summary_lib.GAP: "over\nOPF %",
    "energy_not_served": "ENS\nMWh", "overload": "overl.\nMVAh", "feasible": "feas.\n%",
    "secure": "N-1\n%", summary_lib.SCORE: "L2RPN\nscore",
}  # fmt: skip
_MEANING = (
    "surv. part of the day survived; cost with every price; over OPF: that cost over AC-OPF's "
    "bound; ENS energy not served; feas. and N-1: feasible and secure steps; p50 of a decision. "
    "Green is better than doing nothing, red worse (95 %, from 10 days on)."
)
_CHANGED = (
    "Paired differences to the same controller without the change; green better, red worse (95 %). "
    "held: part of steps in which something was held back; seen: of these, where the request would "
    "have broken a limit that was foreseen. What an agent's absence (no …) costs is its credit."
)
_SEEDS = " Their sd: the standard deviation of the means of single seeds."


def summary_tables(summary: summary_lib.Summary) -> list[rich.table.Table]:
    """Returns the tables of a summary: every metric of a pair, else one table for each scenario."""
    others = [name for name in summary["controllers"] if name != runner.NOTHING]
    if len(others) == 1 and len(summary["scenarios"]) == 1:
        name, level = summary["scenarios"][0]
        nothing, other = (
            wording.row(summary, name, level, controller)["metrics"]
            for controller in (runner.NOTHING, others[0])
        )
        differences = {
            metric: entry[f"less_{runner.NOTHING}"]
            for metric, entry in other.items()
            if f"less_{runner.NOTHING}" in entry
        }
        titles = (wording.title(runner.NOTHING), wording.title(others[0]), "difference, paired")
        return [_pair(wording.scenario(name, level), titles, nothing, other, differences)]
    places = wording.scenario_levels(summary)
    tables = [_place(summary, *place) for place in places]
    tables[-1].caption = _MEANING + (_SEEDS if summary["seeds"] else "")
    altered = alterations.among(summary["controllers"])
    changed = [_altered(summary, *place, altered) for place in places if altered]
    if changed:
        changed[-1].caption = _CHANGED
    return tables + changed


def notes(summary: summary_lib.Summary) -> list[str]:
    """Returns lines on repeated days, early ends, AC-OPF, and on what another simulator says."""
    return [
        rich.markup.escape(line)
        for line in (*_repeated(summary), *_endings(summary), *_bound(summary), *_replayed(summary))
    ]  # fmt: skip


def compared(comparison: Mapping[str, Any]) -> list[rich.table.Table]:
    """Returns the tables of two evaluations that `report.compare.load` put side by side."""
    pairs = sum(len(place["controllers"]) for place in comparison["places"])
    tables, headings = [], ("A", "B", "B less A, paired" if comparison["paired"] else "")
    for place in comparison["places"]:
        where = wording.scenario(place["scenario"], place["level"])
        if pairs > 1:
            tables.append(_sides(where, place["controllers"], comparison["paired"]))
            continue
        for name, entry in place["controllers"].items():
            title = f"{wording.title(name)}: {where}"
            tables.append(_pair(title, headings, entry["a"], entry["b"], entry["difference"]))
    said = [f"{side}: {path}" for side, path in zip("AB", comparison["folders"])]
    said += [f"{what}: A {a}, B {b}" for what, a, b in comparison["differs"]]
    if not comparison["paired"]:
        said.append("The days differ: each is told by itself, and who is better is not said.")
    elif pairs > 1:
        said.append("B less A on the same days; green is better, red worse (95 %).")
    tables[-1].caption = rich.markup.escape("\n".join(said))
    return tables


def _sides(title: str, pairs: Mapping[str, Mapping], paired: bool) -> rich.table.Table:
    """Returns the main metrics of every controller: B less A, or both where days differ."""
    columns = [m for m in wording.MAIN if any(m in entry["a"] for entry in pairs.values())]
    headings = [*([] if paired else [""]), *(_HEADINGS[metric] for metric in columns)]
    out = _table(title, headings, _NAME_WIDTH)
    for name, entry in pairs.items():
        for side in ("difference",) if paired else ("a", "b"):
            cells = [_coloured(entry[side].get(metric), signed=paired) for metric in columns]
            named = rich.markup.escape(wording.title(name))
            out.add_row(named, *([] if paired else [side.upper()]), *cells)
    return out


def _pair(
    title: str, headings: tuple[str, str, str], left: Mapping, right: Mapping, differences: Mapping
) -> rich.table.Table:
    """Returns every metric of two that both have and that is not zero for both."""
    out = _table(title, [rich.markup.escape(heading) for heading in headings if heading])
    for name, metric in summary_lib.METRICS.items():
        if name not in left or name not in right or _idle(left[name], right[name]):
            continue
        cells = [_cell(left[name]), _cell(right[name])]
        if headings[2]:
            cells.append(_difference(differences.get(name)))
        out.add_row(f"{metric.title}\n[dim]{_unit(name, metric)}[/dim]", *cells)
    return out


def _place(summary: summary_lib.Summary, name: str, level: str) -> rich.table.Table:
    columns = wording.available_metrics(summary, name, level)
    timed = name != summary_lib.ALL
    headings = [*(_HEADINGS[metric] for metric in columns), *(["p50\nms"] if timed else [])]
    out = _table(wording.scenario(name, level), headings, _NAME_WIDTH)
    for controller in summary["controllers"]:
        row = wording.row(summary, name, level, controller)
        cells = []
        for metric in columns:
            entry = row["metrics"].get(metric)
            word = (entry or {}).get(f"less_{runner.NOTHING}", {}).get("verdict")
            cells.append(_coloured(entry and {**entry, "verdict": word}))
        if timed:
            latency = row.get("latency")
            cells.append(wording.compact(latency["p50_ms"]) if latency else "–")
        out.add_row(rich.markup.escape(wording.title(controller)), *cells)
    for place in summary["seeds"]:
        if (place["scenario"], place["level"]) == (name, level):
            said = {"mean": f"mean of {len(place['controllers'])}", "sd": "their sd"}
            for which, title in said.items():
                entries = [place["metrics"].get(metric) for metric in columns]
                values = ["–" if e is None else wording.compact(e[which]) for e in entries]
                out.add_row(title, *values, *([""] if timed else []))
    return out


def _altered(
    summary: summary_lib.Summary, name: str, level: str, altered: Mapping[str, str]
) -> rich.table.Table:
    """Returns what shields and ablations change, with how often they hold back and how fast."""
    headings = ["return", *(_HEADINGS[metric] for metric in alterations.TOLD[1:])]
    title = f"{wording.scenario(name, level)}: with a change, less without"
    out = _table(title, [*headings, "held\n%", "seen\n%", "p50\nms"], _CHANGE_WIDTH)
    for controller, base in altered.items():
        row = wording.row(summary, name, level, controller)
        entries = [row["metrics"].get(m, {}).get(f"less_{base}") for m in alterations.TOLD]
        cells = [_coloured(entry, signed=True) for entry in entries]
        held, latency = row["metrics"].get("held_back"), row.get("latency")
        rest = held and held["mean"], alterations.foreseen_share(row["metrics"])
        cells += ["–" if value is None else wording.compact(value) for value in rest]
        cells.append(wording.compact(latency["p50_ms"]) if latency else "–")
        out.add_row(rich.markup.escape(wording.title(controller)), *cells)
    return out


def _coloured(entry: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """Returns a mean in six characters or so, green where it is better and red where worse."""
    if entry is None:
        return "–"
    text = wording.compact(entry["mean"])
    text = f"+{text}" if signed and entry["mean"] > 0 else text
    word = entry.get("verdict")
    return f"[{_COLOURS[word]}]{text}[/]" if word in ("better", "worse") else text


def _table(title: str, headings: Iterable[str], width: int | None = None) -> rich.table.Table:
    """Returns a table with a column of names, cut where they have a `width`, and of numbers."""
    table = rich.table.Table(
        title=rich.markup.escape(title), title_justify="left", caption_justify="left",
        box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("", no_wrap=width is not None, max_width=width)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _idle(*entries: Mapping[str, float]) -> bool:
    return all(entry[end] == 0 for entry in entries for end in ("mean", "low", "high"))


def _unit(name: str, metric: metrics.Metric) -> str:
    return metric.unit or ("reward" if name == "return" else "")


def _cell(entry: Mapping[str, float], sign: str = "", note: str = "") -> str:
    """Returns a mean, and its interval on the line below."""
    mean, ends = wording.brief(entry, sign)
    return f"{mean}{note}\n[dim]{ends}[/dim]"


def _difference(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    word = entry["verdict"]
    return _cell(entry, "+", f"  [{_COLOURS.get(word, 'dim')}]{wording.VERDICTS[word]}[/]")


def _repeated(summary: summary_lib.Summary) -> Iterator[str]:
    if said := wording.repeated(summary):
        yield said


def _endings(summary: summary_lib.Summary) -> Iterator[str]:
    for controller in summary["controllers"]:
        total, days = {}, 0
        for name, level in summary["scenarios"]:
            row = wording.row(summary, name, level, controller)
            days += summary["episodes"]
            for reason, count in row["endings"].items():
                total[reason] = total.get(reason, 0) + count
        said = wording.ended(total, days)
        if said:
            yield f"{wording.title(controller)}: {said}"


def _bound(summary: summary_lib.Summary) -> Iterator[str]:
    rows = list(summary["bound"].values())
    if rows:
        low, *_, high = sorted([1e3 * row["seconds_per_row"] for row in rows] * 2)
        taken = wording.number(high)
        if wording.number(low) != taken:
            taken = f"{wording.number(low)} to {taken}"
        kept = sum(row["optimal_rows"] for row in rows) / len(rows)
        unsolved = sum(row["unsolved"] for row in rows)
        yield (
            f"AC-OPF's bound: {taken} ms for each {wording.step(summary)} on one core; every limit "
            f"could be kept in {wording.number(kept)} % of them"
            + (f"; {unsolved} days have none, as Ipopt failed" if unsolved else "")
        )


def _replayed(summary: summary_lib.Summary) -> Iterator[str]:
    if summary.get("replay"):
        largest = lambda name: max(each[name] for each in summary["replay"])
        steps = sum(each["steps"] for each in summary["replay"])
        unsolved = sum(each["unsolved"] for each in summary["replay"])
        yield (
            f"pandapower, for {steps:,} steps of {len(summary['replay'])} days, disagrees by at "
            f"most {largest('vm_pu'):.1e} pu, {largest('va_rad'):.1e} rad, "
            f"{wording.number(largest('flow_mva'))} MVA "
            f"({wording.number(100 * largest('flow_share'))} % of a limit) and "
            f"{wording.number(100 * largest('cost_share'))} % of a step's cost"
            + (f"; it has no solution of {unsolved:,} steps" if unsolved else "")
        )
