"""What benchmarks have in common: what is measured, and our rates over the peers'."""

import dataclasses
import pathlib
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure. A benchmark looks at what is its own."""

    cases: tuple[str, ...]
    batches: tuple[int, ...]
    threads: int
    repeats: int
    seconds: float  # that the repeats of one measurement may take
    seed: int
    python: pathlib.Path | None  # the peers' interpreter
    methods: tuple[str, ...]  # of powerflow; all if none is named
    policies: tuple[str, ...]  # of env; all if none is named
    length: int  # of env: steps in one compiled call
    tolerance_pu: float  # of powerflow and contingency
    time_limit_s: float  # of acopf: of a case
    steps: int = 0  # of train: in each run
    target_return: float | None = None  # of train: the time to which is told


def ratios(ours: float | None, peers: Mapping[str, float | None]) -> dict[str, float | None]:
    """Returns our rate, each peer's, and ours over it; None where there is none to compare."""
    rates = {"ours": ours, **peers}
    for name, rate in peers.items():
        rates[f"ours_over_{name}"] = ours / rate if ours and rate else None
    return rates
