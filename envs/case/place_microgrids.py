"""Makes the case `ieee13_mg` and its fleet: the IEEE 13-node feeder with three microgrids.

python -m envs.case.place_microgrids    # writes envs/case/cases and fleets/ieee13_mg.json

The microgrids are invented, by the rule in full in `docs/fleets.md`: each has two buses, a
generator and a battery at the one that couples it, sun and a load at the other; of its load the
generator is 70 %, the battery 50 % for four hours, and the sun 80 %.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from absl import app

from envs.case import case_file, columns, fleet_file, grid as grid_lib, ieee13, validate
from envs.case.fleet import KINDS, POWER_FACTOR as RATED_POWER_FACTOR, SOLAR
from envs.inputs import command_line

NAME = "ieee13_mg"
SOURCE = (
    "IEEE 13-node test feeder in positive sequence (W. H. Kersting, Radial distribution test "
    "feeders; data published by the IEEE PES Distribution Test Feeder Working Group). Microgrids, "
    "costs and the grid beyond the substation: made by envs/case/place_microgrids.py, not real."
)
GENERATOR_SHARE, BATTERY_SHARE, SOLAR_SHARE = 0.7, 0.5, 0.8  # of a microgrid's load
BATTERY_H = 4.0
EFFICIENCY = 0.92  # each way, as on the other cases (`envs/case/place_fleet.py`)
POWER_FACTOR = 0.95  # of loads
REACTIVE_SHARE = 0.8  # of Pmax, what a generator gives or takes: a power factor of 0.78
RAMP_SHARE_PER_MIN = 0.2  # of Pmax: engines of this size take full load within a step
COUPLING_FT = INNER_FT = 500.0  # of cable, configuration 606
CABLE = 606


class Microgrid(NamedTuple):
    """A microgrid: where it hangs, how large it is, and what its generator burns."""

    name: str
    at: int  # number of the feeder's bus
    buses: tuple[int, int]  # numbers: that of generator and battery, that of load and sun
    load_mw: float
    kind: str
    cost: tuple[float, float, float]  # c2 $/MW²h, c1 $/MWh, c0 $/h


# At the end of the main line, at the largest load of its end, and on a lateral near the substation;
# one generator is cheaper than what the substation sells, one about as dear, one dearer.
MICROGRIDS = (
    Microgrid("MG1", 680, (711, 712), 0.9, "gas", (20.0, 42.0, 0.0)),
    Microgrid("MG2", 675, (721, 722), 0.6, "gas", (30.0, 52.0, 0.0)),
    Microgrid("MG3", 633, (731, 732), 0.45, "oil", (40.0, 75.0, 0.0)),
)
# What stands for the system beyond the substation, on its own rating: it holds frequency.
EXCHANGE = {"ramp_mw_per_min": 6.0, "rating_mva": 1000.0, "inertia_s": 4.0, "droop": 0.001}


def grid() -> grid_lib.Grid:
    """Returns the feeder with the microgrids coupled to it."""
    feeder = ieee13.feeder()
    numbers = np.array([bus for each in MICROGRIDS for bus in each.buses], np.int32)
    position = {int(n): i for i, n in enumerate(np.concatenate([feeder.bus.id, numbers]))}
    n, none = numbers.size, np.zeros(numbers.size)
    load = np.zeros(n)
    load[1::2] = [each.load_mw for each in MICROGRIDS]
    bus = grid_lib.Buses(
        id=numbers, type=np.tile(np.array([grid_lib.PV, grid_lib.PQ], np.int32), n // 2),
        load_p_mw=load, load_q_mvar=(load * np.tan(np.arccos(POWER_FACTOR))).round(4),
        shunt_p_mw=none, shunt_q_mvar=none,
        area=np.repeat(np.arange(2, 2 + n // 2, dtype=np.int32), 2),
        base_kv=none + ieee13.BASE_KV, vm_min_pu=none + ieee13.VM_MIN_PU,
        vm_max_pu=none + ieee13.VM_MAX_PU,
    )  # fmt: skip
    lines = [ieee13.line(each.at, each.buses[0], COUPLING_FT, CABLE) for each in MICROGRIDS]
    lines += [ieee13.line(*each.buses, INNER_FT, CABLE) for each in MICROGRIDS]
    p_max = np.array([generator_mw(each) for each in MICROGRIDS])
    gen = grid_lib.Generators(
        np.array([position[each.buses[0]] for each in MICROGRIDS], np.int32), 0.5 * p_max,
        np.ones(p_max.size), np.zeros(p_max.size), p_max, (-REACTIVE_SHARE * p_max).round(4),
        (REACTIVE_SHARE * p_max).round(4), *np.array([each.cost for each in MICROGRIDS]).T,
    )  # fmt: skip
    whole = dataclasses.replace(
        feeder, name=NAME, source=SOURCE, bus=_joined(feeder.bus, bus),
        branch=_joined(feeder.branch, ieee13.branches(lines, position)),
        gen=_joined(feeder.gen, gen),
    )  # fmt: skip
    return validate.check(whole, NAME)


def generator_mw(microgrid: Microgrid) -> float:
    """Returns Pmax of a microgrid's generator."""
    return round(GENERATOR_SHARE * microgrid.load_mw, 3)


