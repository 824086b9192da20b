"""A power grid as immutable arrays, as in a case file: physical units, no solver state."""

import dataclasses

import numpy as np

PQ, PV, REF = 1, 2, 3  # Bus types, numbered as in MATPOWER's manual, table B-1.
# What limits of branches are of, at the more loaded end unless one is named. A limit of current is
# kept as apparent power at nominal voltage.
APPARENT_POWER, CURRENT, CURRENT_AT_FROM = "apparent power", "current", "current at the from bus"
RATED = (APPARENT_POWER, CURRENT, CURRENT_AT_FROM)


@dataclasses.dataclass(frozen=True)
class Buses:
    """Bus table, every array `[n_bus]`. Loads and shunts are positive when they consume."""

    id: np.ndarray  # number in the case file
    type: np.ndarray  # PQ, PV or REF
    load_p_mw: np.ndarray
    load_q_mvar: np.ndarray
    shunt_p_mw: np.ndarray  # at 1 pu voltage
    shunt_q_mvar: np.ndarray  # at 1 pu voltage; positive injects, MATPOWER's Bs
    area: np.ndarray
    base_kv: np.ndarray
    vm_min_pu: np.ndarray
    vm_max_pu: np.ndarray


@dataclasses.dataclass(frozen=True)
class Branches:
    """Branch table, every array `[n_branch]`; parallel branches are separate rows."""

    from_bus: np.ndarray  # index into the bus table, not the bus number
    to_bus: np.ndarray
    r_pu: np.ndarray
    x_pu: np.ndarray
    b_pu: np.ndarray  # total line charging
    tap: np.ndarray  # off-nominal ratio at the from side, 1 for a line
    shift_rad: np.ndarray
    rate_mva: np.ndarray  # long-term limit; infinite where the file gives none
    # Limits of θ_from − θ_to, bus angles, a shift not subtracted; infinite where there are none.
    angle_min_rad: np.ndarray
    angle_max_rad: np.ndarray


@dataclasses.dataclass(frozen=True)
class Generators:
    """Generator table, every array `[n_gen]`.

    A row with `p_min_mw < 0` and `p_max_mw <= 0` is a dispatchable load (MATPOWER manual, section
    6.4.2; `isload`): a pump, or demand that pays c1 for what it draws. A condenser is a row
    with both limits zero.
    """

    bus: np.ndarray  # index into the bus table
    p_mw: np.ndarray  # operating point of the file
    vm_setpoint_pu: np.ndarray
    p_min_mw: np.ndarray
    p_max_mw: np.ndarray
    q_min_mvar: np.ndarray
    q_max_mvar: np.ndarray
    cost_c2: np.ndarray  # $/MW²h
    cost_c1: np.ndarray  # $/MWh
    cost_c0: np.ndarray  # $/h

    @property
    def is_unit(self) -> np.ndarray:
        """Which have active power, produced or drawn, bool `[n_gen]`; the others are condensers."""
        return (self.p_max_mw > 0) | (self.p_min_mw < 0)

    @property
    def is_dispatchable_load(self) -> np.ndarray:
        """Which of the units can only draw, bool `[n_gen]`."""
        return (self.p_max_mw <= 0) & (self.p_min_mw < 0)

    @property
    def capacity_mw(self) -> np.ndarray:
        """What each can produce `[n_gen]`, zero for condensers and dispatchable loads."""
        return np.maximum(self.p_max_mw, 0.0)

    @property
    def scheduled_load_mw(self) -> np.ndarray:
        """What dispatchable loads draw at the operating point of the file `[n_gen]`, negative."""
        within = np.clip(self.p_mw, self.p_min_mw, self.p_max_mw)
        return np.where(self.is_dispatchable_load, within, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """A validated network. Only what is in service is kept. Grids are told apart by identity."""

    name: str
    base_mva: float
    bus: Buses
    branch: Branches
    gen: Generators
    source: str = ""  # where the data comes from, with its licence
    rated: str = APPARENT_POWER  # what `rate_mva` limits: one of RATED

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return len(self.bus.id)

    @property
    def n_branch(self) -> int:
        """Number of branches in service."""
        return len(self.branch.r_pu)

    @property
    def n_gen(self) -> int:
        """Number of generators in service, condensers included."""
        return len(self.gen.bus)

    @property
    def reference_bus(self) -> int:
        """Index of the bus whose angle is zero."""
        return int(np.flatnonzero(self.bus.type == REF)[0])

    @property
    def units(self) -> np.ndarray:
        """Indices of generators that have active power, `[n_unit]`."""
        return np.flatnonzero(self.gen.is_unit)

    @property
    def condensers(self) -> np.ndarray:
        """Indices of generators that only regulate voltage, `[n_condenser]`."""
        return np.flatnonzero(~self.gen.is_unit)

    @property
    def capacity_mw(self) -> np.ndarray:
        """Pmax of the units at each bus `[n_bus]`."""
        return np.bincount(self.gen.bus, self.gen.capacity_mw, self.n_bus)

    @property
    def loads(self) -> np.ndarray:
        """Indices of the buses that carry a load, `[n_load]`."""
        return np.flatnonzero((self.bus.load_p_mw != 0) | (self.bus.load_q_mvar != 0))

    def branches_between(self, one: int, other: int) -> np.ndarray:
        """Returns the indices of the branches between two buses, given by number.

        Parallel branches are several, in the file's order.

        Raises:
          ValueError: there is no such bus, or no branch between them.
        """
        for number in (one, other):
            if number not in self.bus.id:
                raise ValueError(f"{self.name} has no bus {number}")
        ends = np.sort(self.bus.id[[self.branch.from_bus, self.branch.to_bus]], axis=0)
        (found,) = np.nonzero((ends == np.sort([[one], [other]], axis=0)).all(0))
        if not found.size:
            raise ValueError(f"{self.name} has no branch in service between {one} and {other}")
        return found
