"""The IEEE 13-node test feeder in positive sequence, from its published data.

W. H. Kersting, Radial distribution test feeders, IEEE PES Winter Meeting 2001; data of the IEEE PES
Distribution Test Feeder Working Group. What positive sequence leaves out is in `docs/fleets.md`.
"""

from typing import NamedTuple

import numpy as np

from envs.case import grid as grid_lib

BASE_MVA, BASE_KV = 5.0, 4.16  # the rating of the substation transformer, the feeder's voltage
SOURCE_KV, LOW_KV = 115.0, 0.48
FT_PER_MILE = 5280.0
SOURCE = 600  # number of the bus on the 115 kV side of the substation, which has none in the data


class Configuration(NamedTuple):
    """A line configuration: lower triangles, row by row, of what is published of its phases."""

    ohm_per_mile: tuple[complex, ...]
    us_per_mile: tuple[float, ...]  # of charging, µS
    ampere: float  # that its conductor may carry

    @property
    def phases(self) -> int:
        """Number of phases, 1 to 3."""
        return {1: 1, 3: 2, 6: 3}[len(self.ohm_per_mile)]

    def positive_sequence(self) -> tuple[complex, float]:
        """Returns series impedance, ohm per mile, and charging, µS per mile, of a three-phase line.

        With three phases that is the mean of own less the mean of mutual values. Of n phases the
        power flows in n conductors: 3 / n of that impedance and n / 3 of that charging give the
        losses and the voltage drop on those phases.
        """
        n = self.phases
        own = [row * (row + 3) // 2 for row in range(n)]  # places of the diagonal
        mean = lambda values: sum(values) / len(values) if values else 0.0
        sequence = lambda values: (
            mean([values[i] for i in own])
            - mean([value for i, value in enumerate(values) if i not in own])
        )
        return 3 / n * sequence(self.ohm_per_mile), n / 3 * sequence(self.us_per_mile)

    @property
    def mva(self) -> float:
        """What its conductors may carry together at nominal voltage."""
        return self.phases * BASE_KV / 3**0.5 * self.ampere / 1e3


# Ampacities are those of the conductors of each configuration: 556.5 kcmil, 4/0 and 1/0 ACSR,
# 250 kcmil AA with concentric neutral, 1/0 AA with tape shield.
CONFIGURATIONS = {
    601: Configuration(
        (0.3465 + 1.0179j, 0.1560 + 0.5017j, 0.3375 + 1.0478j, 0.1580 + 0.4236j, 0.1535 + 0.3849j,
         0.3414 + 1.0348j),
        (6.2998, -1.9958, 5.9597, -1.2595, -0.7417, 5.6386), 730.0,
    ),
    602: Configuration(
        (0.7526 + 1.1814j, 0.1580 + 0.4236j, 0.7475 + 1.1983j, 0.1560 + 0.5017j, 0.1535 + 0.3849j,
         0.7436 + 1.2112j),
        (5.6990, -1.0817, 5.1795, -1.6905, -0.6588, 5.4246), 340.0,
    ),
    603: Configuration(
        (1.3294 + 1.3471j, 0.2066 + 0.4591j, 1.3238 + 1.3569j), (4.7097, -0.8999, 4.6658), 230.0
    ),
    604: Configuration(
        (1.3238 + 1.3569j, 0.2066 + 0.4591j, 1.3294 + 1.3471j), (4.6658, -0.8999, 4.7097), 230.0
    ),
    605: Configuration((1.3292 + 1.3475j,), (4.5193,), 230.0),
    606: Configuration(
        (0.7982 + 0.4463j, 0.3192 + 0.0328j, 0.7891 + 0.4041j, 0.2849 - 0.0143j, 0.3192 + 0.0328j,
         0.7982 + 0.4463j),
        (96.8897, 0.0, 96.8897, 0.0, 0.0, 96.8897), 260.0,
    ),
    607: Configuration((1.3425 + 0.5124j,), (88.9912,), 165.0),
}  # fmt: skip

# From, to, feet, configuration.
LINES = (
    (650, 632, 2000, 601), (632, 633, 500, 602), (632, 645, 500, 603), (645, 646, 300, 603),
    (632, 671, 2000, 601), (671, 680, 1000, 601), (671, 684, 300, 604), (684, 611, 300, 605),
    (684, 652, 800, 607), (692, 675, 500, 606),
)  # fmt: skip
# A branch here has an impedance: the switch has that of so many feet of configuration 601.
SWITCH, SWITCH_FT = (671, 692), 50.0
# From, to, kVA, resistance and reactance in % of that rating.
SUBSTATION = (SOURCE, 650, 5000.0, 1.0, 8.0)
XFM_1 = (633, 634, 500.0, 1.1, 2.0)
TRANSFORMER_OVERLOAD = 1.2  # of its rating that an oil-filled transformer carries for hours
# The regulator stands fixed, ten steps of 0.625 % up: at nominal load it holds some 1.03 pu.
REGULATOR = 1.0 + 10 * 0.00625

# Number to kW and kVAr of spot loads, the sum of phases.
SPOT_LOADS = {
    634: (400.0, 290.0), 645: (170.0, 125.0), 646: (230.0, 132.0), 652: (128.0, 86.0),
    671: (1155.0, 660.0), 675: (843.0, 462.0), 692: (170.0, 151.0), 611: (170.0, 80.0),
}  # fmt: skip
# Along 632-671; half of it at either end has the voltage drop of a load that is spread evenly.
DISTRIBUTED_LOAD = (632, 671, 200.0, 116.0)
CAPACITORS = {675: 600.0, 611: 100.0}  # kVAr

BUSES = (SOURCE, 650, 632, 633, 634, 645, 646, 671, 680, 684, 611, 652, 692, 675)
VM_MIN_PU, VM_MAX_PU = 0.95, 1.05  # range A of ANSI C84.1, at the primary

# The grid beyond the substation, a choice: it sells and buys at 50 $/MWh and 1.5 $/MW²h more.
IMPORT_MW, EXPORT_MW, EXCHANGE_MVAR = 6.0, 3.0, 4.0
EXCHANGE_COST = (1.5, 50.0, 0.0)  # c2 $/MW²h, c1 $/MWh, c0 $/h


class Line(NamedTuple):
    """A branch by the numbers of its buses, pu of BASE_MVA."""

    from_bus: int
    to_bus: int
    impedance_pu: complex
    charging_pu: float
    rate_mva: float
    tap: float = 1.0


def line(from_bus: int, to_bus: int, feet: float, configuration: int) -> Line:
    """Returns a line of some length and configuration in positive sequence."""
    kind, miles, ohm = CONFIGURATIONS[configuration], feet / FT_PER_MILE, BASE_KV**2 / BASE_MVA
    impedance, charging = kind.positive_sequence()
    return Line(from_bus, to_bus, impedance * miles / ohm, charging * 1e-6 * miles * ohm, kind.mva)


def transformer(
    from_bus: int, to_bus: int, kva: float, r_percent: float, x_percent: float, tap: float = 1.0
) -> Line:
    """Returns a transformer by its rating and its impedance in % of that."""
    impedance = complex(r_percent, x_percent) / 100.0 * BASE_MVA / (kva / 1e3)
    return Line(from_bus, to_bus, impedance, 0.0, TRANSFORMER_OVERLOAD * kva / 1e3, tap)


def feeder() -> grid_lib.Grid:
    """Returns the feeder with the grid beyond the substation as its one unit."""
    position = {number: index for index, number in enumerate(BUSES)}
    load = np.zeros((len(BUSES), 2))
    spread = [(bus, (p / 2, q / 2)) for *ends, p, q in [DISTRIBUTED_LOAD] for bus in ends]
    for bus, kilo in [*SPOT_LOADS.items(), *spread]:
        load[position[bus]] += np.array(kilo) / 1e3
    shunt = np.zeros(len(BUSES))
    for bus, kvar in CAPACITORS.items():
        shunt[position[bus]] = kvar / 1e3
    none, ones = np.zeros(len(BUSES)), np.ones(len(BUSES))
    kv = {SOURCE: SOURCE_KV, 634: LOW_KV}
    lines = [
        transformer(*SUBSTATION, tap=1.0 / REGULATOR),
        *(line(*each) for each in LINES),
        transformer(*XFM_1),
        line(*SWITCH, SWITCH_FT, 601),
    ]
    one = lambda value: np.array([float(value)])
    return grid_lib.Grid(
        name="ieee13",
        base_mva=BASE_MVA,
        bus=grid_lib.Buses(
            id=np.array(BUSES, np.int32),
            type=np.where(np.array(BUSES) == SOURCE, grid_lib.REF, grid_lib.PQ).astype(np.int32),
            load_p_mw=load[:, 0], load_q_mvar=load[:, 1], shunt_p_mw=none, shunt_q_mvar=shunt,
            area=ones.astype(np.int32), base_kv=np.array([kv.get(n, BASE_KV) for n in BUSES]),
            vm_min_pu=VM_MIN_PU * ones, vm_max_pu=VM_MAX_PU * ones,
        ),
        branch=branches(lines, position),
        gen=grid_lib.Generators(
            np.array([position[SOURCE]], np.int32), one(load[:, 0].sum()), one(1.0),
            one(-EXPORT_MW), one(IMPORT_MW), one(-EXCHANGE_MVAR), one(EXCHANGE_MVAR),
            *map(one, EXCHANGE_COST),
        ),
    )  # fmt: skip


def branches(lines: list[Line], position: dict[int, int]) -> grid_lib.Branches:
    """Returns the table of `lines`; `position` is the index of each bus by number."""
    column = lambda values: np.array([float(value) for value in values])
    unlimited = np.full(len(lines), np.inf)
    return grid_lib.Branches(
        from_bus=np.array([position[each.from_bus] for each in lines], np.int32),
        to_bus=np.array([position[each.to_bus] for each in lines], np.int32),
        r_pu=column(each.impedance_pu.real for each in lines),
        x_pu=column(each.impedance_pu.imag for each in lines),
        b_pu=column(each.charging_pu for each in lines),
        tap=column(each.tap for each in lines),
        shift_rad=np.zeros(len(lines)),
        rate_mva=column(each.rate_mva for each in lines),
        angle_min_rad=-unlimited,
        angle_max_rad=unlimited,
    )
