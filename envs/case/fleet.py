"""Assets of a grid beyond its case file: what its generators are, wind, solar, storage, prosumers.

A fleet is one JSON file in `envs/case/fleets`, described in `docs/fleets.md`. A grid without one
gets `plain`: thermal units of typical ramps and inertia, one area, nothing else.
"""

import dataclasses

import numpy as np

from envs.case.grid import Grid

WIND, SOLAR = "wind", "solar"


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is typical of a generator, where a fleet file does not say otherwise."""

    ramp_share_per_min: float  # of the largest power
    inertia_s: float  # H on the rating
    droop: float  # share of nominal frequency for full load; infinite: no governor
    co2_t_per_mwh: float  # at the stack


# Ramps and inertia are choices, not data of real units. Ramps order the fuels as operators know
# them around `thermal`, which is 10 % per five minutes. Inertia lies in the ranges of Kundur, Power
# System Stability and Control, table 3.2: 2.5 to 6 s for two-pole thermal sets, 4 to 10 s for the
# four-pole ones of nuclear plants, 2 to 4 s for hydro; condensers have no turbine. Droop of 5 % is
# the common setting of governors (Kundur, section 11.1); nuclear units run at constant power.
# Dispatchable loads are as fast as hydro units; a pump is a hydro unit, and has its inertia. CO2
# is what U.S. plants emitted per net MWh in 2023 (EIA, Frequently Asked Question 74: coal 709 Mt
# over 675 TWh, gas 790 Mt over 1,806 TWh, petroleum 18 Mt over 16 TWh).
KINDS = {
    "coal": Kind(0.015, 4.0, 0.05, 1.05),
    "gas": Kind(0.03, 4.0, 0.05, 0.44),
    "oil": Kind(0.06, 4.0, 0.05, 1.11),
    "nuclear": Kind(0.01, 6.3, np.inf, 0.0),
    "hydro": Kind(0.20, 3.0, 0.05, 0.0),
    "thermal": Kind(0.02, 4.0, 0.05, 0.0),  # of unknown fuel: emissions unknown, counted as none
    "exchange": Kind(0.02, 0.0, np.inf, 0.0),  # a neighbour behind a converter or an equivalent
    "dispatchable_load": Kind(0.20, 0.0, np.inf, 0.0),
    "condenser": Kind(0.0, 1.5, np.inf, 0.0),
    "inverter": Kind(0.0, 0.0, np.inf, 0.0),  # of a wind or solar plant that holds a voltage
}
REACTIVE = ("condenser", "inverter")  # kinds without active power of their own
POWER_FACTOR = 0.85  # rated, common for synchronous generators: MVA = MW / 0.85


@dataclasses.dataclass(frozen=True)
class Units:
    """What the case file does not say of its generators, every array `[n_gen]`."""

    kind: np.ndarray  # text, one of KINDS
    ramp_mw_per_min: np.ndarray  # zero for condensers
    rating_mva: np.ndarray  # what inertia refers to
    inertia_s: np.ndarray  # inertia constant H on the rating; infinite: it holds frequency
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

    def loads(self, grid: Grid) -> np.ndarray:
        """Returns which load each of them is, indices into the loads of `grid`."""
        row = np.full(grid.n_bus, -1)
        row[grid.loads] = np.arange(grid.loads.size)
        return row[self.bus]


@dataclasses.dataclass(frozen=True)
class Microgrids:
    """Areas that one branch couples to the rest of the grid, every array `[n_microgrid]`."""

    name: np.ndarray  # text
    area: np.ndarray  # number of the area that its buses are
    coupling: np.ndarray  # index into the branch table: without it the area is an island


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
    microgrids: Microgrids | None = None  # none: the grid has none

    @property
    def n_renewable(self) -> int:
        """Number of wind and solar plants."""
        return len(self.renewables.bus)

    @property
    def n_storage(self) -> int:
        """Number of batteries."""
        return len(self.storage.bus)

    @property
    def n_prosumer(self) -> int:
        """Number of loads that own a plant or a battery."""
        return len(self.prosumers.bus)

    @property
    def couplings(self) -> np.ndarray:
        """Indices of the branches that couple microgrids, int32 `[n_microgrid]`."""
        none = np.zeros(0, np.int32)
        return none if self.microgrids is None else self.microgrids.coupling


def plain(grid: Grid) -> Fleet:
    """Returns the fleet of a grid of which nothing more is known than its case file."""
    kinds = np.where(grid.gen.is_unit, "thermal", "condenser")
    kinds = np.where(grid.gen.is_dispatchable_load, "dispatchable_load", kinds)
    none = np.zeros(0)
    index = np.zeros(0, np.int32)
    return Fleet(
        name="plain",
        area=case_areas(grid),
        units=typical_units(grid, kinds),
        renewables=Renewables(index, np.zeros(0, "<U5"), none),
        storage=Storage(index, none, none, none, none),
        prosumers=Prosumers(index, index, index),
    )


def typical_units(grid: Grid, kinds: np.ndarray) -> Units:
    """Returns generators with what is typical of their kinds, text `[n_gen]`.

    The rating is Pmax over the rated power factor; that of a condenser its larger reactive limit.
    Where a unit can draw more than it can give, ramp and rating refer to what it draws.
    """
    gen = grid.gen
    typical = [KINDS[kind] for kind in kinds]
    active = np.maximum(np.maximum(gen.p_max_mw, 0.0), -np.minimum(gen.p_min_mw, 0.0))
    limits = np.abs(np.stack([gen.q_min_mvar, gen.q_max_mvar]))
    reactive = np.where(np.isfinite(limits), limits, 0.0).max(0)
    column = lambda name: np.array([getattr(kind, name) for kind in typical], float)
    return Units(
        kind=np.asarray(kinds),
        ramp_mw_per_min=column("ramp_share_per_min") * active,
        rating_mva=np.where(np.isin(kinds, REACTIVE), reactive, active / POWER_FACTOR),
        inertia_s=column("inertia_s"),
        droop=column("droop"),
        co2_t_per_mwh=column("co2_t_per_mwh"),
    )


def case_areas(grid: Grid) -> np.ndarray:
    """Returns the areas of the case file, numbered from 1 in order, int32 `[n_bus]`."""
    return (np.unique(grid.bus.area, return_inverse=True)[1] + 1).astype(np.int32)
