"""Fleets by name, from those that ship with Gridracer, or by path; `docs/fleets.md` has the form.

A fleet is checked against its grid before it is used: buses must be there, efficiencies possible,
areas complete. Errors name the file, the table, the row, the value and what would be accepted.
"""

import dataclasses
import pathlib

import numpy as np

from envs.case import columns, fleet as fleet_lib
from envs.case.grid import Grid
from envs.inputs import choices
from envs.inputs.bounds import Range

SHIPPED = pathlib.Path(__file__).parent / "fleets"
PLAIN = "plain"

_TABLES = (
    "name", "source", "areas", "units", "renewables", "storage", "prosumers", "microgrids",
)  # fmt: skip
_UNIT_NUMBERS = ("ramp_mw_per_min", "rating_mva", "inertia_s", "droop", "co2_t_per_mwh")
_UNIT_TEXT = {"bus", "kind"}
_RENEWABLE = ("bus", "kind", "p_max_mw")
_STORAGE = ("bus", "p_max_mw", "energy_mwh", "charge_efficiency", "discharge_efficiency")
_PROSUMER = ("bus", "renewable", "storage")
_MICROGRID = ("name", "area", "from_bus", "to_bus")
_LEAST_DROOP = 1e-3  # 0.1 %; a governor any stiffer would be unstable
_SIZE = Range(0, 1e6, above=True)  # MW or MWh of one plant
_SHARE = Range(0, 1, above=True)
_AT_LEAST_ZERO, _DROOP = Range(0, 1e6), Range(_LEAST_DROOP, 1e6)  # in the units of the columns


class FleetError(ValueError):
    """The fleet cannot be used; the message names the file, the table, the row and why."""


def names() -> list[str]:
    """Returns the names of the fleets that ship with Gridracer, smallest grid first."""
    return sorted((path.stem for path in SHIPPED.glob("*.json")), key=lambda n: (len(n), n))


def load(name_or_path: str, grid: Grid) -> fleet_lib.Fleet:
    """Returns on `grid` the fleet `plain`, a shipped one by name, or a `.json` file by path.

    Raises:
      FileNotFoundError: neither a shipped fleet nor a file.
      FleetError: the fleet is unsound, or not one of this grid.
    """
    if name_or_path == PLAIN:
        return fleet_lib.plain(grid)
    if name_or_path in names():
        return read_json(SHIPPED / f"{name_or_path}.json", grid)
    if name_or_path.endswith(".json"):
        return read_json(pathlib.Path(name_or_path), grid)
    known = [PLAIN, *names()]
    hint = choices.hint(name_or_path, known)
    raise FileNotFoundError(
        f"no fleet named {name_or_path!r}: {hint}there are {', '.join(known)}, or the path of a "
        ".json file as docs/fleets.md describes it"
    )


def read_json(path: pathlib.Path, grid: Grid) -> fleet_lib.Fleet:
    """Returns the fleet in the file at `path`, on `grid`.

    Raises:
      FileNotFoundError: there is no such file.
      FleetError: the fleet is unsound, or not one of this grid.
    """
    reader = _FleetReader(path, grid)
    renewables, storage, area = reader.renewables(), reader.storage(), reader.areas()
    return fleet_lib.Fleet(
        name=reader.text("name"),
        area=area,
        units=reader.units(),
        renewables=renewables,
        storage=storage,
        prosumers=reader.prosumers(renewables, storage),
        source=reader.text("source", ""),
        microgrids=reader.microgrids(area),
    )


