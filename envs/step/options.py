"""What can be chosen about a step: its limits, its protection and its prices."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range
from envs.time_series import curriculum
from envs.time_series.options import TimeSeriesOptions

# Which islands stay energised.
ISLANDS = LARGEST_ISLAND, ALL_ISLANDS = ("largest", "all")
# Which units take up what the others leave open.
BALANCING = SHARED, REFERENCE = ("shared", "reference")
_Price = Annotated[float, Range(0, 1e9)]
_InsideOne = Annotated[float, Range(0, 1, above=True, below=True)]


@dataclasses.dataclass(frozen=True)
class ProtectionOptions(bounds.Options, prefix="env.protection."):
    """What disconnects an overloaded branch. The text beside each field is its help."""

    enabled: Annotated[bool, "whether overloaded branches trip"] = True
    hard_limit: Annotated[
        float,
        "loading at which a branch trips at once, share of its limit",
        Range(1, 1000, above=True),
    ] = 2.0
    soft_steps: Annotated[
        int, "steps in a row above its limit after which a branch trips", Range(1, 10_000)
    ] = 4
    recloses: Annotated[
        bool, "whether a branch that tripped is closed by itself; if not, the controller has to"
    ] = True


@dataclasses.dataclass(frozen=True)
class StepOptions(TimeSeriesOptions):
    """Options of a step, after those of time series. The text beside each field is its help."""

    load_control_share: Annotated[
        float, "share of a load that may be moved up or down", Range(0, 1, above=True)
    ] = 0.10
    tolerance_pu: Annotated[
        _InsideOne,
        "largest mismatch of the power flow, pu of the base MVA; more where single precision asks",
    ] = 1e-4
    islands: Annotated[
        str,
        "which islands stay energised where the grid is divided: largest, the one that serves most "
        "load, or all that have a unit in service, each with a balance of its own",
    ] = LARGEST_ISLAND
    balancing: Annotated[
        str,
        "which units take up what targets leave open, and the change of losses: shared, all by "
        "Pmax, or reference, those at the reference bus before the others",
    ] = SHARED
    blackout_share: Annotated[
        float,
        "share of load that a step may leave unserved before the episode ends",
        Range(0, 1, above=True),
    ] = 0.30
    voltage_ramp: Annotated[_InsideOne, "how far a set-point may move in a step, pu"] = 0.005
    voltage_swing: Annotated[
        float, "how far scheduled set-points fall from full load to none, pu", Range(0, 0.2)
    ] = 0.02
    load_control_price: Annotated[_Price, "paid for each MWh of load moved, $/MWh"] = 60.0
    curtailment_price: Annotated[_Price, "paid for wind and sun not used, $/MWh"] = 20.0
    storage_price: Annotated[_Price, "wear of batteries, $ per MWh charged or discharged"] = 5.0
    switching_price: Annotated[_Price, "wear of a breaker, $ per operation"] = 20.0
    lost_load_price: Annotated[_Price, "value of lost load, $/MWh"] = 10_000.0
    surplus_price: Annotated[_Price, "charged for power forced down beyond ramps, $/MWh"] = 500.0
    overload_price: Annotated[_Price, "charged above a thermal limit, $/MVAh"] = 500.0
    voltage_price: Annotated[_Price, "charged outside a bus's voltage limits, $ per pu and h"] = (
        20_000.0
    )
    reactive_price: Annotated[_Price, "charged outside generators' reactive limits, $/MVArh"] = 10.0
    angle_price: Annotated[_Price, "charged outside a branch's angle limits, $ per rad and h"] = 0.0
    frequency_price: Annotated[_Price, "charged per h of frequency outside its band"] = 1_000.0
    insecurity_price: Annotated[_Price, "charged per h for each branch whose loss overloads"] = 0.0
    violation_price: Annotated[
        _Price,
        "charged for each step that breaks a limit of branch, voltage, reactive power, angle or "
        "frequency, or ends the episode, $",
    ] = 0.0
    screen_outages: Annotated[
        bool, "whether N-1 security is assessed where nothing shows or prices it"
    ] = False
    confirmed_outages: Annotated[
        int,
        "worst outages of each step that AC power flow confirms; 0 for screening alone",
        Range(0, 10_000),
    ] = 0
    frequency: Annotated[
        str, "frequency and its relays as in: north_america (60 Hz) or europe (50 Hz)"
    ] = "north_america"
    tariff: Annotated[
        str, "what loads and prosumers pay and earn for electricity: time_of_use or flat"
    ] = "time_of_use"
    protection: ProtectionOptions = ProtectionOptions()

    def check(self) -> None:
        """Raises ValueError as `TimeSeriesOptions.check`, and for a curriculum of nothing."""
        super().check()
        curriculum.check(self)
