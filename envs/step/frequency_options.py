"""Parameters of the frequency of the system, and the sets of them that an environment may name."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range

_NOMINAL_HZ = (50.0, 60.0)
_Seconds = Annotated[float, Range(0, 1e6, above=True)]
_Hz = Annotated[float, Range(0, 60, above=True)]


@dataclasses.dataclass(frozen=True)
class FrequencyOptions(bounds.Options, prefix="frequency."):
    """Options of the frequency model; `docs/frequency.md` gives the sources of the defaults."""

    nominal_hz: Annotated[float, "nominal frequency: 50 or 60 Hz", Range(50, 60)] = 60.0
    damping: Annotated[float, "change of load with frequency, % per %", Range(0, 1000)] = 1.0
    governor_seconds: Annotated[_Seconds, "time constant of the slow part of governors, s"] = 8.0
    governor_fast_share: Annotated[
        float, "share of a governor's power that comes at once", Range(0, 1)
    ] = 0.3
    agc_seconds: Annotated[_Seconds, "integration time of secondary control, s"] = 60.0
    shed_first_hz: Annotated[_Hz, "load shedding starts this far below nominal, Hz"] = 0.5
    shed_step_hz: Annotated[_Hz, "between two stages of load shedding, Hz"] = 0.2
    shed_stages: Annotated[int, "stages of load shedding; 0 for none", Range(0, 20)] = 4
    shed_stage_share: Annotated[float, "share of load that each stage sheds", Range(0, 1)] = 0.07
    restore_share_per_min: Annotated[
        float, "share of load reconnected each minute", Range(0, 60)
    ] = 0.02
    restore_within_hz: Annotated[
        float, "load comes back above nominal less this, Hz", Range(0, 60)
    ] = 0.1
    band_hz: Annotated[_Hz, "deviation that counts as outside the band, Hz"] = 0.2
    collapse_low_hz: Annotated[_Hz, "units trip this far below nominal, Hz"] = 2.2
    collapse_high_hz: Annotated[_Hz, "units trip this far above nominal, Hz"] = 1.8
    least_inertia_s: Annotated[_Seconds, "inertia never taken for less, seconds of the load"] = 0.5

    def check(self) -> None:
        """Raises ValueError where relays and limits contradict each other."""

        def require(kept: bool, name: str, rule: str):
            if not kept:
                raise ValueError(f"frequency.{name}={getattr(self, name)}: {rule}")

        require(self.nominal_hz in _NOMINAL_HZ, "nominal_hz", "must be 50 or 60")
        stages, first, last = self.shed_stages, self.shed_first_hz, self.shed_last_hz
        rule = f"times frequency.shed_stages={stages} it must be at most 1"
        require(self.shed_stage_share * stages <= 1, "shed_stage_share", rule)
        rule = (
            f"must be more than the last stage of load shedding, {last:g}, which follows from "
            f"frequency.shed_first_hz={first:g}, frequency.shed_step_hz={self.shed_step_hz:g} and "
            f"frequency.shed_stages={stages}"
        )
        require(not stages or last < self.collapse_low_hz, "collapse_low_hz", rule)
        rule = "must be below nominal_hz"
        require(self.collapse_low_hz < self.nominal_hz, "collapse_low_hz", rule)
        rule = f"must be less than frequency.shed_first_hz={first}"
        require(self.restore_within_hz < first, "restore_within_hz", rule)

    @property
    def shed_last_hz(self) -> float:
        """How far below nominal the last stage of load shedding acts, Hz."""
        return self.shed_first_hz + self.shed_step_hz * (self.shed_stages - 1)


PRESETS = {
    # 60 Hz; load shedding as in the north-east of the continent.
    "north_america": FrequencyOptions(),
    # 50 Hz; 45 % of load in six stages from 49 Hz on.
    "europe": FrequencyOptions(
        nominal_hz=50.0,
        shed_first_hz=1.0,
        shed_step_hz=0.2,
        shed_stages=6,
        shed_stage_share=0.075,
        collapse_low_hz=2.5,
        collapse_high_hz=1.5,
    ),
}
