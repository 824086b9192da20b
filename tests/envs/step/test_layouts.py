"""Layouts: case118 is what it says, and every entry of it is energised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env, restart
from envs.options import EnvOptions


@pytest.fixture(scope="module")
def env118():
    return grid_env.make(EnvOptions(case="case118", layout="case118"))


@pytest.fixture(scope="module")
def step118(env118):
    """A batch of steps on one time series from one state."""
    return jax.jit(jax.vmap(env118.transition, in_axes=(None, 0, None)))


@pytest.fixture(scope="module")
def day118(env118):
    series = jax.jit(env118.sample_series)(jax.random.PRNGKey(4))
    series = series.replace(
        branch_status=jnp.zeros_like(series.branch_status),
        gen_status=jnp.zeros_like(series.gen_status),
    )
    return series, jax.jit(env118.start)(series, 100)


def test_case118_has_618_observations_and_145_actions(env118):
    layout = env118.layout
    sizes = {name: part.stop - part.start for name, part in layout.observation.items()}
    assert sizes == {"bus_vm": 118, "bus_va": 118, "bus_p": 118, "bus_q": 118, "gen_p": 54,
                     "controllable_load_p": 91, "frequency": 1}  # fmt: skip
    sizes = {name: part.stop - part.start for name, part in layout.action.items()}
    assert sizes == {"generator": 54, "load": 91}
    assert (layout.observation_size, layout.action_size) == (618, 145)
    assert len(set(layout.observation_names)) == 618


def test_the_91_largest_loads_are_controlled(env118):
    grid = env118.grid
    demand = grid.bus.load_p_mw[grid.loads]
    chosen = env118.site.controllable
    assert demand[chosen].min() >= np.delete(demand, chosen).max()


@pytest.mark.slow
def test_every_action_of_case118_has_an_effect(env118, step118, day118):
    series, state = day118
    n = env118.layout.action_size
    # In halves, so that each batch stays small: nothing, then every action alone.
    actions = 0.5 * jnp.concatenate([jnp.zeros((1, n)), jnp.eye(n)])
    after = step118(state, actions, series)
    change = np.abs(np.asarray(after.observation[1:]) - np.asarray(after.observation[0]))
    effect = change.max(1)
    dead = [name for name, e in zip(env118.layout.action_names, effect) if e < 1e-3]
    assert not dead


def test_every_observation_of_case118_varies_over_a_day(env118):
    def run(key):
        series = env118.sample_series(key)
        start = env118.start(series)

        def step(state, _):
            after = env118.transition(state, jnp.zeros(env118.layout.action_size), series)
            return restart.strong(after), (after.observation, after.terminated)

        return jax.lax.scan(step, restart.strong(start), None, length=env118.horizon)[1]

    seen, terminated = jax.jit(run)(jax.random.PRNGKey(0))
    assert not np.any(terminated)
    spread = np.ptp(np.asarray(seen), axis=0)
    constant = [n for n, s in zip(env118.layout.observation_names, spread) if s < 1e-5]
    assert not constant


def test_the_full_layout_adds_what_else_there_is():
    named = grid_env.check(EnvOptions(case="case118", layout="case118_full"))
    grid, fleet, layout = named.grid, named.fleet, named.layout
    expected = 618 + 54 + 5 * grid.n_branch + fleet.n_renewable + fleet.n_storage + 19 + 4 + 4 + 2
    assert layout.observation_size == expected
    actions = 145 + fleet.n_renewable + fleet.n_storage + 19 + grid.n_branch
    assert layout.action_size == actions


@pytest.mark.slow
def test_the_full_layout_sees_the_margin_and_moves_switches():
    env = grid_env.make(EnvOptions(case="case118", layout="case118_full"))
    series = jax.jit(env.sample_series)(jax.random.PRNGKey(4))
    series = series.replace(branch_status=jnp.zeros_like(series.branch_status))
    state = jax.jit(env.start)(series, 100)
    step = jax.jit(env.transition)
    branch = 20
    still = jnp.zeros(env.layout.action_size)
    first = env.layout.action["switch"].start
    opened = step(state, still.at[first + branch].set(-1.0), series)
    assert not opened.branch.closed[branch] and float(opened.terms["switching"]) == 1
    # Cooldown: three steps pass before it may be closed again.
    close = still.at[first + branch].set(1.0)
    states = [opened]
    for _ in range(4):
        states.append(step(states[-1], close, series))
    assert [bool(s.branch.closed[branch]) for s in states] == [False, False, False, True, True]
    assert [int(s.metrics["refused_switches"]) for s in states] == [0, 1, 1, 0, 0]
    after = np.asarray(opened.observation[env.layout.observation["after_outage_rho"]])
    assert np.isfinite(after).all() and after[branch] == 0 and (after > 0).sum() > 150
    assert float(opened.terms["insecurity"]) == pytest.approx((after > 1).sum() / 12, rel=1e-5)
    # Curtailment: all of one plant.
    plant = env.layout.action["curtailment"].start
    less = step(state, still.at[plant].set(-1.0), series)
    assert float(less.terms["curtailment"]) == pytest.approx(
        float(series.renewable_mw[101, 0]) / 12, abs=1e-3
    )
