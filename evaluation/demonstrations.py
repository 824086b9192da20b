"""What an expert does in the states that it, or a policy that learns from it, leads days to.

Asking is what takes long, so answers are kept, sixteen days in a file, in a folder named by all
that they depend on: no day is asked about twice.
"""

import dataclasses
import hashlib
import io
import json
import pathlib
import zipfile
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np

from agents import controllers
from envs import grid_env
from envs.case import digest
from evaluation import episodes, shared_files

DAYS_EACH = 16  # that are played together, and kept in one file
_FORMAT = 1
_SEED = 30_000  # of the days: others than those that actors and the evaluator draw


class Demonstrations(NamedTuple):
    """Decisions, those after the end of an episode left out."""

    observations: np.ndarray  # `[N, observation_size]`
    actions: np.ndarray  # `[N, action_size]` what the expert does there
    day: np.ndarray  # `[N]` number of the day
    returns: np.ndarray  # `[days]` of who acted


class Actor(NamedTuple):
    """Who acts while the expert is only asked, which must not assume control."""

    controller: controllers.Controller
    digest: str  # of all that it is made of


class Demonstrator:
    """Plays days of the train split and asks an expert in every state."""

    def __init__(self, env: grid_env.GridEnv, expert: controllers.Controller, root: pathlib.Path):
        """Takes the environment, who is asked, and the folder that answers are kept below."""
        self._env, self._expert, self._root = env, expert, root
        self._digests = {
            "grid": digest.hexdigest(env.grid), "fleet": digest.hexdigest(env.fleet),
            "days": env.recorded_days and digest.hexdigest(env.recorded_days),
        }  # fmt: skip
        self._player = episodes.Player(env)
        key, sample = jax.random.PRNGKey(_SEED), jax.vmap(env.sample_series)
        # A day depends on its number alone, not on how many there are.
        self._days = jax.jit(lambda n: sample(jax.vmap(jax.random.fold_in, (None, 0))(key, n)))

    def identity(self, actor: Actor | None = None) -> dict[str, Any]:
        """Returns all that answers depend on."""
        options = dataclasses.asdict(self._env.options)
        del options["pool"]  # a path; what days it has counts
        return {
            "format": _FORMAT, "environment": options, **self._digests,
            "expert": self._expert.name, "actor": actor and actor.digest,
        }  # fmt: skip

    def folder(self, actor: Actor | None = None) -> pathlib.Path:
        """Returns where the answers are kept."""
        made_of = json.dumps(self.identity(actor), sort_keys=True).encode()
        name = hashlib.sha256(made_of).hexdigest()[:16]
        return self._root / f"{self._env.grid.name}-{self._expert.name}-{name}"

    def days(self, first: int, count: int, actor: Actor | None = None) -> Demonstrations:
        """Returns the decisions on days from number `first` on, at most `DAYS_EACH`.

        They are read where they are kept, and asked for and kept where they are not. Without an
        `actor` the expert acts.

        Raises:
          OSError: they cannot be written.
        """
        folder = self.folder(actor)
        file = folder / f"{first:05}-{count}.npz"
        if (kept := _read(file)) is not None:
            return kept
        made = self._ask(first, count, actor.controller if actor else self._expert)
        folder.mkdir(parents=True, exist_ok=True)
        about = json.dumps(self.identity(actor), indent=1) + "\n"
        shared_files.replace(folder / "about.json", about.encode())
        content = io.BytesIO()
        np.savez_compressed(content, **made._asdict(), digest=digest.hexdigest(made._asdict()))
        shared_files.replace(file, content.getvalue())
        return made

    def _ask(self, first: int, count: int, actor: controllers.Controller) -> Demonstrations:
        numbers = np.arange(first, first + DAYS_EACH)
        expert, seen, wanted = self._expert, [], []
        ask, act = (self._player.compiled(each) for each in (expert, actor))

        def decide(state, days, memory):
            of_expert, of_actor = memory
            action, of_expert = ask(state, days, of_expert)
            seen.append(np.asarray(state.observation))
            wanted.append(np.asarray(action))
            if actor is not expert:
                action, of_actor = act(state, days, of_actor)
            return action, (of_expert, of_actor)

        both = dataclasses.replace(
            actor, act=decide, traceable=False,
            start=lambda days, seed: (expert.start(days, seed), actor.start(days, seed)),
        )  # fmt: skip
        # Always as many, the last of which may not be played: another number would be compiled.
        played = self._player.play(
            both, self._days(numbers), seed=first, active=numbers < first + count
        )
        outcomes = played.outcomes
        returns = np.where(outcomes.counted, outcomes.reward, 0.0).sum(0)[:count]
        counted = outcomes.counted[: len(seen)]
        day = np.broadcast_to(numbers.astype(np.int32), counted.shape)
        return Demonstrations(
            np.stack(seen)[counted], np.stack(wanted)[counted], day[counted], returns
        )


def _read(file: pathlib.Path) -> Demonstrations | None:
    """Returns what is in `file`, or nothing if it is not there, or damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            kept = Demonstrations(*(arrays[name] for name in Demonstrations._fields))
            intact = digest.hexdigest(kept._asdict()) == str(arrays["digest"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return kept if intact else None
