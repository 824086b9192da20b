"""Reads how a run's return went up while it learned."""

import bisect
import pathlib
from collections.abc import Iterator, Sequence

from envs.inputs import bounds, json_file

_RETURN, _NOTHING = "evaluation/return", "evaluation/do_nothing_return"
_SECONDS = "run/seconds"


def read(run_path: pathlib.Path) -> dict[str, list[float]] | None:
    """Returns `step`, `return`, `do_nothing` and `seconds` of every evaluation; none: of none.

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
            return {
                "step": steps,
                "return": list(ours),
                "do_nothing": list(nothing),
                "seconds": _seconds(folder / "learner.jsonl", steps),
            }
    return None


def _points(path: pathlib.Path) -> dict[float, tuple[float, float]]:
    points = {}
    for row in _rows(path):
        step, value, nothing = (row.get(name) for name in ("step", _RETURN, _NOTHING))
        if bounds.fits(step, float) and bounds.fits(value, float):
            points[step] = value, nothing if bounds.fits(nothing, float) else float("nan")
    return points


def _seconds(path: pathlib.Path, steps: Sequence[float]) -> list[float]:
    """Returns for how long the learner had learned by each of `steps`; NaN where nothing tells."""
    known = {}
    for row in _rows(path) if path.is_file() else ():
        step, seconds = row.get("step"), row.get(_SECONDS)
        if bounds.fits(step, float) and bounds.fits(seconds, float):
            known[step] = seconds
    told = sorted(known)
    places = [bisect.bisect_left(told, step) for step in steps]
    return [known[told[place]] if place < len(told) else float("nan") for place in places]


def _rows(path: pathlib.Path) -> Iterator[dict]:
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json_file.parse(line)
        except ValueError:
            continue  # A run that goes on may be writing its last line.
        if isinstance(row, dict):
            yield row
