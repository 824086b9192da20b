"""A feeder on a system so large that it holds frequency, and what of it is cut off from there."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.case import case_file, fleet_file
from envs.options import EnvOptions
from envs.time_series.series import FAULT

# The grid beyond at bus 1; a machine and 3 MW at bus 2, 5 MW at bus 3.
CASE = """function mpc = feeder
mpc.version = '2';
mpc.baseMVA = 10;
mpc.bus = [
    1 3 0 0   0 0 1 1 0 20 1 1.1 0.9;
    2 2 3 0.5 0 0 1 1 0 20 1 1.1 0.9;
    3 1 5 1   0 0 1 1 0 20 1 1.1 0.9;
];
mpc.gen = [
    1 0 0 50 -50 1 10 1 10 -10;
    2 0 0 50 -50 1 10 1 10 0;
];
mpc.branch = [
    1 2 0.01 0.05 0 0 0 0 0 0 1 -360 360;
    2 3 0.01 0.05 0 0 0 0 0 0 1 -360 360;
];
mpc.gencost = [
    2 0 0 3 0 40 0;
    2 0 0 3 0 40 0;
];
"""
BEGIN = 3  # row from which on a branch is out
TO_THE_SYSTEM, TO_THE_LOAD = 0, 1


def _fleet(inertia_s):
    return {
        "name": "feeder", "source": "test",
        "units": {
            "bus": [1, 2], "kind": ["exchange", "gas"], "inertia_s": [inertia_s, 4.0],
            "ramp_mw_per_min": [10.0, 0.3],
        },
        "renewables": {"bus": [], "kind": [], "p_max_mw": []},
        "storage": {
            "bus": [], "p_max_mw": [], "energy_mwh": [], "charge_efficiency": [],
            "discharge_efficiency": [],
        },
        "prosumers": {"bus": [], "renewable": [], "storage": []},
    }  # fmt: skip


def _player(folder, inertia_s):
    """Returns what plays a day on which a branch is out for some steps."""
    case, fleet = folder / "feeder.m", folder / "fleet.json"
    case.write_text(CASE)
    fleet.write_text(json.dumps(_fleet(inertia_s)))
    options = EnvOptions(
        case=str(case), fleet=str(fleet), frequency="europe", horizon_steps=12, blackout_share=0.9
    )
    protection = dataclasses.replace(options.protection, enabled=False)
    env = grid_env.make(dataclasses.replace(options, protection=protection))
    series = env.sample_series(jax.random.PRNGKey(0))
    level = env.grid.bus.load_p_mw[env.grid.loads].astype(np.float32)
    series = series.replace(
        load_p_mw=jnp.broadcast_to(level, series.load_p_mw.shape),
        branch_status=jnp.zeros_like(series.branch_status),
        gen_status=jnp.zeros_like(series.gen_status),
        plan_p_mw=jnp.broadcast_to(jnp.array([6.0, 2.0]), series.plan_p_mw.shape),
    )
    nothing = jnp.zeros(env.layout.action_size)

    @jax.jit
    def play(status):
        day = series.replace(branch_status=status)
        step = lambda state, _: (env.transition(state, nothing, day),) * 2
        return jax.lax.scan(step, env.start(day), length=8)[1]

    def outage(branch, steps):
        return play(series.branch_status.at[BEGIN : BEGIN + steps, branch].set(FAULT))

    return outage


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """An exchange of infinite inertia."""
    return _player(tmp_path_factory.mktemp("infinite"), None)


def test_the_loss_of_five_megawatts_does_not_move_an_infinite_bus(outage, tmp_path):
    states = outage(TO_THE_LOAD, 2)
    lost = states.terms["energy_not_served"][BEGIN - 1 : BEGIN + 1]
    np.testing.assert_allclose(lost, 5.0 / 12.0, rtol=1e-3)  # MWh of five minutes
    np.testing.assert_array_equal(states.metrics["nadir_hz"], 50.0)
    np.testing.assert_array_equal(states.metrics["rocof_hz_per_s"], 0.0)
    np.testing.assert_array_equal(states.frequency.deviation_hz, 0.0)
    np.testing.assert_array_equal(states.frequency.shed_share, 0.0)
    assert not states.terminated.any()
    # Beside an exchange without inertia the machine of 12 MVA answers alone.
    moved = _player(tmp_path, 0.0)(TO_THE_LOAD, 2)
    assert float(jnp.abs(moved.metrics["rocof_hz_per_s"]).max()) > 1.0


def test_what_is_cut_off_from_it_has_a_frequency_of_its_own_until_it_is_back(outage):
    states = outage(TO_THE_SYSTEM, 2)
    away = slice(BEGIN - 1, BEGIN + 1)
    lowest, shed = states.metrics["nadir_hz"], states.frequency.shed_share
    assert not states.terminated.any()
    assert np.asarray(states.vm_pu)[BEGIN - 1, 0] == 0.0  # the island with the load lives
    assert float(lowest[away].min()) < 49.0 and float(shed[away].max()) > 0.0
    # Back on the large system frequency is nominal at once, and load comes back little by little.
    np.testing.assert_array_equal(lowest[BEGIN + 1 :], 50.0)
    assert (np.diff(shed[BEGIN:]) <= 0.0).all() and float(shed[-1]) == 0.0


def test_null_inertia_is_read_as_infinite(tmp_path):
    case, fleet = tmp_path / "feeder.m", tmp_path / "fleet.json"
    case.write_text(CASE)
    fleet.write_text(json.dumps(_fleet(None)))
    units = fleet_file.load(str(fleet), case_file.load(str(case))).units
    assert list(units.inertia_s) == [np.inf, 4.0]
