"""What can be chosen about the frequency of the system."""

from __future__ import annotations

import dataclasses
from typing import Annotated

_NOMINAL_HZ = (50.0, 60.0)
_MOST_STAGES = 20


@dataclasses.dataclass(frozen=True)
class FrequencyOptions:
    """Options of the frequency model. The text beside each field is its help.

    `docs/frequency.md` gives the sources. The defaults of load shedding are those of the
    north-east of North America; `european` has those of Continental Europe.
    """

    nominal_hz: Annotated[float, "nominal frequency: 50 or 60 Hz"] = 60.0
    damping: Annotated[float, "change of load with frequency, % per %"] = 1.0
    governor_seconds: Annotated[float, "time constant of the slow part of governors, s"] = 8.0
    governor_fast_share: Annotated[float, "share of a governor's power that comes at once"] = 0.3
    agc_seconds: Annotated[float, "integration time of secondary control, s"] = 60.0
    shed_first_hz: Annotated[float, "load shedding starts this far below nominal, Hz"] = 0.5
    shed_step_hz: Annotated[float, "between two stages of load shedding, Hz"] = 0.2
    shed_stages: Annotated[int, "stages of load shedding; 0 for none"] = 4
    shed_stage_share: Annotated[float, "share of load that each stage sheds"] = 0.07
    restore_share_per_min: Annotated[float, "share of load reconnected each minute"] = 0.02
    restore_within_hz: Annotated[float, "load comes back above nominal less this, Hz"] = 0.1
    band_hz: Annotated[float, "deviation that counts as outside the band, Hz"] = 0.2
    collapse_low_hz: Annotated[float, "units trip this far below nominal, Hz"] = 2.2
    collapse_high_hz: Annotated[float, "units trip this far above nominal, Hz"] = 1.8
    least_inertia_s: Annotated[float, "inertia never taken for less, seconds of the load"] = 0.5

    def __post_init__(self):
        if self.nominal_hz not in _NOMINAL_HZ:
            raise _refused("nominal_hz", self.nominal_hz, "must be 50 or 60")
        for name in (
            "governor_seconds",
            "agc_seconds",
            "shed_first_hz",
            "shed_step_hz",
            "band_hz",
            "collapse_low_hz",
            "collapse_high_hz",
            "least_inertia_s",
        ):
            if not 0 < getattr(self, name) < float("inf"):
                raise _refused(name, getattr(self, name), "must be above 0 and finite")
        for name in ("damping", "restore_share_per_min", "restore_within_hz"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise _refused(name, getattr(self, name), "must not be negative, nor infinite")
        if not 0 <= self.governor_fast_share <= 1:
            raise _refused("governor_fast_share", self.governor_fast_share, "must be in [0, 1]")
        if int(self.shed_stages) != self.shed_stages or not 0 <= self.shed_stages <= _MOST_STAGES:
            raise _refused(
                "shed_stages", self.shed_stages, f"must be a whole number in [0, {_MOST_STAGES}]"
            )
        if not 0 <= self.shed_stage_share * max(self.shed_stages, 1) <= 1:
            raise _refused(
                "shed_stage_share",
                self.shed_stage_share,
                f"times env.frequency.shed_stages={self.shed_stages} it must be in [0, 1]",
            )
        if self.shed_stages and self.shed_last_hz >= self.collapse_low_hz:
            raise _refused(
                "collapse_low_hz",
                self.collapse_low_hz,
                f"must be more than the last stage of load shedding, {self.shed_last_hz:g}",
            )
        if self.collapse_low_hz >= self.nominal_hz:
            raise _refused("collapse_low_hz", self.collapse_low_hz, "must be below nominal_hz")
        if self.restore_within_hz >= self.shed_first_hz:
            raise _refused(
                "restore_within_hz",
                self.restore_within_hz,
                f"must be less than env.frequency.shed_first_hz={self.shed_first_hz}",
            )

    @property
    def shed_last_hz(self) -> float:
        """How far below nominal the last stage of load shedding acts, Hz."""
        return self.shed_first_hz + self.shed_step_hz * (self.shed_stages - 1)


def european() -> FrequencyOptions:
    """Returns the options of Continental Europe: 50 Hz, 45 % of load in six stages from 49 Hz."""
    return FrequencyOptions(
        nominal_hz=50.0,
        shed_first_hz=1.0,
        shed_step_hz=0.2,
        shed_stages=6,
        shed_stage_share=0.075,
        collapse_low_hz=2.5,
        collapse_high_hz=1.5,
    )


def _refused(name: str, value, rule: str) -> ValueError:
    return ValueError(f"env.frequency.{name}={value}: {rule}")
