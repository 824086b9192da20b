"""Draws what `launch.bench` measured: the cost of a power flow and of a step.

    python -m launch.bench powerflow --json=powerflow.json
    python -m launch.bench env --json=env.json
    python -m benchmarks.plot powerflow.json env.json --png=cost.png

Takes any number of reports; a later one of the same kind adds its cases to an earlier one's.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from envs.inputs import command_line, exit_codes, json_file

_PNG = flags.DEFINE_string("png", "cost.png", "The picture to write.")

_TITLES = {"powerflow": "AC power flow", "env": "environment step, doing nothing"}
_RATES = {"powerflow": "solves_per_s", "env": "steps_per_s"}
# The peer of each kind that a ratio is quoted to.
_PEERS = {"powerflow": "lightsim2grid", "env": "LightSimBackend"}


def main(argv: list[str]) -> int:
    """Draws and returns the exit code."""
    try:
        reports = [_read(path) for path in argv[1:]]
        if not reports:
            raise ValueError("name the reports to draw, written by `python -m launch.bench --json`")
        target = pathlib.Path(_PNG.value).absolute()
        if target.suffix != ".png" or not target.parent.is_dir():
            raise ValueError(f"--png={_PNG.value}: give a file that ends in .png, in a folder")
    except ValueError as error:
        return command_line.refuse(error)
    draw(reports).savefig(target, dpi=130)
    sys.stdout.write(f"written to {_PNG.value}\n")
    return exit_codes.OK


def draw(reports: list[dict]):
    """Returns the figure: cost over batch for each kind of report, then cost over buses."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = [kind for kind in _TITLES if any(r["benchmark"] == kind for r in reports)]
    figure, axes = pyplot.subplots(
        1, len(kinds) + 1, figsize=(4.6 * (len(kinds) + 1), 4.0), layout="constrained"
    )
    for axis, kind in zip(axes, kinds):
        cases = _cases(reports, kind)
        for index, case in enumerate(cases):
            fastest = _fastest(case, kind)
            batches = sorted(fastest)
            axis.loglog(
                batches, [1e6 / fastest[b] for b in batches], "o-", color=f"C{index}",
                label=f"{case['n_bus']} buses",
            )  # fmt: skip
            peer = _peer_rate(case, kind)
            if peer:
                axis.axhline(1e6 / peer, color=f"C{index}", linestyle=":")
        axis.set(
            title=f"{_TITLES[kind]}\n(dotted: {_PEERS[kind]})", xlabel="grids at once",
            ylabel="microseconds each",
        )  # fmt: skip
        axis.legend(loc="lower left", fontsize="small")
    for index, kind in enumerate(kinds):
        cases = sorted(_cases(reports, kind), key=lambda case: case["n_bus"])
        ours = [(c["n_bus"], 1e6 / max(_fastest(c, kind).values())) for c in cases]
        peers = [(c["n_bus"], 1e6 / _peer_rate(c, kind)) for c in cases if _peer_rate(c, kind)]
        axes[-1].loglog(*zip(*ours), "o-", color=f"C{index}", label=_TITLES[kind])
        if peers:
            axes[-1].loglog(*zip(*peers), "s:", color=f"C{index}", label=_PEERS[kind])
    axes[-1].set(title="at the best batch", xlabel="buses", ylabel="microseconds each")
    axes[-1].set_ylim(bottom=0.03 * min(axes[-1].get_ylim()[0], 1.0))  # room for the legend
    axes[-1].legend(loc="lower right", fontsize="small")
    for axis in axes:
        axis.grid(True, which="major", alpha=0.3)
    return figure


def _read(path: str) -> dict:
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


def _cases(reports: list[dict], kind: str) -> list[dict]:
    """Returns the cases of one kind that have a measurement of ours."""
    found = {c["case"]: c for r in reports if r["benchmark"] == kind for c in r["cases"]}
    return [case for case in found.values() if _fastest(case, kind)]


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


if __name__ == "__main__":
    command_line.run(main)
