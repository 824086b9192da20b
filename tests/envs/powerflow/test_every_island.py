"""Several live islands: against pandapower, by finite differences, and with one island."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.case import case_file, connectivity, fleet_file
from envs.powerflow import base_point, gradient, network, solve
from evaluation import pandapower_grid

CASE = "ieee13_mg"
GRID = case_file.load(CASE)
COUPLINGS = fleet_file.load(CASE, GRID).couplings.tolist()
SUPPLY = 0  # the branch of the substation
CUTS = [
    out for count in range(4) for out in itertools.combinations(COUPLINGS, count)
] + [(SUPPLY,), (SUPPLY, *COUPLINGS), (3,)]  # fmt: skip
_STEP = 1e-6


def _closed(out):
    closed = np.ones(GRID.n_branch)
    closed[list(out)] = 0.0
    return closed


def _slacks(out):
    """The first bus with a unit on each island that has one, and the island of each bus."""
    island = connectivity.islands(GRID, _closed(out) > 0)
    at = [GRID.gen.bus[island[GRID.gen.bus] == number] for number in range(island.max() + 1)]
    return [int(buses[0]) for buses in at if buses.size], island


def _requests(net):
    """A lane for each of `CUTS`, in which one unit of each island balances it."""
    p, q = base_point.nominal_injections(GRID)
    closed = np.stack([_closed(out) for out in CUTS])
    share = np.zeros((len(CUTS), GRID.n_bus))
    for lane, out in enumerate(CUTS):
        share[lane, _slacks(out)[0]] = 1.0
    cast = lambda x: jnp.asarray(x, net.dtype)
    return jax.vmap(
        lambda closed, share: solve.base_request(net, p, q, closed=closed, participation=share)
    )(cast(closed), cast(share))


@pytest.mark.parametrize(
    "double, method",
    [(True, "newton"), (True, "fast_decoupled"), (False, "newton"), (False, "chord")],
)
def test_every_island_equals_pandapower(double, method):
    with jax.experimental.enable_x64(double):
        net = network.build(GRID, jnp.float64 if double else jnp.float32)
        run = solve.solver(net, method=method, every_island=True)
        actual = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(_requests(net)))
    assert actual.converged.all()
    oracle, limit = pandapower_grid.Oracle(GRID), 1e-8 if double else 1e-4
    p, q = base_point.nominal_injections(GRID)
    for lane, out in enumerate(CUTS):
        slacks, island = _slacks(out)
        answer = oracle.solve(p, q, out=out, slack=slacks)
        live = np.isin(island, island[slacks])
        np.testing.assert_array_equal(np.isfinite(answer.vm), live)
        np.testing.assert_array_equal(actual.energised[lane], live)
        np.testing.assert_allclose(actual.vm_pu[lane][live], answer.vm[live], atol=limit, rtol=0)
        at = {island[bus]: bus for bus in slacks}
        for number, bus in at.items():
            here = island == number
            turn = actual.va_rad[lane] - actual.va_rad[lane][bus] - answer.va + answer.va[bus]
            np.testing.assert_allclose(turn[here], 0.0, atol=limit)
            # What the slack of the island took is what pandapower's unit there gives.
            taken = actual.slack_pu[lane][bus] * GRID.base_mva
            assert taken == pytest.approx(answer.slack_at_mw[bus], abs=10 * limit)
        flows = actual.p_from_pu[lane] - np.nan_to_num(answer.flows[:, 0]) / GRID.base_mva
        np.testing.assert_allclose(flows, 0.0, atol=3 * limit)


def test_each_island_is_balanced_by_itself():
    net = network.build(GRID)
    run = solve.solver(net, every_island=True)
    request = _requests(net)
    actual = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(request))
    for lane, out in enumerate(CUTS):
        slacks, island = _slacks(out)
        for bus in slacks:
            here = island == island[bus]
            asked = np.asarray(request.p_pu[lane])[here].sum()
            inside = here[GRID.branch.from_bus] & (_closed(out) > 0)
            lost = (actual.p_from_pu[lane] + actual.p_to_pu[lane])[inside].sum()
            assert asked + actual.slack_pu[lane][bus] == pytest.approx(lost, abs=1e-3)


@pytest.mark.parametrize("out", [(COUPLINGS[0],), tuple(COUPLINGS), (SUPPLY, COUPLINGS[1])])
def test_derivatives_with_couplings_open_equal_finite_differences(out):
    lane = CUTS.index(out) if out in CUTS else None
    with jax.experimental.enable_x64():
        net = network.build(GRID, jnp.float64)
        p, q = base_point.nominal_injections(GRID)
        request = solve.base_request(net, p, q, closed=jnp.asarray(_closed(out), jnp.float64))
        if lane is not None:
            request = jax.tree.map(lambda x: x[lane], _requests(net))
            # Two units of the reference bus's island take part.
            request = request._replace(participation=request.participation + 0.1 * request.pv)
        run = gradient.solver(net, every_island=True, tolerance_pu=1e-9)
        exact = solve.solver(
            net, method="newton", every_island=True, tolerance_pu=1e-12, fallback=False
        )
        rng = np.random.default_rng(0)
        shapes = jax.eval_shape(exact, request)
        weight = {n: rng.normal(size=getattr(shapes, n).shape) for n in gradient.OUTPUTS}
        total = lambda solution: sum(
            (weight[n] * getattr(solution, n)).sum() for n in gradient.OUTPUTS
        )
        slopes = jax.jit(jax.grad(lambda request: total(run(request))))(request)
        value = jax.jit(lambda request: total(exact(request)))
        for name in ("p_pu", "q_pu", "vm_setpoint_pu", "participation"):
            for direction in rng.normal(size=(2, net.n_bus)):
                at = [
                    value(request._replace(**{name: getattr(request, name) + s * direction}))
                    for s in (_STEP, -_STEP)
                ]
                ours = float(direction @ np.asarray(getattr(slopes, name)))
                directional = float(at[0] - at[1]) / (2 * _STEP)
                assert ours == pytest.approx(directional, rel=1e-4, abs=1e-4), name


def test_where_the_grid_is_whole_the_option_changes_nothing():
    net = network.build(GRID)
    request = jax.tree.map(lambda x: x[0], _requests(net))
    largest = jax.jit(solve.solver(net))(request)
    every = jax.jit(solve.solver(net, every_island=True))(request)
    np.testing.assert_allclose(every.vm_pu, largest.vm_pu, atol=1e-6)
    np.testing.assert_allclose(every.slack_pu, np.full(GRID.n_bus, largest.slack_pu), atol=1e-5)


def test_by_default_one_island_stays_energised():
    net = network.build(GRID)
    request = jax.tree.map(lambda x: x[CUTS.index((COUPLINGS[0],))], _requests(net))
    solution = jax.jit(solve.solver(net))(request)
    dead = GRID.bus.id[~np.asarray(solution.energised)]
    assert solution.converged and dead.tolist() == [711, 712] and solution.slack_pu.shape == ()
