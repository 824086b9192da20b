"""How far the physics of Gridracer and Grid2Op agree on the same grid, day and decisions: none.

Both play the first whole days of each scenario; in Gridracer units follow what was recorded. Nobody
acts, but that lines which maintenance gives back are closed in Grid2Op, as they are by themselves
in Gridracer, and overloads disconnect nothing unless that is asked for. Steps in which not the same
lines are in service are counted and not compared, and those after Grid2Op has ended the day are
not. What is reported is of each step and line: loading, powers, voltages, and all of them with the
balance shared.
"""

import dataclasses
import operator
import pathlib
import tempfile
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agents.grid2op import play
from envs import grid_env
from envs.case.grid import Grid
from envs.options import EnvOptions
from envs.powerflow import matrices
from envs.step.options import BALANCING, REFERENCE, ProtectionOptions
from envs.time_series import chronics_files
from envs.time_series.options import MINUTES_PER_DAY
from envs.time_series.series import TimeSeries
from gridracer.grid2op import prepare

_TOLERANCE_PU = 1e-5  # of our power flow; what single precision asks for may be more


class Played(NamedTuple):
    """A day as one simulator has it, every array `[steps, …]`."""

    closed: np.ndarray  # bool, branches
    loading: np.ndarray  # ρ: current at the origin over the thermal limit
    p_mw: np.ndarray  # of branches, at the origin
    vm_pu: np.ndarray  # of branches, at the origin
    gen_mw: np.ndarray  # of units
    load_mw: np.ndarray  # total


class Player:
    """Plays days in Gridracer that follow their plan; compiled once for all days."""

    def __init__(self, options: EnvOptions, steps: int):
        self._env = env = grid_env.make(options)
        self.grid = env.grid
        rho = env.layout.observation["branch_rho"]

        def step(state, series):
            state = env.transition(state, jnp.zeros(env.layout.action_size), series)
            now = series.at(state.t)
            return state, (
                state.vm_pu, state.va_rad, state.branch.closed, state.gen_p_mw,
                now.load_p_mw.sum(), state.observation[rho],
            )  # fmt: skip

        def play_day(series):
            body = lambda state, _: step(state, series)
            return jax.lax.scan(body, env.start(series), None, length=steps)[1]

        self._play = jax.jit(play_day)

    def __call__(self, series: TimeSeries) -> Played:
        """Returns the day of `series`."""
        columns = self._play(jax.tree.map(jnp.asarray, series))
        vm, va, closed, gen, load, rho = (np.asarray(x, np.float64) for x in columns)
        grid, branch = self.grid, self.grid.branch
        y, voltage = matrices.branch_admittance(grid), vm * np.exp(1j * va)
        origin, end = voltage[:, branch.from_bus], voltage[:, branch.to_bus]
        current = (y.yff * origin + y.yft * end) * closed
        return Played(
            closed > 0.5,
            rho,
            (origin * current.conj()).real * grid.base_mva,
            np.abs(origin),
            gen[:, grid.units],
            load,
        )


def recorded_days(options: EnvOptions) -> list[TimeSeries]:
    """Returns the whole days in the chronics of `options`, with their recorded plans."""
    days = grid_env.check(options).recorded
    return [jax.tree.map(operator.itemgetter(day), days) for day in range(len(days.load_p_mw))]


def theirs(env, grid: Grid, scenario: int, row: int, steps: int) -> Played:
    """Returns the day that begins at `row` of a scenario in Grid2Op, until it ends there."""
    observation = play.reset(env, scenario, row)
    base_kv = grid.bus.base_kv[grid.branch.from_bus]
    maintained = np.zeros(grid.n_branch, bool)
    rows = []
    for _ in range(steps):
        maintained = ~observation.line_status & (
            maintained | (observation.duration_next_maintenance > 0)
        )
        observation, _, done, _ = env.step(_closing(env, observation, maintained))
        if done:
            break
        rows.append((
            observation.line_status, observation.rho, observation.p_or,
            observation.v_or / base_kv, observation.gen_p[grid.gen.is_unit],
            observation.load_p.sum(),
        ))  # fmt: skip
    return Played(*(np.array(column) for column in zip(*rows)))


