"""The team of networked microgrids: an agent for each, and one for the rest of the feeder.

A microgrid's agent sees and moves what is in its area, and opens and closes the branch that couples
it. What is of no bus, such as forecasts of totals, the time and the frequency, everybody sees.
"""

import numpy as np

from agents import options as options_lib, team as team_lib
from agents.team import Agent, Team
from envs.inputs import choices
from envs.step import layouts, locations
from envs.step.layout import Layout

ROLE, REST, OPERATOR = "microgrid", "feeder", "operator"


def microgrids(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the team on the microgrids of a grid.

    With `team.microgrid_control=central` one agent sees and moves everything, else each sees its
    own area, has parameters and a value function of its own, and earns what
    `team.own_reward` says.

    Raises:
      ValueError: the grid has no microgrids, none of a name that is given, or one in which nothing
        can be moved.
    """
    chosen = _chosen(layout, options)
    sees, moves = np.arange(layout.observation_size), np.arange(layout.action_size)
    horizon = options.effective_horizon
    if options.microgrid_control == options_lib.CENTRAL:
        return team_lib.on(layout, [Agent(OPERATOR, sees, moves, horizon)])

    fleet = layout.site.fleet
    seen, owner = locations.observed_at(layout), _owners(layout, chosen)
    systemwide = ~seen.any(1)
    in_rest = ~np.isin(fleet.area, fleet.microgrids.area[chosen])
    parts = [(fleet.microgrids.name[i], fleet.area == fleet.microgrids.area[i]) for i in chosen]
    agents = []
    for number, (name, inside) in enumerate([*parts, (REST, in_rest)]):
        action = moves[owner == number]
        if not action.size and name == REST:
            continue
        if not action.size:
            raise ValueError(
                f"team.kind={options.kind}: microgrid {name} of {layout.site.grid.name} has "
                "nothing that env.layout moves; give another layout, such as microgrids or full"
            )
        observation = sees[systemwide | seen[:, inside].any(1)]
        agents.append(Agent(
            str(name), observation, action, horizon, REST if name == REST else ROLE,
            buses=inside, own_reward=options.own_reward,
        ))  # fmt: skip
    return team_lib.on(layout, agents)


def _chosen(layout: Layout, options: options_lib.TeamOptions) -> list[int]:
    """Returns which rows of the fleet's microgrids have an agent of their own."""
    grid, fleet = layout.site.grid, layout.site.fleet
    if not fleet.couplings.size:
        raise ValueError(
            f"team.kind={options.kind}: has an agent for each microgrid, and {grid.name} with the "
            f"fleet {fleet.name} has none; give a fleet with the table microgrids "
            "(docs/fleets.md), env.case=ieee13_mg, or team.kind=centralised"
        )
    names = fleet.microgrids.name.tolist()
    if not options.microgrids:
        return list(range(len(names)))
    chosen = []
    for name in (part.strip() for part in options.microgrids.split(",")):
        if name not in names or names.index(name) in chosen:
            wrong = "is there twice" if name in names else f"is none of {grid.name}"
            hint = "" if name in names else choices.hint(name, names)
            raise ValueError(
                f"team.microgrids={options.microgrids}: {name!r} {wrong}; {hint}give some of "
                f"{', '.join(names)}, each once, or leave it empty for all"
            )
        chosen.append(names.index(name))
    return chosen


def _owners(layout: Layout, chosen: list[int]) -> np.ndarray:
    """Returns who moves each action `[action_size]`: a place in `chosen`, or their number.

    The branch that couples a microgrid is its own, whichever end it begins at.
    """
    fleet, at = layout.site.fleet, locations.moved_at(layout)
    owner = np.full(layout.action_size, len(chosen))
    for number, i in enumerate(chosen):
        owner[fleet.area[at] == fleet.microgrids.area[i]] = number
        for name, part in layout.action.items():
            elements = layouts.ACTIONS[name].elements
            if elements.kind == "branch":
                couples = elements.rows(layout.site) == fleet.couplings[i]
                owner[np.arange(part.start, part.stop)[couples]] = number
    return owner
