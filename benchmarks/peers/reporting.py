"""What the programs of every peer share: how they are run, and how they sum up repeats."""

import argparse
import contextlib
import json
import statistics
import sys
import warnings
from collections.abc import Callable


def main(
    text: str, measure: Callable[[argparse.Namespace], dict], *files: str, **options: Callable
) -> None:
    """Measures, and writes the report to standard output as JSON, and nothing else there.

    Args:
      text: describes the program.
      measure: takes the arguments; returns the report.
      *files: names of the arguments that are paths.
      **options: the types of the others, by name.
    """
    parser = argparse.ArgumentParser(description=text)
    for name in files:
        parser.add_argument(name)
    for name, kind in options.items():
        parser.add_argument(f"--{name}", type=kind)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        report = measure(args)
    json.dump(report, sys.stdout)


def numbers(text: str) -> list[int]:
    """Returns the numbers of a list with commas: an argument's `type`."""
    return [int(number) for number in text.split(",")]


def summary(values: list[float]) -> dict:
    """Returns the median of repeats and how far they spread."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "repeats": len(values),
    }
