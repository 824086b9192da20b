"""What the frequency model is told of the units in service."""

import dataclasses
import types

import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import frequency, frequency_options, frequency_response


def test_reserves_are_those_of_units_with_a_governor_in_service(monkeypatch):
    options = EnvOptions(case="case118")
    named = grid_env.check(options)
    grid, units = named.grid, named.fleet.units
    without, out = grid.units[1], grid.units[2]
    droop = units.droop.copy()
    droop[without] = np.inf
    units = dataclasses.replace(units, droop=droop)
    fleet = dataclasses.replace(named.fleet, units=units)
    respond = frequency_response.FrequencyResponse(grid, fleet, options)
    told = []
    monkeypatch.setattr(
        frequency_response.frequency_lib,
        "step",
        lambda start, system, *_: told.append(system) or (start, 0),
    )
    p_max, p_min = grid.gen.p_max_mw, grid.gen.p_min_mw
    target = p_min + 0.25 * (p_max - p_min)
    energised = np.ones(grid.n_bus, bool)
    respond(
        frequency.initial(),
        types.SimpleNamespace(load_p_mw=grid.bus.load_p_mw[grid.loads], gen_target_mw=target),
        np.arange(grid.n_gen) != out,
        energised,
        frequency.Disturbance(0.0, 0.0),
    )
    (system,) = told
    on = np.arange(grid.n_gen) != out
    governed = on & np.isfinite(droop)
    assert not governed[without] and governed.sum() > 10
    close = lambda value: pytest.approx(value, rel=1e-5)
    nominal_hz = frequency_options.PRESETS[options.frequency].nominal_hz
    assert float(system.droop_mw_per_hz) == close((p_max / droop / nominal_hz)[governed].sum())
    assert float(system.up_mw) == close((p_max - target)[governed].sum())
    assert float(system.down_mw) == close((target - p_min)[governed].sum())
    assert float(system.ramp_mw_per_min) == close(units.ramp_mw_per_min[governed].sum())
    assert float(system.inertia_mws) == close((units.inertia_s * units.rating_mva)[on].sum())
