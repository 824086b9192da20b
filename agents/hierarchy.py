"""The hierarchy: a strategic agent, one for each area, and a safety agent.

Strategic: looks far ahead and decides once an hour on a directive for each area, by which all units
there are moved towards Pmax (above 0) or Pmin, beside what the area itself moves them by. Regions:
see and move what is in their area, and hear the directive. Safety: looks at its own step alone and
holds back a share of what an area requests, directive included: 0 lets it pass, at 1 the area is
operated as planned. All attend to one another before they decide.
"""

import jax.numpy as jnp
import numpy as np

from agents import distributions, options as options_lib, regions, team as team_lib
from agents.team import Agent, Team
from envs.step.layout import Layout

STRATEGIC, SAFETY = "strategic", "safety"
_HORIZONS = {STRATEGIC: 100.0, regions.ROLE: 10.0, SAFETY: 1.0}  # effective, steps


def hierarchical(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the hierarchy on the areas of a grid; areas without units have no directive."""
    areas = regions.regions(layout, options)
    everything, size, n = np.arange(layout.observation_size), layout.action_size, len(areas)
    powers = np.array([name.startswith("unit power") for name in layout.action_names])
    directed = [i for i, area in enumerate(areas) if powers[area.action].any()]
    directives = size + np.arange(len(directed))
    held_back = size + len(directed) + np.arange(n)
    heard = {i: directives[number : number + 1] for number, i in enumerate(directed)}
    strategic = Agent(
        STRATEGIC, everything, directives, _HORIZONS[STRATEGIC], STRATEGIC, critic=everything,
        period=options.decision_steps,
    )  # fmt: skip
    members = [
        Agent(
            area.name, area.observation, area.action, _HORIZONS[regions.ROLE], regions.ROLE,
            critic=everything, buses=area.buses, own_reward=options.own_reward,
            hears=heard.get(i, np.zeros(0, int)),
        )
        for i, area in enumerate(areas)
    ]  # fmt: skip
    safety = Agent(SAFETY, everything, held_back, _HORIZONS[SAFETY], SAFETY, critic=everything)
    # Of each action the area that it is in, and of each unit's power the directive.
    owner, by = np.zeros(size, int), np.zeros((len(directed), size), np.float32)
    for i, area in enumerate(areas):
        owner[area.action] = i
    for number, i in enumerate(directed):
        by[number] = powers & (owner == i)

    def compose(action):
        own, directive, back = jnp.split(action, [size, size + len(directed)], -1)
        wanted = distributions.clip_to_minimise(own + directive @ by, -1.0, 1.0)
        share = distributions.clip_to_minimise(back, 0.0, 1.0)
        return wanted * (1.0 - share[..., owner])

    return team_lib.on(
        layout, [strategic, *members, safety], latents=len(directed) + n, compose=compose,
        attends=True, safety=team_lib.Safety(held_back, tuple(area.name for area in areas)),
    )  # fmt: skip
