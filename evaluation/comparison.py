"""A controller beside a baseline on the same tapes: the numbers and the table."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import rich.table
import rich.text

from evaluation import intervals
from evaluation import metrics as metrics_lib


def compare(
    learned: Mapping[str, np.ndarray], baseline: Mapping[str, np.ndarray]
) -> dict[str, dict[str, Any]]:
    """Returns means and intervals of each metric for both, and of their paired difference."""
    return {
        name: {
            "unit": metric.unit,
            "learned": intervals.of_mean(learned[name])._asdict(),
            "do_nothing": intervals.of_mean(baseline[name])._asdict(),
            "difference": intervals.of_mean(learned[name] - baseline[name])._asdict(),
        }
        for name, metric in metrics_lib.METRICS.items()
    }


def verdict(metric: metrics_lib.Metric, difference: Mapping[str, float]) -> str:
    """Returns "better", "worse" or "same" by whether the difference's interval excludes zero."""
    low, high = difference["low"], difference["high"]
    if low <= 0.0 <= high:
        return "same"
    return "better" if (low > 0) == metric.higher_is_better else "worse"


def table(title: str, compared: Mapping[str, Mapping[str, Any]]) -> rich.table.Table:
    """Returns the comparison as a table for the console."""
    out = rich.table.Table(title=title, title_justify="left", title_style="bold")
    out.add_column("metric")
    out.add_column("do nothing", justify="right")
    out.add_column("learned", justify="right")
    out.add_column("difference, paired", justify="right")
    out.add_column("")
    colours = {"better": "green", "worse": "red", "same": "dim"}
    for name, row in compared.items():
        metric = metrics_lib.METRICS[name]
        word = verdict(metric, row["difference"])
        heading = f"{metric.title}, {metric.unit}" if metric.unit else metric.title
        out.add_row(
            heading,
            _format(row["do_nothing"]),
            _format(row["learned"]),
            _format(row["difference"], sign="+"),
            rich.text.Text(word, style=colours[word]),
        )
    return out


def _format(interval: Mapping[str, float], sign: str = "") -> str:
    size = max(abs(interval[end]) for end in ("mean", "low", "high"))
    digits = 0 if size >= 1000 else 2 if size >= 1 or size == 0 else 4
    mean, low, high = (f"{interval[end]:{sign},.{digits}f}" for end in ("mean", "low", "high"))
    return mean if low == high else f"{mean} [{low}, {high}]"
