"""Reads what a report draws of a controller in a scenario: all its days, and the worst one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evaluation import report_arrays, results


class DayRecords(NamedTuple):
    """The days of a controller in a scenario."""

    days: dict[str, np.ndarray]  # of all days, see `report_arrays.extract`
    worst: dict[str, np.ndarray]  # of the worst one
    batches: int  # that it was made of
    unread: int  # batches that could not be read
    team: dict[str, np.ndarray] | None = None  # of all days, see `evaluation/team_arrays.py`

    @property
    def steps(self) -> int:
        """How many steps of the worst day had an operating point."""
        return int(self.worst["counted"].sum()) - self.ended_early

    @property
    def ended_early(self) -> bool:
        """Whether the worst day ended early."""
        return bool(self.reason != 0)

    @property
    def reason(self) -> int:
        """Why the worst day ended, an `envs.step.termination.Reason`."""
        return int(self.worst["reason"][max(int(self.worst["counted"].sum()) - 1, 0)])


def read(
    folder: results.Folder, task: results.Task, batches: Sequence[tuple[int, int]], dt_h: float
) -> DayRecords | None:
    """Returns the records of a task, or none where no batch can be read.

    Quantiles of several batches are means over them, weighted by days that go on; the ends of the
    range are those of all days.
    """
    batch_arrays = [(folder.arrays(task, *batch), batch[1]) for batch in batches]
    readable = [(arrays, count) for arrays, count in batch_arrays if arrays is not None]
    if not readable:
        return None
    worst = results.worst([arrays for arrays, _ in readable])
    unread = len(batch_arrays) - len(readable)
    team = _team(readable, dt_h) if all("agents" in arrays for arrays, _ in readable) else None
    return DayRecords(_merged(readable, dt_h), worst, len(readable), unread, team)


def _merged(
    readable: Sequence[tuple[dict[str, np.ndarray], int]], dt_h: float
) -> dict[str, np.ndarray]:
    counts = np.array([count for _, count in readable], float)
    stack = {name: np.stack([arrays[name] for arrays, _ in readable]) for name in _DAYS}
    going = stack["going"] * counts[:, None]  # [batch, T]
    played = _played(going, dt_h)
    return {
        "vm_quantiles": _quantiles(stack["vm_quantiles"], going, report_arrays.VOLTAGE_QUANTILES),
        "rho_quantiles": _quantiles(stack["rho_quantiles"], going, report_arrays.LOADING_QUANTILES),
        "frequency_low": _least(stack["frequency_low"]),
        "going": going.sum(0) / counts.sum(),
        "action_size": _weighted(stack["action_size"], played[:, :, None]),
    }


def _team(
    readable: Sequence[tuple[dict[str, np.ndarray], int]], dt_h: float
) -> dict[str, np.ndarray]:
    """Returns what there is of a team, all batches in one."""
    first = readable[0][0]
    team = {name: first[name] for name in ("agents", "credits") if name in first}
    for name in ("agent_return", "area_return"):
        team[name] = np.concatenate([arrays[name] for arrays, _ in readable])
    if "attention" in first:
        going = np.stack([arrays["going"] * count for arrays, count in readable])
        attention = np.stack([arrays["attention"] for arrays, _ in readable])
        played = _played(going, dt_h)[:, : attention.shape[1]]
        team["attention"] = _weighted(attention, played[:, :, None, None, None])
    return team


def _played(going: np.ndarray, dt_h: float) -> np.ndarray:
    """Returns how many steps of days were played in each hour of `going` `[batch, T]` days."""
    hour = (np.arange(going.shape[1]) * dt_h).astype(int) % report_arrays.HOURS
    return np.stack([going[:, hour == h].sum(1) for h in range(report_arrays.HOURS)], 1)


_DAYS = ("vm_quantiles", "rho_quantiles", "frequency_low", "going", "action_size")


def _quantiles(values: np.ndarray, weight: np.ndarray, which: Sequence[float]) -> np.ndarray:
    """Returns quantiles `[T, q]` of batches `[batch, T, q]`."""
    quantiles = _weighted(values, weight[:, :, None])
    for column, share in enumerate(which):
        if share == 0.0:
            quantiles[:, column] = _least(values[:, :, column])
        elif share == 1.0:
            quantiles[:, column] = -_least(-values[:, :, column])
    return quantiles


def _weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns the weighted mean over batches, NaN where no batch has a value."""
    known = np.isfinite(values) & (weight > 0)
    total = np.where(known, weight, 0.0).sum(0)
    summed = np.where(known, weight * np.where(known, values, 0.0), 0.0).sum(0)
    return np.where(total > 0, summed / np.maximum(total, 1e-12), np.nan)


def _least(values: np.ndarray) -> np.ndarray:
    """Returns the least over batches, NaN where no batch has a value."""
    least = np.where(np.isfinite(values), values, np.inf).min(0)
    return np.where(np.isfinite(least), least, np.nan)
