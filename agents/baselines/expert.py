"""The sensitivity expert: follows the plan until a branch nears its limit, and then relieves it."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers
from agents.baselines import sensitivity
from envs import grid_env
from envs.step import actions as actions_lib
from envs.time_series import series as series_lib

_DANGER, _SAFE = 0.95, 0.90  # loadings: where the expert steps in, and what it relieves to
_LAST_RESORT = 1.0  # the loading expected, units moved, from which wind, sun and loads move
_LEAST = 0.05  # MW of flow per MW moved, below which a pair of devices is not worth it
_ROUNDS = 3  # branches that are relieved in one decision


def expert(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller that an experienced operator with distribution factors would be.

    While the most loaded branch is at most at 0.95 it follows the plan. Beyond, it moves as few MW
    of units as bring that branch to 0.90, pair by pair, within limits and ramps. What it has moved
    stays moved, as a shift from the plan, and goes back as far as no branch is expected above 0.90.
    Wind, sun and loads move where units do not suffice to keep a branch below its limit, and only
    until they do. It looks at the flows of the last step and not ahead.

    The distribution factors are those of the network as it is, from a dense factorisation of B for
    each grid (0.8 ms on 118 buses, 3 to 6 on 300, a core); in steps in which no grid of the batch
    needs any, none is made.
    """
    operator = _Operator(env)

    def start(days, seed):
        none = jnp.zeros((days.day.shape[0], operator.bus.size))
        return _Shifts(none, none)

    def act(state, series, moved):
        flows = jax.vmap(operator.meter)(state.vm_pu, state.va_rad, state.branch.closed)
        needed = (flows.rho > _DANGER).any() | (moved.shift != 0.0).any() | (moved.extra != 0).any()
        reconsider = jax.vmap(operator.reconsider)
        moved = jax.lax.cond(needed, lambda: reconsider(state, series, moved, flows), lambda: moved)
        return jax.vmap(operator.act)(state, series, moved)

    return controllers.Controller(
        "expert", "sensitivities", controllers.STATE, start, act, assumes_control=True
    )


def takeover(env: grid_env.GridEnv):
    """Returns what the expert would do of one grid if it took over now, by state and time series.

    What units produce beside the plan counts as what it has moved itself.
    """
    operator = _Operator(env)

    def decide(state: grid_env.State, series: series_lib.TimeSeries) -> chex.Array:
        flows = operator.meter(state.vm_pu, state.va_rad, state.branch.closed)
        moved = operator.as_it_is(state, series)
        return operator.act(state, series, operator.reconsider(state, series, moved, flows))[0]

    return decide


class _Shifts(NamedTuple):
    """Shifts by the expert, as injections `[n_device]` MW."""

    shift: chex.Array  # units, from the plan, until it is safe to undo
    extra: chex.Array  # all devices, for one step: the last resort


class _Reach(NamedTuple):
    """How far devices can be from the plan, or from what is there, as injections, MW.

    Arrays `[n_device]`, zero for what is out of service, de-energised, or not the layout's to move.
    """

    low: chex.Array  # in the next step
    high: chex.Array
    least: chex.Array  # with time
    most: chex.Array


