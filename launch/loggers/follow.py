"""Reads a run's metrics files on, whichever process writes them, from where they were read to."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from launch.run import run_folder


class Row(NamedTuple):
    """What a node measured at a step."""

    node: str
    step: int
    scalars: dict[str, float]  # without what was not finite


def batches(
    folder: run_folder.RunFolder, read: Mapping[str, int], most: int
) -> Iterator[tuple[list[Row], dict[str, int]]]:
    """Yields rows that were written since, up to `most` at a time, and what is read with them.

    Half a line is left for later, a line that is no row is passed over.

    Args:
      folder: of the run.
      read: bytes of each node's file that were read before.
      most: rows of a batch.
    """
    read, rows = dict(read), []
    for file in sorted(folder.metrics("").parent.glob("*.jsonl")):
        with file.open("rb") as lines:
            lines.seek(read.get(file.stem, 0))
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                if row := _row(file.stem, line):
                    rows.append(row)
                read[file.stem] = read.get(file.stem, 0) + len(line)
                if len(rows) == most:
                    yield rows, dict(read)
                    rows = []
    if rows:
        yield rows, dict(read)


def _row(node: str, line: bytes) -> Row | None:
    try:
        values = json.loads(line)
        step = int(values.pop("step"))
        return Row(node, step, {k: float(v) for k, v in values.items() if v is not None})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
