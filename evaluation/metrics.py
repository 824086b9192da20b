"""What is reported of an episode, in which unit, and which way is better."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from envs import grid_env
from envs.step import reward_terms, rewards
from envs.step.termination import Reason
from evaluation.episodes import EpisodeOutcomes

_RESTORED_MINUTES = 120.0  # within which an emergency is to be over


class Metric(NamedTuple):
    """One number of each episode."""

    title: str
    unit: str
    higher_is_better: bool
    # Whether an early end is in the number. Of the others, whoever played fewer hours has another
    # number for that alone.
    whole_day: bool = False


METRICS: dict[str, Metric] = {
    "return": Metric("return", "", True, True),
    "survival": Metric("survival", "% of day", True, True),
    "energy_not_served": Metric("energy not served", "MWh", False, True),
    # Per day survived: a controller that ends a day at noon has not halved its cost.
    "cost": Metric("operating cost", "$/day", False),
    "total_cost": Metric("cost with every price", "$/day", False, True),
    "losses": Metric("losses", "MWh/day", False),
    "overload": Metric("overload", "MVAh", False),
    "voltage_violation": Metric("voltage violation", "pu·h", False),
    "reactive_violation": Metric("reactive excess", "MVArh", False),
    "angle_violation": Metric("angle violation", "rad·h", False),
    "feasible": Metric("feasible steps", "%", True, True),
    "secure": Metric("N-1 secure steps", "%", True, True),
    "trips": Metric("trips", "", False),
    "curtailment": Metric("curtailment", "MWh", False),
    "redispatch": Metric("redispatch", "MWh/day", False),
    "load_moved": Metric("load moved", "$/day", False),
    "switching": Metric("switching", "", False),
    "storage_cycles": Metric("storage cycles", "per day", False),
    "nadir": Metric("frequency nadir", "Hz", True),
    "rocof": Metric("steepest frequency", "Hz/s", False),
    "frequency_outside": Metric("time off frequency", "min", False),
    "restored_after": Metric("longest emergency", "min", False, True),
    "restored": Metric("restored in 2 h", "%", True, True),
    "co2": Metric("CO2", "t/day", False),
    "prosumer_bill": Metric("prosumers' bill", "$/day", False),
    "prosumer_import": Metric("drawn by prosumers", "MWh/day", False),
    "prosumer_export": Metric("fed in by prosumers", "MWh/day", True),
    "override": Metric("overridden", "% of steps", False),
    "held_back": Metric("held back", "% of steps", False),
    "foreseen": Metric("held back, foreseen", "% of steps", False),
    "averted": Metric("held back, averted", "% of steps", True),
}


def compute(outcomes: EpisodeOutcomes, env: grid_env.GridEnv) -> dict[str, np.ndarray]:
    """Returns every metric of every episode, `{name: [B]}`, in double precision.

    A step is feasible where no limit of branches, voltages, reactive power and angles is broken,
    all load is served and the episode goes on, as OPFGym counts valid solutions (up to 0.001 pu or
    rad, summed over the grid: what single precision cannot tell); it is secure where the loss of no
    branch would overload another. An emergency lasts while frequency is outside its band or relays
    hold load off.

    Raises:
      ValueError: an episode could not begin, so that there is nothing to measure.
    """
    dt_h, horizon = env.dt_h, env.horizon
    counted = np.asarray(outcomes.counted)
    exact = lambda x: np.where(counted, np.asarray(x, np.float64), 0.0)
    terms = {name: exact(values) for name, values in outcomes.terms.items()}
    total = {name: values.sum(0) for name, values in terms.items()}
    steps = counted.sum(0)
    unsolvable = np.flatnonzero(steps == 0)
    if unsolvable.size:
        raise ValueError(
            f"{unsolvable.size} of {steps.size} days have no power flow solution to begin with "
            f"(the first is day {unsolvable[0]}): the case cannot carry these loads"
        )
    ends = np.asarray(outcomes.terminated) & counted
    fatal = ends.any(0)
    played = steps / horizon
    powers = ("overload", "reactive_violation", "energy_not_served", "surplus")
    broken = np.maximum(
        np.stack([terms[name] for name in powers]).max(0) / env.grid.base_mva,
        np.maximum(terms["voltage_violation"], terms["angle_violation"]),
    ) / dt_h  # fmt: skip
    feasible = counted & (broken <= reward_terms.CLEAN_PU) & ~np.asarray(outcomes.terminated)
    secure = counted & (terms["insecurity"] == 0) & ~np.asarray(outcomes.terminated)
    band = env.frequency.band_hz
    off = np.abs(np.asarray(outcomes.frequency_hz, np.float64) - env.frequency.nominal_hz)
    emergency = counted & ((off > band) | (np.asarray(outcomes.shed_share) > 1e-6))
    lasted = _longest(emergency) * dt_h * 60.0
    # What an episode that ended early had not restored, it never does.
    lasted = np.where(fatal, horizon * dt_h * 60.0, lasted)
    nominal = env.frequency.nominal_hz
    per_day = 1.0 / played
    priced = rewards.operating_cost(terms, env.options).sum(0)
    blackout = env.options.lost_load_price * (terms["energy_not_served"] * ends).sum(0)
    capacity = env.fleet.storage.energy_mwh.sum()
    return {
        "return": exact(outcomes.reward).sum(0),
        "survival": 100.0 * (steps - fatal) / horizon,
        "energy_not_served": total["energy_not_served"],
        "cost": (total["generation_cost"] + total["load_control_cost"]) * per_day,
        "total_cost": (priced - blackout) * per_day + blackout,
        "losses": total["losses"] * per_day,
        "overload": total["overload"],
        "voltage_violation": total["voltage_violation"],
        "reactive_violation": total["reactive_violation"],
        "angle_violation": total["angle_violation"],
        "feasible": 100.0 * feasible.sum(0) / horizon,
        "secure": 100.0 * secure.sum(0) / horizon if env.assesses else np.full(steps.size, np.nan),
        "trips": total["trips"],
        "curtailment": total["curtailment"],
        "redispatch": total["redispatch"] * per_day,
        "load_moved": total["load_control_cost"] * per_day,
        "switching": total["switching"],
        # Energy through the terminals, both ways, over what a full cycle takes.
        "storage_cycles": total["storage_throughput"] * per_day / max(2.0 * capacity, 1e-9)
        if capacity > 0 else np.zeros(steps.size),
        "nadir": np.where(counted, outcomes.metrics["nadir_hz"], nominal).min(0).astype(float),
        "rocof": np.abs(exact(outcomes.metrics["rocof_hz_per_s"])).max(0),
        "frequency_outside": exact(outcomes.metrics["seconds_off_nominal"]).sum(0) / 60.0,
        "restored_after": lasted,
        "restored": 100.0 * (lasted <= _RESTORED_MINUTES),
        "co2": total["co2"] * per_day,
        # Of a grid without prosumers nothing is told.
        **{
            name: total[name] * per_day if env.fleet.n_prosumer else np.full(steps.size, np.nan)
            for name in ("prosumer_bill", "prosumer_import", "prosumer_export")
        },
        "override": 100.0 * (np.asarray(outcomes.overridden) & counted).sum(0) / steps,
        "held_back": 100.0 * (np.asarray(outcomes.held_back) & counted).sum(0) / steps,
        "foreseen": 100.0 * exact(outcomes.foreseen).sum(0) / steps,
        "averted": 100.0 * exact(outcomes.averted).sum(0) / steps,
    }  # fmt: skip


def endings(outcomes: EpisodeOutcomes) -> list[str]:
    """Returns why each episode ended early, by name, `NONE` where it did not."""
    reason = np.where(outcomes.counted & outcomes.terminated, outcomes.reason, 0).max(0)
    return [Reason(int(r)).name for r in reason]


def tally(names: Sequence[str]) -> dict[str, int]:
    """Returns how often each reason is among `names` of episodes, without `NONE`."""
    return {name: names.count(name) for name in sorted(set(names) - {Reason.NONE.name})}


def _longest(flags: np.ndarray) -> np.ndarray:
    """Returns the length of the longest run of true values along the first axis."""
    longest = run = np.zeros(flags.shape[1:], int)
    for row in flags:
        run = np.where(row, run + 1, 0)
        longest = np.maximum(longest, run)
    return longest
