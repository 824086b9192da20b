"""N−1 screening against pandapower's factors, DC outages one by one, and AC outages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pandapower.pypower.makeLODF import makeLODF
from pandapower.pypower.makePTDF import makePTDF

from envs.case import case_file
from envs.contingency import distribution_factors, screening
from envs.powerflow import base_point, network, solve
from envs.powerflow.fast_decoupled import BRANCH_SLOTS
from evaluation import pandapower_grid


def _pandapower_factors(grid):
    tables = pandapower_grid.tables(grid)
    tables["branch"] = np.pad(tables["branch"], ((0, 0), (0, 10)))
    with np.errstate(all="ignore"):
        ptdf = makePTDF(grid.base_mva, tables["bus"], tables["branch"], slack=grid.reference_bus)
        return ptdf, makeLODF(tables["branch"], ptdf)


@pytest.mark.parametrize("name", ["case14", "case118", "case300"])
def test_factors_equal_pandapower(name):
    grid = case_file.load(name)
    factors = distribution_factors.build(grid)
    ptdf, lodf = _pandapower_factors(grid)
    np.testing.assert_allclose(factors.ptdf, ptdf, atol=1e-9)
    kept = ~factors.bridge
    np.testing.assert_allclose(factors.lodf[:, kept], lodf[:, kept], atol=1e-6)
    assert np.isfinite(factors.lodf).all()


def test_bridges_are_the_branches_whose_outage_pandapower_finds_to_cut_buses_off(case118):
    factors = distribution_factors.build(case118)
    oracle = pandapower_grid.Oracle(case118)
    p, q = base_point.nominal_injections(case118)
    for branch in [*np.flatnonzero(factors.bridge)[:4], 0, 50]:
        answer = oracle.solve(p, q, out=[branch])
        np.testing.assert_array_equal(np.isnan(answer.vm), factors.cut_off[branch])
    assert factors.bridge.sum() == 9


def _random_requests(grid, net, count, seed, spread=0.3):
    """Loads and dispatches of all kinds, batch first; the first is the nominal one."""
    rng = np.random.default_rng(seed)
    p, q = base_point.nominal_injections(grid)
    load = grid.bus.load_p_mw / grid.base_mva
    ps, qs = [p], [q]
    for _ in range(count - 1):
        scale = rng.uniform(0.8, 1.1) * rng.uniform(1 - spread, 1 + spread, grid.n_bus)
        unit = np.maximum(grid.gen.p_max_mw, 0) * rng.uniform(0.3, 1.7, grid.n_gen)
        made = np.zeros(grid.n_bus)
        np.add.at(made, grid.gen.bus, unit / unit.sum() * (load * scale).sum())
        ps.append(made - load * scale)
        qs.append(q * scale)
    together = jax.vmap(lambda p, q: solve.base_request(net, p, q))
    return together(jnp.asarray(np.array(ps)), jnp.asarray(np.array(qs)))


@functools.cache
def _dc(name):
    """Returns the factors, a request, and compiled DC solver and screening, all double."""
    grid = case_file.load(name)
    net = network.build(grid, jnp.float64)
    factors = distribution_factors.build(grid)
    request = jax.tree.map(lambda x: x[1], _random_requests(grid, net, 2, seed=1))
    request = request._replace(participation=request.capacity / request.capacity.sum())
    run = jax.jit(jax.vmap(solve.solver(net, method="dc")))
    return factors, request, run, jax.jit(screening.screener(factors, dtype=jnp.float64))


def _screened_and_solved(name, out=()):
    """Returns the screening, the base point, and every outage solved, with `out` out already."""
    factors, request, run, screen = _dc(name)
    n = len(factors.bridge)
    request = request._replace(closed=request.closed.at[jnp.array(out, int)].set(0))
    # The base point rides along as the last of the batch.
    batch = jax.tree.map(lambda x: jnp.broadcast_to(x, (n + 1, *x.shape)), request)
    opened = jnp.concatenate([jnp.eye(n), jnp.zeros((1, n))])
    solved = run(batch._replace(closed=batch.closed * (1 - opened)))
    base = jax.tree.map(lambda x: x[-1], solved)
    return screen(base, request.closed), base, jax.tree.map(lambda x: x[:-1], solved)


@pytest.mark.parametrize("name", ["case14", "case118"])
def test_screening_equals_dc_outages_solved_one_by_one(name):
    with jax.experimental.enable_x64():
        screened, _, exact = _screened_and_solved(name)
        assert bool(exact.converged.all()) and bool(screened.sound)
        loading = np.asarray(exact.rho.max(1))
        np.testing.assert_allclose(screened.loading, loading, atol=1e-6, rtol=1e-6)
        np.testing.assert_allclose(
            screened.loading[screened.worst], np.sort(loading)[:-6:-1], atol=1e-6, rtol=1e-6
        )
        assert float(screened.margin) == pytest.approx(1 - loading.max(), abs=1e-6)
        assert int(screened.insecure) == (loading > 1).sum()


def test_loadings_have_the_derivatives_of_finite_differences():
    # A batch of an intact grid and of two with branches out, which are corrected for apart.
    closed = np.ones((3, 186))
    closed[1, 7] = closed[2, [3, 60, 120]] = 0.0
    with jax.experimental.enable_x64():
        _, base, _ = _screened_and_solved("case118")
        screen = _dc("case118")[3]
        direction = np.random.default_rng(0).normal(size=186)

        def total(change):
            flows = (1.0 + change) * base.p_from_pu
            moved = base._replace(p_from_pu=flows, p_to_pu=-flows)
            loading = jax.vmap(lambda each: screen(moved, each).loading)(jnp.asarray(closed))
            return (loading * jnp.arange(1.0, 4.0)[:, None]).sum()

        slope = jax.jit(jax.grad(total))(jnp.zeros(186)) @ direction
        above, below = (total(jnp.asarray(move * direction)) for move in (1e-7, -1e-7))
        assert float(slope) == pytest.approx(float(above - below) / 2e-7, rel=1e-5)
        assert abs(float(slope)) > 0.1


@pytest.mark.parametrize("out", [(7,), (7, 40), (7, 8), (3, 60, 120)])
def test_with_branches_out_already_screening_equals_dc_outages_too(out):
    with jax.experimental.enable_x64():
        screened, base, exact = _screened_and_solved("case118", out)
        loading, islanded = np.asarray(screened.loading), np.asarray(screened.islanded_pu)
        already = np.isin(np.arange(len(loading)), out)
        assert np.all(loading[already] == 0.0)
        # An outage that cuts off more is a bridge, of the intact grid or only now.
        whole = ~already & (np.asarray(exact.energised.sum(1)) == int(base.energised.sum()))
        assert whole.sum() > 150
        worst = np.asarray(exact.rho.max(1))
        np.testing.assert_allclose(loading[whole], worst[whole], atol=1e-6, rtol=1e-6)
        cut = ~whole & ~already
        np.testing.assert_allclose(islanded[cut], np.abs(base.p_from_pu)[cut], atol=1e-6)


def _agreement(name, count, seed=3, **options):
    """Returns factors, base points, and all outages screened and solved, `[count, n_branch]`."""
    grid = case_file.load(name)
    net = network.build(grid)
    factors = distribution_factors.build(grid)
    requests = _random_requests(grid, net, count, seed)
    base = jax.jit(jax.vmap(solve.solver(net)))(requests)
    screened = jax.jit(jax.vmap(screening.screener(factors)))(base, requests.closed)
    every = jnp.broadcast_to(jnp.arange(grid.n_branch), (count, grid.n_branch))
    confirmed = jax.jit(jax.vmap(screening.confirmer(net, **options)))(requests, base, every)
    return factors, base, screened, confirmed


def test_screening_agrees_with_ac_outages_within_stated_bounds():
    factors, base, ranked, confirmed = _agreement("case118", 4)
    screened, exact = np.asarray(ranked.loading), np.asarray(confirmed.loading)
    known = np.asarray(confirmed.converged) & np.asarray(base.converged)[:, None] & ~factors.bridge
    error = (screened - exact)[known]
    assert np.median(np.abs(error)) < 0.01
    assert np.percentile(np.abs(error), 95) < 0.10
    insecure = known & (exact > 1.0)
    assert (screened[insecure] > 1.0).mean() > 0.95
    assert (exact[known & (screened > 1.0)] > 1.0).mean() > 0.9
    for row in range(len(screened)):
        # The worst of all is among the five named, or as good as equal to one of them.
        named = exact[row][np.asarray(ranked.worst[row])]
        assert exact[row][known[row]].max() <= named.max() + 0.02


def test_confirmation_equals_pandapower(case14):
    net = network.build(case14)
    p, q = base_point.nominal_injections(case14)
    slack = np.eye(case14.n_bus)[case14.reference_bus]
    request = solve.base_request(net, p, q, participation=jnp.asarray(slack, jnp.float32))
    base = jax.jit(solve.solver(net))(request)
    outages = jnp.array([2, 6, 11])
    confirmed = jax.jit(screening.confirmer(net))(request, base, outages)
    oracle = pandapower_grid.Oracle(case14)
    for row, outage in enumerate(outages):
        flows = oracle.solve(p, q, out=[int(outage)]).flows
        full = np.maximum(np.hypot(flows[:, 0], flows[:, 1]), np.hypot(flows[:, 2], flows[:, 3]))
        full = (full / case14.branch.rate_mva).max()
        assert bool(confirmed.converged[row])
        assert float(confirmed.loading[row]) == pytest.approx(full, abs=1e-3)


def test_a_batch_equals_its_members_with_and_without_branches_out(case118):
    net = network.build(case118)
    factors = distribution_factors.build(case118)
    requests = _random_requests(case118, net, 4, seed=4)
    closed = requests.closed.at[1, 7].set(0).at[2, jnp.array([7, 40])].set(0)
    requests = requests._replace(closed=closed)
    base = jax.jit(jax.vmap(solve.solver(net)))(requests)
    screen = screening.screener(factors)
    together = jax.jit(jax.vmap(screen))(base, closed)
    alone = jax.jit(screen)
    for row in range(4):
        one = alone(jax.tree.map(lambda x, row=row: x[row], base), closed[row])
        np.testing.assert_allclose(one.loading, together.loading[row], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(one.margin, together.margin[row], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(one.worst, together.worst[row])
    assert bool(together.sound.all())


def test_what_cannot_be_known_is_marked_not_called_secure(case118):
    net = network.build(case118)
    screen = jax.jit(screening.screener(distribution_factors.build(case118)))
    request = jax.tree.map(lambda x: x[0], _random_requests(case118, net, 1, seed=5))
    base = jax.jit(solve.solver(net))(request)
    lost = screen(base._replace(p_from_pu=base.p_from_pu.at[3].set(jnp.nan)), request.closed)
    assert not bool(lost.sound) and np.isinf(lost.margin)
    many = request.closed.at[jnp.arange(20, 20 + BRANCH_SLOTS + 1)].set(0)
    assert not bool(screen(base, many).sound)
