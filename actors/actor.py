"""The actor's loop: newest bundle, one unroll, onto the queue."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from actors import unroll as unroll_lib
from agents import bundle as bundle_lib
from replay import monitor as monitor_lib, queue, schema


def run(
    unroller: unroll_lib.Unroller,
    source: bundle_lib.Source,
    writer: queue.Writer,
    monitor: monitor_lib.Monitor,
    *,
    actor: int,
    incarnation: int,
    seed: int,
    synchronous: bool,
    alone: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> None:
    """Acts until the monitor says to stop.

    Args:
      unroller: the compiled work.
      source: where bundles come from.
      writer: where unrolls go.
      monitor: takes the actor's figures after each unroll.
      actor: number of this actor.
      incarnation: how often it has been restarted.
      seed: seed of the run; every actor and incarnation draws its own numbers from it.
      synchronous: wait for a new version before each unroll, so that lag is zero.
      alone: entered by one actor at a time, to compile.
    """
    bundle, index, seconds = None, 0, _Seconds()
    while bundle is None:  # It tells which part of the run the first days are of.
        if monitor.stopping():
            return
        monitor.progress("waiting for parameters")
        bundle = source.newest(0, 1.0)
    monitor.progress("compiling", limited=False)
    with alone():
        carry, days = unroller.start(seed, actor, incarnation, int(bundle.version))
        origin = _origin(actor, incarnation, 0, bundle)
        step = jax.jit(unroller.unroll, donate_argnums=1)
        step = step.lower(bundle, carry, days, origin).compile()

    while not monitor.stopping():
        monitor.progress("waiting for parameters")
        patience = 1.0 if synchronous and index else 0.0
        with seconds.spent("variable_wait"):
            newer = source.newest(int(bundle.version) + 1, patience)
        if newer is not None:
            bundle = newer
        elif patience:
            continue

        monitor.progress("stepping grids")
        with seconds.spent("acting"):
            origin = _origin(actor, incarnation, index, bundle)
            carry, unroll = step(bundle, carry, days, origin)
            jax.block_until_ready(unroll)

        monitor.progress("waiting for room in the queue")
        with seconds.spent("queue_wait"):
            written = writer.write(unroll, monitor.stopping)
        if not written:
            break
        index += 1
        if index % unroller.renew_every == 0:
            monitor.progress("drawing days", limited=index > unroller.renew_every)
            carry, days = unroller.renew(bundle.version, carry, days)
        steps = index * unroller.steps
        monitor.report(
            {
                "unrolls": index,
                "steps": steps,
                "version": int(bundle.version),
                **seconds.shares(),
                "steps_per_second_acting": steps / max(seconds.of_work["acting"], 1e-9),
            }
        )


def _origin(actor: int, incarnation: int, index: int, bundle: bundle_lib.Bundle) -> schema.Origin:
    return schema.Origin(*(jnp.int32(n) for n in (actor, incarnation, index, bundle.version)))


class _Seconds:
    """Seconds that the loop has spent on each of its works."""

    def __init__(self):
        self.of_work: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def spent(self, work: str) -> Iterator[None]:
        """Counts the block's seconds as spent on `work`."""
        before = time.monotonic()
        yield
        self.of_work[work] += time.monotonic() - before

    def shares(self) -> dict[str, float]:
        """Returns the share of each work."""
        total = sum(self.of_work.values())
        return {f"{work}_share": spent / total for work, spent in self.of_work.items()}
