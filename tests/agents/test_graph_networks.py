"""Networks that follow the grid: what they compute, on any grid, however it is numbered."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import (
    breakers,
    bundle as bundle_lib,
    grid_features,
    networks as networks_lib,
    team as team_lib,
)
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from envs.step import layouts, observations

OPTIONS = TeamOptions(encoder="graph", policy_layers=(6,), value_layers=(5,))


def _layout(case, layout="full", **options):
    return grid_env.check(EnvOptions(case=case, layout=layout, **options)).layout


@pytest.fixture(scope="module")
def layout():
    return _layout("case14")


@pytest.fixture(scope="module")
def networks(layout):
    return networks_lib.make(layout, OPTIONS, costs=1)


@pytest.fixture(scope="module")
def bundle(networks):
    """Parameters at random: fresh heads are too small to tell anything."""
    key = jax.random.PRNGKey(0)
    blank = bundle_lib.blank(networks)
    leaves, tree = jax.tree.flatten(blank.params)
    keys = jax.random.split(key, len(leaves))
    random = [0.5 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves)]
    groups = blank.statistics.mean.shape
    statistics = blank.statistics.replace(
        mean=0.3 * jax.random.normal(key, groups), variance=jnp.linspace(0.2, 2.0, groups[0])
    )
    return blank.replace(params=jax.tree.unflatten(tree, random), statistics=statistics)


@pytest.fixture(scope="module")
def seen(layout):
    """Observations `[3, observation_size]` of the size that they have, every fifth branch open."""
    rating = np.concatenate(
        [observations.ratings(layout.site, name) for name in layout.observation]
    )
    random = rating * np.random.default_rng(1).normal(size=(3, rating.size))
    closed = np.arange(layout.site.grid.n_branch) % 5 > 0
    random[:, layout.observation["branch_closed"]] = closed
    random[:, layout.observation["branch_cooldown"]] = np.arange(layout.site.grid.n_branch) % 7 == 2
    random[:, layout.observation["branch_cooldown"]] *= 3
    return random.astype(np.float32)


def _decide(networks):
    """Returns a compiled function of bundle and observations.

    It returns means, deviations, log-probabilities of operations, and values.
    """

    @jax.jit
    def decide(bundle, observation):
        given = bundle.params, bundle.statistics, observation
        mean, log_std, (operation,), *_ = networks.policy(*given)
        return mean, log_std, operation.log_probs, networks.value(*given)

    return decide


@pytest.mark.parametrize("layout", ["operator", "full", "voltages"])
def test_no_shape_depends_on_the_grid(layout):
    small, large = (
        bundle_lib.blank(networks_lib.make(_layout(case, layout), OPTIONS, costs=2))
        for case in ("case14", "case118")
    )
    assert jax.tree.map(np.shape, small) == jax.tree.map(np.shape, large)
    other = bundle_lib.blank(networks_lib.make(_layout("case14", layout), TeamOptions()))
    assert jax.tree.structure(other) != jax.tree.structure(small)


def _renumbered(site, rng):
    """Returns the same grid and fleet with buses, branches and units in another order."""
    grid, fleet = site.grid, site.fleet
    bus, branch, gen, plant, battery = (
        rng.permutation(n)
        for n in (grid.n_bus, grid.n_branch, grid.n_gen, fleet.n_renewable, fleet.n_storage)
    )
    place = np.argsort(bus)  # where a bus has gone

    def taken(table, order):
        fields = {f.name: getattr(table, f.name)[order] for f in dataclasses.fields(table)}
        for name in ("bus", "from_bus", "to_bus"):
            if name in fields:
                fields[name] = place[fields[name]]
        return dataclasses.replace(table, **fields)

    grid = dataclasses.replace(
        grid, bus=taken(grid.bus, bus), branch=taken(grid.branch, branch), gen=taken(grid.gen, gen)
    )
    fleet = dataclasses.replace(
        fleet, area=fleet.area[bus], units=taken(fleet.units, gen),
        renewables=taken(fleet.renewables, plant), storage=taken(fleet.storage, battery),
    )  # fmt: skip
    return grid, fleet


def test_a_grid_that_is_numbered_otherwise_gets_the_same_actions(layout, networks, bundle, seen):
    spec = layouts.LAYOUTS["full"]
    grid, fleet = _renumbered(layout.site, np.random.default_rng(0))
    other = layouts.make(layouts.site(grid, fleet, spec), spec)
    assert other.action_names != layout.action_names
    assert len(set(layout.observation_names)) == layout.observation_size
    order = [layout.observation_names.index(name) for name in other.observation_names]
    named = [name for name in layout.action_names if not name.startswith("switch")]
    moved = [named.index(name) for name in other.action_names if name in named]
    named = [name for name in layout.action_names if name not in named]
    operated = [1 + named.index(name) for name in other.action_names if name in named]
    mean, log_std, log_probs, value = _decide(networks)(bundle, seen)
    expected = mean[:, moved], log_std[:, moved], log_probs[:, [0, *operated]], value
    got = _decide(networks_lib.make(other, OPTIONS, costs=1))(bundle, seen[:, order])
    for now, then in zip(got, expected, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-4, atol=1e-4)  # sums in another order
    # What is compared depends on what is seen.
    free = np.append(True, np.arange(layout.site.grid.n_branch) % 7 != 2)
    assert np.ptp(mean, axis=0).min() > 1e-3 and np.ptp(log_probs, axis=0)[free].min() > 1e-3


def _by_hand(features, params, tables):
    """Returns what is known at each bus after one round, branch by branch, `[n_bus, width]`."""
    dense = lambda name, x: np.asarray(x) @ params[name]["kernel"] + params[name]["bias"]
    at_bus = dense("bus", tables.elements["bus"]) + dense("system", tables.system)
    for kind in ("gen", "load", "renewable", "storage"):
        for row, bus in zip(tables.elements[kind], features.ends[kind][0]):
            at_bus[bus] += np.tanh(dense(kind, row))
    at_bus = np.tanh(at_bus)
    sends, receives, own = np.split(dense("bus_0", at_bus), 3, axis=-1)
    branch = dense("branch_0", tables.elements["branch"])
    turn = features.turning @ params["direction_0"]["kernel"]
    heard = np.zeros_like(at_bus)
    for number, (start, end) in enumerate(zip(*features.ends["branch"])):
        if tables.closed[number]:
            heard[end] += np.tanh(sends[start] + receives[end] + branch[number] + turn[number])
            heard[start] += np.tanh(sends[end] + receives[start] + branch[number] - turn[number])
    return np.tanh(own + dense("heard_0", heard) + dense("overall_0", at_bus.mean(0)))


def test_a_round_of_messages_equals_a_loop_over_closed_branches(networks, bundle, seen):
    features = networks._features
    every = np.ones(seen.shape[-1], bool)
    tables = features.tables(0.1 * seen[0], seen[0], every)
    assert 0 < tables.closed.sum() < tables.closed.size
    params = jax.tree.map(np.asarray, bundle.params["value"]["operator"])
    hand = _by_hand(features, params["TanhGraphTorso"], jax.tree.map(np.asarray, tables))
    head = params["head"]
    expected = hand.mean(0) @ head["kernel"] + head["bias"]
    (group,) = networks._values
    (value,) = jax.jit(group.apply)(params, [tables])
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_every_parameter_has_a_finite_gradient(networks, bundle, seen):
    # But for those of dispatchable loads, which 14 buses do not have.
    def size(params):
        policy = networks.policy(params, bundle.statistics, seen)
        parts = policy.mean, policy.log_std, networks.value(params, bundle.statistics, seen)
        return sum((part**2).sum() for part in parts) + networks.entropy(policy).sum()

    for path, slope in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(size))(bundle.params)):
        name = jax.tree_util.keystr(path)
        assert np.isfinite(slope).all() and np.any(slope), name
        if "generator_" in name:
            *_, paying = np.moveaxis(np.asarray(slope), -1, 0)
            assert not paying.any()


def test_an_agent_knows_nothing_of_what_it_does_not_observe(layout, bundle, seen):
    half = np.arange(layout.observation_size) % 2 == 0
    own = np.arange(0, layout.action_size, 2)
    agents = (
        team_lib.Agent("operator", np.flatnonzero(half), own, 1.0),
        team_lib.Agent("other", np.flatnonzero(~half), own[:-1] + 1, 1.0),
    )
    own = breakers.find(layout)
    team = team_lib.Team(agents, layout.observation_size, layout.action_size, own)
    features = grid_features.GridFeatures(layout)
    networks = networks_lib.TeamNetworks(team, OPTIONS, 1, features)
    params = {part: dict.fromkeys(("operator", "other"), of["operator"])
              for part, of in bundle.params.items()}  # fmt: skip
    policy = jax.jit(lambda seen: networks.policy(params, bundle.statistics, seen))
    before, after = policy(seen), policy(np.where(half, seen, seen[:, ::-1]))
    first = np.setdiff1d(np.arange(layout.action_size), own.action) % 2 == 0
    np.testing.assert_array_equal(before.mean[:, first], after.mean[:, first])
    assert np.abs(before.mean[:, ~first] - after.mean[:, ~first]).min() > 0


def test_statistics_are_those_of_all_entries_of_a_block(layout, networks, seen):
    pooling = networks._features.pooling
    mean, variance = pooling.moments(seen.mean(0), seen.var(0))
    part = layout.observation["load_p"]
    shares = seen[:, part] / observations.ratings(layout.site, "load_p")
    (group,) = np.unique(pooling.group[part])
    np.testing.assert_allclose([mean[group], variance[group]], [shares.mean(), shares.var()], 1e-4)
    sine, cosine = pooling.group[layout.observation["clock"]]  # of no element: each its own
    assert sine != cosine and np.sum(pooling.group == sine) == 1
    np.testing.assert_allclose(mean[sine], seen[:, layout.observation["clock"]].mean(0)[0], 1e-4)


def test_a_block_without_entries_leaves_observations_as_they_are():
    networks = networks_lib.make(_layout("case14", fleet="plain"), OPTIONS)
    size = networks.team.observation_size
    after = networks.observed(networks.statistics(), 10.0, jnp.ones(size), jnp.ones(size))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    empty = np.setdiff1d(np.arange(len(after.mean)), networks._features.pooling.group)
    assert empty.size == 2  # of plants and batteries
    assert not after.mean[empty].any() and np.all(after.variance[empty] == 1)


@pytest.mark.parametrize(
    "case", ["case14", "case118", "case300", pytest.param("case1354", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("fleet", ["auto", "plain"])
def test_constants_and_ratings_are_of_moderate_size(case, fleet):
    features = grid_features.GridFeatures(layout := _layout(case, fleet=fleet))
    for kind, table in features._constants.items():
        assert np.isfinite(table).all() and np.abs(table).max(initial=0.0) < 10.0, kind
    for name in layout.observation:
        rating = observations.ratings(layout.site, name)
        assert np.all((rating > 0) & np.isfinite(rating)), name


def test_what_was_never_met_cannot_be_carried():
    ours, lean = _layout("case118"), _layout("case14", fleet="plain")
    assert grid_features.misfit(_layout("case14"), ours) is None
    assert grid_features.misfit(ours, lean) is None  # less there is than was met
    assert grid_features.misfit(lean, ours) == (
        "it has met no renewable_p, storage_energy, curtailment, storage on case14"
    )
    assert grid_features.misfit(_layout("case14", "operator"), ours).startswith(
        "its observation consists of bus_vm, bus_va, unit_p, gen_q, load_p, renewable_p, "
    )
