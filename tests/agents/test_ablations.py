"""Ablations: what each takes from a team, and that it takes no more."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import (
    ablations,
    bundle as bundle_lib,
    controllers,
    distributions,
    inspection,
    networks as networks_lib,
)
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions

GRIDS = 3
SMALL = {"policy_layers": (8, 8), "value_layers": (8,)}


@functools.cache
def _layout():
    return grid_env.check(EnvOptions(case="case30", layout="full")).layout


@functools.cache
def _team(kind):
    layout = _layout()
    nets = networks_lib.make(layout, TeamOptions(kind=kind, **SMALL))
    bundle = bundle_lib.initial(nets, jax.random.PRNGKey(3))
    # Far from nothing, so that everybody has something to say.
    more = lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size)).reshape(x.shape)
    return nets, bundle.replace(params=jax.tree.map(more, bundle.params))


@pytest.fixture
def layout():
    return _layout()


def _states(layout, step=0):
    """What controllers read of grids: observations and the step."""
    seen = jax.random.normal(jax.random.PRNGKey(step), (GRIDS, layout.observation_size))
    return types.SimpleNamespace(observation=seen, t=jnp.full(GRIDS, step))


DAYS = types.SimpleNamespace(day=np.arange(GRIDS))


def _controllers(kind):
    """The learned controller and all its ablations by name."""
    nets, bundle = _team(kind)
    of, made = ablations.Ablations(nets), {}
    for changes in ablations.changes(nets.team).values():
        for name, change in changes.items():
            made[name] = of.controller(ablations.controller_name("learned", name), change, bundle)
    return nets, bundle, controllers.learned(nets, bundle), made


def _act(controller, layout, seed=0, step=0):
    action, _ = controller.act(_states(layout, step), None, controller.start(DAYS, seed))
    return np.asarray(action)


def _by_hand(nets, bundle, layout, change):
    """The learned actions with `change` made of them before the squash."""
    memory = controllers.acting(nets, bundle, GRIDS)
    seen = nets.team.input(_states(layout).observation, memory.memory)
    raw = change(nets.mode(nets.policy(bundle.params, bundle.statistics, seen)))
    return np.asarray(nets.team.to_grid(distributions.squash(raw)))


def test_a_team_has_the_ablations_of_what_it_has(layout):
    names = lambda kind: {
        each: sorted(found) for each, found in ablations.changes(_team(kind)[0].team).items()
    }
    hierarchy = names("hierarchical")
    agents = ["area_1", "area_2", "safety", "strategic"]
    assert hierarchy == {
        "no-messages": ["no-messages"], "shuffled-messages": ["shuffled-messages"],
        "no-directives": ["no-directives"], "no-safety": ["no-safety"],
        "random-mates": [f"only-{agent}" for agent in agents],
        "credit": [f"no-{agent}" for agent in agents],
    }  # fmt: skip
    assert {kind: len(found) for kind, found in names("ippo").items()} == {
        "no-messages": 0, "shuffled-messages": 0, "no-directives": 0, "no-safety": 0,
        "random-mates": 2, "credit": 2,
    }  # fmt: skip
    assert not any(names("centralised").values())


def test_what_a_team_does_not_have_is_refused(layout):
    team = _team("mappo")[0].team
    with pytest.raises(
        ValueError, match="no-messages: the team's agents do not .* has random-mates"
    ):
        ablations.chosen(team, ("credit", "no-messages"))
    with pytest.raises(ValueError, match="credit: the team has one agent; it has none"):
        ablations.chosen(_team("centralised")[0].team, ("credit",))


def test_the_same_change_is_played_once(layout):
    team = _team("hierarchical")[0].team
    names = list(ablations.chosen(team, ablations.KINDS))
    assert len(names) == 10 and "no-strategic" not in names and names.count("no-safety") == 1
    assert ablations.credits(team) == ["no-directives", "no-area_1", "no-area_2", "no-safety"]


def test_without_a_change_nothing_changes(layout):
    nets, bundle, learned, _ = _controllers("hierarchical")
    same = ablations.Ablations(nets).controller("learned-same", ablations.Change(), bundle)
    np.testing.assert_array_equal(_act(same, layout), _act(learned, layout))


def test_without_messages_and_with_those_of_others_agents_act_otherwise(layout):
    nets, bundle, learned, made = _controllers("hierarchical")
    whole, silent, mixed = (
        _act(each, layout) for each in (learned, made["no-messages"], made["shuffled-messages"])
    )
    for one, other in ((whole, silent), (whole, mixed), (silent, mixed)):
        assert np.abs(one - other).max() > 1e-3
    # Zero is what attention gives whose last layer is zero.
    mute = jax.tree.map(lambda x: x, bundle.params)
    mute["policy"]["team"]["attention"]["out"] = jax.tree.map(
        jnp.zeros_like, bundle.params["policy"]["team"]["attention"]["out"]
    )
    muted = controllers.learned(nets, bundle.replace(params=mute))
    np.testing.assert_allclose(silent, _act(muted, layout), atol=1e-6)


def test_shuffled_messages_are_those_of_another_agent_by_seed(layout):
    for seed in range(20):
        read = ablations.other_reader(4, seed)
        assert sorted(read) == [0, 1, 2, 3] and (read != np.arange(4)).all()
    assert len({tuple(ablations.other_reader(4, seed)) for seed in range(20)}) > 1
    _, _, _, made = _controllers("hierarchical")
    mixed = made["shuffled-messages"]
    np.testing.assert_array_equal(_act(mixed, layout, 5), _act(mixed, layout, 5))
    assert np.abs(_act(mixed, layout, 5) - _act(mixed, layout, 6)).max() > 1e-4
    # A grid has the ring of its day wherever its batch begins.
    rings = [np.asarray(mixed.start(DAYS, seed).ablation.read) for seed in (5, 6)]
    np.testing.assert_array_equal(rings[0][1:], rings[1][:-1])


def test_no_directives_are_directives_of_zero(layout):
    nets, bundle, learned, made = _controllers("hierarchical")
    heard = inspection.directives(nets.team)
    assert heard.tolist() == [layout.action_size]
    by_hand = _by_hand(nets, bundle, layout, lambda raw: raw.at[:, heard].set(0.0))
    np.testing.assert_array_equal(_act(made["no-directives"], layout), by_hand)
    assert np.abs(by_hand - _act(learned, layout)).max() > 1e-3
    # Nor are any heard in the next step.
    _, memory = made["no-directives"].act(
        _states(layout), None, made["no-directives"].start(DAYS, 0)
    )
    seen = nets.team.input(_states(layout, 1).observation, memory.acting.memory)
    assert not np.asarray(seen)[:, nets.team.seen[1][-1]].any()


def test_no_safety_is_to_compose_without_holding_back(layout):
    nets, bundle, learned, made = _controllers("hierarchical")
    entries = nets.team.safety.entries

    def pass_all(raw):
        assert (np.asarray(distributions.squash(raw))[:, entries] > 0.05).any()
        return raw.at[:, entries].set(-1.0)

    by_hand = _by_hand(nets, bundle, layout, pass_all)
    np.testing.assert_array_equal(_act(made["no-safety"], layout), by_hand)
    shown = learned.inspect(_states(layout), learned.start(DAYS, 0))
    np.testing.assert_allclose(shown.unheld, by_hand, atol=1e-6)
    assert not np.asarray(
        made["no-safety"].inspect(_states(layout), made["no-safety"].start(DAYS, 0)).held_back
    ).any()


@pytest.mark.parametrize("kind", ["hierarchical", "ippo"])
def test_without_an_agent_only_its_entries_change(layout, kind):
    nets, bundle, learned, made = _controllers(kind)
    for agent in nets.team.agents:
        idle = _by_hand(nets, bundle, layout, lambda raw, a=agent: raw.at[:, a.action].set(0.0))
        np.testing.assert_array_equal(_act(made[f"no-{agent.name}"], layout), idle)
    region = next(agent for agent in nets.team.agents if agent.role == "region")
    changed = (_act(made[f"no-{region.name}"], layout) != _act(learned, layout)).any(0)
    assert changed.any() and set(np.flatnonzero(changed)) <= set(region.action.tolist())


def test_only_one_agent_acts_as_it_learned(layout):
    nets, _, learned, made = _controllers("ippo")
    first, second = nets.team.agents
    only, whole = _act(made[f"only-{first.name}"], layout), _act(learned, layout)
    np.testing.assert_array_equal(only[:, first.action], whole[:, first.action])
    drawn = np.concatenate([
        _act(made[f"only-{first.name}"], layout, 0, step)[:, second.action] for step in range(20)
    ])  # fmt: skip
    assert -1 <= drawn.min() < -0.9 and 0.9 < drawn.max() <= 1 and abs(drawn.mean()) < 0.1
    assert abs(drawn.std() - 1 / np.sqrt(3)) < 0.05


def test_a_held_decision_stays_held(layout):
    nets, _, _, made = _controllers("hierarchical")
    strategic = nets.team.agents[0]
    assert strategic.period == 12
    for name in ("only-area_1", "no-messages", "shuffled-messages", "no-area_2"):
        memory, told = made[name].start(DAYS, 0), []
        for step in range(14):
            _, memory = made[name].act(_states(layout, step), None, memory)
            told.append(np.asarray(memory.acting.memory)[:, 1])  # before it: steps since
        assert all(np.array_equal(told[0], each) for each in told[:12]), name
        assert not np.array_equal(told[0], told[12]), name


def test_one_program_serves_for_all(layout):
    _, _, _, made = _controllers("hierarchical")
    assert len({each.act for each in made.values()}) == 1
    traced = []
    act = jax.jit(lambda observation, memory: traced.append(1) or made["no-messages"].act(
        types.SimpleNamespace(observation=observation, t=jnp.zeros(GRIDS, int)), None, memory
    ))  # fmt: skip
    for each in made.values():
        act(_states(layout).observation, each.start(DAYS, 0))
    assert len(traced) == 1
