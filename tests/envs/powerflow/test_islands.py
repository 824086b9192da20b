"""Grids that fall apart: which island is energised, what is not served, why the episode ends."""

import dataclasses
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.case import connectivity
from envs.contingency import distribution_factors
from envs.options import EnvOptions
from envs.powerflow import base_point, islands, network, solve
from envs.step import frequency as frequency_lib, islanding, termination
from envs.step.frequency_options import PRESETS, FrequencyOptions
from envs.step.termination import Reason
from envs.time_series import series as series_lib

LANES = 200


def _serving_most(grid, closed, capacity, load):
    """The island that serves most load, by flooding from each bus in turn."""
    ends = np.stack([grid.branch.from_bus, grid.branch.to_bus], 1)[closed]
    left, best, energised = set(range(grid.n_bus)), (0.0, 0.0), np.zeros(grid.n_bus, bool)
    while left:
        island, edge = set(), {min(left)}
        while edge:
            island |= edge
            touched = np.isin(ends, list(edge)).any(1)
            edge = set(ends[touched].ravel().tolist()) - island
        left -= island
        at = sorted(island)
        can = capacity[at].sum()
        rank = (min(max(load[at].sum(), 0.0), can), can)
        if rank > best:
            best, energised = rank, np.isin(np.arange(grid.n_bus), at)
    return energised


def _cut(grid, buses):
    """The branches between `buses` and all others, indices."""
    inside = np.isin(np.arange(grid.n_bus), buses)
    return np.flatnonzero(inside[grid.branch.from_bus] != inside[grid.branch.to_bus])


