"""Makes the fleets in `envs/case/fleets`, by rules and the recipes below; no random numbers.

python -m envs.case.place_fleet            # makes every fleet again
python -m envs.case.place_fleet case118    # writes envs/case/fleets/case118.json

The rules, in full in `docs/fleets.md`: the kind of a generator is the fuel that PGLib's comments
name; plants go first to buses without load or generator, the best connected first; they are equal,
but at most 60 % of the branches at their bus; batteries stand at large loads; prosumers own solar
panels and a small battery.
"""

import dataclasses

import numpy as np
from absl import app
from scipy import sparse
from scipy.sparse import csgraph

from envs.case import case_file, columns, connectivity, fleet_file, matpower, pglib
from envs.case.fleet import SOLAR, WIND
from envs.case.grid import Grid
from envs.inputs import command_line

FUELS = {"COW": "coal", "NG": "gas", "PEL": "oil", "NUC": "nuclear", "SYNC": "condenser"}
PLANT_SHARE_OF_BRANCHES = 0.60  # largest plant over the sum of the limits of its bus's branches
STORAGE_SHARE_OF_LOAD = 0.05  # power of all batteries over nominal load
STORAGE_H = 4.0
PROSUMER_SOLAR_SHARE = 0.40  # of the nominal load of the prosumer's bus
PROSUMER_STORAGE_SHARE = 0.15
PROSUMER_STORAGE_H = 2.0
EFFICIENCY = 0.92  # each way: 85 % there and back (NREL Annual Technology Baseline 2023)

_SOURCE = (
    "Kinds of generators: comments in PGLib-OPF v23.07 (IEEE PES Power Grid Library, CC-BY-4.0). "
    "Plants, batteries and prosumers: placed by envs/case/place_fleet.py, not real."
)
_SOURCE_118 = " Areas: MATPOWER, most/lib/t/c118swf.m, column BUS_AREA."

