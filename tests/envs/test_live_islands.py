"""Microgrids in the environment: couplings open, each island on its own, load shed where it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import ieee13_mg
from envs import grid_env
from envs.time_series import series as series_lib
from evaluation.scenarios import suite

NOON = 144


@pytest.fixture(scope="module")
def env():
    return grid_env.make(ieee13_mg.experiment().env)


@pytest.fixture(scope="module")
def day(env):
    return jax.jit(env.sample_series)(jax.random.PRNGKey(3))


@pytest.fixture(scope="module")
def run(env):
    """Plays steps from `row` of a day with one action, returns each state and detail."""
    start, detailed = jax.jit(env.start), jax.jit(env.detailed)

    def play(day, row, action, steps):
        played = [(start(day, jnp.int32(row)), None)]
        for _ in range(steps):
            played.append(detailed(played[-1][0], action, day))
        return played[1:]

    return play


def _out(day, env, branches, start=0):
    """The same day with `branches` out from row `start` on."""
    status = np.array(day.branch_status)
    status[start:, list(branches)] = series_lib.FAULT
    return day.replace(branch_status=jnp.asarray(status))


def _inside(env, number):
    return env.fleet.area == env.fleet.microgrids.area[number]


def test_a_coupling_opens_and_closes_by_action(env, day, run):
    couplings, still = env.layout.action["coupling"], jnp.zeros(env.layout.action_size)
    opened, detail = run(day, NOON, still.at[couplings.start + 1].set(-1.0), 1)[-1]
    (open_,) = np.flatnonzero(~np.asarray(opened.branch.closed))
    assert open_ == env.fleet.couplings[1] and float(opened.terms["switching"]) == 1.0
    assert detail.energised.all() and not opened.terminated
    assert abs(float(detail.rho[open_])) == 0.0


def test_each_island_produces_what_it_draws(env, day, run):
    state, detail = run(_out(day, env, env.fleet.couplings), NOON, jnp.zeros(29), 2)[-1]
    power = np.asarray(detail.bus_p_mw)
    assert float(state.terms["energy_not_served"]) == 0.0
    for number in range(3):
        here = _inside(env, number)
        load = np.asarray(detail.feasible.load_p_mw)[here[env.grid.loads]].sum()
        assert load > 0.2 and 0.0 < power[here].sum() < 0.01 * load  # losses


def test_a_microgrid_without_enough_sheds_its_own_load_alone(env, day, run):
    """Night: no sun, and the battery charges, so that the generator cannot carry its load."""
    grid, still = env.grid, jnp.zeros(env.layout.action_size)
    charge = still.at[env.layout.action["storage"].start].set(-1.0)
    state, detail = run(_out(day, env, env.fleet.couplings[:1]), 220, charge, 1)[-1]
    asked = np.asarray(detail.feasible.load_p_mw)
    power = np.asarray(detail.bus_p_mw)
    first = _inside(env, 0)
    short = asked[first[grid.loads]].sum() + 0.45 - grid.gen.p_max_mw[1]
    assert short > 0.1
    missing = float(state.terms["energy_not_served"]) * 12
    assert missing == pytest.approx(short, abs=0.01)
    # The feeder, and microgrids that are coupled, have all that they ask for.
    loads = grid.loads[~first[grid.loads]]
    silent = np.setdiff1d(loads, np.concatenate([grid.gen.bus, env.fleet.renewables.bus]))
    wanted = asked[np.isin(grid.loads, silent)]
    np.testing.assert_allclose(-power[silent], wanted, rtol=1e-4)
    assert not state.terminated


def test_the_derivative_of_a_step_with_a_coupling_open_equals_differences(env, day, run):
    out = _out(day, env, env.fleet.couplings[:1])
    start, _ = run(out, NOON, jnp.zeros(29), 1)[0]
    cost = jax.jit(lambda action: env.step(start.replace(series=out), action).reward)
    at = jnp.full(env.layout.action_size, 0.1).at[env.layout.action["coupling"]].set(0.0)
    slope = np.asarray(jax.jit(jax.grad(lambda a: cost(a)))(at))
    for name in ("unit power: bus 711", "unit power: bus 721", "storage: bus 711", "load: bus 671"):
        entry = env.layout.action_names.index(name)
        step = 0.05
        ends = [float(cost(at.at[entry].add(s * step))) for s in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step)
        assert slope[entry] == pytest.approx(expected, rel=0.05, abs=2e-5), name


def test_a_day_without_supply_goes_on(env, run):
    """Emergency, hard: supply is lost, and three microgrids carry what they can."""
    draw = lambda level: jax.tree.map(
        lambda x: x[0], suite.draw(env, "emergency", level, "test", 1, 0)
    )
    day, easy = draw("hard"), draw("easy")
    rows = np.flatnonzero(np.asarray(day.branch_status)[:, 0] == series_lib.FAULT)
    assert 48 <= rows.size <= 96
    announced = np.flatnonzero(np.asarray(easy.branch_status)[:, 0] == series_lib.MAINTENANCE)
    np.testing.assert_array_equal(announced, rows)

    first = int(rows[0]) - 3  # the second step from here is the last with supply
    played = run(day, first, jnp.zeros(29), 8)
    lost = np.array([float(state.terms["energy_not_served"]) for state, _ in played])
    assert lost[:2].max() < 1e-3 and lost[2:].min() > 0.05
    for state, detail in played:
        assert not state.terminated and detail.energised.all()
