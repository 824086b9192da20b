"""The decision process: one grid, operated for a day in five-minute steps.

`docs/mdp.md` states the same in formulas. Functional and stateless: `reset` and `step` can be
jitted, vmapped and scanned.

    env = grid_env.make(EnvOptions(case="case14"))
    state = env.reset(jax.random.PRNGKey(0))
    state = env.step(state, jnp.zeros(env.layout.action_size))  # do nothing: follow the plan
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import chex
import flax.struct
import jax.numpy as jnp
import numpy as np

from envs import case_file, day, dispatch, rewards, schedule
from envs import grid as grid_lib
from envs import layout as layout_lib
from envs import options as options_lib
from envs import tape as tape_lib
from envs.powerflow import flows, newton
from envs.termination import Reason

_RAMP_MINUTES = 5.0  # `ramp_share` is per this many minutes.


@flax.struct.dataclass
class State:
    """One grid at one time. All entries are unbatched; physical units."""

    t: chex.Array  # row of the tape that was last applied
    tape: tape_lib.Tape | None  # the episode's exogenous data; none where it is kept apart
    gen_p_mw: chex.Array  # `[n_gen]`
    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    losses_mw: chex.Array
    observation: chex.Array  # `[observation_size]`
    reward: chex.Array
    terms: Mapping[str, chex.Array]  # reward terms of the last step, see `rewards.UNITS`
    terminated: chex.Array  # bool
    truncated: chex.Array  # bool
    reason: chex.Array  # `termination.Reason`
    metrics: Mapping[str, chex.Array]  # largest loading, voltage range, what projection changed

    @property
    def done(self) -> chex.Array:
        """Whether the episode has ended, either way."""
        return self.terminated | self.truncated


class GridEnv:
    """Redispatch, voltage set-points and load control of one grid.

    Actuators, each in [−1, 1], zero meaning "as planned":
      generator: a unit's active power, from Pmin (−1) over the plan (0) to Pmax (1); a condenser's
        voltage set-point, from the bus's Vmin over the case's set-point to Vmax.
      load: a load's power, lowered or raised by up to `load_control_share`, for a price.
    Sensors: the blocks of `layout.LAYOUTS[options.layout]`.
    Objective: `rewards.REWARDS[options.reward]`.
    Constraints: Pmin, Pmax and ramps are enforced, but where load falls faster than ramps allow,
      which is priced; thermal, voltage and reactive limits are priced; voltage collapse and loss of
      too much load end the episode.
    """

    def __init__(self, grid: grid_lib.Grid, options: options_lib.EnvOptions):
        self.grid = grid
        self.options = options
        self.blocks = layout_lib.LAYOUTS[options.layout]
        self.layout = layout_lib.make(grid, self.blocks)
        self.horizon = options.horizon_steps
        self.dt_h = options.step_minutes / 60.0
        self._reward = rewards.REWARDS[options.reward]

        as_float = lambda x: jnp.asarray(x, jnp.float32)
        gen, bus = grid.gen, grid.bus
        self._net = newton.network(grid)
        self._branches = flows.branch_model(grid)
        self._is_unit = gen.p_max_mw > 0
        self._p_min = as_float(np.where(self._is_unit, gen.p_min_mw, 0.0))
        self._p_max = as_float(np.where(self._is_unit, gen.p_max_mw, 0.0))
        self._q_min, self._q_max = as_float(gen.q_min_mvar), as_float(gen.q_max_mvar)
        minutes = options.step_minutes / _RAMP_MINUTES
        self._ramp = self._p_max * options.ramp_share * minutes
        self._weight = self._p_max / self._p_max.sum()
        self._vm_min, self._vm_max = as_float(bus.vm_min_pu), as_float(bus.vm_max_pu)
        self._controllable = layout_lib.controllable(grid)
        # Linear maps from generators and loads to buses.
        self._gen_to_bus = as_float(np.eye(grid.n_bus)[:, gen.bus])
        self._load_to_bus = as_float(np.eye(grid.n_bus)[:, grid.loads])
        # A bus takes its set-point from its first generator; a bus with none keeps 1, unused.
        setpoint = np.ones(grid.n_bus)
        setpoint[gen.bus[::-1]] = gen.vm_setpoint_pu[::-1]
        self._setpoint = as_float(setpoint)

    # What a user calls.

    def reset(self, key: chex.PRNGKey, split: str = "train") -> State:
        """Returns the start of a random day of `split`."""
        tape = self.sample_tape(key, split)
        return self.start(tape).replace(tape=tape)

    def step(self, state: State, action: chex.Array) -> State:
        """Returns the next state. Stepping past the end of an episode is the caller's mistake.

        Args:
          state: the current state.
          action: `[action_size]`, clipped to [−1, 1].
        """
        return self.transition(state, action, state.tape)

    def sample_tape(self, key: chex.PRNGKey, split: str = "train") -> tape_lib.Tape:
        """Returns the exogenous data of a random day of `split`."""
        return day.sample(key, self.grid, self.options, split)

    # The same with the tape apart, for batches of grids that share a pool of tapes.

    def start(self, tape: tape_lib.Tape | tape_lib.PooledTape, row: chex.Array = 0) -> State:
        """Returns the state at `row` of `tape`: units on the plan, loads as they come."""
        now = tape.at(row)
        losses = self.options.planned_losses * now.load_p_mw.sum()
        gen_p, _ = dispatch.share(
            now.plan_p_mw, self._p_min, self._p_max, self._weight, now.load_p_mw.sum() + losses
        )
        solved = self._solve(
            gen_p, now.load_p_mw, now.load_q_mvar, self._setpoint, self._setpoint,
            jnp.zeros(self.grid.n_bus),
        )  # fmt: skip
        zero = jnp.zeros(())
        blank = State(
            t=jnp.asarray(row, jnp.int32),
            tape=None,
            gen_p_mw=gen_p,
            vm_pu=self._setpoint,
            va_rad=jnp.zeros(self.grid.n_bus),
            losses_mw=losses,
            observation=jnp.zeros(self.layout.observation_size),
            reward=zero,
            terms={},
            terminated=jnp.zeros((), bool),
            truncated=jnp.zeros((), bool),
            reason=jnp.int32(Reason.NONE),
            metrics={},
        )
        state = self._conclude(
            blank, tape, now, solved, now.load_p_mw, now.load_q_mvar,
            {"projected": zero, "surplus": zero, "moved_load": zero, "unserved": zero},
        )  # fmt: skip
        # Nothing has been decided yet, so nothing is charged.
        none = {name: zero for name in state.terms}
        return state.replace(t=blank.t, reward=zero, terms=none, truncated=jnp.zeros((), bool))

    def transition(
        self, state: State, action: chex.Array, tape: tape_lib.Tape | tape_lib.PooledTape
    ) -> State:
        """Returns the state after one step of `tape`; `state.tape` is not read."""
        chex.assert_shape(action, (self.layout.action_size,))
        action = jnp.clip(action, -1.0, 1.0)
        gen_action = action[self.layout.action["generator"]]
        load_action = action[self.layout.action["load"]]
        now = tape.at(state.t + 1)

        # 1. Loads as they come, moved by load control at constant power factor.
        factor = jnp.ones_like(now.load_p_mw)
        factor = factor.at[self._controllable].add(self.options.load_control_share * load_action)
        load_p, load_q = now.load_p_mw * factor, now.load_q_mvar * factor
        moved_load = jnp.abs(load_p - now.load_p_mw).sum()

        # 2. Requested power, projected on limits and ramps.
        upward, downward = self._p_max - now.plan_p_mw, now.plan_p_mw - self._p_min
        target = now.plan_p_mw + gen_action * jnp.where(gen_action > 0, upward, downward)
        low = jnp.maximum(self._p_min, state.gen_p_mw - self._ramp)
        high = jnp.minimum(self._p_max, state.gen_p_mw + self._ramp)
        # The power flow settles the change of losses beyond these limits; return within reach.
        low, high = jnp.minimum(low, self._p_max), jnp.maximum(high, self._p_min)

        # 3. Units share the imbalance; what they cannot cover is load that is not served.
        demand = load_p.sum() + state.losses_mw
        gen_p, rest = dispatch.share(jnp.clip(target, low, high), low, high, self._weight, demand)
        served = 1.0 - jnp.clip(rest, 0.0, load_p.sum()) / jnp.maximum(load_p.sum(), 1e-6)
        unserved = load_p.sum() * (1.0 - served)
        # What they cannot shed within their ramps they are forced to, at a price.
        surplus, above_min = jnp.maximum(-rest, 0.0), gen_p - self._p_min
        gen_p = gen_p - surplus * above_min / jnp.maximum(above_min.sum(), 1e-6)
        load_p, load_q = load_p * served, load_q * served

        # 4. Voltage set-points and power flow.
        solved = self._solve(
            gen_p, load_p, load_q, self._voltage_setpoint(gen_action), state.vm_pu, state.va_rad
        )
        changed = jnp.abs(jnp.where(self._is_unit, gen_p - target, 0.0)).sum()
        tallies = {
            "projected": changed,
            "surplus": surplus,
            "moved_load": moved_load,
            "unserved": unserved,
        }
        state = state.replace(gen_p_mw=gen_p, t=state.t + 1)
        return self._conclude(state, tape, now, solved, load_p, load_q, tallies)

    # Parts of a step.

    def _voltage_setpoint(self, gen_action: chex.Array) -> chex.Array:
        """Returns the voltage set-point of every bus `[n_bus]` pu; condensers move theirs."""
        share = self._gen_to_bus @ jnp.where(self._is_unit, 0.0, gen_action)
        share = jnp.clip(share, -1.0, 1.0)
        reach = jnp.where(share > 0, self._vm_max - self._setpoint, self._setpoint - self._vm_min)
        return self._setpoint + share * reach

    def _solve(self, gen_p, load_p, load_q, setpoint, vm_start, va_start):
        """Returns the operating point and who settles the change of losses, `[n_gen]`.

        Units at a limit take no part, unless all are.
        """
        base = self.grid.base_mva
        p = (self._gen_to_bus @ gen_p - self._load_to_bus @ load_p) / base
        q = -(self._load_to_bus @ load_q) / base
        margin = 0.01 * self._p_max
        between = (gen_p > self._p_min + margin) & (gen_p < self._p_max - margin)
        weight = jnp.where(between.any(), jnp.where(between, self._weight, 0.0), self._weight)
        weight = weight / weight.sum()
        solution = newton.solve(
            self._net, p, q, setpoint, self._gen_to_bus @ weight, vm_start, va_start
        )
        return solution, weight

    def _conclude(self, state, tape, now, solved, load_p, load_q, tallies) -> State:
        """Returns the state with everything that follows from the solved power flow."""
        solution, weight = solved
        base, options = self.grid.base_mva, self.options
        ok = solution.converged
        # Without a solution the last one stands; nothing that is not finite gets out.
        vm = jnp.where(ok, solution.vm_pu, state.vm_pu)
        va = jnp.where(ok, solution.va_rad, state.va_rad)
        gen_p = state.gen_p_mw + jnp.where(ok, solution.slack_pu * base, 0.0) * weight
        flow = flows.branch_flows(self._branches, vm, va)
        bus_p, bus_q = (base * x for x in newton.injections(self._net, vm, va))
        losses = jnp.where(ok, gen_p.sum() - load_p.sum(), state.losses_mw)
        # A bus's reactive power is split evenly among its generators.
        at_bus = bus_q + self._load_to_bus @ load_q
        gen_q = (at_bus / jnp.maximum(self._gen_to_bus.sum(1), 1.0)) @ self._gen_to_bus

        share_lost = tallies["unserved"] / jnp.maximum(now.load_p_mw.sum(), 1e-6)
        lost = share_lost > options.blackout_share
        reason = jnp.where(~ok, Reason.DIVERGED, jnp.where(lost, Reason.LOAD_LOST, Reason.NONE))
        terminated = reason != Reason.NONE
        truncated = ~terminated & (state.t >= self.horizon)

        dt = self.dt_h
        blackout_mwh = options.restoration_hours * now.load_p_mw.sum()
        excess = jnp.maximum(flow.rho - 1.0, 0.0) * self._branches.rate_pu * base
        excess = jnp.where(jnp.isfinite(excess), excess, 0.0)
        below, above = self._vm_min - vm, vm - self._vm_max
        q_above, q_below = (
            jnp.maximum(beyond, 0.0) for beyond in (gen_q - self._q_max, self._q_min - gen_q)
        )
        terms = {
            "generation_cost": dt * self._generation_cost(gen_p),
            "planned_cost": dt * self._generation_cost(now.plan_p_mw),
            "load_control_cost": dt * options.load_control_price * tallies["moved_load"],
            "energy_not_served": jnp.where(terminated, blackout_mwh, dt * tallies["unserved"]),
            "surplus": dt * tallies["surplus"],
            "overload": dt * excess.sum(),
            "voltage_violation": dt * (jnp.maximum(below, 0.0) + jnp.maximum(above, 0.0)).sum(),
            "reactive_violation": dt * (q_above + q_below).sum(),
            "losses": dt * losses,
            "load": dt * now.load_p_mw.sum(),
            "redispatch": dt * jnp.abs(gen_p - now.plan_p_mw).sum(),
        }
        ahead = state.t + jnp.asarray(layout_lib.FORECAST_STEPS)
        view = layout_lib.View(
            vm_pu=vm,
            va_rad=va,
            bus_p_mw=bus_p,
            bus_q_mvar=bus_q,
            gen_p_mw=gen_p,
            gen_q_mvar=gen_q,
            load_p_mw=now.load_p_mw,
            rho=flow.rho,
            plan_p_mw=tape.at(jnp.minimum(state.t + 1, self.horizon)).plan_p_mw,
            forecast_mw=tape.forecast_at(jnp.minimum(ahead, self.horizon)),
            day_share=state.t * (self.options.step_minutes / options_lib.MINUTES_PER_DAY),
        )
        metrics = {
            "rho_max": flow.rho.max(),
            "vm_min_pu": vm.min(),
            "vm_max_pu": vm.max(),
            "projected_mw": tallies["projected"],  # how far limits and balance moved the request
            "mismatch_pu": solution.mismatch_pu,
            "iterations": solution.iterations,
        }
        return state.replace(
            gen_p_mw=gen_p,
            vm_pu=vm,
            va_rad=va,
            losses_mw=losses,
            observation=layout_lib.observe(self.grid, self.blocks, view),
            reward=self._reward(terms, options),
            terms=terms,
            terminated=terminated,
            truncated=truncated,
            reason=reason.astype(jnp.int32),
            metrics=metrics,
        )

    def _generation_cost(self, p_mw: chex.Array) -> chex.Array:
        """Returns the cost of producing `p_mw` `[n_gen]` in $/h."""
        gen = self.grid.gen
        p = p_mw
        return (gen.cost_c2 * p * p + gen.cost_c1 * p + gen.cost_c0).astype(p.dtype).sum()


def check(options: options_lib.EnvOptions) -> grid_lib.Grid:
    """Returns the grid that `options` name; touches no device.

    Raises:
      ValueError: an option names something that does not exist, or the case is not usable.
      FileNotFoundError: the case is neither shipped nor a file.
    """
    for name, known in (
        ("schedule", schedule.SCHEDULES),
        ("reward", rewards.REWARDS),
        ("layout", layout_lib.LAYOUTS),
    ):
        value = getattr(options, name)
        if value not in known:
            near = difflib.get_close_matches(value, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"env.{name}={value!r}: {hint}it must be one of {', '.join(known)}")
    return case_file.load(options.case)


def make(options: options_lib.EnvOptions) -> GridEnv:
    """Returns the environment that `options` describe; raises what `check` raises."""
    return GridEnv(check(options), options)
