"""The learner's loop: take a batch, update, publish, log, now and then save."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from agents import bundle as bundle_lib, networks as networks_lib
from envs import grid_env
from learner import (
    analytic,
    checkpoint as checkpoint_lib,
    clock as clock_lib,
    devices as devices_lib,
    ingest as ingest_lib,
    limits as limits_lib,
    options as options_lib,
    ppo,
    variables as variables_lib,
)
from replay import monitor as monitor_lib, queue, schema

Log = Callable[[int, Mapping[str, float]], None]

_MAX_BAD_UPDATES = 10  # that are not finite, before the run is ended
_STREAM = 2  # The learner's random numbers are not the actors'.
_PATIENCE_S = 0.5  # How long the learner waits for data before it looks whether to stop.


class Learner:
    """Runs PPO over several devices until its budget is spent or it is told to stop."""

    def __init__(
        self,
        env: grid_env.GridEnv,
        networks: networks_lib.TeamNetworks,
        options: options_lib.LearnerOptions,
        spec: schema.Spec,
        steps: int,
        seed: int,
    ):
        """Initialises the state; compiles nothing yet.

        `spec` is the shape of an unroll, `steps` are environment steps in the budget, and `seed` is
        the run's.

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
        gradient = analytic.AnalyticGradient(env, networks, options) if options.window else None
        limits = limits_lib.Limits(options, env.options.step_minutes) if options.limits else None
        self.ppo = ppo.PPO(networks, options, gradient, self.updates, limits)
        self._update = devices_lib.mapped(self.ppo.update, self.devices, donate_argnums=0)
        self._batch_spec = ingest_lib.batch_spec(spec, options.unrolls_per_update, options.devices)
        self.version = 0
        self.seconds_before = 0.0
        self._known_from: int | None = None  # the first version that has observation statistics
        stream = jax.random.fold_in(jax.random.PRNGKey(seed), _STREAM)
        own = int(jax.random.randint(stream, (), 0, 2**31 - 1))
        self.state = self._replicate(jax.jit(self.ppo.init)(jax.random.PRNGKey(own)))

    @property
    def steps(self) -> int:
        """Environment steps learned from, as a Python integer that cannot overflow."""
        return self.version * self.steps_per_update

    def bundle(self) -> bundle_lib.Bundle:
        """Returns a copy, on the host, of what is published."""
        return devices_lib.first(ppo.bundle(self.state))

    def advance(self, state: ppo.TrainingState, updates: int) -> int:
        """Takes the state after so many more updates, made elsewhere; as `bad_updates`."""
        self.state, self.version = state, self.version + updates
        return self.bad_updates()

    def begin_with(self, bundle: bundle_lib.Bundle) -> None:
        """Takes policy, value function and statistics from elsewhere; all else stays fresh."""
        parts = ("params", "statistics", "value_statistics")
        taken = {name: getattr(bundle, name) for name in parts}
        self.state = self._replicate(devices_lib.first(self.state).replace(**taken))

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
        self.state = self._replicate(state)
        self.version = restored.version
        self.seconds_before = float(restored.run["seconds"])
        self._known_from = 0 if bundle.statistics.count > 0 else None
        return set_aside

    def save(
        self, checkpoints: checkpoint_lib.Checkpoints, seconds: float, wait: bool = False
    ) -> None:
        """Writes the whole state."""
        run = {"version": self.version, "steps": self.steps, "seconds": seconds}
        checkpoints.save(self.version, self.bundle(), run, self._rest(), wait)

    def run(
        self,
        reader: queue.Reader,
        variables: variables_lib.Variables,
        checkpoints: checkpoint_lib.Checkpoints,
        log: Log,
        monitor: monitor_lib.Monitor,
        *,
        max_lag: int,
        max_seconds: float,
        checkpoint_seconds: float,
    ) -> str:
        """Learns until the budget is spent or the monitor says to stop; returns which it was.

        Args:
          reader: where unrolls come from.
          variables: where bundles go.
          checkpoints: where the state is saved.
          log: takes the step and its scalars after each update.
          monitor: watches the loop.
          max_lag: unrolls older than so many updates are dropped.
          max_seconds: seconds of learning in the budget, former launches included.
          checkpoint_seconds: time between two checkpoints.

        Raises:
          FloatingPointError: too many updates were not finite.
        """
        self._publish(variables)
        # While the actors compile, not after it.
        monitor.progress("compiling", limited=False)
        update = self._update.lower(self.state, self._batch_spec).compile()
        ingest = ingest_lib.Ingest(
            reader.read(), self.options.unrolls_per_update, self.devices, max_lag,
            lambda: self.version,
        )  # fmt: skip
        clock = clock_lib.Clock(self.seconds_before, self.steps)
        saved, saved_version = time.monotonic(), self.version
        unnormalised = 0
        outcome = "stopped"
        while not monitor.stopping():
            if self.version >= self.updates or clock.seconds >= max_seconds:
                outcome = "finished"
                break
            monitor.progress("waiting for data")
            with clock.waiting():
                batch = ingest.next(_PATIENCE_S)
            if batch is None:
                continue
            if self._known_from is not None and min(batch.versions) < self._known_from:
                # That policy saw observations that were not normalised yet: another policy.
                unnormalised += len(batch.versions)
                continue

            monitor.progress("updating", limited=clock.started)
            before = time.monotonic()
            lags = [self.version - version for version in batch.versions]
            self.state, metrics = update(self.state, batch.unroll)
            metrics = {name: float(value) for name, value in devices_lib.first(metrics).items()}
            self.version += 1
            monitor.progress("publishing")
            self._publish(variables)
            update_seconds = time.monotonic() - before
            bad_updates = self.bad_updates()
            log(
                self.steps,
                {
                    **metrics,
                    **mean_summaries(batch.summaries),
                    **clock.updated(self.steps),
                    "run/updates": self.version,
                    "run/bytes_per_transition": self._bytes_per_transition,
                    "run/lag_mean": float(np.mean(lags)),
                    "run/lag_max": float(max(lags)),
                    "run/queue_size": float(reader.size()),
                    "run/repeats_dropped": float(ingest.repeats),
                    "run/stale_dropped": float(ingest.stale + unnormalised),
                    "run/bad_updates": float(bad_updates),
                    "run/update_seconds": update_seconds,
                },
            )
            if time.monotonic() - saved >= checkpoint_seconds:
                monitor.progress("saving a checkpoint")
                self.save(checkpoints, clock.seconds)
                saved, saved_version = time.monotonic(), self.version
        monitor.progress("saving the last checkpoint")
        if self.version != saved_version:
            self.save(checkpoints, clock.seconds, wait=True)
        checkpoints.wait()
        return outcome

    def _publish(self, variables: variables_lib.Variables) -> None:
        """Hands the newest bundle on; remembers the first that knew what observations look like."""
        bundle = self.bundle()
        variables.publish(bundle)
        if self._known_from is None and bundle.statistics.count > 0:
            self._known_from = self.version

    def bad_updates(self) -> int:
        """Returns how many updates were not finite; raises FloatingPointError if too many."""
        bad = int(devices_lib.first(self.state.bad_updates))
        if bad >= _MAX_BAD_UPDATES:
            raise FloatingPointError(
                f"{bad} updates were not finite; try a lower learner.learning_rate"
            )
        return bad

    def _rest(self) -> dict[str, Any]:
        """Returns what of the state is not in the bundle."""
        names = ["optimiser", "key", "bad_updates"]
        if self.options.limits:
            names.append("multipliers")
        return {name: devices_lib.first(getattr(self.state, name)) for name in names}

    def _replicate(self, state: ppo.TrainingState) -> ppo.TrainingState:
        return devices_lib.replicate(state, self.devices)


def mean_summaries(summaries: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Returns the means over unrolls; returns of episodes are averaged over episodes."""
    means = {name: float(np.mean([s[name] for s in summaries])) for name in summaries[0]}
    sums = [name for name in means if name.endswith(schema.RETURNS)]
    means["episodes"] = sum(s["episodes"] for s in summaries)
    for name in sums:
        del means[name]
        if means["episodes"]:
            total = sum(s[name] for s in summaries)
            means[name.removesuffix("_sum")] = total / means["episodes"]
    return means
