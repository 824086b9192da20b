"""Solves the cases of PGLib-OPF by our AC optimal power flow, beside the published objectives."""

import importlib.metadata
import math
import multiprocessing
import pathlib
from collections.abc import Callable

from benchmarks.comparison import Settings
from envs.case import matpower, pglib, validate
from envs.inputs import choices

CASES = BATCHES = ()  # all cases up to `_MOST_BUSES`, one after the other
_MOST_BUSES = 1000  # of the cases that are solved unless others are named
_BEGIN, _END = "<!-- begin: python -m launch.bench acopf -->", "<!-- end -->"
AGREES = 1e-4  # relative: PGLib rounds its objectives to five digits


def check(settings: Settings) -> None:
    """Raises a ValueError where PGLib has no case of a name."""
    known = pglib.baselines()
    for name in settings.cases:
        if name not in known:
            hint = choices.hint(name, known) or "such as case14_ieee__sad"
            raise ValueError(f"--cases={name}: not in PGLib's table of baselines; {hint.strip()}")


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns a row for each case; `say` is told the progress."""
    known = pglib.baselines()
    names = settings.cases or [name for name, row in known.items() if row.n_bus <= _MOST_BUSES]
    cases = []
    for name in names:
        row = {
            "case": name,
            "variant": pglib.variant(name),
            "n_bus": known[name].n_bus,
            "published": known[name].objective,
            **_solved(pglib.path(name), settings.time_limit_s),
        }
        if "objective" in row:
            row["gap_percent"] = 100.0 * (row["objective"] / row["published"] - 1.0)
        cases.append({key: _finite(value) for key, value in row.items()})
        told = " ".join(filter(None, cells(cases[-1])[3:]))
        say(f"{len(cases)} of {len(names)}: {name}: {told}")
    return {
        "settings": {"time_limit_s": settings.time_limit_s, "agrees": AGREES},
        "casadi": importlib.metadata.version("casadi"),
        "cases": cases,
    }


def markdown(result: dict) -> str:
    """Returns the result as Markdown: what ran where, a table of all cases, what stands out."""
    machine, cases = result["machine"], result["cases"]
    solved = [row for row in cases if row.get("gap_percent") is not None]
    apart = [row for row in solved if abs(row["gap_percent"]) > 100.0 * AGREES]
    without = [row for row in cases if "objective" not in row]
    worst = max((abs(row["gap_percent"]) for row in solved), default=0.0)
    lines = [
        f"    {result['command']}", "",
        f"{machine['cpu']}, {len(machine['cores_used'])} of {machine['cores']} cores; Python "
        f"{result['versions']['python']}, CasADi {result['casadi']} with its Ipopt and MUMPS; "
        f"PGLib-OPF v23.07; {result['date'][:10]}.", "",
        f"{len(solved)} of {len(cases)} cases are solved, {len(solved) - len(apart)} of them "
        f"within {100.0 * AGREES:g} % of PGLib's objective; the largest difference is "
        f"{worst:.4f} %.", "",
        "| case | variant | buses | ours, $/h | PGLib, $/h | difference, % | iterations | s "
        "| status |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
        *(f"| {' | '.join(cells(row))} |" for row in cases),
    ]  # fmt: skip
    for title, rows in (("Farther from PGLib", apart), ("Without an objective", without)):
        if rows:
            lines += ["", f"{title}:", "", *(f"- `{row['case']}`: {_reason(row)}" for row in rows)]
    return "\n".join(lines) + "\n"


def write_markdown(result: dict, path: pathlib.Path) -> None:
    """Writes `markdown` into a page, in place of what an earlier run wrote there."""
    before, after = "", ""
    if path.exists():
        before, begin, rest = path.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2] if begin else ""
    path.write_text(f"{before}{_BEGIN}\n{markdown(result)}{_END}{after or chr(10)}")


def cells(row: dict) -> list[str]:
    """Returns a row of the table: case, variant, buses, ours, PGLib's, difference and so on."""
    number = lambda name, form: "" if row.get(name) is None else format(row[name], form)
    return [
        row["case"].partition("__")[0], row["variant"], str(row["n_bus"]),
        _rounded(row.get("objective"), 7), _rounded(row["published"], 5),
        number("gap_percent", "+.4f"),
        number("iterations", "d"), number("seconds", ".1f"), row["status"],
    ]  # fmt: skip


def _rounded(value: float | None, digits: int) -> str:
    """Returns `value` to so many significant digits, without an exponent."""
    if not value:
        return ""
    return f"{value:,.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def _reason(row: dict) -> str:
    return row["why"] if "why" in row else f"{row['gap_percent']:+.4f} %, {row['status']}"


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _solved(path: pathlib.Path, limit_s: float) -> dict:
    """Returns what a process of its own says of the case at `path`, within `limit_s` seconds."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_solve, args=(path, send), daemon=True)
    process.start()
    send.close()
    try:
        if receive.poll(limit_s):
            return receive.recv()
        return {"status": "time limit", "why": f"no optimum within {limit_s:g} s"}
    except EOFError:
        process.join()
        why = f"its process ended by itself with exit code {process.exitcode}"
        return {"status": "died", "why": why}
    finally:
        process.kill()
        process.join()


def _solve(path: pathlib.Path, send) -> None:
    """Sends the optimum of the case at `path` as it stands in the file, or why there is none."""
    from agents.baselines import acopf_model, acopf_problem

    try:
        model = acopf_model.Model(matpower.read(path))
    except validate.CaseError as error:
        send.send({"status": "refused", "why": str(error).removeprefix(f"{path}: ")})
        return
    optimum = model.solve(acopf_problem.nominal(model.grid))
    effort = {"seconds": optimum.seconds, "iterations": optimum.iterations}
    if optimum.optimal:
        send.send({"status": "optimal", "objective": optimum.cost_per_h, **effort})
        return
    why = "no point that keeps every limit was found"
    why += f"; broken at a price, {optimum.cost_per_h:,.0f} $/h" if optimum.solved else ""
    send.send({"status": "not optimal", "why": why, **effort})
