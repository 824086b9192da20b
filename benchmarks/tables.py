"""The tables that a person reads, made from the JSON that a program reads."""

import rich.box
import rich.console
import rich.table

from benchmarks import acopf as acopf_lib


def powerflow(result: dict) -> rich.console.Group:
    """Returns a table for each case, with notes below it."""
    tolerance_pu = result["settings"]["tolerance_pu"]
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['name']}: {case['n_bus']} buses, {case['n_branch']} branches; AC power flow to "
            f"{tolerance_pu:g} pu",
            ("who", "how", "batch", "solves/s", "range", "iterations", "mismatch pu", "solved"),
        )
        notes = []
        for row in case["ours"]:
            if "skipped" in row:
                table.add_row("ours", row["method"], f"{row['batch']:,}", "skipped")
                notes.append(f"ours, {row['method']}, batch {row['batch']:,}: {row['skipped']}")
            else:
                table.add_row("ours", row["method"], *_solves(row, row))
        for peer, report in case["peers"].items():
            notes.append(_note(peer, report))
            for row in report.get("results", []):
                # The voltages of the largest batch, the last, are the ones that were checked.
                check = report["reference_check"] if row is report["results"][-1] else {}
                how = report["settings"].get("algorithm", "")
                table.add_row(peer, how, *_solves(row, check))
        parts += [table, *notes, _ratios(case["best"], "solves/s"), ""]
    return rich.console.Group(*parts)


def _solves(row: dict, check: dict) -> list[str]:
    """Returns the cells of solved power flows, and of what their `check` said, if there is one."""
    checked = ["", ""]
    if check:
        checked = [f"{check['max_mismatch_pu']:.1e}", _share(check["within_tolerance_share"])]
    iterations = f"{row['iterations']:.2f}" if "iterations" in row else ""
    return [*_rate(row, row["solves_per_s"]), iterations, *checked]


def environment(result: dict) -> rich.console.Group:
    """Returns a table for each case, with notes below it."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['name']}: {case['n_bus']} buses; whole environment steps",
            ("who", "policy", "batch", "steps/s", "range", "with resets", "episodes"),
        )
        notes = []
        for row in case["ours"]:
            table.add_row(
                "ours", row["policy"], *_rate(row, row["steps_per_s"]),
                f"{row['steps_per_s_with_resets']:,.0f}", f"{row['episodes_ended']:,}",
            )  # fmt: skip
        for peer, report in case["peers"].items():
            notes.append(_note(peer, report))
            if "error" in report:
                continue
            rate = report["steps_per_s"]
            table.add_row(
                peer, "do_nothing", "1", f"{rate['median']:,.0f}",
                f"{rate['min']:,.0f}–{rate['max']:,.0f}",
                f"{report['steps_per_s_with_resets']['median']:,.0f}",
                f"{report['episodes_ended']:,}",
            )  # fmt: skip
        parts += [table, *notes, _ratios(case["best"], "steps/s, doing nothing"), ""]
    return rich.console.Group(*parts)


def contingency(result: dict) -> rich.console.Group:
    """Returns a table for each case, with notes below it."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['name']}: {case['n_bus']} buses, {case['n_outage']} outages that cut nothing "
            "off",
            ("who", "what", "batch", "outages/s", "range", "µs per grid", "solved"),
        )
        notes = []
        for row in case["ours"]:
            table.add_row(
                "ours", row["what"], *_rate(row, row["outages_per_s"]),
                f"{row['microseconds_per_grid']:,.3g}", _share(row["converged_share"]),
            )  # fmt: skip
        for peer, report in case["peers"].items():
            notes.append(_note(peer, report))
            for row in report.get("results", []):
                table.add_row(
                    peer, row["what"], *_rate({"batch": 1, **row}, row["outages_per_s"]),
                    f"{1e6 * row['seconds']['median']:,.3g}", _share(row["converged_share"]),
                )  # fmt: skip
            agreement = report.get("agreement", {})
            if agreement.get("compared"):
                if agreement["same_verdict_share"] < 1.0:
                    share = _share(agreement["same_verdict_share"])
                    notes.append(f"which outages have a solution: the same for {share} of them")
                confirmed, median, largest = (
                    f"{agreement[f'{name}_error']:.1e}"
                    for name in ("confirmed_largest", "screened_median", "screened_largest")
                )
                notes.append(
                    f"our loadings are off its AC ones by {confirmed} at most where confirmed, and "
                    f"where screened by {median} in the median and {largest} at most"
                )
        ratios = [f"{what}: {_ratios(best, 'outages/s')}" for what, best in case["best"].items()]
        parts += [table, *notes, *ratios, ""]
    return rich.console.Group(*parts)


