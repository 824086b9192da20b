"""Grid2Op's actions, made of Gridracer's.

Both move units from a plan. Gridracer's action says where a unit is to be; Grid2Op's redispatch is
a change of the target so far. The plan is what is left of a unit's power without the redispatch
that was carried out; its change until the next step is not known, and Grid2Op adds it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.grid2op.elements import match
from agents.grid2op.observation_from_grid2op import available_mw
from envs.schedule import sharing
from envs.step import actions as actions_lib, switching
from envs.step.layout import Layout
from envs.step.options import REFERENCE, StepOptions

# What a controller can do here and Grid2Op has no counterpart of, and the other way round.
ONLY_HERE = {
    "load": "load control",
    "generator": "voltages of condensers; units alone are the block unit_power",
    "unit_voltage": "voltages follow the chronics",
    "coupling": "microgrids",
}
ONLY_THERE = ("buses within a substation (set_bus, change_bus)", "alarms", "alerts")
# Block, and the type of action that `action_space.supports_type` knows.
_NEEDS = {
    "unit_power": "redispatch", "curtailment": "curtail", "storage": "set_storage",
    "switch": "set_line_status",
}  # fmt: skip
_LEAST_MW, _LEAST_SHARE = 1e-3, 0.01  # less is no action
_RESERVE = 0.5  # of all ramps, that redispatch leaves units to follow with; a choice


class Converter:
    """Makes Grid2Op's action of a layout's."""

    def __init__(self, layout: Layout, options: StepOptions, space: Any):
        """Takes a layout, the options that its environment has, and an action space of Grid2Op.

        Raises:
          ValueError: the layout has a block of actions that Grid2Op has not, or is of another grid.
        """
        missing = [name for name in layout.action if name not in _NEEDS]
        if missing:
            why = "; ".join(f"{name}: {ONLY_HERE[name]}" for name in missing)
            raise ValueError(
                f"action blocks {', '.join(missing)}: Grid2Op has no counterpart ({why}); train "
                "with env.layout=grid2op"
            )
        self._layout, self._space = layout, space
        self.elements = match(space, layout.site)
        grid, fleet = layout.site.grid, layout.site.fleet
        self._limits = jax.device_get(actions_lib.limits(grid, fleet, options))
        weight = grid.gen.capacity_mw / grid.gen.capacity_mw.sum()
        first = np.where(grid.gen.bus == grid.reference_bus, weight, 0.0)
        # Those at the reference bus before the others, as in the balance of a step.
        weights = (first, weight) if options.balancing == REFERENCE else (weight,)
        site = layout.site

        def balanced(target, low, high, total):
            for one in weights:
                target, _ = sharing.share(target, low, high, jnp.asarray(one, jnp.float32), total)
            return target

        self._balanced = jax.jit(balanced)
        self._read = jax.jit(lambda a: actions_lib.read(layout, site, jnp.clip(a, -1.0, 1.0)))
        count = {
            "unit_power": grid.units.size, "curtailment": fleet.n_renewable,
            "storage": fleet.n_storage, "switch": grid.n_branch,
        }  # fmt: skip
        able = {name for name, kind in _NEEDS.items() if space.supports_type(kind)}
        # Blocks that have entries, and that this environment lets nobody use.
        self.not_allowed = tuple(name for name in layout.action if count[name] and name not in able)
        self._able = able & {name for name in layout.action if count[name]}

    def __call__(self, action: np.ndarray, observation: Any):
        """Returns Grid2Op's action for one `[action_size]` in [−1, 1]."""
        requested = jax.device_get(self._read(np.asarray(action, np.float32)))
        content: dict[str, Any] = {}
        available = available_mw(self.elements, observation)
        share = np.clip(-np.asarray(requested.curtailment, float), 0.0, 1.0)
        if "curtailment" not in self._able:
            share[:] = 0.0
        stored = np.zeros(observation.n_storage)
        if "storage" in self._able:
            stored = self._storage_mw(requested, observation)
            content["set_storage"] = (-stored).astype(np.float32)  # theirs is what is drawn
        if "curtailment" in self._able:
            limit = self._curtailment(share, available, observation)
            if limit is not None:
                content["curtail"] = limit
        if "unit_power" in self._able:
            missing = float((share * available).sum() - stored.sum())
            change = self._redispatch(requested, observation, missing)
            if np.abs(change).max(initial=0.0) > _LEAST_MW:
                content["redispatch"] = change
        if "switch" in self._able:
            line = self._line(np.asarray(requested.switch), observation)
            if line is not None:
                status = -1 if observation.line_status[line] else 1
                content["set_line_status"] = [(line, status)]
        return self._space(content)

    def _redispatch(self, requested, observation, missing_mw: float) -> np.ndarray:
        """Returns the change of each generator's target, MW, so that all of it is balanced."""
        grid, limits = self._layout.site.grid, self._limits
        able = observation.gen_redispatchable & grid.gen.is_unit
        power = np.where(grid.gen.is_unit, observation.gen_p, 0.0)
        plan = power - np.where(able, observation.actual_dispatch, 0.0)
        low, high = np.asarray(limits.p_min_mw), np.asarray(limits.p_max_mw)
        a = np.asarray(requested.unit_power, float)
        target = plan + a * np.where(a > 0, high - plan, plan - low)
        ramp = np.asarray(limits.ramp_mw)
        low = np.where(able, np.clip(power - ramp, low, high), plan)
        high = np.where(able, np.clip(power + ramp, low, high), plan)
        total = plan.sum() + missing_mw
        limits_mw = np.float32(low), np.float32(high), np.float32(total)
        wanted, planned = (
            np.asarray(self._balanced(np.float32(np.clip(x, low, high)), *limits_mw), float)
            for x in (target, plan)
        )
        gen = self._with_reserve(wanted, planned, able)
        change = gen - plan - observation.target_dispatch
        ramps = observation.gen_max_ramp_down, observation.gen_max_ramp_up
        return np.where(able, np.clip(change, -ramps[0], ramps[1]), 0.0).astype(np.float32)

    def _with_reserve(self, wanted, planned, able) -> np.ndarray:
        """Returns as much of `wanted` in place of `planned`, MW `[n_gen]`, as leaves a reserve.

        Grid2Op ends an episode in which units cannot follow load, wind and sun; Gridracer sheds
        load.
        """
        limits = self._limits
        least = _RESERVE * limits.ramp_mw[able].sum()
        for share in np.linspace(1.0, 0.0, 11):
            gen = planned + share * (wanted - planned)
            rooms = limits.p_max_mw - gen, gen - limits.p_min_mw
            if all(np.minimum(room, limits.ramp_mw)[able].sum() >= least for room in rooms):
                break
        return gen

    def _storage_mw(self, requested, observation) -> np.ndarray:
        """Returns the power of each battery, MW, positive when discharging."""
        fleet = self._layout.site.fleet.storage
        power = np.asarray(requested.storage, float) * fleet.p_max_mw
        energy, dt_h = np.asarray(observation.storage_charge, float), self._limits.dt_h
        out = energy * fleet.discharge_efficiency / dt_h
        into = (fleet.energy_mwh - energy) / (fleet.charge_efficiency * dt_h)
        return np.clip(power, -np.maximum(into, 0.0), np.maximum(out, 0.0))

    def _curtailment(self, share, available, observation) -> np.ndarray | None:
        """Returns the limit of each generator as a share of Pmax, −1 to leave it, if any."""
        plants = self.elements.plants
        now = observation.curtailment_limit[plants]
        held_back = (share > _LEAST_SHARE) & (available > 0)
        limit = np.where(held_back, (1.0 - share) * available / observation.gen_pmax[plants], 1.0)
        if np.abs(limit - now).max(initial=0.0) < _LEAST_SHARE:
            return None
        content = np.full(observation.n_gen, -1.0, np.float32)
        content[plants] = np.clip(limit, 0.0, 1.0)
        return content

    def _line(self, switch: np.ndarray, observation) -> int | None:
        """Returns the line that is switched, that of the strongest request, as in Gridracer."""
        request = np.where(observation.line_status, -switch, switch)
        may = (observation.time_before_cooldown_line == 0) & (request > switching.REQUEST)
        may &= observation.duration_next_maintenance * (observation.time_next_maintenance == 0) == 0
        if not may.any():
            return None
        return int(np.where(may, request, -np.inf).argmax())
