"""The actor's loop: newest bundle, one unroll, onto the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from actors import unroll as unroll_lib
from replay import schema

Report = Callable[[Mapping[str, float]], None]


def run(
    unroller: unroll_lib.Unroller,
    variables: Any,
    writer: Any,
    report: Report,
    stopping: Callable[[], bool],
    progress: Callable[..., None] = lambda doing, limited=True: None,
    *,
    actor: int,
    incarnation: int,
    seed: int,
    synchronous: bool,
) -> None:
    """Acts until `stopping()`.

    Args:
      unroller: the compiled work.
      variables: where bundles come from; has `newest(at_least, timeout_s)`.
      writer: where unrolls go; has `write(unroll, stopping)`.
      report: takes the actor's figures after each unroll.
      stopping: says when to stop.
      progress: told what the loop does next, as `launch.nodes.heartbeat.Heartbeat.progress` is.
      actor: number of this actor.
      incarnation: how often it has been restarted.
      seed: seed of the run; every actor and incarnation draws its own numbers from it.
      synchronous: wait for a new version before each unroll, so that lag is zero.
    """
    key = jax.random.PRNGKey(seed)
    for part in (1, actor, incarnation):
        key = jax.random.fold_in(key, part)
    carry, days = unroller.init(key)
    step = jax.jit(unroller.unroll, donate_argnums=1)
    # A day lasts `horizon` steps, so every grid needs a new one once in as many.
    renew_every = max(1, unroller.env.horizon // unroller.length)

    bundle = None
    index = 0
    acting = queueing = asking = 0.0
    while not stopping():
        progress("waiting for parameters")
        before = time.monotonic()
        version = -1 if bundle is None else int(bundle.version)
        patience = 1.0 if bundle is None or synchronous else 0.0
        newer = variables.newest(version + 1, patience)
        asking += time.monotonic() - before
        if newer is not None:
            bundle = newer
        elif patience:
            continue

        # The second call may compile again, as the first has placed what it is given.
        progress("stepping grids" if index > 1 else "compiling", limited=index > 1)
        before = time.monotonic()
        origin = schema.Origin(*(jnp.int32(n) for n in (actor, incarnation, index, bundle.version)))
        carry, unroll = step(bundle, carry, days, origin)
        jax.block_until_ready(unroll)
        acting += time.monotonic() - before

        progress("waiting for room in the queue")
        before = time.monotonic()
        if not writer.write(unroll, stopping):
            break
        queueing += time.monotonic() - before
        index += 1
        if index % renew_every == 0:
            progress("drawing days", limited=index > renew_every)
            carry, days = unroller.renew(carry, days)
        total = acting + queueing + asking
        report(
            {
                "unrolls": index,
                "steps": index * unroller.steps,
                "version": int(bundle.version),
                "acting_share": acting / total,
                "queue_wait_share": queueing / total,
                "variable_wait_share": asking / total,
                "steps_per_second_acting": index * unroller.steps / max(acting, 1e-9),
            }
        )