# The areas of MATPOWER's most/lib/t/c118swf.m (buses grouped by C. Murillo-Sánchez and
# R. Zimmerman, 2010). The fourth holds all other buses.
_AREAS_118 = (
    [*range(1, 21), 30, 33, 117],
    [21, 22, 23, *range(25, 30), 31, 32, 113, 114, 115],
    [*range(34, 68)],
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How much goes onto one grid."""

    plants: int  # wind and solar plants, prosumers' aside
    renewable_share: float  # of nominal load, prosumers' aside, where branches allow
    batteries: int
    prosumers: int
    areas: int  # by cutting the grid where it is weakest, if the case names none


RECIPES = {
    "case14": Recipe(plants=2, renewable_share=0.25, batteries=1, prosumers=1, areas=1),
    "case30": Recipe(plants=4, renewable_share=0.25, batteries=2, prosumers=3, areas=2),
    "case57": Recipe(plants=6, renewable_share=0.25, batteries=3, prosumers=5, areas=2),
    "case118": Recipe(plants=10, renewable_share=0.28, batteries=6, prosumers=12, areas=4),
    "case300": Recipe(plants=20, renewable_share=0.12, batteries=10, prosumers=20, areas=4),
    "case1354": Recipe(plants=60, renewable_share=0.18, batteries=30, prosumers=40, areas=4),
}


def place(grid: Grid, fuels: list[str], recipe: Recipe) -> dict:
    """Returns the content of the fleet file of `grid`; buses are given by number.

    `fuels` are `n_gen` texts, as PGLib's comments name the fuels.
    """
    if len(fuels) != grid.n_gen or not set(fuels) <= set(FUELS):
        raise ValueError(
            f"{grid.name}: {len(fuels)} comments name {sorted(set(fuels))} for {grid.n_gen} "
            f"generators; one of {', '.join(FUELS)} is needed for each"
        )
    number = grid.bus.id
    load, total = grid.bus.load_p_mw, grid.bus.load_p_mw.sum()
    capacity = _branch_capacity(grid)
    kinds = ["exchange" if low < 0 else FUELS[fuel] for fuel, low in zip(fuels, grid.gen.p_min_mw)]

    has_unit = np.isin(np.arange(grid.n_bus), grid.gen.bus)
    silent = ~has_unit & ~np.isin(np.arange(grid.n_bus), grid.loads)
    plants = _ranked(np.where(has_unit, -1.0, capacity + 1e6 * silent))[: recipe.plants]
    share = recipe.renewable_share * total / plants.size
    power = np.minimum(share, PLANT_SHARE_OF_BRANCHES * capacity[plants])
    # Of every five plants in order of connection the first, second and fourth are wind.
    wind = np.isin(np.arange(plants.size) % 5, (0, 1, 3) if recipe.plants > 2 else (0,))

    pure_load = np.where(has_unit, -1.0, load)
    taken = np.isin(np.arange(grid.n_bus), plants)
    sites = _ranked(np.where(taken, -1.0, pure_load))
    large = sites[: recipe.batteries]
    homes = sites[recipe.batteries :]
    homes = homes[pure_load[homes] > 0]
    homes = homes[np.linspace(0, homes.size // 2, recipe.prosumers).astype(int)]

    rounded = lambda values: [_rounded(value) for value in values]
    battery = rounded(np.full(large.size, STORAGE_SHARE_OF_LOAD * total / large.size))
    cellar = rounded(PROSUMER_STORAGE_SHARE * load[homes])
    energy = [STORAGE_H * power for power in battery]
    energy += [round(PROSUMER_STORAGE_H * power, 1) for power in cellar]
    efficiency = [EFFICIENCY] * len(energy)
    return {
        "name": grid.name,
        "source": _SOURCE + (_SOURCE_118 if grid.name == "case118" else ""),
        "areas": areas(grid, recipe),
        "units": {"bus": number[grid.gen.bus].tolist(), "kind": kinds},
        "renewables": {
            "bus": number[np.concatenate([plants, homes])].tolist(),
            "kind": [WIND if is_wind else SOLAR for is_wind in wind] + [SOLAR] * homes.size,
            "p_max_mw": rounded(power) + rounded(PROSUMER_SOLAR_SHARE * load[homes]),
        },
        "storage": {
            "bus": number[np.concatenate([large, homes])].tolist(),
            "p_max_mw": battery + cellar,
            "energy_mwh": energy,
            "charge_efficiency": efficiency,
            "discharge_efficiency": efficiency,
        },
        "prosumers": {
            "bus": number[homes].tolist(),
            "renewable": [plants.size + 1 + i for i in range(homes.size)],
            "storage": [large.size + 1 + i for i in range(homes.size)],
        },
    }


def areas(grid: Grid, recipe: Recipe) -> dict[str, list[int]]:
    """Returns area number to bus numbers: published ones for case118, else cut where weakest."""
    number = grid.bus.id
    if grid.name == "case118":
        rest = np.setdiff1d(number, np.concatenate(_AREAS_118)).tolist()
        return {str(i): sorted(buses) for i, buses in enumerate((*_AREAS_118, rest), 1)}
    parts = [np.arange(grid.n_bus)]
    while len(parts) < recipe.areas:
        largest = parts.pop(int(np.argmax([part.size for part in parts])))
        parts += _halves(grid, largest)
    parts.sort(key=lambda part: part[0])
    return {str(i): number[part].tolist() for i, part in enumerate(parts, 1)}


def _halves(grid: Grid, buses: np.ndarray) -> list[np.ndarray]:
    """Returns two connected parts of `buses`, joined by as little admittance as can be.

    Spectral bisection (Fiedler, 1973): buses in order of the second eigenvector of the Laplacian
    of |1/z|, cut where the admittance cut over that of the smaller part is least, each part with a
    quarter of the buses at least.
    """
    index = np.full(grid.n_bus, -1)
    index[buses] = np.arange(buses.size)
    f, t = index[grid.branch.from_bus], index[grid.branch.to_bus]
    inside = (f >= 0) & (t >= 0)
    f, t = f[inside], t[inside]
    weight = 1.0 / np.hypot(grid.branch.r_pu, grid.branch.x_pu)[inside]
    laplacian = connectivity.laplacian(buses.size, f, t, weight)
    order = np.argsort(np.linalg.eigh(laplacian)[1][:, 1].round(9), kind="stable")
    rank = np.argsort(order)
    least, halves = np.inf, None
    for size in range(buses.size // 4, buses.size - buses.size // 4 + 1):
        # What a cut by rank leaves in pieces goes to the other side, whole pieces at a time.
        second = _largest_piece(~_largest_piece(rank < size, f, t), f, t)
        cut = weight[second[f] != second[t]].sum()
        inner = min(weight[second[f] & second[t]].sum(), weight[~second[f] & ~second[t]].sum())
        if 4 * min(second.sum(), (~second).sum()) >= buses.size and cut < least * inner:
            least, halves = cut / inner, second
    if halves is None:
        raise ValueError(f"{grid.name}: no cut leaves areas of a quarter of the buses or more")
    return [buses[~halves], buses[halves]]


def _largest_piece(part: np.ndarray, f: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns the most buses of `part`, bool, that the branches between them connect."""
    keep = part[f] & part[t]
    graph = sparse.coo_matrix((np.ones(keep.sum()), (f[keep], t[keep])), (part.size, part.size))
    label = csgraph.connected_components(graph, directed=False)[1]
    return part & (label == np.bincount(label[part]).argmax())


def _branch_capacity(grid: Grid) -> np.ndarray:
    """Returns the sum of the limits of the branches at each bus, MVA `[n_bus]`.

    A branch counts with no more than ten times the median limit: a few in PGLib are as good as
    unlimited.
    """
    rate = np.minimum(grid.branch.rate_mva, 10 * np.median(grid.branch.rate_mva))
    ends = np.concatenate([grid.branch.from_bus, grid.branch.to_bus])
    return np.bincount(ends, np.concatenate([rate, rate]), grid.n_bus)


def _ranked(score: np.ndarray) -> np.ndarray:
    """Returns indices from the highest score down, the lower index first among equals."""
    return np.argsort(-score, kind="stable")


def _rounded(value: float) -> float:
    """Returns a plant's size in MW as a person would state it."""
    return round(float(value)) if value >= 10 else round(float(value), 1)


def main(argv: list[str]) -> None:
    """Writes the fleets named on the command line, by default all."""
    names = argv[1:] or list(RECIPES)
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        raise app.UsageError(f"no recipe for {unknown[0]}; there are {', '.join(RECIPES)}")
    for name in names:
        grid = case_file.load(name)
        fuels = matpower.generator_comments(pglib.folder() / pglib.FILES[name])
        path = fleet_file.SHIPPED / f"{name}.json"
        columns.write(place(grid, fuels, RECIPES[name]), path)
        fleet = fleet_file.load(name, grid)
        print(
            f"{path}: {fleet.n_renewable} plants of {fleet.renewables.p_max_mw.sum():.0f} MW, "
            f"{fleet.n_storage} batteries, {len(fleet.prosumers.bus)} prosumers"
        )


if __name__ == "__main__":
    command_line.run(main)
