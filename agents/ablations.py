"""Ablations: a learned team without one of the things that it is coordinated by.

What the others are worth to the team is what it loses without: messages between agents, directives,
the safety agent, an agent (its credit: the difference reward of Wolpert and Tumer 2002, Optimal
Payoff Functions for Members of Collectives, with "as planned" as the default action), or, for all
agents but one, what they have learned (ad hoc teamwork, Stone et al. 2010: an agent among
team-mates that it was not trained with, here such as act at random).

An ablation is data in the memory of its controller: one compiled program serves for all of a team,
and for every policy.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import attention_networks, controllers, distributions, inspection
from agents.bundle import Bundle
from agents.networks import TeamNetworks
from agents.team import Team

MESSAGES, SHUFFLED, DIRECTIVES = "no-messages", "shuffled-messages", "no-directives"
SAFETY, MATES, CREDIT = "no-safety", "random-mates", "credit"
KINDS = (MESSAGES, SHUFFLED, DIRECTIVES, SAFETY, MATES, CREDIT)
_SEPARATOR = "-"  # between the name of a controller and of its ablation
_TITLES = {SHUFFLED: "messages shuf."}  # that fit a column; of others the words of their names


class Change(NamedTuple):
    """How a team differs from what was learned."""

    idle: tuple[int, ...] = ()  # entries of actions that are left as planned
    random: tuple[int, ...] = ()  # those that are drawn evenly from [−1, 1]
    heeded: bool = True  # whether messages are read; else they are zero
    shuffled: bool = False  # whether each agent reads the message of another


class Ablation(NamedTuple):
    """A change of the team in a batch of grids."""

    idle: chex.Array  # bool `[output_size]`
    random: chex.Array  # bool `[output_size]`
    heeded: chex.Array  # 1 or 0, which messages are multiplied by
    read: chex.Array  # `[B, A]` whose message each agent reads
    keys: chex.Array  # `[B, 2]` of what is drawn


class Ablated(NamedTuple):
    """The memory of an ablated team."""

    acting: controllers.Acting
    ablation: Ablation


def controller_name(base: str, ablation: str) -> str:
    """Returns the name of an ablation of the controller `base`."""
    return f"{base}{_SEPARATOR}{ablation}"


def split(controller: str) -> tuple[str, str]:
    """Returns the name of a controller and of its ablation, empty where it has none."""
    base, _, ablation = controller.partition(_SEPARATOR)
    return base, ablation


def title(ablation: str) -> str:
    """Returns what a reader calls an ablation."""
    return _TITLES.get(ablation, ablation.replace(_SEPARATOR, " "))


def changes(team: Team) -> dict[str, dict[str, Change]]:
    """Returns by kind, of `KINDS`, the ablations that a team has, by name."""
    heard = inspection.directives(team)
    several = team.agents if team.size > 1 else ()
    entries = lambda agents: tuple(np.concatenate([a.action for a in agents]).tolist())
    others = lambda agent: [other for other in several if other is not agent]
    return {
        MESSAGES: {MESSAGES: Change(heeded=False)} if team.attends else {},
        SHUFFLED: {SHUFFLED: Change(shuffled=True)} if team.attends else {},
        DIRECTIVES: {DIRECTIVES: Change(idle=tuple(heard.tolist()))} if heard.size else {},
        SAFETY: {SAFETY: Change(idle=tuple(team.safety.entries.tolist()))} if team.safety else {},
        MATES: {f"only-{a.name}": Change(random=entries(others(a))) for a in several},
        CREDIT: {f"no-{a.name}": Change(idle=entries([a])) for a in several},
    }


def credits(team: Team) -> list[str]:
    """Returns of each agent the name of the ablation in which it does nothing.

    Of one who does what another ablation leaves out, and no more, it is the name of that.
    """
    by_change = {}
    for kind in changes(team).values():
        for name, change in kind.items():
            by_change.setdefault(change, name)
    return [by_change[Change(idle=tuple(agent.action.tolist()))] for agent in team.agents]


def chosen(team: Team, kinds: tuple[str, ...]) -> dict[str, Change]:
    """Returns the ablations of `kinds`, by name; of those that are the same change, the first.

    Raises:
      ValueError: the team has none of a kind; the message says which kinds it has.
    """
    there = changes(team)
    for kind in kinds:
        if not there[kind]:
            known = ", ".join(name for name in KINDS if there[name]) or "none"
            raise ValueError(f"{kind}: {_missing(kind)}; it has {known}")
    by_change: dict[Change, str] = {}
    for kind in kinds:
        for name, change in there[kind].items():
            by_change.setdefault(change, name)
    return {name: change for change, name in by_change.items()}


def _missing(kind: str) -> str:
    if kind in (MESSAGES, SHUFFLED):
        return "the team's agents do not attend to one another"
    return {
        DIRECTIVES: "the team's agents hear no directives",
        SAFETY: "the team has no safety agent",
    }.get(kind, "the team has one agent")  # fmt: skip


class Ablations:
    """Makes controllers of a team's ablations, all with one `act`."""

    def __init__(self, networks: TeamNetworks):
        """Takes the networks of the team."""
        self._networks = networks
        self._owner = networks.team.membership.argmax(-1)  # of each entry of actions

    def controller(self, name: str, change: Change, bundle: Bundle) -> controllers.Controller:
        """Returns the controller that takes the most likely action of a team with a change."""
        start = functools.partial(self._start, change, bundle)
        return controllers.Controller(
            name, title(split(name)[1]), controllers.OBSERVATIONS, start, self.act,
            team=self._networks.team, inspect=self.inspect,
        )  # fmt: skip

    def act(self, state, series, memory: Ablated):
        """Returns actions `[B, action_size]` and the next memory."""
        del series
        team = self._networks.team
        seen, raw = self._decide(state, memory)
        acting = memory.acting._replace(memory=team.remember(seen, raw))
        action = team.to_grid(distributions.squash(raw))
        return action, memory._replace(acting=acting)

    def inspect(self, state, memory: Ablated) -> inspection.Inspection:
        """Returns what is held back; the rest is shown of the whole team alone."""
        _, raw = self._decide(state, memory)
        share = self._networks.team.share_held_back(distributions.squash(raw))
        return inspection.Inspection(held_back=share)

    def _decide(self, state, memory: Ablated) -> tuple[chex.Array, chex.Array]:
        """Returns the inputs of networks, and actions `[B, output_size]` before the squash."""
        networks, team, (bundle, kept) = self._networks, self._networks.team, memory.acting
        seen = team.input(state.observation, kept)
        with attention_networks.reading(_reader(memory.ablation)):
            policy = networks.policy(bundle.params, bundle.statistics, seen)
        raw = networks.mode(policy)
        drawn = jax.vmap(functools.partial(_draw, team.output_size))(memory.ablation.keys, state.t)
        deciding = policy.deciding
        fresh = True if deciding is None else deciding[..., self._owner]  # Of others it holds.
        raw = jnp.where(memory.ablation.random & fresh, drawn, raw)
        return seen, jnp.where(memory.ablation.idle, 0.0, raw)

    def _start(self, change: Change, bundle: Bundle, days, seed: int) -> Ablated:
        team, count = self._networks.team, len(days.day)
        flags = lambda entries: jnp.asarray(np.isin(np.arange(team.output_size), entries))
        read = [
            other_reader(team.size, seed + grid) if change.shuffled else np.arange(team.size)
            for grid in range(count)
        ]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.PRNGKey(seed), jnp.arange(count))
        ablation = Ablation(
            flags(change.idle), flags(change.random), jnp.float32(change.heeded),
            jnp.asarray(np.stack(read)), keys,
        )  # fmt: skip
        return Ablated(controllers.acting(self._networks, bundle, count), ablation)


def other_reader(size: int, seed: int) -> np.ndarray:
    """Returns whose message each of `size` agents reads, `[size]`: of a random ring the next."""
    ring = np.random.default_rng(seed).permutation(size)
    read = np.empty(size, int)
    read[ring] = np.roll(ring, -1)
    return read


def _reader(ablation: Ablation) -> Callable[[chex.Array], chex.Array]:
    """Returns what agents read of messages `[B, A, width]`."""

    def read(messages):
        others = jnp.take_along_axis(messages, ablation.read[..., None], -2)
        return ablation.heeded * others

    return read


def _draw(size: int, key: chex.PRNGKey, step: chex.Array) -> chex.Array:
    """Returns actions before the squash `[size]` that are even in [−1, 1] after it."""
    key = jax.random.fold_in(key, step)
    even = jax.random.uniform(key, (size,), minval=-1.0, maxval=1.0)
    return distributions.unsquash(even)
