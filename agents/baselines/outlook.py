"""The situations of a batch for optimisers on the host, and actions of their set-points."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents.baselines import dc_dispatch
from envs import grid_env
from envs.step import actions as actions_lib, switching
from envs.time_series import series as series_lib


def foreseen(status: chex.Array, later: chex.Array) -> chex.Array:
    """Returns what is known now of the branch status `[…, n_branch]` that will be `later`.

    Maintenance is announced, and so is when it ends; when a fault ends is not, and nor is when one
    begins.
    """
    known = jnp.where(status == series_lib.FAULT, status, series_lib.IN_SERVICE)
    return jnp.where(later == series_lib.MAINTENANCE, later, known)


class Outlook:
    """Looks at batches of one environment."""

    def __init__(self, env: grid_env.GridEnv, steps: int):
        """Takes the environment, and how many steps ahead announced maintenance is looked up."""
        self._env, self._steps = env, steps
        self._look = jax.jit(jax.vmap(self._situation))
        self._write = jax.jit(jax.vmap(self._action))

    def look(
        self, state: grid_env.State, days: series_lib.TimeSeries
    ) -> list[dc_dispatch.Situation]:
        """Returns the situation of each grid of a batch, numpy arrays."""
        batch = jax.tree.map(np.asarray, self._look(state, days))
        return [dc_dispatch.Situation(*(leaf[i] for leaf in batch)) for i in range(len(state.t))]

    def write(
        self,
        state: grid_env.State,
        days: series_lib.TimeSeries,
        setpoints: list[dc_dispatch.Setpoints | None],
    ) -> np.ndarray:
        """Returns the actions `[B, action_size]` that request `setpoints`; as planned for None."""
        some = next((one for one in setpoints if one is not None), None)
        if some is None:
            return np.zeros((len(setpoints), self._env.layout.action_size), np.float32)
        every = [some if one is None else one for one in setpoints]
        stacked = dc_dispatch.Setpoints(*(np.stack(x).astype(np.float32) for x in zip(*every)))
        action = np.array(self._write(state, days, stacked))
        action[[one is None for one in setpoints]] = 0.0
        return action

    def _situation(self, state, series) -> dc_dispatch.Situation:
        now = series.at(state.t)
        return dc_dispatch.Situation(
            load_p_mw=now.load_p_mw,
            load_q_mvar=now.load_q_mvar,
            connected=1.0 - state.frequency.shed_share,
            renewable_mw=now.renewable_mw,
            load_forecast_mw=now.load_forecast_mw,
            renewable_forecast_mw=now.renewable_forecast_mw,
            gen_p_mw=state.gen_p_mw,
            gen_on=state.gen_on,
            condenser_mw=state.condenser_mw,
            losses_mw=state.losses_mw,
            energy_mwh=state.energy_mwh,
            closed=self._closed(state, series, now.branch_status),
            vm_pu=state.vm_pu,
            va_rad=state.va_rad,
        )

    def _closed(self, state, series, status) -> chex.Array:
        """Returns which branches will be in service, bool `[steps, n_branch]`, as far as is known.

        A branch that tripped closes when its cooldown is over, where it does by itself.
        """
        ahead = jnp.arange(1, self._steps + 1)
        rows = jnp.minimum(state.t + ahead, self._env.horizon)
        later = jax.vmap(series.at)(rows).branch_status
        available = foreseen(status, later) == series_lib.IN_SERVICE
        why = state.branch.why
        back = (why == switching.TRIPPED) & (state.branch.cooldown <= ahead[:, None])
        back &= self._env.options.protection.recloses
        return available & ((why == switching.CLOSED) | back)

    def _action(self, state, series, setpoints: dc_dispatch.Setpoints) -> chex.Array:
        ahead = series.at(state.t + 1)
        # What plants and loads will do is not known: shares of it are requested.
        targets = actions_lib.Targets(
            unit_mw=setpoints.unit_mw,
            renewable_mw=setpoints.renewable_share * ahead.renewable_mw,
            load_mw=setpoints.load_factor * ahead.load_p_mw,
            storage_mw=setpoints.storage_mw,
        )
        return self._env.action_for(state, series, targets)
