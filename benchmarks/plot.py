"""Draws what `python -m launch.bench` measured: the cost of a power flow and of a step."""

import pathlib

from envs.inputs import json_file

_TITLES = {"powerflow": "AC power flow", "env": "environment step, doing nothing"}
_RATES = {"powerflow": "solves_per_s", "env": "steps_per_s"}
# The peer of each kind that a ratio is quoted to.
_PEERS = {"powerflow": "lightsim2grid", "env": "LightSimBackend"}


def read(path: str) -> dict:
    """Returns the report that `--json` wrote.

    Raises:
      ValueError: it is none to draw; the message names the file and says why.
    """
    try:
        report = json_file.contents(pathlib.Path(path))
        if report["benchmark"] not in _TITLES or not report["cases"]:
            raise KeyError("benchmark")
        if not _cases([report], report["benchmark"]):
            raise ValueError("nothing in it was solved, or stepped doing nothing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: is no report of `python -m launch.bench` to draw: {error}"
        ) from error
    return report


def draw(reports: list[dict]):
    """Returns the figure: cost over batch for each kind of report, then cost over buses.

    A case that several reports of one kind measured is taken from the last.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = [kind for kind in _TITLES if any(r["benchmark"] == kind for r in reports)]
    figure, axes = pyplot.subplots(
        1, len(kinds) + 1, figsize=(4.6 * (len(kinds) + 1), 4.0), layout="constrained"
    )
    for axis, kind in zip(axes, kinds):
        _draw_over_batch(axis, _cases(reports, kind), kind)
    for index, kind in enumerate(kinds):
        _draw_over_buses(axes[-1], _cases(reports, kind), kind, f"C{index}")
    axes[-1].set(title="at the best batch", xlabel="buses", ylabel="microseconds each")
    axes[-1].set_ylim(bottom=0.03 * min(axes[-1].get_ylim()[0], 1.0))  # space for the legend
    axes[-1].legend(loc="lower right", fontsize="small")
    for axis in axes:
        axis.grid(True, which="major", alpha=0.3)
    return figure


def _draw_over_batch(axis, cases: list[dict], kind: str) -> None:
    for index, case in enumerate(cases):
        fastest, color = _fastest(case, kind), f"C{index}"
        batches = sorted(fastest)
        cost_us = [1e6 / fastest[batch] for batch in batches]
        axis.loglog(batches, cost_us, "o-", color=color, label=f"{case['n_bus']} buses")
        if peer := _peer_rate(case, kind):
            axis.axhline(1e6 / peer, color=color, linestyle=":")
    title = f"{_TITLES[kind]}\n(dotted: {_PEERS[kind]})"
    axis.set(title=title, xlabel="grids at once", ylabel="microseconds each")
    axis.legend(loc="lower left", fontsize="small")


def _draw_over_buses(axis, cases: list[dict], kind: str, color: str) -> None:
    cases = sorted(cases, key=lambda case: case["n_bus"])
    ours = [(c["n_bus"], 1e6 / max(_fastest(c, kind).values())) for c in cases]
    axis.loglog(*zip(*ours), "o-", color=color, label=_TITLES[kind])
    peers = [(c["n_bus"], 1e6 / rate) for c in cases if (rate := _peer_rate(c, kind))]
    if peers:
        axis.loglog(*zip(*peers), "s:", color=color, label=_PEERS[kind])


def _cases(reports: list[dict], kind: str) -> list[dict]:
    """Returns the cases of one kind that have a measurement of ours."""
    cases = {c["case"]: c for r in reports if r["benchmark"] == kind for c in r["cases"]}
    return [case for case in cases.values() if _fastest(case, kind)]


def _fastest(case: dict, kind: str) -> dict[int, float]:
    """Returns our best rate by batch, of runs that solved everything."""
    best: dict[int, float] = {}
    for row in case["ours"]:
        solved = row.get("within_tolerance_share", 1.0) == 1.0
        if solved and "skipped" not in row and row.get("policy", "do_nothing") == "do_nothing":
            best[row["batch"]] = max(best.get(row["batch"], 0.0), row[_RATES[kind]])
    return best


def _peer_rate(case: dict, kind: str) -> float | None:
    return case["best"].get(_PEERS[kind])
