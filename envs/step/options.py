"""What can be chosen about a step: its limits, its protection and its prices."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range
from envs.time_series.options import TimeSeriesOptions

_PRICE = Range(0, 1e9)
_INSIDE_ONE = Range(0, 1, above=True, below=True)


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
        float,
        "largest mismatch of the power flow, pu of the base MVA; more where single precision asks",
        _INSIDE_ONE,
    ] = 1e-4
    voltage_ramp: Annotated[float, "how far a set-point may move in a step, pu", _INSIDE_ONE] = (
        0.005
    )
    load_control_price: Annotated[float, "paid for each MWh of load moved, $/MWh", _PRICE] = 60.0
    curtailment_price: Annotated[float, "paid for wind and sun not used, $/MWh", _PRICE] = 20.0
    storage_price: Annotated[
        float, "wear of batteries, $ per MWh charged or discharged", _PRICE
    ] = 5.0
    switching_price: Annotated[float, "wear of a breaker, $ per operation", _PRICE] = 20.0
    lost_load_price: Annotated[float, "value of lost load, $/MWh", _PRICE] = 10_000.0
    surplus_price: Annotated[float, "charged for power forced down beyond ramps, $/MWh", _PRICE] = (
        500.0
    )
    overload_price: Annotated[float, "charged above a thermal limit, $/MVAh", _PRICE] = 500.0
    voltage_price: Annotated[
        float, "charged outside a bus's voltage limits, $ per pu and h", _PRICE
    ] = 20_000.0
    reactive_price: Annotated[
        float, "charged outside generators' reactive limits, $/MVArh", _PRICE
    ] = 10.0
    angle_price: Annotated[
        float, "charged outside a branch's angle limits, $ per rad and h", _PRICE
    ] = 0.0
    frequency_price: Annotated[float, "charged per h of frequency outside its band", _PRICE] = (
        1_000.0
    )
    insecurity_price: Annotated[
        float, "charged per h for each branch whose loss overloads", _PRICE
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
    protection: ProtectionOptions = ProtectionOptions()
