"""Assets of a grid beyond its case file: what its generators are, wind, solar, storage, prosumers.

A fleet is one JSON file in `envs/fleets`, described in `docs/fleets.md`. A grid without one gets
`plain`: thermal units of typical ramps and inertia, one area, nothing else.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from envs import grid as grid_lib

WIND, SOLAR = "wind", "solar"
PLAIN_RAMP_SHARE = 0.10 / 5.0  # of Pmax per minute: 10 % per five minutes
PLAIN_INERTIA_S = 4.0  # H of a thermal unit on its rating (Kundur, Power System Stability, 3.9)
PLAIN_CONDENSER_INERTIA_S = 1.5  # H of a condenser without flywheel
PLAIN_DROOP = 0.05  # change of frequency, as a share, that moves a governor from none to full load
PLAIN_CO2_T_PER_MWH = 0.0


@dataclasses.dataclass(frozen=True)
class Units:
    """What the case file does not say of its generators, every array `[n_gen]`."""

    kind: np.ndarray  # text: coal, gas, oil, nuclear, hydro, thermal, condenser
    ramp_mw_per_min: np.ndarray  # zero for condensers
    rating_mva: np.ndarray  # what inertia and droop refer to
    inertia_s: np.ndarray  # inertia constant H on the rating
    droop: np.ndarray  # share of nominal frequency for full load; infinite: no governor
    co2_t_per_mwh: np.ndarray


@dataclasses.dataclass(frozen=True)
class Renewables:
    """Wind and solar plants, every array `[n_renewable]`."""

    bus: np.ndarray  # index into the bus table
    kind: np.ndarray  # text: wind or solar
    p_max_mw: np.ndarray


@dataclasses.dataclass(frozen=True)
class Storage:
    """Batteries, every array `[n_storage]`."""

    bus: np.ndarray  # index into the bus table
    p_max_mw: np.ndarray  # charging or discharging, at the terminals
    energy_mwh: np.ndarray
    charge_efficiency: np.ndarray  # energy stored per energy drawn
    discharge_efficiency: np.ndarray  # energy delivered per energy taken out


@dataclasses.dataclass(frozen=True)
class Prosumers:
    """Loads that own a plant, a battery or both, every array `[n_prosumer]`."""

    bus: np.ndarray  # index into the bus table; the bus carries a load
    renewable: np.ndarray  # index into the renewables, −1 for none
    storage: np.ndarray  # index into the storage, −1 for none


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Assets placed on one grid."""

    name: str
    area: np.ndarray  # `[n_bus]` area number, from 1
    units: Units
    renewables: Renewables
    storage: Storage
    prosumers: Prosumers
    source: str = ""  # where the data comes from, and what is assumed

    @property
    def n_renewable(self) -> int:
        """Number of wind and solar plants."""
        return len(self.renewables.bus)

    @property
    def n_storage(self) -> int:
        """Number of batteries."""
        return len(self.storage.bus)


def plain(grid: grid_lib.Grid) -> Fleet:
    """Returns the fleet of a grid of which nothing more is known than its case file."""
    p_max = np.maximum(grid.gen.p_max_mw, 0.0)
    is_unit = p_max > 0
    reactive = np.where(np.isfinite(grid.gen.q_max_mvar), np.abs(grid.gen.q_max_mvar), 0.0)
    none = np.zeros(0)
    index = np.zeros(0, np.int32)
    return Fleet(
        name="plain",
        area=np.asarray(grid.bus.area, np.int32),
        units=Units(
            kind=np.where(is_unit, "thermal", "condenser"),
            ramp_mw_per_min=PLAIN_RAMP_SHARE * p_max,
            rating_mva=np.where(is_unit, p_max, reactive),
            inertia_s=np.where(is_unit, PLAIN_INERTIA_S, PLAIN_CONDENSER_INERTIA_S),
            droop=np.where(is_unit, PLAIN_DROOP, np.inf),
            co2_t_per_mwh=np.full(grid.n_gen, PLAIN_CO2_T_PER_MWH),
        ),
        renewables=Renewables(index, np.zeros(0, "<U5"), none),
        storage=Storage(index, none, none, none, none),
        prosumers=Prosumers(index, index, index),
    )
