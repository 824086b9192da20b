"""The tables that a person reads, made from the JSON that a program reads."""

from __future__ import annotations

import rich.box
import rich.console
import rich.table


def powerflow(result: dict) -> rich.console.Group:
    """Returns one table a case, and the ratios."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['name']}: {case['n_bus']} buses, {case['n_branch']} branches; AC power flow to "
            f"{result['settings']['tolerance_pu']:g} pu",
            ("who", "how", "batch", "solves/s", "range", "iterations", "mismatch pu",
             "solved"),
        )  # fmt: skip
        for row in case["ours"]:
            if "skipped" in row:
                table.add_row("ours", row["method"], f"{row['batch']:,}", row["skipped"])
                continue
            table.add_row(
                "ours", row["method"], *_rate(row), f"{row['iterations']:.2f}",
                f"{row['max_mismatch_pu']:.1e}", _share(row["within_tolerance_share"]),
            )  # fmt: skip
        notes = []
        for peer, report in case["peers"].items():
            if "error" in report:
                table.add_row(peer, "", "", report["error"])
                continue
            settings = [str(v) for v in report["settings"].values() if v is not None]
            notes.append(f"{peer}: {', '.join(settings)}")
            for index, row in enumerate(report["results"]):
                last = index == len(report["results"]) - 1  # The one whose voltages were judged.
                judged = report["judged"]
                table.add_row(
                    peer, report["settings"].get("algorithm", ""), *_rate(row),
                    _number(row.get("iterations"), ".2f"),
                    f"{judged['max_mismatch_pu']:.1e}" if last else "",
                    _share(judged["within_tolerance_share"]) if last else "",
                )  # fmt: skip
        parts += [table, *notes, _ratios(case["best"], "solves/s"), ""]
    return rich.console.Group(*parts)


def environment(result: dict) -> rich.console.Group:
    """Returns one table a case, and the ratios."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['name']}: {case['n_bus']} buses; whole environment steps",
            ("who", "policy", "batch", "steps/s", "range", "with resets", "ended early"),
        )
        for row in case["ours"]:
            ended = f"{row['ended_early']:,} of {row['episodes_ended']:,}"
            rates = _rate({**row, "solves_per_s": row["steps_per_s"]}, row["steps_per_s"])
            table.add_row(
                "ours", row["policy"], *rates, f"{row['steps_per_s_with_resets']:,.0f}", ended
            )
        for peer, report in case["peers"].items():
            if "error" in report:
                table.add_row(peer, "", "", report["error"])
                continue
            rate = report["steps_per_s"]
            table.add_row(
                f"Grid2Op {report['settings']['env']}" if peer != "LightEnv" else "lightsim2grid",
                f"do_nothing, {peer}", "1", f"{rate['median']:,.0f}",
                f"{rate['min']:,.0f}–{rate['max']:,.0f}",
                f"{report['steps_per_s_with_resets']['median']:,.0f}",
                f"of {report['episodes_ended']:,}",
            )  # fmt: skip
        parts += [table, _ratios(case["best"], "steps/s, doing nothing"), ""]
    return rich.console.Group(*parts)


def _table(title: str, columns: tuple[str, ...]) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < 2 else "right", no_wrap=index != 3)
    return table


def _rate(row: dict, per_s: float | None = None) -> tuple[str, str, str]:
    """Returns the batch, the median rate and the range of rates."""
    seconds, median = row["seconds"], per_s or row["solves_per_s"]
    low, high = (median * seconds["median"] / seconds[end] for end in ("max", "min"))
    return f"{row['batch']:,}", f"{median:,.0f}", f"{low:,.0f}–{high:,.0f}"


def _share(share: float) -> str:
    return "all" if share == 1.0 else f"{share:.1%}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _ratios(best: dict, unit: str) -> str:
    if best["ours"] is None:
        return "ours solved no batch to the tolerance, so there is no ratio"
    told = [f"fastest of ours: {best['ours']:,.0f} {unit}"]
    for name, ratio in best.items():
        if name.startswith("ours_over_") and ratio:
            told.append(f"{ratio:.3g} × {name.removeprefix('ours_over_')}")
    return ", ".join(told)
