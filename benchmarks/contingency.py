"""Measures contingency analysis: every single outage of a batch of operating points.

Everyone starts from solved operating points. We screen a batch of them by distribution factors and
solve the worst outages of each by AC power flow; lightsim2grid analyses one of them, all its
outages, by DC and by AC power flow. Outages that cut something off are not counted. Of ours, as in
the environment, Newton's method does not try again where the fast decoupled one gives up.
"""

from collections.abc import Callable

import numpy as np

from benchmarks import comparison, ours_contingency, problem as problem_lib, reference, timing
from benchmarks.comparison import Settings
from envs.case import case_file

CASES = ("case14", "case118", "case300", "case1354")
BATCHES = (32, 256)
_PEER_TIMEOUT_S = 600.0
# What of ours is compared with which of the peer's.
_RIVALS = {"screened": "DC", "confirmed": "AC"}


def check(settings: Settings) -> None:
    """Raises a ValueError or FileNotFoundError that names the case that cannot be."""
    for case in settings.cases:
        grid = case_file.load(case)
        if grid.n_branch < grid.n_bus:  # a tree, as grids are connected
            raise ValueError(
                f"--cases={case}: every branch of it cuts something off, so that there is no "
                "outage to analyse; give a grid with a loop"
            )


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns the settings and the results of every case; `say` is told the progress."""
    return {
        "settings": {
            "tolerance_pu": settings.tolerance_pu,
            "load_spread": problem_lib.LOAD_SPREAD,
            "confirmed_outages": ours_contingency.WORST,
            "threads": settings.threads,
            "seed": settings.seed,
        },
        "cases": [_case(name, settings, say) for name in settings.cases],
    }


def _case(name: str, settings: Settings, say) -> dict:
    grid = case_file.load(name)
    problem = problem_lib.draw(grid, max(settings.batches), settings.seed)
    analysis = ours_contingency.analysis(grid, problem, settings.tolerance_pu)
    ours = []
    for what, way in ours_contingency.WAYS.items():
        for batch in sorted(settings.batches):
            prepared = analysis.prepare(batch, way, settings.seed)
            taken = timing.measure(prepared.run, settings.repeats, settings.seconds)
            rate = prepared.outages / taken["median"]
            ours.append({
                "what": what,
                "batch": batch,
                "seconds": taken,
                "outages_per_s": rate,
                "microseconds_per_grid": 1e6 * taken["median"] / batch,
                "converged_share": prepared.converged_share(),
            })  # fmt: skip
            say(f"{grid.name}: {what}, batch {batch:,}: {rate:,.0f} outages/s")
    peers = _peers(analysis, settings, lambda text: say(f"{grid.name}: {text}"))
    return {
        "case": name,
        "name": grid.name,
        "n_bus": grid.n_bus,
        "n_branch": grid.n_branch,
        "n_outage": len(analysis.outages),
        "ours": ours,
        "peers": peers,
        "best": {what: _best(what, ours, peers) for what in _RIVALS},
    }


def _peers(analysis: ours_contingency.Analysis, settings: Settings, say) -> dict[str, dict]:
    """Returns the report of lightsim2grid, with how far its AC loadings are from ours."""
    if settings.python is None:
        return {}
    report, voltages = analysis.problem.first(1).solve_by_peer(
        settings.python, "lightsim2grid_contingency", _PEER_TIMEOUT_S,
        outages=",".join(map(str, analysis.outages)), tolerance=settings.tolerance_pu,
        threads=settings.threads, repeats=settings.repeats,
    )  # fmt: skip
    if "error" in report:
        say(f"lightsim2grid: {report['error']}")
    else:
        report["agreement"] = _agreement(analysis, **voltages)
        for row in report["results"]:
            say(f"lightsim2grid: {row['what']}, {row['outages_per_s']:,.0f} outages/s")
    return {"lightsim2grid": report}


def _agreement(analysis: ours_contingency.Analysis, vm_pu, va_rad) -> dict:
    """Returns how far our loadings are from those of AC voltages `[n_outage, n_bus]`.

    The loading of an outage is that of the most loaded branch that it leaves. Where the voltages
    are no solution there is nothing to compare.
    """
    problem = analysis.problem
    loading = reference.loading(problem.base_mva, problem.branch, vm_pu, va_rad)
    loading[np.arange(len(loading)), analysis.outages] = 0.0
    true, solved = loading.max(1), (vm_pu > 0).all(1)
    screened, confirmed = analysis.at_base()
    compared = solved & np.isfinite(confirmed)
    verdicts = {"same_verdict_share": float((solved == np.isfinite(confirmed)).mean())}
    if not compared.any():
        return {"compared": 0, **verdicts}
    error = lambda loading: abs(loading - true)[compared]
    return {
        "compared": int(compared.sum()),
        **verdicts,
        "confirmed_largest_error": float(error(confirmed).max()),
        "screened_median_error": float(np.median(error(screened))),
        "screened_largest_error": float(error(screened).max()),
    }


def _best(what: str, ours: list[dict], peers: dict[str, dict]) -> dict:
    """Returns the fastest of ours, of the peer's rival, and ours over it.

    Screening counts where every operating point was solved and sound. AC power flows are compared
    where both say the same of every outage: some have no solution, which both should say.
    """
    able = [
        r for r in ours if r["what"] == what and (what == "confirmed" or r["converged_share"] == 1)
    ]
    fastest = lambda rows: max((row["outages_per_s"] for row in rows), default=None)
    rates = {}
    for peer, report in peers.items():
        rivals = [row for row in report.get("results", []) if row["what"] == _RIVALS[what]]
        agreed = report.get("agreement", {}).get("same_verdict_share") == 1.0
        rates[peer] = fastest(rivals) if what == "screened" or agreed else None
    return comparison.ratios(fastest(able), rates)
