"""N−1 security of a step: every outage screened, the worst of them confirmed by AC power flow."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from envs.case.grid import Grid
from envs.contingency import distribution_factors, screening
from envs.powerflow import solve
from envs.step.grid_model import GridModel
from envs.step.options import StepOptions

_MOST_LOADING = 10.0  # an outage that collapses the grid has no finite loading


class Security(NamedTuple):
    """What the outages of a grid would do."""

    loading: chex.Array  # as in `screening.Screening`, at most `_MOST_LOADING`
    insecure: chex.Array  # outages that overload something


class Assessor:
    """Assesses solved steps of one grid."""

    def __init__(self, grid: Grid, model: GridModel, options: StepOptions):
        self._n_bus, self._gen_bus = grid.n_bus, grid.gen.bus
        self._capacity = jnp.asarray(grid.gen.capacity_mw / grid.base_mva, jnp.float32)
        self._load = jnp.asarray(grid.bus.load_p_mw / grid.base_mva, jnp.float32)
        count = min(options.confirmed_outages, grid.n_branch)
        self._screen = screening.screener(distribution_factors.build(grid), k=max(count, 1))
        self._confirm = None
        if count:
            self._confirm = screening.confirmer(model.net, tolerance_pu=model.tolerance_pu)

    def __call__(
        self, solution: solve.Solution, closed: chex.Array, gen_on: chex.Array
    ) -> Security:
        """Returns the security of an operating point; nothing of one that is no solution.

        `closed` and `gen_on` are bool `[n_branch]` and `[n_gen]`, in service after the step.
        """
        closed = closed.astype(jnp.float32)
        screened = self._screen(solution, closed)
        loading = screened.loading
        if self._confirm is not None:
            request = self._request(solution, closed, gen_on)
            confirmed = self._confirm(request, solution, screened.worst)
            # An outage of what is out already stays none.
            estimate = loading[screened.worst]
            exact = jnp.where(estimate > 0, jax.lax.stop_gradient(confirmed.loading), 0.0)
            # As large as confirmed, with the derivative of the estimate.
            slope = jnp.minimum(estimate, _MOST_LOADING)
            loading = loading.at[screened.worst].set(exact + slope - jax.lax.stop_gradient(slope))
        # What screening cannot tell is never called secure.
        unknown = jnp.where(closed > 0, _MOST_LOADING, 0.0)
        loading = jnp.where(screened.sound, jnp.minimum(loading, _MOST_LOADING), unknown)
        loading = jnp.where(solution.converged, loading, 0.0)
        return Security(loading, (loading > 1.0).sum().astype(jnp.float32))

    def _request(self, solution, closed, gen_on) -> solve.Request:
        """Returns the operating point as a request: units share by Pmax what an outage changes."""
        on = gen_on.astype(jnp.float32)
        capacity = jnp.zeros(self._n_bus).at[self._gen_bus].add(self._capacity * on)
        return solve.Request(
            p_pu=solution.p_pu,
            q_pu=solution.q_pu,
            vm_setpoint_pu=solution.vm_pu,
            participation=capacity / jnp.maximum(capacity.sum(), 1e-6),
            vm_start_pu=solution.vm_pu,
            va_start_rad=solution.va_rad,
            closed=closed,
            pv=jnp.zeros(self._n_bus).at[self._gen_bus].max(on),
            capacity=capacity,
            load_pu=self._load,
        )
