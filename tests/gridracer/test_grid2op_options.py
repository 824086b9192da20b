"""Balance at the reference bus, recorded plans and inverters: what playing like Grid2Op needs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import reactive_power
from envs.step.options import REFERENCE
from evaluation.scenarios import suite


def _after_a_step(balancing, action=0.0):
    env = grid_env.make(EnvOptions(balancing=balancing, layout="grid2op"))
    state = jax.jit(env.reset)(jax.random.PRNGKey(0))
    actions = jnp.zeros(env.layout.action_size)
    if action:
        actions = actions.at[env.layout.action["unit_power"].start + 1].set(action)
    return env, state, jax.jit(env.step)(state, actions)


def test_the_unit_at_the_reference_bus_takes_up_what_is_left():
    env, _, shared = _after_a_step("shared")
    _, _, reference = _after_a_step(REFERENCE)
    first = env.grid.gen.bus == env.grid.reference_bus
    plan = np.asarray(reference.series.plan_p_mw[1])
    units = env.grid.gen.is_unit
    off_plan = np.asarray(reference.gen_p_mw) - plan
    assert np.abs(off_plan[units & ~first]).max() < 1e-3 < np.abs(off_plan[first]).max()
    assert np.abs(np.asarray(shared.gen_p_mw) - plan)[units & ~first].max() > 1e-3
    total = lambda state: float(np.asarray(state.gen_p_mw)[units].sum())
    assert total(reference) == pytest.approx(total(shared), rel=2e-3)  # but for losses


def test_the_block_unit_power_moves_units_as_the_block_generator_does():
    env, _, moved = _after_a_step("shared", 0.2)
    other = grid_env.make(EnvOptions(layout="operator"))
    state = jax.jit(other.reset)(jax.random.PRNGKey(0))
    actions = jnp.zeros(other.layout.action_size)
    actions = actions.at[other.layout.action["generator"].start + env.grid.units[1]].set(0.2)
    same = jax.jit(other.step)(state, actions)
    np.testing.assert_allclose(moved.gen_p_mw, same.gen_p_mw, atol=1e-3)


def test_an_inverter_draws_nothing_for_the_voltage_that_it_holds():
    env = grid_env.make(EnvOptions())
    kind = env.fleet.units.kind.copy()
    kind[kind == "condenser"] = "inverter"
    units = dataclasses.replace(env.fleet.units, kind=kind)
    q, on = jnp.full(env.grid.n_gen, 10.0), jnp.ones(env.grid.n_gen, bool)
    drawn = reactive_power.condenser_mw(env.fleet, q, on)
    none = reactive_power.condenser_mw(dataclasses.replace(env.fleet, units=units), q, on)
    assert drawn.min() == pytest.approx(-0.15) and not none.any()


def test_set_points_follow_the_load_by_the_swing_that_is_chosen():
    steady = grid_env.make(EnvOptions(voltage_swing=0.0))
    state = jax.jit(steady.reset)(jax.random.PRNGKey(0))
    at = steady.grid.gen.bus
    np.testing.assert_allclose(
        np.asarray(state.vm_pu)[at], steady.grid.gen.vm_setpoint_pu, atol=1e-5
    )


def test_a_recorded_plan_needs_recorded_days_and_scenarios_that_keep_it():
    with pytest.raises(ValueError, match="env.schedule=recorded: is a plan of recorded days"):
        EnvOptions(schedule="recorded")
    options = EnvOptions(schedule="recorded", time_series="chronics")
    assert suite.fitting(options) == ["normal", "failure", "emergency"]
    with pytest.raises(ValueError, match="scenario peak: makes a plan .* take normal, failure"):
        suite.make("peak", "easy", options, "train")
    with pytest.raises(ValueError, match="env.balancing='both': it must be one of shared, ref"):
        grid_env.check(EnvOptions(balancing="both"))
