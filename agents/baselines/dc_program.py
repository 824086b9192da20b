"""DC optimal power flow over one or several periods, as a linear program.

    minimise   Σ_t Δt [ Σ c2 p² + c1 p + c0 + prices · (moved load, spilled wind and sun, battery
               power, shortage, surplus, flow beyond limits) ] − value · energy left
    subject to Σ p + batteries + plants − spilled = load and losses          in every period
               |flow| ≤ limit + excess, flows by distribution factors        of branches that matter
               limits and ramps of units, energy and ratings of batteries

(Wood and Wollenberg, Power Generation, Operation and Control, chapter 8.) Quadratic costs are
chords of a few pieces. Of the flow limits only those are in the program that a solution without
them passed, which few rounds find.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse

from agents.baselines import highs
from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.powerflow import dc_network
from envs.step.options import StepOptions

_PIECES = 10  # of a quadratic cost between a unit's limits in a period
_PASSED_MW = 1e-3  # beyond a limit, from where on it is in the program
_NEAR = 0.9  # of a limit: watched from the start the next time

Watched = tuple[tuple[int, int], ...]  # (period, branch)


class Period(NamedTuple):
    """The data of one period, MW. What may not move has no room to."""

    topology: dc_network.Topology
    fixed_mw: np.ndarray  # `[n_bus]` injected if nothing is decided: plants less loads and losses
    load_mw: np.ndarray  # `[n_load]`
    movable_mw: np.ndarray  # `[n_load]` by which a load may be moved either way
    spillable_mw: np.ndarray  # `[n_plant]`
    low_mw: np.ndarray  # `[n_gen]`
    high_mw: np.ndarray  # `[n_gen]`
    rated_mw: np.ndarray  # `[n_storage]`
    limit_mw: np.ndarray  # `[n_branch]`


class Plan(NamedTuple):
    """An optimum, MW."""

    unit_mw: np.ndarray  # `[period, n_gen]`
    spilled_mw: np.ndarray  # `[period, n_plant]`
    moved_mw: np.ndarray  # `[period, n_load]` up positive
    storage_mw: np.ndarray  # `[period, n_storage]` positive when discharging
    energy_mwh: np.ndarray  # `[period, n_storage]` at its end
    flow_mw: np.ndarray  # `[period, n_branch]`
    injection_mw: np.ndarray  # `[period, n_bus]`, losses drawn at the loads
    watched: Watched  # that are near their limits


class _Limit(NamedTuple):
    """The limit of one branch in one period, as a row of a program."""

    columns: np.ndarray
    values: np.ndarray  # MW of flow per MW of each column
    low: float  # of the row, MW
    high: float
    price: float  # of what is beyond, $/MW


class Program:
    """The programs of one grid over periods of certain lengths."""

    def __init__(
        self,
        grid: grid_lib.Grid,
        fleet: fleet_lib.Fleet,
        prices: StepOptions,
        hours: tuple[float, ...],
        ramp_mw_per_h: np.ndarray,
    ):
        """Takes grid, fleet, prices, the length of each period, and ramps `[n_gen]`."""
        self._grid, self._fleet, self._prices = grid, fleet, prices
        self._loads = grid.loads
        self._hours, self._ramp = hours, ramp_mw_per_h[grid.units]
        self._highs = highs.Highs()
        # A unit of quadratic cost has several columns, whose sum is its power.
        pieces = np.where(grid.gen.cost_c2[grid.units] > 0, _PIECES, 1)
        self._unit = np.repeat(grid.units, pieces)
        self._share_below = np.concatenate([np.arange(p) / p for p in pieces])
        self._share_above = np.concatenate([np.arange(1, p + 1) / p for p in pieces])
        stores, plants = fleet.storage, fleet.renewables
        blocks = {  # columns of a period: the bus and the sign with which each injects
            "piece": (grid.gen.bus[self._unit], 1.0),
            "spilled": (plants.bus, -1.0),
            "down": (grid.loads, 1.0),
            "up": (grid.loads, -1.0),
            "out": (stores.bus, 1.0),
            "into": (stores.bus, -1.0),
        }
        self._bus = np.concatenate([bus for bus, _ in blocks.values()])
        self._sign = np.concatenate([np.full(bus.size, sign) for bus, sign in blocks.values()])
        sizes = {name: bus.size for name, (bus, _) in blocks.items()}
        sizes |= {"short": 1, "surplus": 1, "energy": stores.bus.size}
        ends = np.cumsum([0, *sizes.values()])
        self._at = {name: slice(a, b) for name, a, b in zip(sizes, ends, ends[1:])}
        self._width = int(ends[-1])
        self._entries, self._n_rows = self._constant_rows()

    def solve(
        self,
        periods: list[Period],
        energy_mwh: np.ndarray,
        value: float = 0.0,
        watched: Watched = (),
    ) -> Plan:
        """Returns the optimum of as many periods as the program has.

        `energy_mwh` `[n_storage]` is stored now; energy left at the end has a `value`, $/MWh;
        `watched` are limits to begin with.
        """
        bounds = [np.stack(x) for x in zip(*map(self._bounds, periods))]
        cost = np.stack([h * self._costs(p) for h, p in zip(self._hours, periods)])
        cost[-1, self._at["energy"]] = -value
        fixed = np.stack([np.where(p.topology.energised, p.fixed_mw, 0.0) for p in periods])
        limit = np.stack([np.where(p.topology.closed, p.limit_mw, np.inf) for p in periods])
        share = [self._load_share(p) for p in periods]
        undecided = np.stack([p.topology.flows(at) for p, at in zip(periods, fixed)])
        sides = self._right_hand_sides(periods, energy_mwh, fixed)
        known, limits = np.zeros(limit.shape, bool), []
        added = [pair for pair in watched if np.isfinite(limit[pair])]
        while True:
            for m, k in added:
                known[m, k] = True
                limits.append(self._limit(periods[m], share[m], m, k, limit[m, k], undecided[m, k]))
            x = self._optimum(cost, bounds, sides, limits)
            injection = fixed + np.stack([self._injected(*each) for each in zip(x, share)])
            flow = np.stack([p.topology.flows(at) for p, at in zip(periods, injection)])
            passed = (np.abs(flow) > limit + _PASSED_MW) & ~known
            if not passed.any():
                return self._plan(x, injection, flow, limit)
            # Where a branch is full in one period, it soon is in those beside it.
            added = _pairs(passed.any(0) & (np.abs(flow) > _NEAR * limit) & ~known)

    def _plan(self, x, injection, flow, limit) -> Plan:
        part = {name: x[:, block] for name, block in self._at.items()}
        unit = np.zeros((len(x), self._grid.n_gen))
        np.add.at(unit, (slice(None), self._unit), part["piece"])
        near = np.abs(flow) > _NEAR * limit
        return Plan(
            unit, part["spilled"], part["up"] - part["down"], part["out"] - part["into"],
            part["energy"], flow, injection, tuple(_pairs(near)),
        )  # fmt: skip

    def _constant_rows(self):
        """Returns (rows, columns, values) of balance, ramps and batteries, and their number."""
        column = {name: np.arange(self._width)[block] for name, block in self._at.items()}
        stores, entries = self._fleet.storage, []

        def add(row, column, value):
            entries.append([x.ravel() for x in np.broadcast_arrays(row, column, value)])

        signs = np.append(self._sign, [1.0, -1.0])  # of a shortage, and of a surplus
        row = len(self._hours)
        for m in range(row):
            add(m, m * self._width + np.arange(signs.size), signs)
        which = np.searchsorted(self._grid.units, self._unit)
        for m in range(1, len(self._hours)):
            add(row + which, m * self._width + column["piece"], 1.0)
            add(row + which, (m - 1) * self._width + column["piece"], -1.0)
            row += self._grid.units.size
        for m, hours in enumerate(self._hours):
            rows, start = row + np.arange(stores.bus.size), m * self._width
            add(rows, start + column["energy"], 1.0)
            add(rows, start + column["out"], hours / stores.discharge_efficiency)
            add(rows, start + column["into"], -hours * stores.charge_efficiency)
            if m:
                add(rows, start - self._width + column["energy"], -1.0)
            row += stores.bus.size
        return [np.concatenate(x) for x in zip(*entries)], row

    def _bounds(self, period: Period):
        """Returns the least and the most of each column of a period."""
        energised, gen = period.topology.energised, self._grid.gen
        low, high = (x * energised[gen.bus] for x in (period.low_mw, period.high_mw))
        span = (high - low)[self._unit]
        first = self._share_below == 0
        loads, stores = energised[self._loads], self._fleet.storage
        rated = period.rated_mw * energised[stores.bus]
        most = [
            np.where(first, low[self._unit], 0.0) + span * (self._share_above - self._share_below),
            period.spillable_mw * energised[self._fleet.renewables.bus],
            period.movable_mw * loads, period.movable_mw * loads, rated, rated,
            [np.inf], [np.inf], stores.energy_mwh,
        ]  # fmt: skip
        least = np.zeros(self._width)
        least[self._at["piece"]] = np.where(first, low[self._unit], 0.0)
        return least, np.concatenate(most)

    def _costs(self, period: Period) -> np.ndarray:
        """Returns the price of each column of a period, $/MWh."""
        gen, prices = self._grid.gen, self._prices
        low, span = period.low_mw, period.high_mw - period.low_mw
        ends = 2 * low[self._unit] + span[self._unit] * (self._share_below + self._share_above)
        cost = np.zeros(self._width)
        cost[self._at["piece"]] = gen.cost_c1[self._unit] + gen.cost_c2[self._unit] * ends
        for name, price in (
            ("spilled", prices.curtailment_price), ("down", prices.load_control_price),
            ("up", prices.load_control_price), ("out", prices.storage_price),
            ("into", prices.storage_price), ("short", prices.lost_load_price),
            ("surplus", prices.surplus_price),
        ):  # fmt: skip
            cost[self._at[name]] = price
        return cost

    def _load_share(self, period: Period) -> np.ndarray:
        """Returns the share of each bus in all load `[n_bus]`: where a shortage or surplus is."""
        load = np.bincount(self._loads, np.maximum(period.load_mw, 0.0), self._grid.n_bus)
        load *= period.topology.energised
        return load / max(load.sum(), 1e-9)

    def _injected(self, x: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Returns what the columns `x` of a period inject `[n_bus]` MW."""
        moved = np.bincount(self._bus, self._sign * x[: self._bus.size], self._grid.n_bus)
        return moved + (x[self._at["short"]] - x[self._at["surplus"]]) * share

    def _limit(self, period: Period, share, m: int, k: int, limit: float, undecided: float):
        """Returns the limit of branch k in period m, `undecided` its flow if nothing is decided."""
        factor = period.topology.transfer_factors(k)
        columns = m * self._width + np.arange(self._bus.size + 2)
        of_share = factor @ share
        values = np.append(self._sign * factor[self._bus], [of_share, -of_share])
        price = self._hours[m] * self._prices.overload_price
        return _Limit(columns, values, -limit - undecided, limit - undecided, price)

    def _optimum(self, cost, bounds, sides, limits: list[_Limit]) -> np.ndarray:
        """Returns the columns `[period, width]` at the optimum.

        `cost` and `bounds`, least and most, are shaped alike; `sides` are least and most of the
        constant rows, and `limits` what flows are to keep.
        """
        size, count = cost.size, len(limits)
        place, column, value = ([x] for x in self._entries)
        for i, limit in enumerate(limits):
            # Two more columns take the excess, one for each direction.
            column.append(np.append(limit.columns, [size + i, size + count + i]))
            value.append(np.append(limit.values, [-1.0, 1.0]))
            place.append(np.full(column[-1].size, self._n_rows + i))
        matrix = scipy.sparse.coo_matrix(
            (np.concatenate(value), (np.concatenate(place), np.concatenate(column))),
            shape=(self._n_rows + count, size + 2 * count),
        ).tocsc()
        excess = [limit.price for limit in limits]
        x = self._highs.solve(
            np.concatenate([cost.ravel(), excess, excess]),
            matrix,
            np.append(sides[0], [limit.low for limit in limits]),
            np.append(sides[1], [limit.high for limit in limits]),
            np.append(bounds[0], np.zeros(2 * count)),
            np.append(bounds[1], np.full(2 * count, np.inf)),
        )
        return x[:size].reshape(cost.shape)

    def _right_hand_sides(self, periods: list[Period], energy, fixed):
        """Returns the least and the most of the constant rows."""
        # A unit that is cut off, or comes back, does so at once.
        energised = np.stack(
            [p.topology.energised[self._grid.gen.bus[self._grid.units]] for p in periods]
        )
        ramp = np.array(self._hours)[1:, None] * self._ramp
        ramp = np.where(energised[1:] == energised[:-1], ramp, np.inf).ravel()
        later = np.zeros((len(self._hours) - 1) * self._fleet.n_storage)
        balance = -fixed.sum(1)
        return (
            np.concatenate([balance, -ramp, energy, later]),
            np.concatenate([balance, ramp, energy, later]),
        )


def _pairs(flags: np.ndarray) -> list[tuple[int, int]]:
    return [tuple(pair) for pair in np.argwhere(flags).tolist()]
