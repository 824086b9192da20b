"""Rollout and update in one compiled loop: the actors' and the learner's functions, no queue.

Each device holds some of the actors and a share of the learner (Anakin; Hessel et al. 2021,
Podracer architectures). What is computed is what the service computes in synchronous mode.
"""

import operator
from collections.abc import Mapping, Sequence

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from actors import unroll as unroll_lib
from learner import devices as devices_lib, learner as learner_lib, ppo
from replay import schema


@flax.struct.dataclass
class _Loop:
    """What goes round; leaves `[devices, …]`, or `[devices, seeds, …]`."""

    training: ppo.TrainingState
    carry: unroll_lib.Carry  # `[actors of the device, …]`
    days: unroll_lib.Days  # `[actors of the device, …]`


class FusedLoop:
    """Trains one learner, or several of different seeds at once, each with actors of its own."""

    def __init__(
        self,
        unroller: unroll_lib.Unroller,
        learners: Sequence[learner_lib.Learner],
        seeds: Sequence[int],
        actors: int,
        incarnation: int,
    ):
        """Starts the actors; compiles nothing yet.

        Args:
          unroller: of every actor.
          learners: one for each seed; they keep the training state between calls.
          seeds: of the runs.
          actors: of each run, equally many on every device.
          incarnation: how often the runs were launched before.
        """
        self.unroller, self.learners = unroller, list(learners)
        self._several = len(self.learners) > 1
        self._unroll = jax.jit(unroller.unroll)  # traced once for all actors
        devices = self.learners[0].devices
        run = self._updates
        if self._several:
            run = jax.vmap(run, in_axes=(0, None))
        self._run = devices_lib.mapped(run, devices, donate_argnums=0)
        self._stacked = devices_lib.mapped(_stacked, devices)
        self._apart = devices_lib.mapped(lambda tree: list(_apart(tree)), devices)
        starts = [
            [unroller.start(seed, i, incarnation, learner.version) for i in range(actors)]
            for seed, learner in zip(seeds, self.learners)
        ]
        shape = (len(seeds), len(devices), actors // len(devices))

        def spread(*leaves):
            leaf = np.stack([np.asarray(leaf) for leaf in leaves])
            leaf = np.moveaxis(leaf.reshape(*shape, *leaf.shape[1:]), 0, 1)
            return leaf if self._several else leaf[:, 0]

        flat = [start for of_seed in starts for start in of_seed]
        self._carry, self._days = devices_lib.put(jax.tree.map(spread, *flat), devices)

    def advance(self) -> list[list[dict[str, float]]]:
        """Makes the updates until days are renewed, or those left; returns each seed's metrics.

        Raises:
          FloatingPointError: too many updates of a seed were not finite.
        """
        first = self.learners[0]
        count = min(self.unroller.renew_every, first.updates - first.version)
        states = [learner.state for learner in self.learners]
        training = self._stacked(states) if self._several else states[0]
        loop = _Loop(training, self._carry, self._days)
        loop, rows = self._run(loop, np.full(len(first.devices), count, np.int32))
        self._carry, self._days = loop.carry, loop.days
        rows = jax.tree.map(np.asarray, rows)
        states = self._apart(loop.training) if self._several else [loop.training]
        logs = []
        for seed, (learner, state) in enumerate(zip(self.learners, states)):
            own = lambda leaf, seed=seed: leaf[:, seed] if self._several else leaf
            bad = learner.advance(state, count)
            logs.append([_log(*jax.tree.map(own, rows), i, bad) for i in range(count)])
        return logs

    def _updates(self, loop: _Loop, count: chex.Array) -> tuple[_Loop, tuple]:
        """Returns the loop after `count` updates, and metrics and summaries `[renew_every, …]`."""
        shapes = jax.eval_shape(self._update, loop)[1]
        rows = jax.tree.map(
            lambda leaf: jnp.zeros((self.unroller.renew_every, *leaf.shape), leaf.dtype), shapes
        )

        def body(index, carry):
            loop, row = self._update(carry[0])
            return loop, jax.tree.map(lambda all_, one: all_.at[index].set(one), carry[1], row)

        loop, rows = jax.lax.fori_loop(0, count, body, (loop, rows))
        acted = loop.training.version - 1  # the version that the last unroll was made by
        renew = lambda *actor: self.unroller.renew(acted, *actor)
        carry, days = _each(renew, loop.carry, loop.days)
        return loop.replace(carry=carry, days=days), rows

    def _update(self, loop: _Loop) -> tuple[_Loop, tuple[Mapping, Mapping]]:
        """Returns the loop after an unroll of each actor and an update, metrics and summaries."""
        bundle, zero = ppo.bundle(loop.training), jnp.int32(0)
        origin = schema.Origin(zero, zero, zero, zero)
        act = lambda *actor: self._unroll(bundle, *actor, origin)
        # The barriers keep XLA from fusing over what is a process's end in the service, so that
        # both round alike.
        carry, unrolls = jax.lax.optimization_barrier(_each(act, loop.carry, loop.days))
        summaries, unroll = unrolls.summary, _joined(unrolls.replace(summary={}, origin=None))
        update = self.learners[0].ppo.update(loop.training, unroll)
        training, metrics = jax.lax.optimization_barrier(update)
        return loop.replace(training=training, carry=carry), (metrics, summaries)


def _each(function, *trees):
    """Returns what `function` makes of each entry of `trees`' first axis, stacked.

    One after another and not in a loop, within which XLA would round otherwise.
    """
    return _stacked([function(*entry) for entry in _apart(trees)])


def _stacked(trees):
    """Returns trees as one, whose leaves have a first axis for them."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _apart(tree):
    """Yields a tree for each entry of its leaves' first axis."""
    for i in range(len(jax.tree.leaves(tree)[0])):
        yield jax.tree.map(operator.itemgetter(i), tree)


def _joined(unrolls: schema.Unroll) -> schema.Unroll:
    """Returns unrolls `[actors, …]` as one, with the actors' grids in a row."""

    def over_time(leaf):  # [actors, T, B, …]
        leaf = jnp.moveaxis(leaf, 0, 1)
        length, actors, batch, *rest = leaf.shape  # which −1 cannot tell where one is 0
        return leaf.reshape(length, actors * batch, *rest)

    at_the_end = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
    ends = {name: at_the_end(getattr(unrolls, name)) for name in schema.AT_THE_END}
    bare = unrolls.replace(**dict.fromkeys(schema.AT_THE_END))
    return jax.tree.map(over_time, bare).replace(**ends)


def _log(metrics: Mapping, summaries: Mapping, index: int, bad: int) -> dict[str, float]:
    """Returns what the log has of one update; leaves `[devices, updates, …]`."""
    of_actors = {name: leaf[:, index].ravel() for name, leaf in summaries.items()}
    count = len(next(iter(of_actors.values())))
    each = [{name: float(leaf[i]) for name, leaf in of_actors.items()} for i in range(count)]
    own = {name: float(leaf[0, index]) for name, leaf in metrics.items()}
    return {**own, **learner_lib.mean_summaries(each), "run/bad_updates": float(bad)}