def fleet() -> dict:
    """Returns the content of the fleet file: the feeder is area 1, the microgrids follow."""
    each, numbers = MICROGRIDS, range(2, 2 + len(MICROGRIDS))
    size = lambda share: [round(share * m.load_mw, 3) for m in each]
    battery, efficiency = size(BATTERY_SHARE), [EFFICIENCY] * len(each)
    areas = {"1": ieee13.BUSES, **{str(n): m.buses for n, m in zip(numbers, each)}}
    return {
        "name": NAME,
        "source": SOURCE,
        "areas": {number: list(buses) for number, buses in areas.items()},
        "units": {
            "bus": [ieee13.SOURCE, *(m.buses[0] for m in each)],
            "kind": ["exchange", *(m.kind for m in each)],
            **{n: [value, *(_typical(n, m) for m in each)] for n, value in EXCHANGE.items()},
        },
        "renewables": {
            "bus": [m.buses[1] for m in each],
            "kind": [SOLAR] * len(each),
            "p_max_mw": size(SOLAR_SHARE),
        },
        "storage": {
            "bus": [m.buses[0] for m in each],
            "p_max_mw": battery,
            "energy_mwh": [round(BATTERY_H * mw, 3) for mw in battery],
            "charge_efficiency": efficiency,
            "discharge_efficiency": efficiency,
        },
        "prosumers": {"bus": [], "renewable": [], "storage": []},
        "microgrids": {
            "name": [m.name for m in each],
            "area": list(numbers),
            "from_bus": [m.at for m in each],
            "to_bus": [m.buses[0] for m in each],
        },
    }


def _typical(name: str, microgrid: Microgrid) -> float:
    """Returns what is typical of a microgrid's generator, as `envs.case.fleet` has it."""
    kind, p_max = KINDS[microgrid.kind], generator_mw(microgrid)
    value = {
        "ramp_mw_per_min": RAMP_SHARE_PER_MIN * p_max, "rating_mva": p_max / RATED_POWER_FACTOR,
        "inertia_s": kind.inertia_s, "droop": kind.droop,
    }[name]  # fmt: skip
    return round(value, 5)


def _joined(first, second):
    """Returns the rows of two tables of one kind, one after the other."""
    join = lambda name: np.concatenate([getattr(first, name), getattr(second, name)])
    return type(first)(**{field.name: join(field.name) for field in dataclasses.fields(first)})


def main(argv: list[str]) -> None:
    """Writes the case and its fleet."""
    if len(argv) > 1:
        raise app.UsageError(f"takes no arguments, not {argv[1]!r}")
    case, path = case_file.SHIPPED / f"{NAME}.json", fleet_file.SHIPPED / f"{NAME}.json"
    case_file.write_json(grid(), case)
    columns.write(fleet(), path)
    placed = fleet_file.load(NAME, case_file.load(NAME))
    print(f"{case}: {case_file.load(NAME).n_bus} buses; {path}: {len(placed.microgrids.name)}")


if __name__ == "__main__":
    command_line.run(main)
