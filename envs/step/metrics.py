"""What of a step is worth a curve and is no reward term."""

import chex
import jax.numpy as jnp

from envs.step.security import Security
from envs.step.state import State
from envs.step.step_result import StepResult


def metrics(after: State, result: StepResult, secure: Security) -> dict[str, chex.Array]:
    """Returns largest loading, voltage range, what projection changed and how it was solved."""
    point, solution, vm = result.point, result.point.solution, after.vm_pu
    energised = solution.energised
    return {
        "rho_max": result.rho.max(),
        "after_outage_rho_max": secure.loading.max(),
        "vm_min_pu": jnp.where(energised.any(), jnp.where(energised, vm, jnp.inf).min(), 0.0),
        "vm_max_pu": vm.max(),
        "projected_mw": result.feasible.cut_unit_mw,
        "projected_storage_mw": result.feasible.cut_storage_mw,
        "projected_voltage_pu": result.feasible.cut_voltage_pu,
        "balancing_mw": jnp.abs(point.shift_mw),
        "refused_switches": result.switched.refused.astype(jnp.float32),
        "cascade_rounds": point.rounds,
        "de_energised_buses": (~energised).sum(),
        "nadir_hz": result.frequency.nadir_hz,
        "rocof_hz_per_s": result.frequency.rocof_hz_per_s,
        "seconds_off_nominal": result.frequency.outside_s,
        "mismatch_pu": jnp.where(solution.converged, solution.mismatch_pu, 0.0),
        "iterations": solution.iterations,
        "fell_back": solution.fell_back,
    }
