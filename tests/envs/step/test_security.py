"""Security of a step: screened everywhere, exact where it was confirmed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.case import fleet
from envs.options import EnvOptions
from envs.powerflow import base_point, network, solve
from envs.step import grid_model, security
from evaluation import pandapower_grid


@pytest.fixture(scope="module")
def tight(case14):
    """case14 with limits low enough for outages to matter."""
    branch = dataclasses.replace(case14.branch, rate_mva=0.3 * case14.branch.rate_mva)
    return dataclasses.replace(case14, branch=branch)


@pytest.fixture(scope="module")
def point(tight):
    p, q = base_point.nominal_injections(tight)
    net = network.build(tight, p_pu=p, q_pu=q)
    actual = jax.jit(solve.solver(net))(solve.base_request(net, p, q))
    assert actual.converged
    return net, actual


def _assessor(grid, net, count):
    model = grid_model.grid_model(grid, fleet.plain(grid), net, 1e-5, flows=True)
    return security.Assessor(grid, model, EnvOptions(confirmed_outages=count))


def _assess(grid, point, count, closed=None):
    net, actual = point
    assessor = _assessor(grid, net, count)
    closed = jnp.ones(grid.n_branch, bool) if closed is None else closed
    return jax.jit(assessor)(actual, closed, jnp.ones(grid.n_gen, bool))


def test_confirmed_loadings_are_those_of_pandapower(tight, point):
    ours = _assess(tight, point, tight.n_branch)
    oracle, actual = pandapower_grid.Oracle(tight), point[1]
    p, q = (np.asarray(x, float) for x in (actual.p_pu, actual.q_pu))
    rate = tight.branch.rate_mva
    theirs = []
    for branch in range(tight.n_branch):
        flows = oracle.solve(p, q, np.asarray(actual.vm_pu, float), out=[branch]).flows
        power = np.hypot(flows[:, [0, 2]], flows[:, [1, 3]]).max(1) / rate
        theirs.append(np.delete(np.nan_to_num(power), branch).max())
    # The reference unit alone makes up for losses there, all units here: the outage after which
    # losses are six times as high differs by 3 %.
    error = np.abs(np.asarray(ours.loading) / theirs - 1.0)
    assert error.max() < 0.04 and np.median(error) < 5e-4, error
    assert int(ours.insecure) == int((ours.loading > 1).sum()) > 3


def test_what_is_not_confirmed_stays_as_screened(tight, point):
    screened, confirmed, all_ = (_assess(tight, point, n) for n in (0, 3, tight.n_branch))
    worst = np.argsort(-np.asarray(screened.loading))[:3]
    others = np.setdiff1d(np.arange(tight.n_branch), worst)
    np.testing.assert_array_equal(confirmed.loading[others], screened.loading[others])
    np.testing.assert_allclose(confirmed.loading[worst], all_.loading[worst], rtol=1e-4)
    assert np.abs(confirmed.loading[worst] - screened.loading[worst]).max() > 1e-3


def test_a_dead_bus_makes_no_outage_worse(tight):
    # Bus 8 hangs on one branch; out with it, and with the condenser there.
    bus = int(np.flatnonzero(tight.bus.id == 8)[0])
    out = int(np.flatnonzero(tight.branch.to_bus == bus)[0])
    closed = jnp.ones(tight.n_branch).at[out].set(0.0)
    p, q = base_point.nominal_injections(tight)
    net = network.build(tight, p_pu=p, q_pu=q)
    request = solve.base_request(net, p, q, closed=closed)
    request = request._replace(pv=request.pv.at[bus].set(0.0))
    actual = jax.jit(solve.solver(net))(request)
    assert actual.converged and not actual.energised[bus]
    on = jnp.asarray(tight.gen.bus != bus)
    screened, confirmed = (
        jax.jit(_assessor(tight, net, n))(actual, closed > 0, on) for n in (0, tight.n_branch)
    )
    assert float(confirmed.loading[out]) == 0
    others = np.delete(np.arange(tight.n_branch), out)
    near = np.abs(confirmed.loading - screened.loading)[others]
    assert np.median(near) < 0.02 and confirmed.loading[others].max() < 10


def test_what_screening_cannot_tell_is_not_called_secure(tight, point):
    closed = jnp.ones(tight.n_branch, bool).at[:11].set(False)
    actual = _assess(tight, point, 0, closed)
    assert int(actual.insecure) == tight.n_branch - 11
    assert np.all(actual.loading[:11] == 0) and np.all(actual.loading[11:] == 10)


def test_a_step_prices_and_reports_it():
    options = EnvOptions(insecurity_price=100.0, confirmed_outages=2)
    env = grid_env.make(dataclasses.replace(options, branch_faults_per_day=0.0))
    series = jax.jit(env.sample_series)(jax.random.PRNGKey(0))
    state = jax.jit(lambda t: env.transition(
        env.start(t, 200), jnp.zeros(env.layout.action_size), t))(series)  # fmt: skip
    assert 0.1 < float(state.metrics["after_outage_rho_max"]) <= 10.0
    assert float(state.metrics["after_outage_rho_max"]) >= float(state.metrics["rho_max"])
    insecure = float(state.terms["insecurity"]) / env.dt_h
    assert insecure == pytest.approx(round(insecure), abs=1e-4)


def test_an_impossible_number_is_refused():
    with pytest.raises(ValueError, match="confirmed_outages=-1"):
        EnvOptions(confirmed_outages=-1)
