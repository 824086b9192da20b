"""The part of a page on a team: what its agents tell, do, earn and hold back."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agents import ablations
from envs import grid_env
from evaluation import alterations, results, summary as summary_lib, wording
from evaluation.report import day_records, figure, team_figures

_MOST = 12  # agents that pictures have room for


def figures(
    records: day_records.DayRecords, summary: summary_lib.Summary, task: results.Task,
    env: grid_env.GridEnv,
) -> Iterator[figure.Figure]:  # fmt: skip
    """Yields the pictures of a team that has several agents; of an ablation none."""
    team = records.team
    if team is None or len(team["agents"]) < 2 or alterations.is_ablation(task.controller):
        return
    agents = team["agents"].tolist()
    if "attention" in team and len(agents) <= _MOST:
        yield figure.Figure(
            "Attention", "how much of its message each agent has from each, mean over all days "
            "and heads", team_figures.attention_by_hour(team["attention"], agents),
        )  # fmt: skip
        yield figure.Figure(
            "Attention by head", "rows read columns; mean over all days",
            team_figures.attention_by_head(team["attention"], agents),
        )  # fmt: skip
    if "directives" in records.worst and records.steps:
        note = "the worst day; shaded: the share of the area's request that is held back"
        yield figure.Figure(
            "Directives, and what areas did", note, team_figures.directives(records, env)
        )
    measured = credits(team, summary, task)
    note = "a day, mean: its own reward, and below what the buses of its area earn"
    if len(agents) > _MOST:
        team = _largest(team)
        note = f"of the {_MOST} agents whose areas earn or lose most {note}"
    if measured:
        note += "; credit: what the team loses where it does nothing, with its 95 % interval"
    yield figure.Figure("Return of each agent", note, team_figures.returns(team, measured))


def _largest(team: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what there is of those agents whose areas earn or lose most."""
    size = np.abs(np.nan_to_num(team["area_return"].mean(0), nan=np.inf))
    kept = np.sort(np.argsort(-size, kind="stable")[:_MOST])
    return {
        "agents": team["agents"][kept], "agent_return": team["agent_return"][:, kept],
        "area_return": team["area_return"][:, kept],
    }  # fmt: skip


def credits(
    team: Mapping[str, Any], summary: summary_lib.Summary, task: results.Task
) -> dict[str, dict[str, float]]:
    """Returns by agent its credit, `mean`, `low` and `high`, of those that were measured."""
    measured = {}
    for agent, name in zip(team["agents"].tolist(), team.get("credits", [])):
        # Where both were requested only one of two that are the same was played.
        named = [ablations.controller_name(task.controller, n) for n in (str(name), f"no-{agent}")]
        without = next((each for each in named if each in summary["controllers"]), None)
        if without:
            row = wording.row(summary, task.scenario, task.level, without)["metrics"]["return"]
            less = row[f"less_{task.controller}"]
            measured[agent] = {
                "mean": -less["mean"], "low": -less["high"], "high": -less["low"],
            }  # fmt: skip
    return measured


def held_back(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Returns how often something was held back, and how often for a reason; empty: never."""
    held = metrics.get("held_back")
    if held is None or held["mean"] == 0:
        return ""
    said = f"Something was held back in {wording.number(held['mean'])} % of steps"
    share = alterations.foreseen_share(metrics)
    if share is not None:
        averted = 100.0 * metrics["averted"]["mean"] / held["mean"]
        said += (
            f"; in {wording.number(share)} % of these a limit would have been broken if nothing had"
            f" been, and in {wording.number(averted)} % holding back kept it (overrides.csv)"
        )
    return f"{said}."
