"""From physical targets to an action and back."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import actions as actions_lib
from envs.time_series.series import FAULT, IN_SERVICE


@pytest.fixture(scope="module", params=("full", "operator"))
def env(request):
    return grid_env.make(EnvOptions(layout=request.param))


@pytest.fixture(scope="module")
def series(env):
    return jax.jit(env.sample_series)(jax.random.PRNGKey(0))


@pytest.fixture(scope="module")
def start(env):
    return jax.jit(env.start)


def test_an_action_comes_back_from_what_it_asks_for(env, start, series):
    state = start(series, 144)
    wanted = jax.random.uniform(jax.random.PRNGKey(1), (env.layout.action_size,), minval=-1.0)
    if "curtailment" in env.layout.action:
        # Giving up less than nothing is nothing.
        part = env.layout.action["curtailment"]
        wanted = wanted.at[part].set(-jnp.abs(wanted[part]))
    read = actions_lib.read(env.layout, env.site, wanted)
    limits, now = env.limits, series.at(state.t + 1)
    feasible = actions_lib.project(limits, read, now, state, free=True)
    targets = actions_lib.Targets(
        feasible.gen_target_mw, feasible.vm_setpoint_pu, feasible.load_p_mw, feasible.renewable_mw,
        read.storage * limits.storage.p_max_mw, read.switch,
    )  # fmt: skip
    actual = env.action_for(state, series, targets)
    dark = np.zeros(env.layout.action_size, bool)
    if "curtailment" in env.layout.action:  # a plant that has nothing to give asks for nothing
        dark[env.layout.action["curtailment"]] = np.asarray(now.renewable_mw) < 1e-6
    np.testing.assert_allclose(actual, np.where(dark, 0.0, wanted), atol=2e-4)


def test_nothing_asked_for_is_as_planned(env, start, series):
    actual = env.action_for(start(series, 0), series, actions_lib.Targets())
    np.testing.assert_array_equal(actual, 0.0)


def test_where_nothing_is_given_nothing_is_asked_for(env, start, series):
    calm = series.replace(renewable_mw=jnp.zeros_like(series.renewable_mw))
    none = actions_lib.Targets(
        renewable_mw=jnp.zeros(env.fleet.n_renewable), load_mw=calm.at(1).load_p_mw
    )
    actual = env.action_for(start(calm, 0), calm, none)
    np.testing.assert_array_equal(actual, 0.0)


def test_targets_out_of_reach_are_the_nearest_action(env, start, series):
    state, n = start(series, 0), env.grid.n_gen
    actual = env.action_for(state, series, actions_lib.Targets(unit_mw=jnp.full(n, 1e6)))
    units = np.flatnonzero(env.grid.gen.is_unit)
    np.testing.assert_array_equal(np.asarray(actual)[env.layout.action["generator"]][units], 1.0)


def test_one_control_of_several_at_a_bus_moves_its_set_point(env, series):
    grid = env.grid
    twice = lambda x: np.concatenate([x, x[-1:]])
    gen = dataclasses.replace(
        grid.gen, **{f.name: twice(getattr(grid.gen, f.name)) for f in dataclasses.fields(grid.gen)}
    )
    from envs.case import fleet as fleet_lib
    from envs.step import layouts

    double = dataclasses.replace(grid, gen=gen)
    fleet = fleet_lib.plain(double)
    spec = layouts.LAYOUTS[env.options.layout]
    site = layouts.site(double, fleet, spec)
    two = grid_env.GridEnv(
        grid_env.Specification(double, fleet, site, layouts.make(site, spec)), env.options
    )
    day = jax.jit(two.sample_series)(jax.random.PRNGKey(0))
    state = jax.jit(two.start)(day)
    bus = int(gen.bus[-1])
    target = state.vm_pu.at[bus].add(0.004)
    action = two.action_for(state, day, actions_lib.Targets(voltage_pu=target))
    after = jax.jit(two.transition)(state, action, day)
    assert float(after.vm_pu[bus]) == pytest.approx(float(target[bus]), abs=1e-5)


def test_cuts_are_of_what_was_asked_of_what_is_in_service(env, start, series):
    state, n = start(series, 144), env.grid.n_gen
    now, limits = series.at(state.t + 1), env.limits
    units = np.flatnonzero(env.grid.gen.is_unit)

    def cut(action, gen_on, gen_p_mw):
        requested = actions_lib.read(env.layout, env.site, action)
        row = now.replace(gen_status=jnp.where(gen_on, IN_SERVICE, FAULT))
        before = state.replace(gen_p_mw=gen_p_mw)
        feasible = actions_lib.project(limits, requested, row, before)
        return float(feasible.cut_unit_mw), float(feasible.cut_voltage_pu)

    idle, on = jnp.zeros(env.layout.action_size), jnp.ones(n, bool)
    lost = on.at[units[0]].set(False)
    assert cut(idle, lost, jnp.where(lost, now.plan_p_mw, 0.0)) == (0.0, 0.0)
    far = now.plan_p_mw.at[units[0]].add(3.0 * limits.ramp_mw[units[0]])
    held = cut(idle, on, far)
    assert held[0] == pytest.approx(2.0 * float(limits.ramp_mw[units[0]]), rel=1e-4)
    assert cut(idle, lost, far)[0] == 0.0
    condenser = int(np.flatnonzero(~env.grid.gen.is_unit)[0])
    part = env.layout.action["generator"]
    high = idle.at[part.start + condenser if isinstance(part, slice) else part[condenser]].set(1.0)
    room = float((limits.vm_max_pu - state.vm_pu)[env.grid.gen.bus[condenser]])
    assert cut(high, on, now.plan_p_mw)[1] == pytest.approx(room - limits.voltage_ramp, abs=1e-5)
    assert cut(high, on.at[condenser].set(False), now.plan_p_mw)[1] == 0.0
