"""What a report draws of a team beside the grid: attention, directives, what each agent earns."""

from collections.abc import Mapping

import numpy as np

from agents import ablations, inspection
from agents.team import Team
from envs import grid_env
from evaluation import override_lines, overrides
from evaluation.episodes import Episodes


def extract(
    episodes: Episodes, env: grid_env.GridEnv, team: Team, hours: np.ndarray, chosen: int,
    plan_p_mw: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Returns the arrays that a report draws of a team that played a batch of days.

    `agents` and `credits` `[A]` are names, of agents and of the ablations in which each does
    nothing. Of the batch: `agent_return` and `area_return` `[B, A]`, thousand $ with the shipped
    rewards: each agent's reward, and what its own buses earn (NaN of who has none);
    `attention` `[hours, heads, A, A]`, mean by hour of the day. Of the `chosen` episode:
    `areas` `[n]`, names of agents with an area, and `area_redispatch_mw` `[T, n]`, what units there
    produce beyond their plan; `directives` `[T, D]`, of the agents `directed` `[D]`; what is not
    the team's is left out.

    Hours `[T]` are those that steps are in, `plan_p_mw` `[T, n_gen]` is the plan of the chosen
    episode. Only steps that are counted are in means and sums.
    """
    outcomes, recording = episodes
    counted = np.asarray(outcomes.counted)
    summed = lambda x: np.where(counted[..., None], np.asarray(x, np.float64), 0.0).sum(0)
    arrays = {
        "agents": np.array([agent.name for agent in team.agents]),
        "agent_return": summed(recording.earned.reward),
        "area_return": summed(recording.earned.area),
        **_redispatch(recording.detail.gen_p_mw[:, chosen] - plan_p_mw, env, team),
    }
    if team.size > 1:
        arrays["credits"] = np.array(ablations.credits(team))
    shown = recording.inspection
    if shown is not None and shown.attention is not None:
        arrays["attention"] = _by_hour(shown.attention, counted, hours)
    if shown is not None and shown.directives is not None:
        arrays["directed"] = np.array([_hearers(team, d) for d in inspection.directives(team)])
        arrays["directives"] = np.asarray(shown.directives)[:, chosen]
    return arrays


def held_back(
    overrides_of: Mapping[str, overrides.Override], counted: np.ndarray, env: grid_env.GridEnv,
    team: Team | None, first: int, chosen: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Returns what was held back: of the batch a line for each override, of an episode all of it.

    The lines are columns `override_…` of `override_lines.rows`. Of the `chosen` episode, by who
    held back: `BY_share` `[T, R]` and the other fields of `overrides.Override`, `BY_limit` and so
    on, `[T]`; `regions` `[R]` names those of the safety agent, whose buses are `region_buses`
    `[R, n_bus]`.
    """
    regions = team.safety.agents if team is not None and team.safety else ()
    arrays = {}
    if regions:
        nowhere = np.zeros(env.grid.n_bus, bool)
        buses = {agent.name: agent.buses for agent in team.agents}
        region_buses = np.stack([nowhere if buses[n] is None else buses[n] for n in regions])
        arrays = {"regions": np.array(regions), "region_buses": region_buses}
    lines = override_lines.rows(overrides_of, counted, regions, first)
    arrays |= {f"override_{name}": column for name, column in lines.items()}
    for by, override in overrides_of.items():
        for name, values in override._asdict().items():
            if values is not None:
                arrays[f"{by}_{name}"] = np.asarray(values)[:, chosen]
    return arrays


def _redispatch(moved_mw: np.ndarray, env, team: Team) -> dict[str, np.ndarray]:
    """Returns `areas` and `area_redispatch_mw` of what generators were moved `[T, n_gen]`."""
    areas = [agent for agent in team.agents if agent.buses is not None]
    if not areas:
        return {}
    gen = env.grid.gen
    inside = np.stack([agent.buses[gen.bus] & gen.is_unit for agent in areas], -1)
    return {
        "areas": np.array([agent.name for agent in areas]), "area_redispatch_mw": moved_mw @ inside,
    }  # fmt: skip


def _by_hour(attention: np.ndarray, counted: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """Returns the mean attention of each hour, `[hours, heads, A, A]`; NaN where no day goes on."""
    weights = np.asarray(attention, np.float64)  # [T, B, heads, A, A]
    means = []
    for hour in range(int(hours.max()) + 1):
        there = counted & (hours == hour)[:, None]
        means.append(weights[there].mean(0) if there.any() else np.full(weights.shape[2:], np.nan))
    return np.stack(means)


def _hearers(team: Team, latent: int) -> str:
    return ", ".join(agent.name for agent in team.agents if latent in agent.hears)
