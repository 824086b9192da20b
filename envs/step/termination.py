"""Why an episode ends before its horizon, and what that is charged as."""

import enum
from collections.abc import Mapping

import chex
import jax.numpy as jnp

from envs.step.step_result import StepResult

RESTORATION_HOURS = 4.0  # of all load lost when an episode ends early; a choice


class Reason(enum.IntEnum):
    """Reasons of termination. Reaching the horizon is truncation, not termination."""

    NONE = 0
    DIVERGED = 1  # the power flow has no solution: voltage collapse
    LOAD_LOST = 2  # more than the allowed share of load could not be served
    CASCADE = 3  # branches went on tripping after the bounded number of rounds
    FREQUENCY = 4  # frequency left the range in which units stay connected
    ISLANDING = 5  # load or frequency was lost mostly by what was cut off from the grid


def reason(
    terms: Mapping[str, chex.Array], result: StepResult, dt_h: float, blackout_share: float
) -> chex.Array:
    """Returns why the episode ends (`Reason`), the most telling reason first.

    It ends where more than the share `blackout_share` of the load of a step is not served.
    """
    point, cut_off, not_served = result.point, result.cut_off, terms["energy_not_served"]
    lost = not_served > blackout_share * terms["load"]
    mostly_cut_off = dt_h * (cut_off.load_mw + cut_off.generation_mw) > 0.5 * not_served
    chosen = jnp.where(mostly_cut_off, Reason.ISLANDING, Reason.LOAD_LOST)
    chosen = jnp.where(lost, chosen, Reason.NONE)
    rest_mw = result.disturbance.sudden_mw + result.disturbance.drift_mw
    mostly_cut_off = jnp.abs(cut_off.sudden_mw) > jnp.abs(rest_mw)
    out_of_range = jnp.where(mostly_cut_off, Reason.ISLANDING, Reason.FREQUENCY)
    chosen = jnp.where(result.frequency.collapsed, out_of_range, chosen)
    chosen = jnp.where(point.unstable, Reason.CASCADE, chosen)
    return jnp.where(point.solution.converged, chosen, Reason.DIVERGED)


def charged(
    terms: Mapping[str, chex.Array], terminated: chex.Array, result: StepResult
) -> dict[str, chex.Array]:
    """Returns `terms` where a termination is charged as `RESTORATION_HOURS` of all load.

    It counts as a step in violation, whatever its last solution says of limits.
    """
    blackout_mwh = RESTORATION_HOURS * result.now.load_p_mw.sum()
    not_served = jnp.where(terminated, blackout_mwh, terms["energy_not_served"])
    in_violation = jnp.where(terminated, 1.0, terms["steps_in_violation"])
    return {**terms, "energy_not_served": not_served, "steps_in_violation": in_violation}