def _closing(env, observation, maintained):
    """Returns the action that closes, of lines that were `maintained`, those that may be."""
    may = maintained & (observation.time_before_cooldown_line == 0)
    may &= observation.duration_next_maintenance == 0
    if not may.any():
        return env.action_space()
    return env.action_space({"set_line_status": [(int(line), 1) for line in np.flatnonzero(may)]})


def differences(a: Played, b: Played) -> dict[str, np.ndarray]:
    """Returns absolute differences, flat, of the steps in which the same lines are in service."""
    a = Played(*(column[: len(b.closed)] for column in a))  # which may end before
    same = (a.closed == b.closed).all(1)
    limited = np.isfinite(a.loading).all(0) & a.closed.any(0)
    closed = a.closed & b.closed
    line = lambda x, y: np.abs(x - y)[same][closed[same] & limited]
    return {
        "rho": line(a.loading, b.loading),
        "p_mw": line(a.p_mw, b.p_mw),
        "vm_pu": line(a.vm_pu, b.vm_pu),
        "gen_mw": np.abs(a.gen_mw - b.gen_mw)[same].ravel(),
        "load_mw": np.abs(a.load_mw - b.load_mw)[same],
    }


def measure(
    environment: pathlib.Path, scenarios: int, days: int, steps: int, backend: str, protected: bool
) -> dict:
    """Returns the report on the first `days` of the first `scenarios` of an environment.

    Where `protected`, overloaded lines trip in both.
    """
    report: dict = {
        "environment": environment.resolve().name, "backend": backend, "steps": steps,
        "protected": protected,
    }  # fmt: skip
    found: dict[str, list] = {balancing: [] for balancing in BALANCING}
    compared = apart = 0
    trips, lasted = [], []  # of each day, in Grid2Op
    folders = chronics_files.folders(environment / "chronics")[:scenarios]
    with tempfile.TemporaryDirectory() as temporary:
        out = pathlib.Path(temporary)
        prepare.prepare(environment, out)
        options = [
            dataclasses.replace(
                prepare.options(out, f"chronics/{folder.name}"),
                tolerance_pu=_TOLERANCE_PU,
                horizon_steps=steps,
            )
            for folder in folders
        ]
        if not protected:
            unprotected = ProtectionOptions(enabled=False)
            options = [dataclasses.replace(one, protection=unprotected) for one in options]
        players = {
            balancing: Player(dataclasses.replace(options[0], balancing=balancing), steps)
            for balancing in BALANCING
        }
        grid = players[REFERENCE].grid
        judge = play.make(environment, protected=protected, backend=backend)
        for number, (folder, one) in enumerate(zip(folders, options)):
            midnight = prepare.first_midnight(folder)[1]
            rows = MINUTES_PER_DAY // chronics_files.clock(folder)[1]
            for day, series in enumerate(recorded_days(one)[:days]):
                reference = theirs(judge, grid, number, midnight + day * rows, steps)
                for balancing, player in players.items():
                    mine = player(series)
                    found[balancing].append(differences(mine, reference))
                    if balancing == REFERENCE:
                        same = (mine.closed[: len(reference.closed)] == reference.closed).all(1)
                trips.append(int((~reference.closed[1:] & reference.closed[:-1]).sum()))
                lasted.append(len(reference.closed))
                compared, apart = compared + same.sum(), apart + (~same).sum()
    report["scenarios"] = [folder.name for folder in folders]
    report["steps_in_grid2op"], report["lines_opened_in_grid2op"] = lasted, trips
    report["steps_compared"], report["steps_with_other_lines"] = int(compared), int(apart)
    for balancing, each in found.items():
        report[balancing] = {
            name: _summary(np.concatenate([one[name] for one in each])) for name in each[0]
        }
    return report


def _summary(values: np.ndarray) -> dict[str, float]:
    if not values.size:
        return {}
    return {
        "mean": float(values.mean()),
        "p99": float(np.quantile(values, 0.99)),
        "largest": float(values.max()),
    }
