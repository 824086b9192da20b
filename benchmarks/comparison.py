"""What benchmarks have in common: what is to be measured, and ours over the peers'."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure."""

    cases: tuple[str, ...]
    batches: tuple[int, ...]
    threads: int
    repeats: int
    seconds: float  # that the repeats of one measurement may take
    seed: int
    python: pathlib.Path | None  # the peers' interpreter


def ratios(ours: float | None, peers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Returns our rate, each peer's, and ours over it; None where there is none to compare."""
    rates = {"ours": ours, **peers}
    for name, rate in peers.items():
        rates[f"ours_over_{name}"] = ours / rate if ours and rate else None
    return rates
