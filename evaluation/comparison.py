"""A controller beside a baseline on the same tapes: the numbers and the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.box
import rich.table

from evaluation import intervals
from evaluation import metrics as metrics_lib


def compare(
    learned: Mapping[str, np.ndarray], baseline: Mapping[str, np.ndarray], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Returns means and intervals of each metric for both, and of their paired difference."""
    return {
        name: {
            "unit": metric.unit,
            "learned": intervals.of_mean(learned[name], seed)._asdict(),
            "do_nothing": intervals.of_mean(baseline[name], seed)._asdict(),
            "difference": intervals.of_mean(learned[name] - baseline[name], seed)._asdict(),
        }
        for name, metric in metrics_lib.METRICS.items()
    }


def verdict(metric: metrics_lib.Metric, difference: Mapping[str, float]) -> str:
    """Returns "better", "worse" or "same" by whether the difference's interval excludes zero."""
    low, high = difference["low"], difference["high"]
    if low <= 0.0 <= high:
        return "same"
    return "better" if (low > 0) == metric.higher_is_better else "worse"


def table(compared: Mapping[str, Mapping[str, Any]]) -> rich.table.Table:
    """Returns the comparison as a table for the console, 80 columns wide."""
    out = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "do nothing", "learned", "difference, paired"):
        out.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    colours = {"better": "green", "worse": "red", "same": "dim"}
    for name, row in compared.items():
        metric = metrics_lib.METRICS[name]
        word = verdict(metric, row["difference"])
        unit = metric.unit or "reward"
        out.add_row(
            f"{metric.title}\n[dim]{unit}[/dim]",
            _cell(row["do_nothing"]),
            _cell(row["learned"]),
            _cell(row["difference"], "+", f"  [{colours[word]}]{word}[/]"),
        )
    return out


def _cell(interval: Mapping[str, float], sign: str = "", note: str = "") -> str:
    """Returns a mean, and its interval on the line below."""
    size = max(abs(interval[end]) for end in ("mean", "low", "high"))
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 or size == 0 else 4
    mean, low, high = (f"{interval[end]:{sign},.{digits}f}" for end in ("mean", "low", "high"))
    if low == high:
        return f"{mean}{note}\n"
    if size >= 1e6:  # Seven digits twice would be wider than the table.
        low, high = (f"{interval[end] / 1e3:{sign},.0f}k" for end in ("low", "high"))
    return f"{mean}{note}\n[dim]{low} to {high}[/dim]"
