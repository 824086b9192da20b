"""Plays a policy in Grid2Op's Runner beside its own agents: steps survived, reward, cost.

Episodes begin at evenly spaced rows of each scenario, and are a day long at most. Those of one
scenario overlap where there are more of them than days: they are not independent.

The score is that of the challenges (`evaluation/l2rpn.py`): of the energy of losses, redispatch,
curtailment and batteries, and of all load after an end, all at one price.
"""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from agents.grid2op import play
from evaluation import l2rpn

NOTHING = "DoNothingAgent"
AGENTS = ("GridracerAgent", NOTHING, "RecoPowerlineAgent")


class Episode(NamedTuple):
    """Where an episode begins, and how many steps it has at most."""

    scenario: int
    row: int
    steps: int


class Outcome(NamedTuple):
    """What an agent made of an episode."""

    survived: int  # steps
    reward: float  # Grid2Op's, summed
    generation_cost: float  # $, as gen_cost_per_MW has it, of the steps that were played
    largest_rho: float
    redispatch_mwh: float  # moved away from the recorded plan, units summed
    losses_mwh: float
    operation_mwh: float  # of losses, redispatch, curtailment and batteries


def episodes(lengths: list[int], count: int, steps: int) -> list[Episode]:
    """Returns `count` episodes at the most, spread over scenarios of so many rows.

    Raises:
      ValueError: no scenario is as long as an episode.
    """
    last = [length - 1 - steps for length in lengths]
    if min(last) < 0:
        raise ValueError(
            f"--steps={steps}: a scenario has {min(lengths)} rows, so that an episode is at most "
            f"{min(lengths) - 1} steps long"
        )
    each = -(-count // len(lengths))
    starts = [np.unique(np.linspace(0, most, each).astype(int)) for most in last]
    planned = [
        Episode(scenario, int(row), steps) for scenario, rows in enumerate(starts) for row in rows
    ]
    return planned[:count] if len(planned) > count else planned


def play_all(
    environment: pathlib.Path,
    agent: Any,
    planned: list[Episode],
    *,
    protected: bool = True,
    played: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Returns the outcome of each episode, played by Grid2Op's Runner.

    `agent` is a function of a Grid2Op environment that returns an agent. Unless `protected`,
    overloads disconnect nothing. `played` is called after each.
    """
    from grid2op.Runner import Runner

    outcomes = []
    with contextlib.closing(play.make(environment, protected=protected)) as env:
        env.reset()  # from which on parameters that were changed are what they are
        runner = Runner(**env.get_params_for_runner(), agentClass=None, agentInstance=agent(env))
        for episode in planned:
            options: dict[str, Any] = {"time serie id": episode.scenario}
            if episode.row:
                options["init ts"] = episode.row
            ((*_, reward, survived, _, data),) = runner.run(
                nb_episode=1, max_iter=episode.steps, env_seeds=[0], agent_seeds=[0],
                reset_options=options, add_detailed_output=True,
            )  # fmt: skip
            seen = [data.observations[step + 1] for step in range(survived)]
            outcomes.append(_outcome(env, seen, reward))
            played()
    return outcomes


def _outcome(env, played: list, reward: float) -> Outcome:
    total = lambda value: float(_hours(env) * sum(float(value(o)) for o in played))
    price = np.asarray(env.gen_cost_per_MW, float)
    moved = total(lambda o: np.abs(o.actual_dispatch).sum())
    losses = total(lambda o: o.gen_p.sum() - o.load_p.sum() - o.storage_power.sum())
    curtailed = total(
        lambda o: np.maximum(o.gen_p_before_curtail - o.gen_p, 0)[o.gen_renewable].sum()
    )
    stored = total(lambda o: np.abs(o.storage_power).sum())
    return Outcome(
        len(played),
        float(reward),
        total(lambda o: o.gen_p @ price),
        float(max((o.rho.max() for o in played), default=0.0)),
        moved,
        losses,
        losses + moved + curtailed + stored,
    )


def _hours(env) -> float:
    """Returns how long a step is."""
    return env.delta_time_seconds / 3600.0


def agents(workdir: str):
    """Returns functions of an environment that make each of `AGENTS`."""
    from grid2op.Agent import DoNothingAgent, RecoPowerlineAgent

    from gridracer.grid2op.agent import GridracerAgent

    return dict(zip(AGENTS, (
        lambda env: GridracerAgent(env, workdir),
        lambda env: DoNothingAgent(env.action_space),
        lambda env: RecoPowerlineAgent(env.action_space),
    )))  # fmt: skip


def measure(
    environment: pathlib.Path,
    workdir: str,
    count: int,
    steps: int,
    progress: Callable[[int, int], None] = lambda played, planned: None,
) -> dict:
    """Returns the report on every agent, each on the same episodes.

    `progress` is told how many episodes were played, of how many in all.

    Raises:
      ValueError: a scenario is shorter than an episode.
    """
    loads = []
    with contextlib.closing(play.make(environment)) as env:
        names, hours = play.scenarios(env), _hours(env)
        for number in range(len(names)):
            play.reset(env, number, 0)
            loads.append(np.array(env.chronics_handler.real_data.data.load_p, float).sum(1))
    # The last row may be made up.
    planned = episodes([len(load) - 1 for load in loads], count, steps)
    demand = [hours * loads[e.scenario][e.row + 1 : e.row + 1 + steps] for e in planned]
    makes, done = agents(workdir), 0

    def played():
        nonlocal done
        done += 1
        progress(done, (len(makes) + 1) * len(planned))

    found = {
        name: play_all(environment, make, planned, played=played) for name, make in makes.items()
    }
    apart = play_all(environment, makes[NOTHING], planned, protected=False, played=played)
    untripped = _cost(apart, demand)
    report: dict[str, Any] = {
        "environment": environment.resolve().name,
        "scenarios": names,
        "episodes": [{"scenario": names[e.scenario], "row": e.row} for e in planned],
        "steps": steps,
        "agents": {},
    }
    for name, outcomes in found.items():
        values = {field: [getattr(o, field) for o in outcomes] for field in Outcome._fields}
        cost = _cost(outcomes, demand).operation
        scores = l2rpn.score(cost, _cost(found[NOTHING], demand), untripped)
        report["agents"][name] = {**values, "score": scores.tolist()}
    return report


def _cost(outcomes: list[Outcome], demand: list[np.ndarray]) -> l2rpn.Cost:
    """Returns what episodes cost as the challenges count it, in MWh; their load is `[steps]`."""
    lost = [load[o.survived :].sum() for o, load in zip(outcomes, demand)]
    columns = (
        [o.operation_mwh + after for o, after in zip(outcomes, lost)],
        [o.losses_mwh for o in outcomes],
        [load.sum() for load in demand],
    )
    return l2rpn.Cost(*(np.array(column, float) for column in columns))


def table(report: dict) -> str:
    """Returns the report as a table of Markdown: of each agent, means over the episodes."""
    count, steps = len(report["episodes"]), report["steps"]
    lines = [
        "| agent | episodes survived | steps survived | reward | score | generation, $ "
        "| largest ρ | redispatched, MWh |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, values in report["agents"].items():
        whole = sum(survived >= steps for survived in values["survived"])
        mean = lambda field, values=values: np.mean(values[field])
        lines.append(
            f"| {name} | {whole} of {count} | {mean('survived'):.1f} of {steps} "
            f"| {mean('reward'):,.0f} | {mean('score'):.1f} | {mean('generation_cost'):,.0f} "
            f"| {max(values['largest_rho']):.2f} | {mean('redispatch_mwh'):.1f} |"
        )
    return "\n".join(lines) + "\n"
