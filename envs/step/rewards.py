"""Reward terms in physical units, and the ways of combining them into one number.

Every term is logged whatever the combination. All are energies, money or counts of one step.
"""

from collections.abc import Callable, Mapping

import chex
import jax.numpy as jnp

from envs.step.options import StepOptions

TERM_UNITS = {
    "generation_cost": "$",
    "planned_cost": "$",  # what generation would cost on the plan
    "load_control_cost": "$",
    "energy_not_served": "MWh",
    "surplus": "MWh",  # that units could not shed within their ramps, and had to
    "curtailment": "MWh",  # wind and sun that were there and not used
    "storage_throughput": "MWh",  # charged and discharged
    "switching": "",  # breakers the controller moved
    "trips": "",  # branches that protection took out
    "overload": "MVAh",  # above thermal limits
    "voltage_violation": "pu·h",  # outside bus limits, summed over buses
    "reactive_violation": "MVArh",  # outside generators' reactive limits, summed
    "angle_violation": "rad·h",  # outside branches' limits of angles, summed
    "frequency_excursion": "h",  # frequency outside its band
    "insecurity": "h",  # branches whose loss would overload another, times time
    "losses": "MWh",
    "load": "MWh",  # before any control
    "redispatch": "MWh",  # moved away from the plan, units summed
    "co2": "t",
}

Terms = Mapping[str, chex.Array]


def operating_cost(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns what the step cost in $: fuel, what was moved, and a price on every violation."""
    return (
        terms["generation_cost"]
        + terms["load_control_cost"]
        + options.curtailment_price * terms["curtailment"]
        + options.storage_price * terms["storage_throughput"]
        + options.switching_price * terms["switching"]
        + options.lost_load_price * terms["energy_not_served"]
        + options.surplus_price * terms["surplus"]
        + violation_cost(terms, options)
    )


def violation_cost(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns the price in $ of every limit that was not kept."""
    return (
        options.overload_price * terms["overload"]
        + options.voltage_price * terms["voltage_violation"]
        + options.reactive_price * terms["reactive_violation"]
        + options.angle_price * terms["angle_violation"]
        + options.frequency_price * terms["frequency_excursion"]
        + options.insecurity_price * terms["insecurity"]
    )


def economic(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns minus the operating cost in thousands of $."""
    return -1e-3 * operating_cost(terms, options)


def savings(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns the plan's generation cost minus the operating cost, in thousands of $.

    The plan is made before the day and does not depend on any action, so that days that are
    operated to their end rank as by `economic`. What a learner has to tell apart from the weather
    is much smaller here.
    """
    return economic(terms, options) + 1e-3 * terms["planned_cost"]


def layered(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns safety (half), cost (0.3) and uptime (0.2), each between −1 and 1, summed.

    Safety falls with every violation, by 1 for each 1 % of the planned cost that their price
    amounts to; cost is 1 when 20 % of the planned cost is saved; uptime is 1 when all load is
    served and −1 when none is.
    """
    planned = jnp.maximum(terms["planned_cost"], 1e-6)
    safety = jnp.clip(1.0 - violation_cost(terms, options) / (0.01 * planned), -1.0, 1.0)
    spent = terms["generation_cost"] + terms["load_control_cost"]
    cost = jnp.clip((planned - spent) / (0.2 * planned), -1.0, 1.0)
    unserved = terms["energy_not_served"] / jnp.maximum(terms["load"], 1e-6)
    uptime = 1.0 - 2.0 * jnp.clip(unserved, 0.0, 1.0)
    return 0.5 * safety + 0.3 * cost + 0.2 * uptime


def l2rpn(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns minus the energy that operating wastes, in thousands of $, as L2RPN counts it.

    Losses and redispatch at the mean price of the plan, and the value of load that is not served:
    the operational cost of the Learning to Run a Power Network challenges (Marot et al., Electric
    Power Systems Research 189, 2020, section 4), without their score's scale.
    """
    price = terms["planned_cost"] / jnp.maximum(terms["load"], 1e-6)
    moved = terms["losses"] + terms["redispatch"] + terms["curtailment"]
    moved = moved + terms["storage_throughput"]
    return -1e-3 * (price * moved + options.lost_load_price * terms["energy_not_served"])


REWARDS: dict[str, Callable[[Terms, StepOptions], chex.Array]] = {
    "economic": economic,
    "savings": savings,
    "layered": layered,
    "l2rpn": l2rpn,
}
