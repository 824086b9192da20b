"""The learner's loop: take a batch, update, publish, log, now and then save."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents import bundle as bundle_lib
from agents import networks as networks_lib
from learner import checkpoint as checkpoint_lib
from learner import ingest as ingest_lib
from learner import options as options_lib
from learner import ppo
from learner import variables as variables_lib
from replay import schema

Log = Callable[[int, Mapping[str, float]], None]

_MAX_BAD_UPDATES = 10  # that are not finite, before the run is ended
_PATIENCE_S = 0.5  # How long the learner waits for data before it looks whether to stop.


class Learner:
    """Runs PPO over several devices until its budget is spent or it is told to stop."""

    def __init__(
        self,
        networks: networks_lib.TeamNetworks,
        options: options_lib.LearnerOptions,
        spec: schema.Spec,
        steps: int,
        seed: int,
    ):
        """Initialises the state; compiles nothing yet.

        Args:
          networks: the team's networks.
          options: the learner's options.
          spec: shape of an unroll.
          steps: environment steps in the budget.
          seed: seed of parameters and shuffles.

        Raises:
          RuntimeError: fewer devices than the options ask for.
        """
        available = jax.local_devices()
        if len(available) < options.devices:
            raise RuntimeError(
                f"learner.devices={options.devices}, but this process sees {len(available)} "
                f"{available[0].platform} device(s); lower it, or change --placement"
            )
        self.devices = available[: options.devices]
        self.options = options
        self._bytes_per_transition = schema.bytes_per_transition(spec)
        self.steps_per_update = schema.transitions(spec) * options.unrolls_per_update
        self.updates = max(1, -(-steps // self.steps_per_update))
        self._ppo = ppo.PPO(networks, options)
        self._update = jax.pmap(
            self._ppo.update, axis_name=ppo.AXIS, devices=self.devices, donate_argnums=0
        )
        self.version = 0
        self._seconds_before = 0.0
        self._state = self._replicate(self._ppo.init(jax.random.PRNGKey(seed)))

    @property
    def steps(self) -> int:
        """Environment steps learned from, as a Python integer that cannot overflow."""
        return self.version * self.steps_per_update

    def bundle(self) -> bundle_lib.Bundle:
        """Returns a copy, on the host, of what is published."""
        return jax.tree.map(np.array, ppo.bundle(self._one()))

    def restore(self, checkpoints: checkpoint_lib.Checkpoints, networks) -> list[str]:
        """Continues from the newest checkpoint that can be read; says which were set aside."""
        restored, set_aside = checkpoints.recover(networks, self._rest())
        bundle = restored.bundle
        state = ppo.TrainingState(
            params=bundle.params,
            statistics=bundle.statistics,
            value_statistics=bundle.value_statistics,
            version=bundle.version,
            **restored.learner,
        )
        self._state = self._replicate(state)
        self.version = restored.version
        self._seconds_before = float(restored.run["seconds"])
        return set_aside

    def save(
        self, checkpoints: checkpoint_lib.Checkpoints, seconds: float, wait: bool = False
    ) -> None:
        """Writes the whole state."""
        run = {"version": self.version, "steps": self.steps, "seconds": seconds}
        checkpoints.save(self.version, self.bundle(), run, self._rest(), wait)

    def run(
        self,
        reader: Any,
        variables: variables_lib.Variables,
        checkpoints: checkpoint_lib.Checkpoints,
        log: Log,
        stopping: Callable[[], bool],
        progress: Callable[..., None] = lambda doing, limited=True: None,
        *,
        max_lag: int,
        max_seconds: float,
        checkpoint_seconds: float,
    ) -> str:
        """Learns until the budget is spent or `stopping()`; returns which of the two it was.

        Compilation and the wait for the first data are not learning: seconds count from the end of
        this call's first update.

        Args:
          reader: where unrolls come from; has `read()` and `size()`.
          variables: where bundles go.
          checkpoints: where the state is saved.
          log: takes the step and its scalars after each update.
          stopping: says when to stop.
          progress: told what the loop does next, as `launch.nodes.heartbeat.Heartbeat.progress` is.
          max_lag: unrolls older than so many updates are dropped.
          max_seconds: seconds of learning in the budget, former launches included.
          checkpoint_seconds: time between two checkpoints.

        Raises:
          FloatingPointError: too many updates were not finite.
        """
        published = self.bundle()
        variables.publish(published)
        # The first version that knew what observations look like.
        known_from = 0 if published.statistics.count > 0 else None
        ingest = ingest_lib.Ingest(
            reader.read(), self.options.unrolls_per_update, self.devices, max_lag,
            lambda: self.version,
        )  # fmt: skip
        saved = time.monotonic()
        saved_version = self.version
        waited, unnormalised = 0.0, 0
        began: float | None = None
        # Rates and shares are of the last updates, so that compiling does not colour them.
        recent: collections.deque = collections.deque([(saved, self.steps, waited)], maxlen=20)
        outcome = "stopped"
        while not stopping():
            seconds = self._seconds(began)
            if self.version >= self.updates or seconds >= max_seconds:
                outcome = "finished"
                break
            progress("waiting for data")
            before = time.monotonic()
            batch = ingest.next(_PATIENCE_S)
            waited += time.monotonic() - before
            if batch is None:
                continue

            if known_from is not None and min(batch.versions) < known_from:
                # That policy saw observations that were not normalised yet: another policy.
                unnormalised += len(batch.versions)
                continue

            progress("compiling" if began is None else "updating", limited=began is not None)
            before = time.monotonic()
            lags = [self.version - version for version in batch.versions]
            self._state, metrics = self._update(self._state, batch.unroll)
            metrics = {name: float(value[0]) for name, value in metrics.items()}
            self.version += 1
            published = self.bundle()
            progress("publishing")
            variables.publish(published)
            if known_from is None and published.statistics.count > 0:
                known_from = self.version
            now = time.monotonic()

            bad = int(self._one().bad_updates)
            if bad >= _MAX_BAD_UPDATES:
                raise FloatingPointError(
                    f"{bad} updates were not finite; try a lower learner.learning_rate"
                )
            then, steps_then, waited_then = recent[0]
            if began is None:
                began = now
                recent.clear()
            recent.append((now, self.steps, waited))
            log(
                self.steps,
                {
                    **metrics,
                    **_mean_summaries(batch.summaries),
                    "run/updates": self.version,
                    "run/seconds": self._seconds_before + now - began,
                    "run/steps_per_second": (self.steps - steps_then) / (now - then),
                    "run/bytes_per_transition": self._bytes_per_transition,
                    "run/lag_mean": float(np.mean(lags)),
                    "run/lag_max": float(max(lags)),
                    "run/queue_size": float(reader.size()),
                    "run/repeats_dropped": float(ingest.repeats),
                    "run/stale_dropped": float(ingest.stale + unnormalised),
                    "run/bad_updates": float(bad),
                    "run/learner_wait_share": (waited - waited_then) / (now - then),
                    "run/update_seconds": now - before,
                },
            )
            if now - saved >= checkpoint_seconds:
                progress("saving a checkpoint")
                self.save(checkpoints, self._seconds(began))
                saved, saved_version = now, self.version
        progress("saving the last checkpoint")
        if self.version != saved_version:
            self.save(checkpoints, self._seconds(began), wait=True)
        checkpoints.wait()
        return outcome

    def _seconds(self, began: float | None) -> float:
        """Returns the seconds of learning, of former launches too."""
        return self._seconds_before + (0.0 if began is None else time.monotonic() - began)

    def _one(self) -> ppo.TrainingState:
        """Returns one device's copy of the state."""
        return jax.tree.map(lambda leaf: leaf[0], self._state)

    def _rest(self) -> dict[str, Any]:
        """Returns what of the state is not in the bundle."""
        state = self._one()
        names = ("optimiser", "key", "bad_updates")
        return {name: jax.tree.map(np.array, getattr(state, name)) for name in names}

    def _replicate(self, state: ppo.TrainingState) -> ppo.TrainingState:
        return jax.device_put_replicated(jax.tree.map(jnp.asarray, state), self.devices)


def _mean_summaries(summaries: list[dict[str, float]]) -> dict[str, float]:
    """Returns the means over unrolls; returns of episodes are averaged over episodes."""
    means = {name: float(np.mean([s[name] for s in summaries])) for name in summaries[0]}
    episodes = sum(s["episodes"] for s in summaries)
    means["episodes"] = episodes
    total = sum(s["episode_return_sum"] for s in summaries)
    del means["episode_return_sum"]
    if episodes:
        means["episode_return"] = total / episodes
    return means
