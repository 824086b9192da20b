"""Reads how a run's return went up while it learned."""

import pathlib

from envs.inputs import bounds, json_file

_RETURN, _NOTHING = "evaluation/return", "evaluation/do_nothing_return"


def read(run_path: pathlib.Path) -> dict[str, list[float]] | None:
    """Returns `step`, `return` and `do_nothing` of every evaluation, or none where there is none.

    Reads `metrics/evaluator.jsonl`, or whatever file of metrics has returns. A run that went back
    to a checkpoint counts with what it did last.
    """
    folder = pathlib.Path(run_path) / "metrics"
    files = [folder / "evaluator.jsonl", *sorted(folder.glob("*.jsonl"))]
    for path in files:
        points = _points(path) if path.is_file() else {}
        if points:
            steps = sorted(points)
            ours, nothing = zip(*(points[step] for step in steps))
            return {"step": steps, "return": list(ours), "do_nothing": list(nothing)}
    return None


def _points(path: pathlib.Path) -> dict[float, tuple[float, float]]:
    points = {}
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json_file.parse(line)
        except ValueError:
            continue  # A run that goes on may be writing its last line.
        if not isinstance(row, dict):
            continue
        step, value, nothing = (row.get(name) for name in ("step", _RETURN, _NOTHING))
        if bounds.fits(step, float) and bounds.fits(value, float):
            points[step] = value, nothing if bounds.fits(nothing, float) else float("nan")
    return points
