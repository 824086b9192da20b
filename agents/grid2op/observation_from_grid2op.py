"""Gridracer's observations, made of Grid2Op's."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agents.grid2op.elements import Elements, match
from envs.powerflow import matrices
from envs.step.layout import Layout

_INTERVAL_MINUTES = 5.0  # Grid2Op's time stamp is that of the row after the one that it shows
_MINUTES_PER_DAY = 1440.0


class Observer:
    """Makes the observation vector of a layout of what Grid2Op observes."""

    def __init__(self, layout: Layout, space: Any):
        """Takes a layout and an observation space of Grid2Op, or an observation.

        Raises:
          ValueError: the layout has a block that Grid2Op has not, or is of another grid.
        """
        missing = [name for name in layout.observation if name not in BLOCKS]
        if missing:
            raise ValueError(
                f"observation blocks {', '.join(missing)}: Grid2Op has no counterpart; train with "
                "env.layout=grid2op, or a layout of " + ", ".join(BLOCKS)
            )
        self.layout, self.elements = layout, match(space, layout.site)

    def __call__(self, observation: Any) -> np.ndarray:
        """Returns the observation vector `[observation_size]`, float32."""
        parts = self.blocks(observation).values()
        return np.concatenate([np.atleast_1d(part) for part in parts]).astype(np.float32)

    def blocks(self, observation: Any) -> Mapping[str, np.ndarray]:
        """Returns the entries of each block of the layout."""
        return {
            name: BLOCKS[name](self.layout.site, self.elements, observation)
            for name in self.layout.observation
        }


def _at_buses(elements: Elements, observation: Any, *columns: str) -> np.ndarray:
    """Returns a value of each bus `[n_bus]` that some element in service there tells; else zero.

    Columns are of lines at the origin, at the extremity, of generators and of loads.
    """
    value = np.zeros(len(elements.base_kv))
    on = observation.line_status
    places = (elements.origin, elements.extremity, elements.gen_bus, elements.load_bus)
    for name, place, known in zip(columns, places, (on, on, None, None)):
        column = np.asarray(getattr(observation, name), float)
        told = (column != 0) if known is None else known & (column != 0)
        value[place[told]] = column[told]
    return value


def _vm(site, elements, observation):
    kv = _at_buses(elements, observation, "v_or", "v_ex", "gen_v", "load_v")
    return kv / elements.base_kv


def _va(site, elements, observation):
    degrees = _at_buses(elements, observation, "theta_or", "theta_ex", "gen_theta", "load_theta")
    energised = _vm(site, elements, observation) > 0
    rad = np.deg2rad(degrees)
    return np.where(energised, rad - rad[energised].sum() / max(energised.sum(), 1), 0.0)


def _gen_q(site, elements, observation):
    """Returns Q of each generator; those at a bus share it evenly, as they do in Gridracer."""
    at_bus = np.bincount(elements.gen_bus, observation.gen_q, site.grid.n_bus)
    count = np.bincount(elements.gen_bus, minlength=site.grid.n_bus)
    return (at_bus / np.maximum(count, 1))[elements.gen_bus]


def _load_p(site, elements, observation):
    return np.bincount(elements.load_bus, observation.load_p, site.grid.n_bus)[site.grid.loads]


def _loading(site, elements, observation):
    """Returns the loading of each line as Gridracer's power flow has it."""
    ends = (
        np.hypot(observation.p_or, observation.q_or),
        np.hypot(observation.p_ex, observation.q_ex),
    )
    vm_pu = _vm(site, elements, observation)
    return matrices.rated_mva(site.grid, *ends, vm_pu) / site.grid.branch.rate_mva


def available_mw(elements: Elements, observation: Any) -> np.ndarray:
    """Returns what the weather allows each plant, MW `[n_renewable]`."""
    before = np.maximum(observation.gen_p_before_curtail, observation.gen_p)
    return before[elements.plants]


def _clock(site, elements, observation):
    minutes = 60.0 * observation.hour_of_day + observation.minute_of_hour - _INTERVAL_MINUTES
    angle = 2.0 * np.pi * minutes / _MINUTES_PER_DAY
    return np.array([np.sin(angle), np.cos(angle)])


BLOCKS: dict[str, Callable[..., np.ndarray]] = {
    "bus_vm": _vm,
    "bus_va": _va,
    "unit_p": lambda site, elements, o: o.gen_p[site.grid.units],
    "gen_q": _gen_q,
    "load_p": _load_p,
    "renewable_p": lambda site, elements, o: available_mw(elements, o),
    "storage_energy": lambda site, elements, o: o.storage_charge,
    "branch_rho": _loading,
    "branch_closed": lambda site, elements, o: o.line_status,
    "branch_cooldown": lambda site, elements, o: o.time_before_cooldown_line,
    "clock": _clock,
}
