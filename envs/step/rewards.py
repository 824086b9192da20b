"""Reward terms in physical units, and the ways of combining them into one number.

Every term is logged whatever the combination. All are energies, money or counts of one step.
"""

from collections.abc import Callable, Mapping

import chex
import jax
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
    "steps_in_violation": "",  # that break a limit of those above, or end the episode
    "insecurity": "h",  # branches whose loss would overload another, times time
    "reserve_shortfall": "MWh",  # that others cannot replace of the worst unit to lose
    "losses": "MWh",
    "load": "MWh",  # before any control
    "redispatch": "MWh",  # moved away from the plan, units summed
    "co2": "t",
    # Payments between those who are connected, no part of the operating cost; see `payments`.
    "wholesale_revenue": "$",  # of units, plants and batteries with a connection of their own
    "retail_bill": "$",  # of loads, less what their connections earn by feeding in
    "prosumer_bill": "$",  # of these the prosumers'
    "prosumer_import": "MWh",  # that prosumers draw of the grid
    "prosumer_export": "MWh",  # that they feed in
}

Terms = Mapping[str, chex.Array]

# Of `layered`: a level of cost is 0.4 % of the planned cost. There are few of safety, so that what
# cost and security move is a tenth of the reward and not lost beside it.
_SAFETY_LEVELS, _COST_LEVELS = 10.0, 100.0
_BELOW_ONE = 0.9  # of security, so that the best of it is less than a level of cost
ASSESSING = ("layered",)  # rewards that ask for N-1 security


def operating_cost(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns what the step cost in $: fuel, what was moved, and a price on every violation."""
    return _cost_within_limits(terms, options) + violation_cost(terms, options)


def _cost_within_limits(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns what the step cost in $, violations of limits aside."""
    return (
        terms["generation_cost"]
        + terms["load_control_cost"]
        + options.curtailment_price * terms["curtailment"]
        + options.storage_price * terms["storage_throughput"]
        + options.switching_price * terms["switching"]
        + options.lost_load_price * terms["energy_not_served"]
        + options.surplus_price * terms["surplus"]
    )


def violation_cost(terms: Terms, options: StepOptions) -> chex.Array:
    """Returns the price in $ of every limit that was not kept."""
    price = (
        options.overload_price * terms["overload"]
        + options.voltage_price * terms["voltage_violation"]
        + options.reactive_price * terms["reactive_violation"]
        + options.angle_price * terms["angle_violation"]
        + options.frequency_price * terms["frequency_excursion"]
        + options.insecurity_price * terms["insecurity"]
    )
    if options.violation_price:
        price += options.violation_price * terms["steps_in_violation"]
    return price


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
    """Returns safety before cost before security: a lexicographic order of steps, in [0, 1).

    Safety and cost are in levels, and no better level of a later layer makes up for a worse one of
    an earlier one:
      safety: the highest level where every limit is kept, the lowest where the episode ends, in
        between by what violations cost beside 1 % of the planned cost, whatever security is priced
        at;
      cost: all other operating cost, from 20 % above the planned cost to 20 % below;
      security: the mean of load served, 1 / (1 + branches whose loss overloads another), and
        1 / (1 + the shortfall of reserve in tenths of load).
    The derivative is that of the sum without levels (straight-through; Bengio, Léonard and
    Courville 2013, Estimating or Propagating Gradients Through Stochastic Neurons, section 3.1):
    the order itself is constant almost everywhere.
    """
    planned = jnp.maximum(terms["planned_cost"], 1e-6)
    load = jnp.maximum(terms["load"], 1e-6)
    violations = violation_cost({**terms, "insecurity": 0.0}, options)
    clean, ended = terms["steps_in_violation"] == 0, terms["energy_not_served"] > load
    share = jnp.where(ended, 0.0, 1.0 / (1.0 + violations / (0.01 * planned)))
    least = jnp.where(clean, _SAFETY_LEVELS, jnp.where(ended, 0.0, 1.0))
    most = jnp.where(clean, _SAFETY_LEVELS, _SAFETY_LEVELS - 1.0)
    safety = _leveled(_SAFETY_LEVELS * share, least, most)

    saved = planned - _cost_within_limits(terms, options)
    share = jnp.clip(0.5 + saved / (0.4 * planned), 0.0, 1.0)
    cost = _leveled(_COST_LEVELS * share, 0.0, _COST_LEVELS)

    served = 1.0 - jnp.minimum(terms["energy_not_served"] / load, 1.0)
    secure = 1.0 / (1.0 + 60.0 / options.step_minutes * terms["insecurity"])
    reserve = 1.0 / (1.0 + 10.0 * terms["reserve_shortfall"] / load)
    security = _BELOW_ONE * (served + secure + reserve) / 3.0
    return (safety + (cost + security) / (_COST_LEVELS + 1.0)) / (_SAFETY_LEVELS + 1.0)


def _leveled(value: chex.Array, least: chex.Numeric, most: chex.Numeric) -> chex.Array:
    """Returns the whole number below `value`, from `least` to `most`, with the slope of `value`."""
    level = jnp.clip(jnp.floor(value), least, most)
    return value + jax.lax.stop_gradient(level - value)


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
