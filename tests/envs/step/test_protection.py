"""When overloaded branches trip: at once, or after a count of steps, in whatever round."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.case import fleet_file
from envs.powerflow import base_point, lanes, network
from envs.step import dispatch, grid_model, solve_and_protect
from envs.step.options import ProtectionOptions
from envs.step.protection import Thresholds

LATER = {"from_bus": 2, "to_bus": 5}  # case14: overloaded when FIRST is out
FIRST = {"from_bus": 2, "to_bus": 4}


def _branch(grid, ends):
    at = grid.bus.id[grid.branch.from_bus] == ends["from_bus"]
    return int(np.flatnonzero(at & (grid.bus.id[grid.branch.to_bus] == ends["to_bus"]))[0])


def _request(grid, n_renewable, overloaded):
    """The file's loads, shared by units in proportion to Pmax, with steps above limits so far."""
    row = lambda x: jnp.asarray(x, jnp.float32)
    load, p_max = grid.bus.load_p_mw, grid.gen.capacity_mw
    return dispatch.DispatchRequest(
        gen_target_mw=row(load.sum() * p_max / p_max.sum()),
        gen_low_mw=row(grid.gen.p_min_mw),
        gen_high_mw=row(p_max),
        gen_on=jnp.ones(grid.n_gen),
        load_p_mw=row(load[grid.loads]),
        load_q_mvar=row(grid.bus.load_q_mvar[grid.loads]),
        renewable_mw=jnp.zeros(n_renewable),
        other_mw=jnp.zeros(grid.n_bus),
        losses_mw=row(0.03 * load.sum()),
        vm_setpoint_pu=row(base_point.voltage_setpoints(grid)),
        vm_start_pu=jnp.zeros(grid.n_bus),
        va_start_rad=jnp.zeros(grid.n_bus),
        closed=jnp.ones(grid.n_branch),
        overloaded=jnp.asarray(overloaded, jnp.int32),
    )


@pytest.fixture(scope="module")
def operating_point(case14):
    """Solves case14 with limits `rate_mva`, steps above them so far `[lanes, n_branch]`."""
    fleet = fleet_file.load("case14", case14)
    model = grid_model.grid_model(case14, fleet, network.build(case14), 1e-4)

    @functools.partial(jax.jit, static_argnums=2)
    def settled(rate_pu, requests, protection):
        branch = model.net.branch._replace(rate_pu=rate_pu)
        limited = model._replace(net=model.net._replace(branch=branch))
        one = lanes.per_grid(
            functools.partial(solve_and_protect.operating_point, limited, protection)
        )
        return jax.vmap(one)(requests)

    def run(rate_mva, overloaded, thresholds=None, **options):
        requests = [_request(case14, fleet.n_renewable, steps) for steps in overloaded]
        if thresholds:
            requests = [r._replace(protection=of) for r, of in zip(requests, thresholds)]
        actual = settled(
            jnp.asarray(rate_mva[:, None] / case14.base_mva, jnp.float32),
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *requests),
            ProtectionOptions(**options),
        )
        assert actual.solution.converged.all()
        return actual

    return run


@pytest.fixture(scope="module")
def limits(case14, operating_point):
    """Limits such that FIRST trips at once, and LATER is above its own only when FIRST is out."""
    first, later = _branch(case14, FIRST), _branch(case14, LATER)
    none, much = np.zeros((3, case14.n_branch), int), np.full(case14.n_branch, 1e4)
    flow = lambda rate: 1e4 * np.asarray(operating_point(rate, none).solution.rho)[0]
    before = flow(much)
    alone = np.where(np.arange(case14.n_branch) == first, before / 2.5, much)
    after = flow(alone)
    rate = alone.copy()
    rate[later] = 0.5 * (before[later] + after[later])
    assert before[later] < 0.95 * rate[later] < rate[later] < 0.95 * after[later]
    return rate


def test_a_fourth_overload_in_a_row_trips_in_whatever_round_it_arises(
    case14, operating_point, limits
):
    first, later = _branch(case14, FIRST), _branch(case14, LATER)
    overloaded = np.zeros((3, case14.n_branch), int)
    overloaded[:, later] = 0, 2, 3
    point = operating_point(limits, overloaded)
    assert point.trip_round[:, first].tolist() == [1, 1, 1]
    assert point.trip_round[:, later].tolist() == [0, 0, 2]
    assert np.all(point.solution.rho[:2, later] > 1.0)


def test_where_one_step_above_a_limit_is_too_many_no_branch_ends_a_step_above_it(
    case14, operating_point, limits
):
    point = operating_point(limits, np.zeros((1, case14.n_branch), int), soft_steps=1)
    assert point.rounds[0] == 2 and not point.unstable[0]
    assert float(point.solution.rho.max()) <= 1.0


def test_each_episode_trips_by_its_own_thresholds(case14, operating_point, limits):
    first, later = _branch(case14, FIRST), _branch(case14, LATER)
    overloaded = np.zeros((3, case14.n_branch), int)
    overloaded[:, later] = 3
    of = lambda hard, soft: Thresholds(jnp.float32(hard), jnp.float32(soft))
    thresholds = [of(np.inf, np.inf), of(2.0, 4.0), of(2.0, 12.0)]
    point = operating_point(limits, overloaded, thresholds)
    assert point.trip_round[:, first].tolist() == [0, 1, 1]
    assert point.trip_round[:, later].tolist() == [0, 2, 0]
    assert float(point.solution.rho[0, first]) > 2.0
