"""Reward terms in physical units, and the ways of combining them into one number.

Every term is logged whatever the combination. All are energies or money of one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import chex
import jax.numpy as jnp

from envs import options as options_lib

UNITS = {
    "generation_cost": "$",
    "planned_cost": "$",  # what generation would cost on the plan
    "load_control_cost": "$",
    "energy_not_served": "MWh",
    "surplus": "MWh",  # that units could not shed within their ramps, and had to
    "overload": "MVAh",  # above thermal limits
    "voltage_violation": "pu·h",  # outside bus limits, summed over buses
    "reactive_violation": "MVArh",  # outside generators' reactive limits, summed
    "losses": "MWh",
    "load": "MWh",  # asked for, before any control
    "redispatch": "MWh",  # moved away from the plan, units summed
}

Terms = Mapping[str, chex.Array]


def operating_cost(terms: Terms, options: options_lib.EnvOptions) -> chex.Array:
    """Returns what the step cost in $: fuel, moved load, and a price on every violation."""
    return (
        terms["generation_cost"]
        + terms["load_control_cost"]
        + options.lost_load_price * terms["energy_not_served"]
        + options.surplus_price * terms["surplus"]
        + options.overload_price * terms["overload"]
        + options.voltage_price * terms["voltage_violation"]
        + options.reactive_price * terms["reactive_violation"]
    )


def economic(terms: Terms, options: options_lib.EnvOptions) -> chex.Array:
    """Returns minus the operating cost in thousands of $."""
    return -1e-3 * operating_cost(terms, options)


def layered(terms: Terms, options: options_lib.EnvOptions) -> chex.Array:
    """Returns safety (half), cost (0.3) and uptime (0.2), each between −1 and 1, summed.

    Safety falls with overload and voltage violation, by 1 for each 1 % of the planned cost that
    their price amounts to; cost is 1 when 20 % of the planned cost is saved; uptime is 1 when all
    load is served and −1 when none is.
    """
    planned = jnp.maximum(terms["planned_cost"], 1e-6)
    violations = options.overload_price * terms["overload"]
    violations = violations + options.voltage_price * terms["voltage_violation"]
    safety = jnp.clip(1.0 - violations / (0.01 * planned), -1.0, 1.0)
    spent = terms["generation_cost"] + terms["load_control_cost"]
    cost = jnp.clip((planned - spent) / (0.2 * planned), -1.0, 1.0)
    unserved = terms["energy_not_served"] / jnp.maximum(terms["load"], 1e-6)
    uptime = 1.0 - 2.0 * jnp.clip(unserved, 0.0, 1.0)
    return 0.5 * safety + 0.3 * cost + 0.2 * uptime


REWARDS: dict[str, Callable[[Terms, options_lib.EnvOptions], chex.Array]] = {
    "economic": economic,
    "layered": layered,
}