class _FleetReader(columns.Reader):
    """Takes apart one fleet file."""

    def __init__(self, path: pathlib.Path, grid: Grid):
        super().__init__(path, "fleet file", FleetError)
        self.grid = grid
        self.position = {int(number): index for index, number in enumerate(grid.bus.id)}
        self.known(None, self.data, _TABLES)

    def buses(self, table: str, numbers: list, name: str = "bus") -> np.ndarray:
        """Returns the indices of buses given by number, int32."""
        for row, number in enumerate(self.numbers(table, name, numbers, whole=True)):
            if int(number) not in self.position:
                raise self.refuse(
                    table, row, f"{name} is {number}, which is no bus of {self.grid.name}"
                )
        return np.array([self.position[number] for number in numbers], np.int32)

    def within(self, limits: Range, table: str, name: str, values: list, **how) -> np.ndarray:
        """Returns a column of numbers within `limits`, or infinite where null stands for that."""
        column = self.numbers(table, name, values, **how)
        for row, value in enumerate(column):
            if not (limits.contains(value) or np.isinf(value)):
                raise self.refuse(table, row, f"{name} is {values[row]:g}, it must be {limits}")
        return column

    def areas(self) -> np.ndarray:
        """Returns the area of each bus; without the table those of the case."""
        if "areas" not in self.data:
            return fleet_lib.case_areas(self.grid)
        table = self.data["areas"]
        if not isinstance(table, dict) or not table:
            raise self.wrong("areas must be an object: area number to list of bus numbers")
        area = np.zeros(self.grid.n_bus, np.int32)
        for count, (name, numbers) in enumerate(table.items(), 1):
            if name != str(count):
                raise self.wrong(f"areas are numbered from 1, in order: area {count} is {name!r}")
            if not isinstance(numbers, list) or not numbers:
                raise self.refuse(f"areas[{name}]", None, "it must be a list of bus numbers")
            for row, bus in enumerate(self.buses(f"areas[{name}]", numbers)):
                if area[bus]:
                    why = f"bus {numbers[row]} is in area {area[bus]} already"
                    raise self.refuse(f"areas[{name}]", row, why)
                area[bus] = count
        missing = np.flatnonzero(area == 0)
        if missing.size:
            number = self.grid.bus.id[missing[0]]
            raise self.refuse("areas", None, f"bus {number} is in no area ({missing.size} are not)")
        return area

    def units(self) -> fleet_lib.Units:
        """Returns the generators, in the case's order; kinds fill in what the file leaves open."""
        grid = self.grid
        table = self.table("units", ("bus", "kind"), _UNIT_NUMBERS)
        bus = self.buses("units", table["bus"])
        expected = grid.bus.id[grid.gen.bus]
        if len(bus) != grid.n_gen:
            why = f"{len(bus)} rows, and {grid.name} has {grid.n_gen} generators in service"
            raise self.refuse("units", None, f"{why}: one row each, in the case's order")
        for row in np.flatnonzero(bus != grid.gen.bus)[:1]:
            why = f"bus is {table['bus'][row]}, the case's generator of this row is at bus"
            raise self.refuse("units", row, f"{why} {expected[row]}")
        kinds = self.choices("units", "kind", table["kind"], tuple(fleet_lib.KINDS))
        gen = grid.gen
        wrong = np.isin(kinds, fleet_lib.REACTIVE) == gen.is_unit
        wrong |= (kinds == "dispatchable_load") & ~gen.is_dispatchable_load
        for row in np.flatnonzero(wrong)[:1]:
            why = (
                f"kind is {kinds[row]}, but this generator reaches from Pmin {gen.p_min_mw[row]:g} "
                f"to Pmax {gen.p_max_mw[row]:g} MW; condensers and inverters are "
                "those without active power, dispatchable loads those that can only draw it"
            )
            raise self.refuse("units", row, why)
        stated = {name: self.unit_numbers(name, table[name]) for name in table.keys() - _UNIT_TEXT}
        return dataclasses.replace(fleet_lib.typical_units(grid, kinds), **stated)

    def unit_numbers(self, name: str, values: list) -> np.ndarray:
        """Returns a column of the units: not negative; droop above zero.

        Null stands for no governor, and for infinite inertia.
        """
        if name == "droop":
            return self.within(_DROOP, "units", name, values, null=np.inf)
        if name == "inertia_s":
            return self.within(_AT_LEAST_ZERO, "units", name, values, null=np.inf)
        return self.within(_AT_LEAST_ZERO, "units", name, values)

    def renewables(self) -> fleet_lib.Renewables:
        """Returns the wind and solar plants."""
        table = self.table("renewables", _RENEWABLE)
        kinds = (fleet_lib.WIND, fleet_lib.SOLAR)
        return fleet_lib.Renewables(
            bus=self.buses("renewables", table["bus"]),
            kind=self.choices("renewables", "kind", table["kind"], kinds),
            p_max_mw=self.within(_SIZE, "renewables", "p_max_mw", table["p_max_mw"]),
        )

    def storage(self) -> fleet_lib.Storage:
        """Returns the batteries."""
        table = self.table("storage", _STORAGE)
        charge, discharge = "charge_efficiency", "discharge_efficiency"
        return fleet_lib.Storage(
            bus=self.buses("storage", table["bus"]),
            p_max_mw=self.within(_SIZE, "storage", "p_max_mw", table["p_max_mw"]),
            energy_mwh=self.within(_SIZE, "storage", "energy_mwh", table["energy_mwh"]),
            charge_efficiency=self.within(_SHARE, "storage", charge, table[charge]),
            discharge_efficiency=self.within(_SHARE, "storage", discharge, table[discharge]),
        )

    def prosumers(self, renewables, storage) -> fleet_lib.Prosumers:
        """Returns the prosumers; rows of their plants and batteries count from 1 in the file."""
        table = self.table("prosumers", _PROSUMER)
        bus = self.buses("prosumers", table["bus"])
        for row in np.flatnonzero(~np.isin(bus, self.grid.loads))[:1]:
            why = f"bus {table['bus'][row]} carries no load; a prosumer is a load that owns a plant"
            raise self.refuse("prosumers", row, why)
        for row in np.flatnonzero(~_first(bus))[:1]:
            raise self.refuse("prosumers", row, f"bus {table['bus'][row]} has a prosumer already")
        owned = {
            name: self._owned(name, table[name], bus, assets.bus)
            for name, assets in (("renewable", renewables), ("storage", storage))
        }
        for row in np.flatnonzero((owned["renewable"] < 0) & (owned["storage"] < 0))[:1]:
            raise self.refuse("prosumers", row, "it owns neither a plant nor a battery")
        return fleet_lib.Prosumers(bus=bus, **owned)

    def microgrids(self, area: np.ndarray) -> fleet_lib.Microgrids | None:
        """Returns the microgrids: areas `[n_bus]` that hang on one branch; none without a table."""
        if "microgrids" not in self.data:
            return None
        table, grid = self.table("microgrids", _MICROGRID), self.grid
        numbers = self.numbers("microgrids", "area", table["area"], whole=True)
        ends = [self.buses("microgrids", table[name], name) for name in ("from_bus", "to_bus")]
        couplings = []
        for row, (name, number, one, other) in enumerate(zip(table["name"], numbers, *ends)):
            refuse = lambda why, row=row: self.refuse("microgrids", row, why)
            if not isinstance(name, str) or not name or name in table["name"][:row]:
                raise refuse(f"name is {name!r}, it must be text, and another for each microgrid")
            if not (area == number).any() or number in numbers[:row]:
                raise refuse(f"area is {number}, it must be one of the areas, and another each")
            inside = area == number
            leads_out = inside[grid.branch.from_bus] != inside[grid.branch.to_bus]
            pair = np.sort([grid.branch.from_bus, grid.branch.to_bus], axis=0)
            (named,) = np.nonzero((pair == np.sort([one, other])[:, None]).all(0))
            if named.size != 1 or not np.array_equal(named, np.flatnonzero(leads_out)):
                raise refuse(
                    f"{table['from_bus'][row]}-{table['to_bus'][row]} must be the one branch that "
                    f"leads out of area {number}, which has {leads_out.sum()} such branches"
                )
            couplings += named.tolist()
        names = np.array(table["name"], str)
        return fleet_lib.Microgrids(names, numbers, np.array(couplings, np.int32))

    def _owned(self, name: str, rows: list, bus: np.ndarray, asset_bus: np.ndarray) -> np.ndarray:
        """Returns which row of an asset's table each prosumer owns, from 0, −1 for none."""
        index = self.numbers("prosumers", name, rows, whole=True, null=0) - 1
        for row, asset in enumerate(index):
            if rows[row] is None:
                continue
            if not 0 <= asset < len(asset_bus):
                why = f"{name} is {rows[row]}, it must be null or a row from 1 to {len(asset_bus)}"
                raise self.refuse("prosumers", row, why)
            if asset_bus[asset] != bus[row]:
                number = self.grid.bus.id[asset_bus[asset]]
                why = f"{name} {rows[row]} is at bus {number}, not at the prosumer's"
                raise self.refuse("prosumers", row, why)
        return index.astype(np.int32)


def _first(values: np.ndarray) -> np.ndarray:
    """Returns where a value appears for the first time, bool."""
    first = np.zeros(len(values), bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first
