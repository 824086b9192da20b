"""What the programs of every peer share: how they are run, and how they sum up repeats."""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import warnings
from collections.abc import Callable


def main(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], dict]) -> None:
    """Measures, and writes the report to standard output as JSON, and nothing else there."""
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(sys.stderr):
        report = measure(args)
    json.dump(report, sys.stdout)


def problem_parser(text: str) -> argparse.ArgumentParser:
    """Returns the parser of a program that solves a problem file, which `text` describes."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("problem")
    parser.add_argument("answer")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int)
    return parser


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
