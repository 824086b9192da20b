"""The one-line diagram of a grid at a moment: voltages, loadings, and what is out of service."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import markupsafe
import numpy as np

from envs.case import grid as grid_lib
from evaluation import element_names
from evaluation.report import events, held_back, svg

_WIDTH, _HEIGHT, _EDGE = 760.0, 500.0, 34.0
LOADINGS = (0.5, 0.8, 1.0, 1.2)  # of the limit, where the colour changes
_VOLTAGES = (0.25, 0.75)  # of the way from Vmin to Vmax, where the colour changes
_NUMBERED = 60  # buses up to which every one has its number
_MOST = {11.0: _NUMBERED, 4.5: 150, 3.0: 400, 1.7: np.inf}  # buses that are drawn in a radius
_SIZES = {11.0: "large", 4.5: "medium", 3.0: "small", 1.7: "tiny"}  # what the style calls it
# Labels: most loaded branches, lowest and highest bus, outages.
_MOST_LOADED, _EXTREME, _OUT = 3, 1, 6
_WORTH = 0.8  # a loading below this needs no label
_CLASSES = {events.OUTAGE: "outage", events.TRIPPED: "tripped", events.OPENED: "opened"}


class _Scene(NamedTuple):
    """What is drawn of a step, and where."""

    grid: grid_lib.Grid
    at: np.ndarray  # `[n_bus, 2]`
    ends: np.ndarray  # `(x1, y1, x2, y2)` of each branch `[n_branch, 4]`
    vm_pu: np.ndarray  # `[n_bus]`
    energised: np.ndarray  # bool `[n_bus]`
    rho: np.ndarray  # `[n_branch]` loading, zero of what carries nothing
    why: np.ndarray  # `[n_branch]`, see `events.service`

    @property
    def radius(self) -> float:
        """The radius of a bus."""
        return next(radius for radius, most in _MOST.items() if self.grid.n_bus <= most)

    @property
    def numbered(self) -> bool:
        """Whether every bus has its number."""
        return self.grid.n_bus <= _NUMBERED

    def middle(self, branch: int) -> np.ndarray:
        """Returns the middle of a branch `[2]`."""
        return 0.5 * (self.ends[branch, :2] + self.ends[branch, 2:])


def diagram(
    grid: grid_lib.Grid,
    positions: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    step: int,
    marks: held_back.Marks | None = None,
) -> markupsafe.Markup:
    """Returns the diagram of a step of `report_arrays.extract`, with buses at `[n_bus, 2]`.

    `marks` are of what was held back.
    """
    canvas = svg.Canvas(_WIDTH, _HEIGHT, f"One-line diagram of {grid.name}")
    at = _EDGE + 0.5 * (positions + 1.0) * (np.array([_WIDTH, _HEIGHT]) - 2.0 * _EDGE)
    ends = _ends(grid, at)
    why = events.service(arrays, step)
    energised, rho, vm = arrays["energised"][step], arrays["rho"][step], arrays["vm_pu"][step]
    branch = grid.branch
    cut_off = ~(energised[branch.from_bus] & energised[branch.to_bus])
    closed = why == events.CLOSED
    if marks:
        canvas.rules(ends[marks.branches], "foreseen")
    canvas.rules(ends[closed & cut_off], "deenergised")
    level = np.digitize(rho, LOADINGS)
    for number in range(len(LOADINGS) + 1):
        canvas.rules(ends[closed & ~cut_off & (level == number)], f"load{number}")
    scene = _Scene(grid, at, ends, vm, energised, np.where(closed & ~cut_off, rho, 0.0), why)
    for reason, name in _CLASSES.items():
        canvas.rules(ends[why == reason], name)
        _marks(canvas, ends[why == reason], name, scene.radius)
    if marks:
        canvas.dots(at[marks.buses], f"bus {_SIZES[scene.radius]} held")
    _buses(canvas, scene)
    if marks:
        rings = "".join(_ring(*at[bus], scene.radius + 6.5) for bus in marks.at_buses)
        canvas.shape(rings, "ring foreseen")
    _labels(canvas, scene, marks.words if marks else {})
    return canvas.markup()


def extremes(grid: grid_lib.Grid, arrays: Mapping[str, np.ndarray], step: int) -> Iterator[str]:
    """Returns, in words, the most loaded branch and the lowest and highest voltage of a step."""
    rho, vm, energised = arrays["rho"][step], arrays["vm_pu"][step], arrays["energised"][step]
    most = element_names.branch(grid, int(rho.argmax()))
    yield f"most loaded branch {most} at {100 * rho.max():.0f} %"
    if energised.any():
        low = int(np.where(energised, vm, np.inf).argmin())
        high = int(np.where(energised, vm, -np.inf).argmax())
        yield f"lowest voltage {vm[low]:.3f} pu at bus {grid.bus.id[low]}"
        yield f"highest {vm[high]:.3f} pu at bus {grid.bus.id[high]}"
    for gen in np.flatnonzero(~arrays["gen_on"][step]):
        yield f"{element_names.unit(grid, int(gen))} out of service"
    if not energised.all():
        yield f"{int((~energised).sum())} buses de-energised"


def _ends(grid: grid_lib.Grid, at: np.ndarray) -> np.ndarray:
    """Returns `(x1, y1, x2, y2)` of each branch, parallel ones side by side `[n_branch, 4]`."""
    first, second = grid.branch.from_bus, grid.branch.to_bus
    low, high = np.minimum(first, second), np.maximum(first, second)
    pair = low.astype(np.int64) * grid.n_bus + high
    _, group, sizes = np.unique(pair, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    place = np.empty(len(pair))
    place[order] = np.concatenate([np.arange(size) - 0.5 * (size - 1) for size in sizes])
    along = at[high] - at[low]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(
        np.linalg.norm(along, axis=1, keepdims=True), 1e-9
    )
    aside = 5.0 * place[:, None] * across
    return np.concatenate([at[first] + aside, at[second] + aside], 1)


def _marks(canvas: svg.Canvas, ends: np.ndarray, name: str, radius: float) -> None:
    """Marks branches in their middles: a cross for a trip, a square for an outage, else a ring."""
    size = max(5.0, 0.6 * radius)
    shapes = {
        "tripped": f"m{-size:g} {-size:g}l{2 * size:g} {2 * size:g}m0 {-2 * size:g}"
        f"l{-2 * size:g} {2 * size:g}",
        "outage": f"m{-size:g} {-size:g}h{2 * size:g}v{2 * size:g}h{-2 * size:g}z",
        "opened": f"m{-size:g} 0a{size:g} {size:g} 0 1 0 {2 * size:g} 0a{size:g} {size:g} 0 1 0 "
        f"{-2 * size:g} 0",
    }
    path = "".join(f"M{0.5 * (a + c):.1f} {0.5 * (b + d):.1f}{shapes[name]}" for a, b, c, d in ends)
    canvas.shape(path, f"mark {name}mark")


def _buses(canvas: svg.Canvas, scene: _Scene) -> None:
    bus, at, vm, energised = scene.grid.bus, scene.at, scene.vm_pu, scene.energised
    share = (vm - bus.vm_min_pu) / np.maximum(bus.vm_max_pu - bus.vm_min_pu, 1e-9)
    # Within rounding of a limit is within it.
    level = np.digitize(share, (-1e-4, *_VOLTAGES, 1.0001))
    unit = scene.grid.capacity_mw > 0
    size = _SIZES[scene.radius]
    canvas.dots(at, f"bus {size} halo")
    for number in range(5):
        for cap, which in (("", ~unit), (" unit", unit)):
            canvas.dots(at[energised & (level == number) & which], f"bus {size} volt{number}{cap}")
    canvas.dots(at[~energised], f"bus {size} hollow")
    canvas.dots(at[~energised], f"bus {size} inside")
    if scene.numbered:
        for number, (x, y) in enumerate(at):
            strong = " strong" if level[number] in (0, 4) else ""
            shade = f"number{strong}" if energised[number] else "number gone"
            canvas.text(x, y + 4.2, str(bus.id[number]), shade, "middle")


def _ring(x: float, y: float, r: float) -> str:
    return f"M{x - r:.1f} {y:.1f}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 {-2 * r:g} 0"


def _labels(canvas: svg.Canvas, scene: _Scene, foreseen: Mapping[int, str]) -> None:
    """Labels the most loaded branches, extreme voltages and outages, where there is room."""
    grid, at, vm, rho = scene.grid, scene.at, scene.vm_pu, scene.rho
    placed = [tuple(point) for point in at] if scene.numbered else []
    labels: list[tuple[np.ndarray, str, str]] = []
    called: list[int] = []
    labels += [(scene.middle(branch), words, "call") for branch, words in foreseen.items()]
    for branch in np.argsort(-rho)[:_MOST_LOADED]:
        if rho[branch] >= _WORTH:
            labels.append((scene.middle(branch), f"{100 * rho[branch]:.0f} %", "call"))
    if scene.energised.any():
        lowest = np.argsort(np.where(scene.energised, vm, np.inf))[:_EXTREME]
        highest = np.argsort(np.where(scene.energised, -vm, np.inf))[:_EXTREME]
        called = [*lowest, *highest]
        for bus in called:
            number = "" if scene.numbered else f"bus {grid.bus.id[bus]}: "
            labels.append((at[bus], f"{number}{vm[bus]:.3f} pu", "call"))
    if not scene.numbered:
        for branch in np.flatnonzero(scene.why != events.CLOSED)[:_OUT]:
            name = element_names.branch(grid, int(branch))
            labels.append((scene.middle(branch), name, "call out"))
    rings = [at[number] for number in called]
    canvas.shape("".join(_ring(x, y, scene.radius + 3.5) for x, y in rings), "ring")
    for point, words, name in labels:
        x, y = _free(point, len(words), placed, scene.radius)
        placed.append((x, y))
        canvas.text(x, y + 4.5, words, name, "middle")


def _free(point: np.ndarray, letters: int, placed: list, radius: float) -> tuple[float, float]:
    """Returns the first place around a point where words meet no others, or the first of all."""
    half = 3.7 * letters + 4.0
    near = radius + 13.0
    offsets = [(0, -near), (0, near), (half + radius, 0), (-half - radius, 0)]
    offsets += [(side * half, way * near) for way in (-1, 1) for side in (1, -1)]
    offsets += [(0, -2 * near), (0, 2 * near)]
    for dx, dy in offsets:
        x = min(max(point[0] + dx, half), _WIDTH - half)
        y = min(max(point[1] + dy, 10.0), _HEIGHT - 10.0)
        if all(abs(x - a) > half + radius + 8 or abs(y - b) > radius + 12 for a, b in placed):
            return x, y
    return float(np.clip(point[0], half, _WIDTH - half)), float(point[1]) - near
