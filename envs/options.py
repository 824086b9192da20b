"""What can be chosen about an environment."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range
from envs.step.frequency_options import FrequencyOptions

MINUTES_PER_DAY = 1440
_PRICE = Range(0, 1e9)
_SHARE = Range(0, 1, above=True)
_BELOW_ONE = Range(0, 1, below=True)
_INSIDE_ONE = Range(0, 1, above=True, below=True)


@dataclasses.dataclass(frozen=True)
class ProtectionOptions:
    """What disconnects a branch without being asked. The text beside each field is its help."""

    enabled: Annotated[bool, "whether overloaded branches trip"] = True
    hard_limit: Annotated[
        float,
        "loading at which a branch trips at once, share of its limit",
        Range(1, 1000, above=True),
    ] = 2.0
    soft_steps: Annotated[
        int, "steps in a row above its limit after which a branch trips", Range(1, 10_000)
    ] = 4
    reclose_steps: Annotated[
        int, "steps that a branch which tripped stays open at least", Range(1, 10_000)
    ] = 12
    recloses: Annotated[
        bool, "whether it is then closed by itself; if not, the controller has to"
    ] = True
    max_rounds: Annotated[
        int, "rounds of a cascade before the grid counts as lost", Range(1, 1000)
    ] = 8

    def __post_init__(self):
        bounds.check("env.protection.", self)


@dataclasses.dataclass(frozen=True)
class EnvOptions:
    """Options of the environment. The text beside each field is its help."""

    case: Annotated[str, "grid: a shipped case (case14) or the path of a MATPOWER .m file"] = (
        "case14"
    )
    fleet: Annotated[
        str, "assets on the grid: auto (the case's own), plain, a shipped fleet, or a .json file"
    ] = "auto"
    schedule: Annotated[str, "day-ahead plan: secured, proportional or merit_order"] = "secured"
    reward: Annotated[str, "combination of reward terms: economic, savings, layered or l2rpn"] = (
        "economic"
    )
    layout: Annotated[
        str, "set of observations and controls: operator, full, voltages, case118 or case118_full"
    ] = "operator"
    step_minutes: Annotated[
        int, "simulated minutes between two decisions", Range(1, MINUTES_PER_DAY)
    ] = 5
    horizon_steps: Annotated[
        int, "decisions in an episode; 288 of 5 minutes are a day", Range(1, MINUTES_PER_DAY)
    ] = 288
    planned_losses: Annotated[
        float, "losses that the plan allows for, as a share of load", _BELOW_ONE
    ] = 0.03
    load_control_share: Annotated[float, "share of a load that may be moved up or down", _SHARE] = (
        0.10
    )
    tolerance_pu: Annotated[
        float,
        "largest mismatch of the power flow, pu of the base MVA; more where single precision asks",
        _INSIDE_ONE,
    ] = 1e-4
    switch_cooldown_steps: Annotated[
        int, "steps that a switched branch must stay as it is", Range(0, 10_000)
    ] = 3
    voltage_swing: Annotated[
        float, "how far set-points fall from full load to none, pu; 0 keeps the case's", _BELOW_ONE
    ] = 0.02
    voltage_ramp: Annotated[float, "how far a set-point may move in a step, pu", _INSIDE_ONE] = (
        0.005
    )
    condenser_loss: Annotated[
        float, "active power a condenser draws per reactive power", _BELOW_ONE
    ] = 0.015
    load_control_price: Annotated[float, "paid for each MWh of load moved, $/MWh", _PRICE] = 60.0
    curtailment_price: Annotated[float, "paid for wind and sun not used, $/MWh", _PRICE] = 20.0
    storage_price: Annotated[
        float, "wear of batteries, $ per MWh charged or discharged", _PRICE
    ] = 5.0
    switching_price: Annotated[float, "wear of a breaker, $ per operation asked for", _PRICE] = 20.0
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
    blackout_share: Annotated[float, "share of load unserved at which the episode ends", _SHARE] = (
        0.30
    )
    restoration_hours: Annotated[
        float, "hours of load lost when the grid blacks out", Range(0, 10_000)
    ] = 4.0
    # Low enough that most days are whole, high enough that each batch has some that are not.
    maintenance_per_day: Annotated[float, "branches in planned maintenance a day", Range(0, 2)] = (
        0.1
    )
    branch_faults_per_day: Annotated[
        float, "branches of the grid that trip a day", Range(0, 1000)
    ] = 0.1
    gen_faults_per_day: Annotated[
        float, "generators of the grid that trip a day", Range(0, 1000)
    ] = 0.02
    protection: ProtectionOptions = ProtectionOptions()
    frequency: FrequencyOptions = FrequencyOptions()

    def __post_init__(self):
        bounds.check("env.", self)
        if self.horizon_steps * self.step_minutes > MINUTES_PER_DAY:
            raise ValueError(
                f"env.horizon_steps={self.horizon_steps} of env.step_minutes={self.step_minutes}: "
                f"an episode is at most one day, {MINUTES_PER_DAY // self.step_minutes} steps"
            )
