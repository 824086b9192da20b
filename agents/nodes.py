"""The team of nodes: an agent for each bus, of a type that what stands there decides.

It sees its bus, what stands there, the branches that end there, what is of no bus and the prices
that are its own, and moves every control at its bus. A bus where nothing can be moved has no agent:
what it earns and breaks is in the whole grid's reward alone.
"""

import numpy as np

from agents import options as options_lib, team as team_lib
from agents.team import Agent, Team
from envs.step import locations
from envs.step.layout import Layout, Site

PRODUCER, CONSUMER, BATTERY, BUSINESS = TYPES = ("producer", "consumer", "battery", "business")

# What a type's own reward is made of, of `earnings.TERMS`: what is paid for electricity, what its
# elements cost, and what is broken at its bus. A producer or a battery with a load beside it moves
# that load and pays for moving it; the bill is its customer's.
_BUS = (
    "load_control_cost", "energy_not_served", "overload", "voltage_violation", "reactive_violation",
)  # fmt: skip
_SELLER = ("wholesale_revenue", "generation_cost", "curtailment", *_BUS)
TERMS = {
    PRODUCER: _SELLER,
    CONSUMER: ("retail_bill", *_BUS),
    BATTERY: ("storage_throughput", *_SELLER),
    BUSINESS: ("retail_bill", "storage_throughput", *_SELLER),
}
# Who sees which prices; all else that is of no bus everybody sees.
_PRICES = {
    "wholesale_price": (PRODUCER, BATTERY, BUSINESS),
    "retail_price": (CONSUMER, BUSINESS),
}


def nodes(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the nodes of a grid, in the order of its buses.

    Their critics see the whole grid. Parameters are each node's own, or those of its type.

    Raises:
      ValueError: the layout has breakers, which stand between two nodes.
    """
    if "switch" in layout.action:
        raise ValueError(
            f"team.kind={options.kind}: env.layout has breakers, which belong to no node; give "
            "env.layout=nodes, or another one without"
        )
    seen, moved = locations.observed_at(layout), locations.moved_at(layout)
    blocks = [name.split(": ")[0] for name in layout.observation_names]
    titles = [name.split(": ")[0] for name in layout.action_names]
    systemwide, everything = ~seen.any(1), np.arange(layout.observation_size)
    types, agents = node_types(layout.site), []
    for bus in np.unique(moved):
        kind, action = types[bus], np.flatnonzero(moved == bus)
        told = np.array([kind in _PRICES.get(block, TYPES) for block in blocks])
        observation = np.flatnonzero(seen[:, bus] | (systemwide & told))
        agents.append(
            Agent(
                f"{kind}_{layout.site.grid.bus.id[bus]}", observation, action,
                options.effective_horizon, kind,
                parameters=kind if options.node_parameters == "type" else "",
                critic=everything, buses=np.arange(types.size) == bus,
                own_reward=options.own_reward, own_terms=TERMS[kind],
                entries=(*(blocks[i] for i in observation), *(titles[i] for i in action)),
            )
        )  # fmt: skip
    return team_lib.on(layout, agents)


def node_types(site: Site) -> np.ndarray:
    """Returns the type of each bus, text `[n_bus]`, empty where nothing stands.

    A prosumer makes it a business; else a battery is one; else a unit, condenser or plant makes it
    a producer; else a load makes it a consumer.
    """
    grid, fleet = site.grid, site.fleet
    types = np.full(grid.n_bus, "", dtype=f"<U{max(map(len, TYPES))}")
    for kind, buses in (
        (CONSUMER, grid.loads),
        (PRODUCER, np.concatenate([grid.gen.bus, fleet.renewables.bus])),
        (BATTERY, fleet.storage.bus),
        (BUSINESS, fleet.prosumers.bus),
    ):
        types[buses] = kind
    return types