def acopf(result: dict) -> rich.console.Group:
    """Returns the table of all cases, with what stands out below it."""
    table = _table(
        "AC optimal power flow beside PGLib's objectives",
        ("case", "variant", "buses", "ours $/h", "PGLib $/h", "difference %", "iterations", "s",
         "status"),
    )  # fmt: skip
    for row in result["cases"]:
        table.add_row(*acopf_lib.cells(row))
    notes = [f"{row['case']}: {row['why']}" for row in result["cases"] if "why" in row]
    return rich.console.Group(table, *notes)


def training(result: dict) -> rich.console.Group:
    """Returns a table for each experiment."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"training for {result['settings']['steps']:,} steps",
            (
                "experiment",
                "how",
                "steps/s",
                "updates/s",
                "first log s",
                "lag",
                "best return",
                "target s",
            ),
        )
        for way, row in case["ways"].items():
            best = max((value for _, value in row["returns"]), default=None)
            number = lambda value, form: "" if value is None else format(value, form)
            table.add_row(
                case["case"], way, f"{row['steps_per_s']:,.0f}", f"{row['updates_per_s']:.2f}",
                number(row["first_log_s"], ".0f"), number(row.get("lag_mean"), ".1f"),
                number(best, ".2f"), number(row["seconds_to_target"], ".0f"),
            )  # fmt: skip
        parts += [table, f"service over fused: {case['service_over_fused']:.2f}", ""]
    return rich.console.Group(*parts)


def teams(result: dict) -> rich.console.Group:
    """Returns a table for each experiment, with the ratios below it."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['case']}: training, in turns in one process",
            ("team", "agents", "parameters", "steps/s", "range", "steps/s of a core"),
        )
        for kind, row in case["teams"].items():
            rate, core = row["steps_per_s"], row["steps_per_processor_s"]
            table.add_row(
                kind, f"{row['agents']}", f"{row['policy_parameters']:,}",
                f"{rate['median']:,.0f}", f"{rate['min']:,.0f}–{rate['max']:,.0f}",
                f"{core['median']:,.0f}",
            )  # fmt: skip
        ratio = case["team_over_one"]
        parts += [
            table,
            f"team over one operator: {ratio['steps_per_s']:.2f} by the clock, "
            f"{ratio['steps_per_processor_s']:.2f} by processor time",
            "",
        ]
    return rich.console.Group(*parts)


def adapters(result: dict) -> rich.console.Group:
    """Returns a table for each case."""
    parts = []
    for case in result["cases"]:
        table = _table(
            f"{case['case']}: a call a step, by interface",
            ("interface", "", "batch", "steps/s", "range", "over functions"),
        )
        for row in case["rows"]:
            rate = _rate(row, row["steps_per_s"])
            table.add_row(row["form"], "", *rate, f"{row['over_functions']:.2f}")
        parts += [table, ""]
    return rich.console.Group(*parts)


# By what `python -m launch.bench` is told to measure.
TABLES = {
    "powerflow": powerflow, "env": environment, "contingency": contingency, "acopf": acopf,
    "train": training, "teams": teams, "adapters": adapters,
}  # fmt: skip


def _table(title: str, columns: tuple[str, ...]) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < 2 else "right", no_wrap=True)
    return table


def _rate(row: dict, per_s: float) -> tuple[str, str, str]:
    """Returns the batch, the median rate and the range of rates, as cells."""
    seconds = row["seconds"]
    low, high = (per_s * seconds["median"] / seconds[end] for end in ("max", "min"))
    return f"{row['batch']:,}", f"{per_s:,.0f}", f"{low:,.0f}–{high:,.0f}"


def _share(share: float) -> str:
    return "all" if share == 1.0 else f"{share:.1%}"


def _note(peer: str, report: dict) -> str:
    """Returns what a peer is and how it was set, or why it is missing."""
    if "error" in report:
        return f"{peer}: {report['error']}"
    versions = ", ".join(f"{k} {v}" for k, v in report["versions"].items() if k != "numpy")
    settings = ", ".join(f"{k} {v}" for k, v in report["settings"].items() if v is not None)
    return f"{peer}: {versions}; {settings}"


def _ratios(best: dict, unit: str) -> str:
    if best["ours"] is None:
        return "ours solved no batch to the tolerance, so there is no ratio"
    parts = [f"fastest of ours: {best['ours']:,.0f} {unit}"]
    for name, ratio in best.items():
        if name.startswith("ours_over_") and ratio:
            factor = f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
            parts.append(f"{factor} × {name.removeprefix('ours_over_')}")
    return ", ".join(parts)