class _Operator:
    """Decides for one grid. Devices are generators, then plants, then loads."""

    def __init__(self, env: grid_env.GridEnv):
        grid, fleet, layout = env.grid, env.fleet, env.layout
        self.meter = sensitivity.Meter(grid)
        self.bus = np.concatenate([grid.gen.bus, fleet.renewables.bus, grid.loads])
        self._env = env
        self._ends = grid.n_gen, grid.n_gen + fleet.n_renewable
        self._is_unit = np.arange(self.bus.size) < grid.n_gen
        self._able = np.concatenate([
            grid.gen.is_unit & bool({"generator", "unit_power"} & {*layout.action}),
            np.full(fleet.n_renewable, "curtailment" in layout.action),
            np.isin(np.arange(grid.loads.size), env.site.controllable) & ("load" in layout.action),
        ])  # fmt: skip

    def as_it_is(self, state, series) -> _Shifts:
        """Returns the shifts of units from the plan that there are."""
        plan, none = series.at(state.t + 1).plan_p_mw, jnp.zeros(self.bus.size)
        moved = jnp.where(state.gen_on, state.gen_p_mw - plan, 0.0)
        shift = none.at[: self._env.grid.n_gen].set(moved)
        return _Shifts(jnp.where(self._is_unit & self._able, shift, 0.0), none)

    def reconsider(self, state, series, moved: _Shifts, flows: sensitivity.Flows) -> _Shifts:
        """Returns the new shifts: larger where branches are full in `flows`, smaller where not."""
        grid = self._env.grid
        factors = sensitivity.factors(grid, state.branch.closed, state.vm_pu > 0)
        reach = self._reach(state, series)
        on = state.gen_on & self._energised(state)[: grid.n_gen]
        capacity = jnp.zeros(grid.n_bus).at[grid.gen.bus].add(on * grid.gen.capacity_mw)
        share = capacity / jnp.maximum(capacity.sum(), 1e-6)

        def change(shift):
            """Returns what a shift makes flow; units share by Pmax what it leaves open."""
            at_bus = jnp.zeros(grid.n_bus).at[self.bus].add(shift)
            return factors.flows(grid, at_bus - share * shift.sum())

        flows = flows._replace(p_mw=flows.p_mw - change(moved.extra))
        calm = self._undo(change, flows, moved.shift)
        danger = flows.rho.max() > _DANGER
        shift, extra = moved.shift, jnp.zeros_like(moved.extra)
        for _ in range(_ROUNDS):
            more = self._relief(factors, flows, shift, reach, self._is_unit, _DANGER)
            shift, flows = shift + more, flows._replace(p_mw=flows.p_mw + change(more))
        everything = np.ones_like(self._is_unit)
        for _ in range(_ROUNDS):
            more = self._relief(factors, flows, shift + extra, reach, everything, _LAST_RESORT)
            extra, flows = extra + more, flows._replace(p_mw=flows.p_mw + change(more))
        return _Shifts(jnp.where(danger, shift, calm), jnp.where(danger, extra, 0.0))

    def act(self, state, series, moved: _Shifts):
        """Returns the action, and the shifts as far as limits let them be."""
        reach, now, ahead = self._reach(state, series), series.at(state.t), series.at(state.t + 1)
        within = lambda shift: jnp.clip(shift, reach.least, reach.most)
        units, plants, loads = jnp.split(within(moved.shift + moved.extra), self._ends)
        ratio = lambda part, of: jnp.where(of > 1e-6, part / jnp.where(of > 1e-6, of, 1.0), 0.0)
        # As shares: what plants and loads will do is not known.
        targets = actions_lib.Targets(
            unit_mw=ahead.plan_p_mw + units,
            renewable_mw=ahead.renewable_mw * (1.0 + ratio(plants, now.renewable_mw)),
            load_mw=ahead.load_p_mw * (1.0 - ratio(loads, now.load_p_mw)),
        )
        action = self._env.action_for(state, series, targets)
        return action, _Shifts(within(moved.shift), moved.extra)

    def _reach(self, state, series) -> _Reach:
        limits = self._env.limits
        now, plan = series.at(state.t), series.at(state.t + 1).plan_p_mw
        low, high = actions_lib.within_ramps(limits, state.gen_p_mw)
        moved = limits.load_share * jnp.maximum(now.load_p_mw, 0.0)
        down = jnp.append(-now.renewable_mw, -moved)
        up = jnp.append(jnp.zeros_like(now.renewable_mw), moved)
        in_service = jnp.append(state.gen_on, jnp.ones(down.size, bool))
        on = in_service & self._energised(state) & self._able
        both = lambda units, others: jnp.where(on, jnp.append(units, others), 0.0)
        return _Reach(
            both(low - plan, down),
            both(high - plan, up),
            both(limits.p_min_mw - plan, down),
            both(limits.p_max_mw - plan, up),
        )

    def _energised(self, state):
        return state.vm_pu[self.bus] > 0

    def _undo(self, change, flows, shift):
        """Returns a shift with as much of it undone as leaves every branch below `_SAFE`."""
        back = -change(shift)
        away = flows.room(_SAFE) - flows.p_mw * jnp.sign(back)
        share = jnp.where(jnp.abs(back) > 1e-3, away / jnp.maximum(jnp.abs(back), 1e-3), 1.0)
        return (1.0 - jnp.clip(share.min(), 0.0, 1.0)) * shift

    def _relief(self, factors, flows, shift, reach: _Reach, chosen, beyond):
        """Returns shifts of chosen devices that relieve the most loaded branch above `beyond`."""
        worst = flows.rho.argmax()
        factor = factors.transfer_factors(self._env.grid, worst)[self.bus]
        factor = factor * jnp.sign(flows.p_mw[worst])
        need = jnp.abs(flows.p_mw[worst]) - flows.room(_SAFE)[worst]
        need = jnp.where(flows.rho[worst] > beyond, need, 0.0)
        at = jnp.clip(shift, reach.low, reach.high)
        up, down = (jnp.where(chosen, x, 0.0) for x in (reach.high - at, at - reach.low))
        return sensitivity.relief(factor, up, down, need, _LEAST)