def _random_cuts(grid, rng):
    """Branches in service after one to three parts were cut off, bool `[LANES, n_branch]`."""
    closed = np.ones((LANES, grid.n_branch), bool)
    neighbours = connectivity.links(grid, np.ones(grid.n_branch, bool))
    neighbours = (neighbours + neighbours.T).tocsr()
    for lane in range(LANES):
        for _ in range(rng.integers(1, 4)):
            part = {int(rng.integers(grid.n_bus))}
            for _ in range(rng.integers(0, grid.n_bus // 2)):
                part.add(int(rng.choice(neighbours[[rng.choice(list(part))]].indices)))
            closed[lane, _cut(grid, sorted(part))] = False
    return closed


@pytest.mark.parametrize("name", ["case14", "case118"])
def test_the_energised_island_is_the_one_that_serves_most_load(name, request):
    grid = request.getfixturevalue(name)
    net, rng = network.build(grid), np.random.default_rng(1)
    closed = _random_cuts(grid, rng)
    gen_on = rng.random((LANES, grid.n_gen)) < 0.7
    load = grid.bus.load_p_mw * rng.uniform(0.0, 2.0, (LANES, grid.n_bus))
    capacity = np.zeros((LANES, grid.n_bus))
    np.add.at(capacity.T, grid.gen.bus, (grid.gen.capacity_mw * gen_on).T)
    inner = lambda x: jnp.asarray(x[:, net.order].T, jnp.float32)
    parts = jax.jit(lambda *x: islands.find(net, *x))(
        jnp.asarray(closed.T, jnp.float32), inner(capacity), inner(load)
    )
    energised = np.asarray(parts.energised)[net.position].T
    exact = [_serving_most(grid, *case) for case in zip(closed, capacity, load)]
    np.testing.assert_array_equal(energised, exact)
    on_host = [connectivity.energised(grid, *case) for case in zip(closed, gen_on, load)]
    np.testing.assert_array_equal(on_host, exact)
    # Not merely the island with most Pmax, nor that with most load.
    largest = [_serving_most(grid, *case) for case in zip(closed, capacity, capacity)]
    with_unit = [_serving_most(grid, c, 1e6 * p, d) for c, p, d in zip(closed, capacity, load)]
    assert np.any(np.array(exact) != largest) and np.any(np.array(exact) != with_unit)


def test_a_power_flow_keeps_the_loads_where_the_largest_unit_is_cut_off_alone(case14):
    """Bus 1 of case14 has 340 of 399 MW of Pmax, and no load."""
    net = network.build(case14)
    p, q = base_point.nominal_injections(case14)
    closed = np.ones(20)
    closed[_cut(case14, [0])] = 0
    small = 0.2 * p * (np.arange(14) > 0)
    solution = jax.jit(solve.solver(net))(
        solve.base_request(net, small, 0.2 * q, closed=jnp.asarray(closed, jnp.float32))
    )
    assert solution.converged and solution.energised.tolist() == [False] + [True] * 13


def test_a_bridge_cuts_off_the_side_that_serves_less_load(case14):
    """Branch 7-8 of case14, with a unit that is larger than all others moved behind it."""
    gen = case14.gen
    away = dataclasses.replace(gen, bus=np.where(gen.p_max_mw == gen.p_max_mw.max(), 7, gen.bus))
    factors = distribution_factors.build(dataclasses.replace(case14, gen=away))
    (bridge,) = np.flatnonzero(factors.bridge)
    assert np.flatnonzero(factors.cut_off[bridge]).tolist() == [7]


# In the environment.


def _without_outages(series):
    return series.replace(
        branch_status=jnp.zeros_like(series.branch_status),
        gen_status=jnp.zeros_like(series.gen_status),
    )


def _open(series, branches):
    """The same day with `branches` out in its first step."""
    return series.replace(branch_status=series.branch_status.at[1, branches].set(series_lib.FAULT))


@pytest.fixture(scope="module")
def day(env):
    return _without_outages(jax.jit(env.sample_series)(jax.random.PRNGKey(3)))


@pytest.fixture(scope="module")
def held():
    """The environment with frequency held, so that relays keep off what they hold off."""
    frequency = FrequencyOptions(damping=1e3, restore_share_per_min=0.0)

    def patched(function):
        def run(*args):
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(PRESETS, "held", frequency)
                return function(*args)

        return run

    env = patched(grid_env.make)(EnvOptions(frequency="held", blackout_share=1.0))
    start, detailed = jax.vmap(env.start, (None, 0)), jax.vmap(env.detailed)
    return env, jax.jit(patched(start)), jax.jit(patched(detailed))


def test_load_asked_for_is_served_or_not_served_whatever_is_cut_off_and_shed(held, day):
    """Energy by what the power flow delivers: generation less losses is the load that is served."""
    env, start, detailed = held
    grid, rng = env.grid, np.random.default_rng(0)
    rows = rng.integers(0, env.horizon, LANES)
    state = start(day, jnp.asarray(rows))
    shed = jnp.asarray(rng.choice([0.0, 0.07, 0.21], LANES), jnp.float32)
    state = state.replace(frequency=state.frequency.replace(shed_share=shed))
    # What is out begins with the step: parts of the grid, and in some lanes a unit as well.
    closed = _random_cuts(grid, rng) | (np.arange(LANES) % 3 == 0)[:, None]
    branch = jnp.where(closed, series_lib.IN_SERVICE, series_lib.FAULT).astype(
        day.branch_status.dtype
    )
    lost = rng.choice([-1, *grid.units], LANES)
    gone = lost[:, None] == np.arange(grid.n_gen)
    gen = jnp.where(gone, series_lib.FAULT, series_lib.IN_SERVICE).astype(day.gen_status.dtype)
    every = jnp.arange(LANES)
    days = jax.tree.map(lambda x: jnp.broadcast_to(x, (LANES, *x.shape)), day)
    days = days.replace(
        branch_status=days.branch_status.at[every, rows + 1].set(branch),
        gen_status=days.gen_status.at[every, rows + 1].set(gen),
    )
    action = jnp.asarray(rng.uniform(-1, 1, (LANES, env.layout.action_size)), jnp.float32)
    after, detail = detailed(state, action, days)

    went_on = ~np.asarray(after.terminated)
    dead, held_off = ~np.asarray(detail.energised), np.asarray(shed) > 0
    cut_off = dead[:, grid.loads].any(1)
    unserved = np.asarray(after.terms["energy_not_served"], float) / env.dt_h
    asked_of = np.asarray(detail.feasible.load_p_mw, float)
    missing = (asked_of * np.where(dead[:, grid.loads], 1.0, np.asarray(shed)[:, None])).sum(1)
    short = unserved > missing + 1.0
    # All that was to be mixed is there: loads cut off, relays holding load off, too few units.
    for kind in itertools.product((cut_off, ~cut_off), (held_off, ~held_off), (short, ~short)):
        assert (went_on & np.all(kind, 0)).sum() >= 3
    on_island = ~dead
    generation = np.asarray(after.gen_p_mw, float)[:, grid.gen.is_unit].sum(1)
    generation += np.asarray(detail.renewable_mw, float).sum(1)
    generation += np.asarray(detail.feasible.storage_mw, float).sum(1)
    drawn = np.asarray(state.condenser_mw, float) * on_island[:, grid.gen.bus] * ~gone
    served = generation + drawn.sum(1) - np.asarray(after.losses_mw, float)
    demand = asked_of.sum(1)
    np.testing.assert_allclose((served + unserved)[went_on], demand[went_on], atol=0.3)
    assert np.all(unserved[went_on] <= demand[went_on] * (1 + 1e-6))


@pytest.fixture(scope="module")
def first_step(env):
    """What the first step of a time series leads to, compiled once."""
    start, detailed = jax.jit(env.start), jax.jit(env.detailed)
    idle = jnp.zeros(env.layout.action_size)
    return lambda series, **changes: detailed(start(series).replace(**changes), idle, series)


def test_what_relays_hold_off_is_not_counted_again_where_nothing_is_served(env, day, first_step):
    """A dead load misses all of its energy, one that is served what relays hold off of it."""
    dead = [11, 12, 13]
    series = _open(day, _cut(env.grid, dead))
    for share in (0.0, 0.1):
        frequency = frequency_lib.initial().replace(shed_share=jnp.float32(share))
        after, _ = first_step(series, frequency=frequency)
        assert not after.terminated
        # Relays reconnect evenly from 10 % on, 2 % a minute: 5 minutes leave none, on average half.
        demand = np.asarray(series.load_p_mw[1])
        off = np.isin(env.grid.loads, dead)
        expected = demand[off].sum() + demand[~off].sum() * share / 2
        actual = float(after.terms["energy_not_served"]) * 12
        assert actual == pytest.approx(expected, rel=0.03), share


def test_a_grid_that_loses_its_largest_unit_with_the_bus_ends_by_islanding(env, day, first_step):
    after, detail = first_step(_open(day, _cut(env.grid, [0])))
    assert detail.energised.tolist() == [False] + [True] * 13
    assert after.terminated and Reason(int(after.reason)) == Reason.ISLANDING


def test_the_same_unit_lost_on_a_whole_grid_ends_by_frequency(day, first_step):
    after, _ = first_step(day.replace(gen_status=day.gen_status.at[1, 0].set(series_lib.FAULT)))
    assert after.terminated and Reason(int(after.reason)) == Reason.FREQUENCY


@pytest.mark.parametrize(
    "not_served, collapsed, load, generation, sudden, other, reason",
    [
        (29.0, False, 29.0, 0.0, -29.0, 0.0, Reason.NONE),
        (40.0, False, 0.0, 0.0, 0.0, 0.0, Reason.LOAD_LOST),
        (40.0, False, 10.0, 5.0, 0.0, 0.0, Reason.LOAD_LOST),
        (40.0, False, 30.0, 0.0, 0.0, 0.0, Reason.ISLANDING),
        (40.0, False, 0.0, 30.0, 0.0, 0.0, Reason.ISLANDING),
        (0.0, True, 0.0, 0.0, 0.0, 80.0, Reason.FREQUENCY),
        (0.0, True, 5.0, 0.0, -5.0, 80.0, Reason.FREQUENCY),
        (0.0, True, 60.0, 0.0, -60.0, 10.0, Reason.ISLANDING),
        (40.0, True, 40.0, 0.0, -5.0, 80.0, Reason.FREQUENCY),
    ],
)
def test_islanding_is_the_reason_where_what_is_cut_off_is_most_of_it(
    env, not_served, collapsed, load, generation, sudden, other, reason
):
    """Of 100 MW asked for; 30 may be lost."""
    actual = termination.reason(
        {"energy_not_served": not_served * env.dt_h, "load": 100.0 * env.dt_h},
        types.SimpleNamespace(
            point=types.SimpleNamespace(
                unstable=False, solution=types.SimpleNamespace(converged=True)
            ),
            frequency=types.SimpleNamespace(collapsed=collapsed),
            cut_off=islanding.CutOff(load, generation, sudden),
            disturbance=frequency_lib.Disturbance(other, 0.0),
        ),
        env.dt_h,
        env.options.blackout_share,
    )
    assert Reason(int(actual)) == reason


def test_a_plant_that_is_cut_off_disturbs_frequency(env, day, first_step):
    fleet = env.fleet
    bus = int(fleet.renewables.bus[0])
    here = np.asarray(fleet.renewables.bus == bus)
    load = np.isin(env.grid.loads, bus)
    assert not np.isin(env.grid.gen.bus, bus).any()
    outcomes = []
    for output in (0.0, 60.0):
        series = day.replace(
            renewable_mw=jnp.where(here, output, 0.0 * day.renewable_mw),
            load_p_mw=jnp.where(load, 0.0, day.load_p_mw),
        )
        after, _ = first_step(_open(series, _cut(env.grid, [bus])))
        outcomes.append(float(after.metrics["nadir_hz"]))
    assert outcomes[1] < outcomes[0] - 0.05, outcomes
