"""The one-line diagram of a state as a picture, or in a window."""

import jax
import numpy as np
from matplotlib import collections, figure
from matplotlib.backends import backend_agg

from envs import grid_env
from envs.case import grid as grid_lib
from envs.powerflow import matrices
from envs.step.termination import Reason
from evaluation import element_names, wording
from evaluation.report import one_line, positions
from gridracer import packages, spaces

gymnasium = packages.required("gymnasium")

MODES = HUMAN, RGB_ARRAY = ("human", "rgb_array")
_SIZE_IN, _DPI = (8.0, 5.6), 100
# Of branches, by loading up to `one_line.LOADINGS` and above; told apart without red and green.
_LOADED = ("#9fb4c7", "#4f8fc0", "#e0a100", "#d0490a", "#8a1030")
_LOW, _WITHIN, _HIGH, _DEAD = "#2166ac", "#3b4550", "#b2182b", "#c8cdd2"  # of buses, by voltage
_GREY = "#8a9299"  # words about what is dead
_NUMBERED = 60  # buses up to which each has its number
# What the colours mean, with the place across the picture where each begins.
_LEGEND = (
    (0.02, "branches", _WITHIN), *zip(
        (0.10, 0.20, 0.29, 0.39, 0.49),
        ("below 50 %", "50 to 80", "80 to 100", "100 to 120", "above"), _LOADED,
    ),
    (0.56, "buses", _WITHIN), (0.62, "too low", _LOW), (0.69, "too high", _HIGH),
    (0.77, "no voltage", _GREY), (0.86, "square: a unit", _WITHIN),
)  # fmt: skip


class Screen:
    """Draws the states of one grid, its buses always at the same places."""

    def __init__(self, grid: grid_lib.Grid, step_minutes: float):
        self._grid, self._step_minutes = grid, step_minutes
        self._admittance = matrices.branch_admittance(grid)
        self._at = positions.bus_positions(grid)
        self._ends = np.stack([self._at[grid.branch.from_bus], self._at[grid.branch.to_bus]], 1)
        self._figure: figure.Figure | None = None  # of the window

    def render(self, states: grid_env.State, mode: str) -> np.ndarray | None:
        """Shows the first of a batch of states, or returns its diagram with `rgb_array`."""
        state = jax.tree.map(lambda leaf: leaf[0], jax.device_get(states))
        return self.show(state) if mode == HUMAN else self.picture(state)

    def picture(self, state: grid_env.State) -> np.ndarray:
        """Returns the diagram of an unbatched state, uint8 `[height, width, 3]`."""
        drawn = figure.Figure(_SIZE_IN, _DPI)
        canvas = backend_agg.FigureCanvasAgg(drawn)
        self._draw(drawn, state)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def show(self, state: grid_env.State) -> None:
        """Draws the diagram of an unbatched state in a window."""
        from matplotlib import pyplot  # which asks for a screen

        if self._figure is None:
            if pyplot.get_backend().lower() == "agg":
                gymnasium.logger.warn("render_mode=human: there is no screen; use rgb_array")
            pyplot.ion()
            self._figure = pyplot.figure(figsize=_SIZE_IN, dpi=_DPI)
        self._figure.clear()
        self._draw(self._figure, state)
        self._figure.canvas.draw_idle()
        pyplot.pause(1e-3)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._figure is not None:
            from matplotlib import pyplot

            pyplot.close(self._figure)
            self._figure = None

    def _draw(self, drawn: figure.Figure, state: grid_env.State) -> None:
        grid, bus = self._grid, self._grid.bus
        axes = drawn.add_axes((0.02, 0.07, 0.96, 0.86))
        axes.set_axis_off()
        axes.margins(0.06)
        vm, closed = np.asarray(state.vm_pu), np.asarray(state.branch.closed)
        rho = self._loading(vm, np.asarray(state.va_rad), closed)
        level = np.digitize(rho, one_line.LOADINGS)
        live = (vm[grid.branch.from_bus] > 0.0) & (vm[grid.branch.to_bus] > 0.0)
        colours = np.where(live, np.array(_LOADED)[level], _DEAD)
        carries = collections.LineCollection(
            self._ends[closed],
            colors=colours[closed],
            linewidths=1.2 + 0.7 * level[closed],
            zorder=1,
        )
        out = collections.LineCollection(
            self._ends[~closed], colors=_DEAD, linewidths=1.2, linestyles=(0, (2, 3)), zorder=0
        )
        axes.add_collection(out)
        axes.add_collection(carries)
        colour = np.where(vm < bus.vm_min_pu, _LOW, np.where(vm > bus.vm_max_pu, _HIGH, _WITHIN))
        colour = np.where(vm > 0.0, colour, _DEAD)  # without voltage
        unit = grid.capacity_mw > 0
        size = 3000.0 / max(grid.n_bus, 14)
        for which, mark in ((unit, "s"), (~unit, "o")):
            axes.scatter(*self._at[which].T, s=size, c=colour[which], marker=mark, zorder=2)
        if grid.n_bus <= _NUMBERED:
            for number, (x, y) in zip(bus.id, self._at):
                axes.annotate(
                    str(number), (x, y), color="white", ha="center", va="center", fontsize=7,
                    zorder=3,
                )  # fmt: skip
        drawn.text(0.02, 0.95, self._title(int(state.t), vm, rho), fontsize=11)
        if reason := Reason(int(state.reason)):
            ended = f"the day is over: {wording.ENDINGS[reason.name]}"
            drawn.text(0.02, 0.91, ended, fontsize=11, color=_HIGH)
        for x, words, shade in _LEGEND:
            drawn.text(x, 0.025, words, fontsize=8, color=shade)

    def _loading(self, vm: np.ndarray, va: np.ndarray, closed: np.ndarray) -> np.ndarray:
        """Returns the loading of each branch over its limit `[n_branch]`, at either end."""
        branch = self._grid.branch
        carried = matrices.carried_mva(self._grid, self._admittance, vm * np.exp(1j * va))
        dead = ~closed | (vm[branch.from_bus] == 0.0) | (vm[branch.to_bus] == 0.0)
        return np.where(dead, 0.0, carried / branch.rate_mva)

    def _title(self, step: int, vm: np.ndarray, rho: np.ndarray) -> str:
        grid, minutes = self._grid, step * self._step_minutes
        most = element_names.branch(grid, int(rho.argmax()))
        live = vm[vm > 0.0]
        voltages = (
            f"voltages {live.min():.3f} to {live.max():.3f} pu" if live.size else "no voltage"
        )
        return (
            f"{grid.name}  {int(minutes // 60):02d}:{int(minutes % 60):02d}   "
            f"branch {most} at {100 * rho.max():.0f} %   {voltages}"
        )


class Rendered:
    """What an environment of one grid shows: its `functional`, the first of its `_grids`."""

    render_mode: str | None
    _screen: Screen | None = None

    def render(self) -> np.ndarray | None:
        """Returns the one-line diagram, `[height, width, 3]`, or shows it with `human`."""
        if self.render_mode is None:
            gymnasium.logger.warn(
                "render() does nothing without a render_mode: give human or rgb_array to make"
            )
            return None
        env, states = self.functional, spaces.begun(self._grids).states
        self._screen = self._screen or Screen(env.grid, env.options.step_minutes)
        return self._screen.render(states, self.render_mode)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._screen:
            self._screen.close()
            self._screen = None
