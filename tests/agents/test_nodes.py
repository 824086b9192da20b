"""The team of nodes: a type for each bus, what it sees, moves and earns, and whose parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import bundle as bundle_lib, networks as networks_lib, nodes, teams
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from envs.step import earnings

OPTIONS = TeamOptions(kind="nodes", policy_layers=(8, 8), value_layers=(8,))
CASE14 = {
    1: "producer", 2: "producer", 3: "producer", 4: "producer", 5: "consumer", 6: "producer",
    7: "producer", 8: "producer", 9: "battery", 10: "consumer", 11: "consumer", 12: "consumer",
    13: "consumer", 14: "business",
}  # fmt: skip


def _layout(case="case14", layout="nodes", fleet="auto"):
    return grid_env.check(EnvOptions(case=case, layout=layout, fleet=fleet)).layout


@pytest.fixture(scope="module")
def layout():
    return _layout()


def _agents(layout, **options):
    team = teams.make(layout, dataclasses.replace(OPTIONS, **options))
    return {agent.name: agent for agent in team.agents}


def test_what_stands_at_a_bus_decides_its_type(layout):
    named = [f"{kind}_{bus}" for bus, kind in CASE14.items()]
    assert list(_agents(layout)) == named
    assert [agent.role for agent in _agents(layout).values()] == list(CASE14.values())
    plain = _agents(_layout(fleet="plain"))  # nothing but generators and loads: 4, 9, 14 have loads
    assert [name for name in plain if name.startswith("producer")] == [
        f"producer_{bus}" for bus in (1, 2, 3, 6, 8)
    ]
    assert {"consumer_4", "consumer_9", "consumer_14"} <= plain.keys()


@pytest.mark.parametrize("case", ["case14", "case118"])
def test_each_control_is_moved_once_and_at_its_own_bus(case):
    layout = _layout(case)
    for name, agent in _agents(layout).items():
        bus = name.split("_")[1]
        moved = [layout.action_names[entry] for entry in agent.action]
        assert moved and all(entry.endswith(f": bus {bus}") for entry in moved), name
        assert np.flatnonzero(agent.buses).tolist() == [
            layout.site.grid.bus.id.tolist().index(int(bus))
        ]
    owned = np.concatenate([agent.action for agent in _agents(layout).values()])
    np.testing.assert_array_equal(np.sort(owned), np.arange(layout.action_size))


def test_a_node_with_nothing_to_move_has_no_agent():
    # Without curtailment nothing can be moved at bus 7, where a wind plant stands and nothing else.
    agents = _agents(_layout(layout="operator"))
    assert len(agents) == 13 and "producer_7" not in agents
    layout = _layout("case300", fleet="plain")
    empty = nodes.node_types(layout.site) == ""
    agents = _agents(layout)
    assert empty.any() and len(agents) <= (~empty).sum()
    assert not any(agent.buses[empty].any() for agent in agents.values())


def test_a_node_sees_its_own_and_the_prices_of_its_type(layout):
    agents = _agents(layout)
    seen = {
        name: [layout.observation_names[entry] for entry in agent.observation]
        for name, agent in agents.items()
    }
    system = [
        name
        for block in ("forecast", "renewable_forecast", "frequency", "clock")
        for name in layout.observation_names[layout.observation[block]]
    ]
    for name, entries in seen.items():
        bus = name.split("_")[1]
        assert set(system) <= set(entries)
        for entry in entries:
            block, element = entry.split(": ")
            if block.endswith("_price"):
                continue
            ends = element.removeprefix("bus ").split("-")
            assert entry in system or bus in ends, (name, entry)
    prices = lambda name: {entry.split(":")[0] for entry in seen[name] if "_price" in entry}
    assert prices("consumer_10") == {"retail_price"}
    assert prices("producer_1") == prices("battery_9") == {"wholesale_price"}
    assert prices("business_14") == {"wholesale_price", "retail_price"}
    assert "prosumer_p: bus 14" in seen["business_14"]
    assert {"branch_rho: 9-14", "branch_rho: 13-14"} <= set(seen["business_14"])
    assert sum("prosumer_p: bus 14" in entries for entries in seen.values()) == 1


def test_own_rewards_are_the_terms_of_the_type_at_its_bus(layout):
    team = teams.make(layout, dataclasses.replace(OPTIONS, own_reward=1.0))
    rng = np.random.default_rng(0)
    earned = {name: rng.normal(size=(3, 14)).astype(np.float32) for name in earnings.TERMS}
    rewards = team.rewards(jnp.zeros(3), earned)
    broken = ("load_control_cost", "energy_not_served", "overload", "voltage_violation",
              "reactive_violation")  # fmt: skip
    sells = ("wholesale_revenue", "generation_cost", "curtailment")
    own = {
        "producer": sells, "consumer": ("retail_bill",), "battery": (*sells, "storage_throughput"),
        "business": (*sells, "storage_throughput", "retail_bill"),
    }  # fmt: skip
    for index, (agent, kind) in enumerate(zip(team.agents, CASE14.values())):
        by_hand = sum(earned[name][:, index] for name in (*broken, *own[kind]))
        np.testing.assert_allclose(
            rewards[:, index], by_hand, rtol=1e-5, atol=1e-6, err_msg=agent.name
        )


def test_nodes_of_a_type_share_parameters_and_equal_ones_act_alike(layout, key):
    nets = networks_lib.make(layout, dataclasses.replace(OPTIONS, node_parameters="type"))
    bundle = bundle_lib.initial(nets, key)
    params = bundle.params
    assert list(params["policy"]) == ["producer", "consumer", "battery", "business"]
    agents = {agent.name: agent for agent in nets.team.agents}
    seen = np.array(jax.random.normal(key, (layout.observation_size,)))
    consumers = [agents[f"consumer_{bus}"] for bus in (10, 11, 12)]  # two branches each
    reads = consumers[0].entries
    assert all(agent.entries == reads for agent in consumers)
    assert agents["consumer_13"].entries != reads and agents["consumer_5"].entries != reads
    torso = params["policy"]["consumer"]["SharedTanhTorso"]
    assert set(torso) == {
        "in_consumer_5", "in_consumer_10", "in_consumer_13", "embedding", "layer_1"
    }  # fmt: skip
    # The same values for all three: with equal embeddings they decide alike, with others not.
    for entry, block in enumerate(name.split(": ")[0] for name in layout.observation_names):
        if block in reads:
            seen[entry] = 0.1 * len(block) - 1.0
    moved = lambda: np.array([
        float(nets.policy(params, bundle.statistics, jnp.asarray(seen)).mean[agent.action[0]])
        for agent in (*consumers, agents["consumer_13"])
    ])  # fmt: skip
    assert len(np.unique(moved())) == 4
    torso["embedding"] *= 0.0
    alike = moved()
    assert len(np.unique(alike[:3])) == 1 and alike[3] != alike[0]


def test_nodes_of_their_own_share_nothing(layout, key):
    nets = networks_lib.make(layout, OPTIONS)
    params = nets.init(key)
    assert list(params["policy"]) == [agent.name for agent in nets.team.agents]
    slope = jax.jacobian(
        lambda x: nets.policy(params, nets.statistics(), x).mean
    )(jax.random.normal(key, (layout.observation_size,)))  # fmt: skip
    for agent in nets.team.agents:
        unseen = np.setdiff1d(np.arange(layout.observation_size), agent.observation)
        assert not slope[agent.action][:, unseen].any() and slope[agent.action].any(), agent.name


def test_a_layout_with_breakers_is_refused():
    with pytest.raises(ValueError, match="team.kind=nodes: env.layout has breakers.*layout=nodes"):
        teams.make(_layout(layout="full"), OPTIONS)


def test_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match="team.node_parameters='types': did you mean type.* own, "):
        dataclasses.replace(OPTIONS, node_parameters="types")
