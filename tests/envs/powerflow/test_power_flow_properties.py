"""What must hold of any power flow, whoever else computes it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import pandapower_comparison as comparison

from envs.case import case_file
from envs.powerflow import balance, iteration, network, newton, solve


@pytest.fixture(scope="module")
def net(case14):
    return network.build(case14)


def _injections(net, batch, seed=0, spread=0.2):
    """Random injections around the nominal `[batch, n_bus]`."""
    grid = case_file.load(f"case{net.n_bus}")
    at = comparison.points(grid, 1)[0]
    rng = np.random.default_rng(seed)
    vary = lambda x: jnp.asarray(x * rng.uniform(1 - spread, 1 + spread, (batch, net.n_bus)))
    return vary(at.p).astype(net.dtype), vary(at.q).astype(net.dtype)


_compiled = {}  # by network, method and options: the solver of one grid and of a batch


def _solve(net, p, q, method="chord", options=None, batched=True, **fields):
    """Solves injections `[batch, n_bus]`, other fields batched as well; or else `[n_bus]`."""
    key = (id(net), method, *(options or {}).items())
    if key not in _compiled:
        solver = solve.solver(net, method=method, **(options or {}))
        one = lambda p, q, fields: solver(solve.base_request(net, p, q, **fields))
        _compiled[key] = jax.jit(one), jax.jit(jax.vmap(one)), net
    return jax.tree.map(np.asarray, _compiled[key][batched](p, q, fields))


@pytest.fixture(scope="module")
def outages(case14):
    """Every branch outage of case14 in double precision, the slack shared by all units."""
    tried = comparison.outages(case14, comparison.single_branches(case14))
    with jax.experimental.enable_x64():
        net = network.build(case14, jnp.float64)
        p, q = _injections(net, len(tried.closed))
        closed = jnp.asarray(tried.closed)
        solution = _solve(net, p, q, options={"tolerance_pu": 1e-10}, closed=closed)
        return net, np.asarray(p), np.asarray(q), tried, solution


def test_every_bus_balances_on_the_island_that_lives(case14, outages):
    net, p, q, _, solution = outages
    pq = ~np.isin(np.arange(14), case14.gen.bus)
    assert solution.converged.all() and (~solution.energised).any()
    incidence = np.zeros((14, 2 * case14.n_branch))
    ends = np.concatenate([case14.branch.from_bus, case14.branch.to_bus])
    incidence[ends, np.arange(len(ends))] = 1
    for row, energised in enumerate(solution.energised):
        share = np.asarray(net.participation)[net.position, 0] * energised
        share = share / share.sum()
        square = solution.vm_pu[row] ** 2
        leaving_p = incidence @ np.concatenate([solution.p_from_pu[row], solution.p_to_pu[row]])
        leaving_p += case14.bus.shunt_p_mw / 100 * square
        leaving_q = incidence @ np.concatenate([solution.q_from_pu[row], solution.q_to_pu[row]])
        leaving_q -= case14.bus.shunt_q_mvar / 100 * square
        scheduled = (p[row] + solution.slack_pu[row] * share) * energised
        np.testing.assert_allclose(leaving_p, scheduled, atol=1e-9)
        np.testing.assert_allclose(leaving_q[pq], (q[row] * energised)[pq], atol=1e-9)
        np.testing.assert_allclose(solution.p_pu[row], scheduled, atol=1e-9)


def test_what_is_dead_or_open_carries_nothing(case14, outages):
    _, _, _, tried, solution = outages
    off_island = ~solution.energised
    for values in (solution.vm_pu, solution.va_rad, solution.p_pu, solution.q_pu):
        assert (values[off_island] == 0).all()
    off = tried.closed == 0
    off |= off_island[:, case14.branch.from_bus] | off_island[:, case14.branch.to_bus]
    of_branch = (getattr(solution, f"{power}_pu") for power in ("p_from", "q_from", "p_to", "q_to"))
    for values in (*of_branch, solution.rho):
        assert (values[off] == 0).all()


def test_the_slack_is_shared_by_participation(case14, outages):
    _, p, _, _, solution = outages
    row = int(np.flatnonzero(solution.energised.all(1))[0])
    moved = solution.p_pu[row] - p[row]
    capacity = np.bincount(case14.gen.bus, np.maximum(case14.gen.p_max_mw, 0), 14)
    np.testing.assert_allclose(
        moved, solution.slack_pu[row] * capacity / capacity.sum(), atol=1e-9
    )  # fmt: skip


@pytest.mark.parametrize("batch", [1, 7, 256, 300, pytest.param(512, marks=pytest.mark.slow)])
def test_a_batch_of_any_size_equals_its_members(net, batch):
    p, q = _injections(net, batch)
    closed = np.ones((batch, net.n_branch), np.float32)
    closed[::3, 2] = 0
    options = {"fallback": False}
    together = _solve(net, p, q, options=options, closed=jnp.asarray(closed))
    assert together.converged.all()
    for row in np.unique([0, batch // 2, batch - 1]):
        alone = _solve(net, p[row], q[row], options=options, batched=False,
                       closed=jnp.asarray(closed[row]))  # fmt: skip
        # A grid stops by itself, so that it is as exact alone as in company, but for rounding.
        assert together.iterations[row] == alone.iterations
        for name in ("vm_pu", "va_rad", "p_from_pu", "rho"):
            ours, theirs = getattr(together, name)[row], getattr(alone, name)
            np.testing.assert_allclose(ours, theirs, atol=5e-6, err_msg=name)


def test_the_order_of_buses_does_not_matter():
    grid = case_file.load("case30")
    turn = np.random.default_rng(1).permutation(grid.n_bus)  # new bus k is old bus turn[k]
    new = np.argsort(turn)
    bus = {f.name: getattr(grid.bus, f.name)[turn] for f in dataclasses.fields(grid.bus)}
    turned = dataclasses.replace(
        grid,
        bus=dataclasses.replace(grid.bus, **bus),
        branch=dataclasses.replace(
            grid.branch, from_bus=new[grid.branch.from_bus], to_bus=new[grid.branch.to_bus]
        ),
        gen=dataclasses.replace(grid.gen, bus=new[grid.gen.bus]),
    )
    with jax.experimental.enable_x64():
        one, other = (network.build(g, jnp.float64) for g in (grid, turned))
        p, q = _injections(one, 2)
        options = {"fallback": False, "tolerance_pu": 1e-11}
        first = _solve(one, p, q, "newton", options)
        second = _solve(other, p[:, turn], q[:, turn], "newton", options)
    assert first.converged.all() and second.converged.all()
    for name in ("vm_pu", "va_rad", "p_pu", "q_pu"):
        ours, theirs = getattr(first, name)[:, turn], getattr(second, name)
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    np.testing.assert_allclose(first.p_from_pu, second.p_from_pu, atol=1e-10)
    np.testing.assert_allclose(first.slack_pu, second.slack_pu, atol=1e-10)


def test_cases_cover_parallel_branches_phase_shifters_and_shunts():
    grid = case_file.load("case300")
    ends = set(zip(grid.branch.from_bus.tolist(), grid.branch.to_bus.tolist()))
    assert len(ends) < grid.n_branch
    assert grid.branch.shift_rad.any() and (grid.branch.tap != 1).any()
    assert grid.bus.shunt_p_mw.any() and grid.bus.shunt_q_mvar.any()


@pytest.mark.parametrize("method", ["chord", "fast_decoupled", "newton"])
def test_impossible_load_is_reported_and_harms_no_other(net, method):
    p, q = _injections(net, 4)
    alone = _solve(net, p, q, method)
    solution = _solve(net, p.at[1].multiply(20), q.at[1].multiply(20), method)
    assert alone.converged.all()
    assert solution.converged.tolist() == [True, False, True, True]
    assert not solution.mismatch_pu[1] <= net.tolerance_pu
    kept = [0, 2, 3]
    np.testing.assert_allclose(solution.vm_pu[kept], alone.vm_pu[kept], atol=2e-5)
    np.testing.assert_allclose(solution.va_rad[kept], alone.va_rad[kept], atol=2e-5)


def test_no_unit_left_is_no_solution(net):
    p, q = _injections(net, 1)
    closed = jnp.ones((1, 20)).at[0, 0].set(0)
    options = {"fallback": False}
    solution = _solve(net, p, q, "chord", options, capacity=jnp.zeros((1, 14)), closed=closed)
    assert not solution.converged[0] and not solution.energised.any()


def test_a_warm_start_saves_iterations(net):
    p, q = _injections(net, 1, spread=0.3)
    start = lambda vm, va: {"vm_start_pu": jnp.asarray(vm), "va_start_rad": jnp.asarray(va)}
    options = {"fallback": False}
    cold = _solve(
        net, p, q, "fast_decoupled", options, **start(np.ones((1, 14)), np.zeros((1, 14)))
    )
    warm = _solve(net, 1.001 * p, q, "fast_decoupled", options, **start(cold.vm_pu, cold.va_rad))
    assert warm.converged[0] and warm.iterations[0] < cold.iterations[0]


def test_newton_solves_what_the_method_gives_up():
    grid = case_file.load("case57")
    (at,) = comparison.points(grid, 1)
    # Without one of these the voltages sag so far that constant matrices mislead.
    tried = comparison.outages(grid, [(0,), (41,), (45,), (46,)])
    with jax.experimental.enable_x64():
        net = network.build(grid, jnp.float64)
        args = net, grid, at, tried.closed, tried.pv, "chord"
        solution = comparison.solve_all(*args, tolerance_pu=1e-9)
        without = comparison.solve_all(*args, tolerance_pu=1e-9, fallback=False)
    assert solution.converged.all() and solution.fell_back.tolist() == [False, True, True, True]
    assert without.converged.tolist() == [True, False, False, False]


@pytest.mark.parametrize("slots", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5))])
def test_slots_for_pv_buses_turned_pq_change_the_effort_and_no_result(net, slots):
    pv_buses = np.flatnonzero(np.arange(14) != net.order[net.reference])
    # Four buses, the reference aside.
    pv_buses = pv_buses[np.asarray(net.position)[pv_buses] >= net.n_pq]
    batch = 6  # in grid k the first k are PQ
    p, q = _injections(net, batch, seed=5, spread=0.1)
    pv = np.tile((np.asarray(net.position) >= net.n_pq) * 1.0, (batch, 1))
    for row in range(batch):
        pv[row, pv_buses[:row]] = 0.0
    pv = jnp.asarray(pv)
    every, few = (
        _solve(net, p, q, "fast_decoupled", {"tolerance_pu": 1e-5, "pv_to_pq_slots": k}, pv=pv)
        for k in (None, slots)
    )
    assert every.converged.all() and few.converged.all() and not every.fell_back.any()
    np.testing.assert_allclose(few.vm_pu, every.vm_pu, atol=2e-5)
    turned_pq = np.minimum(np.arange(batch), len(pv_buses))
    np.testing.assert_array_equal(few.fell_back, turned_pq > slots)


def test_slots_that_hold_nothing_are_refused(net):
    with pytest.raises(ValueError, match="pv_to_pq_slots=0: must be at least 1"):
        solve.SolverOptions(pv_to_pq_slots=0)


def test_a_method_that_does_not_exist_is_refused(net):
    with pytest.raises(ValueError, match="'newtn': must be one of dc, fast_decoupled, chord"):
        _solve(net, *_injections(net, 1), method="newtn")


def test_the_jacobian_is_the_derivative_of_the_mismatch(case14):
    with jax.experimental.enable_x64():
        net = network.build(case14, jnp.float64)
        rng = np.random.default_rng(3)
        n, n_pv = net.n_bus, net.n_bus - net.n_pq
        closed = np.ones((net.n_branch, 1))
        closed[[3, 13], 0] = 0  # The second cuts a bus off.
        energised = np.ones((n, 1))
        energised[net.position[7]] = 0
        pv_to_pq = np.zeros((n_pv, 1))
        pv_to_pq[1] = 1
        share = rng.uniform(0, 1, (n, 1))
        p, q = rng.normal(size=(2, n, 1))
        problem = iteration.Problem(*map(jnp.asarray, (p, q, share, closed, pv_to_pq, energised)))
        vm, va = rng.uniform(-0.05, 0.05, (2, n, 1))

        def residual(unknown):
            angle, vm = unknown[:n, None], unknown[n:, None]
            x = balance.Voltages(vm, angle.at[net.reference].set(va[net.reference]),
                                 angle[net.reference])  # fmt: skip
            at = iteration.evaluate(net, problem, x)
            return jnp.concatenate(iteration.mismatch(net, problem, x, at.balance))[:, 0]

        at = jnp.concatenate([va, vm])[:, 0]
        expected = jax.jit(jax.jacobian(residual))(at)
        x = balance.Voltages(jnp.asarray(vm), jnp.asarray(va), at[net.reference][None])
        ours, expected = np.asarray(newton.jacobian(net, problem, x)[0]), np.asarray(expected)
    solved = np.concatenate(
        [energised, energised * np.concatenate([np.ones((net.n_pq, 1)), pv_to_pq])]
    )
    solved = solved[:, 0] > 0
    np.testing.assert_allclose(ours[solved], expected[solved], atol=1e-10)
    np.testing.assert_array_equal(ours[~solved], np.eye(2 * n)[~solved])
