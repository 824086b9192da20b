"""Prosumers: energy through their connection, what they pay for it, and what is observed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import prosumers, tariff
from envs.time_series.series import LEAD_STEPS

HOME = 13  # index of bus 14, the prosumer's, where nothing else stands


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(layout="nodes"))


@pytest.fixture(scope="module")
def day(env):
    """A day of clear sky: the prosumer's panels give 6 MW."""
    series = jax.jit(env.sample_series)(jax.random.PRNGKey(0))
    none = jnp.zeros_like
    return series.replace(
        renewable_mw=series.renewable_mw.at[:, 2].set(6.0),
        branch_status=none(series.branch_status), gen_status=none(series.gen_status),
    )  # fmt: skip


@pytest.fixture(scope="module")
def play(env):
    step = jax.jit(env.detailed)
    start = jax.jit(env.start)

    def run(day, row=100, **moved):
        """Returns state and detail of a step in which controls at bus 14 are moved."""
        action = np.zeros(env.layout.action_size, np.float32)
        for title, value in moved.items():
            action[env.layout.action_names.index(f"{title}: bus 14")] = value
        return step(start(day, row), action, day)

    return run


def _alone(day, share):
    """Returns `day` with the prosumer's load at `share` of what it is."""
    return day.replace(load_p_mw=day.load_p_mw.at[:, -1].multiply(share))


@pytest.mark.parametrize(
    "share, moved",
    [
        (1.0, {}), (1.0, {"load": 1.0, "storage": 1.0}), (1.0, {"load": -1.0, "storage": -1.0}),
        (1.0, {"curtailment": -0.5}), (0.1, {}), (0.1, {"storage": 1.0}),
    ],
)  # fmt: skip
def test_what_a_connection_draws_is_the_sum_of_what_stands_behind_it(env, day, play, share, moved):
    after, detail = play(_alone(day, share), **moved)
    elements = (
        detail.feasible.load_p_mw[-1] - detail.renewable_mw[2] - detail.feasible.storage_mw[1]
    )
    assert after.terms["energy_not_served"] == 0 and (elements < 0) == (share < 1)
    drawn, fed_in = (after.terms[f"prosumer_{name}"] * 12 for name in ("import", "export"))
    np.testing.assert_allclose(drawn - fed_in, elements, rtol=1e-5)
    np.testing.assert_allclose(drawn - fed_in, -detail.bus_p_mw[HOME], rtol=1e-5)
    assert drawn * fed_in == 0
    seen = after.observation[env.layout.observation["prosumer_p"]]
    np.testing.assert_allclose(seen, [elements], rtol=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_a_bill_is_retail_for_what_is_drawn_less_what_is_fed_in_earns(env, day, play, share):
    after, detail = play(_alone(day, share))
    wholesale, retail, feed_in = tariff.Market(env.grid, env.options)(day.at(101), 101)
    assert retail == 3 * wholesale and feed_in == pytest.approx(0.9 * wholesale)
    terms = {name: float(value) for name, value in after.terms.items()}
    bill = retail * terms["prosumer_import"] - feed_in * terms["prosumer_export"]
    assert terms["prosumer_bill"] == pytest.approx(float(bill), rel=1e-5)
    assert (terms["prosumer_bill"] < 0) == (share < 1)
    # Of all loads: those without panels pay for what they draw. Its own elements sell nothing else.
    others = float(detail.feasible.load_p_mw[:-1].sum()) / 12
    assert terms["retail_bill"] == pytest.approx(float(retail * others + bill), rel=1e-5)
    units = float(jnp.where(env.grid.gen.is_unit, detail.gen_p_mw, 0.0).sum())
    sold = (
        units + float(detail.renewable_mw[:2].sum()) + float(detail.feasible.storage_mw[0])
    ) / 12
    assert terms["wholesale_revenue"] == pytest.approx(float(wholesale) * sold, rel=1e-5)


def test_load_that_is_not_served_is_not_drawn(env, day, play):
    cut = day.replace(branch_status=day.branch_status.at[:, [16, 19]].set(2))  # both at bus 14
    after, _ = play(cut)
    names = [
        env.layout.observation_names[env.layout.observation["branch_rho"]][i] for i in (16, 19)
    ]
    assert names == ["branch_rho: 9-14", "branch_rho: 13-14"]
    assert after.terms["prosumer_import"] == after.terms["prosumer_export"] == 0
    assert after.terms["energy_not_served"] > 0


def test_prices_are_known_ahead_and_nothing_moves_them(env, day, play):
    idle, _ = play(day, 180)
    moved, _ = play(day, 180, load=1.0, storage=-1.0)
    market = tariff.Market(env.grid, env.options)
    rows = [181 + steps for steps in (0, *LEAD_STEPS)]
    expected = [market(day.at(row), row) for row in rows]
    for block, which in (("wholesale_price", "wholesale"), ("retail_price", "retail")):
        part = env.layout.observation[block]
        by_hand = [getattr(prices, which) for prices in expected]
        np.testing.assert_allclose(idle.observation[part], by_hand, rtol=1e-6)
        np.testing.assert_array_equal(idle.observation[part], moved.observation[part])
    # From 16 h on, which is row 192, it is the peak.
    wholesale, retail = (
        idle.observation[env.layout.observation[block]]
        for block in ("wholesale_price", "retail_price")
    )
    np.testing.assert_allclose(retail / wholesale, [3, 3, 3, 3, 4], rtol=1e-6)


def test_a_grid_without_prosumers_has_payments_and_no_connection_of_theirs():
    env = grid_env.make(EnvOptions(layout="nodes", fleet="plain"))
    part = env.layout.observation["prosumer_p"]
    assert part.start == part.stop
    state = jax.jit(env.reset)(jax.random.PRNGKey(0))
    after = jax.jit(env.step)(state, jnp.zeros(env.layout.action_size))
    for name in ("prosumer_bill", "prosumer_import", "prosumer_export"):
        assert after.terms[name] == 0
    assert after.terms["retail_bill"] > after.terms["wholesale_revenue"] > 0


def test_who_owns_a_battery_alone_has_no_plant_behind_the_connection(env):
    fleet = env.fleet
    owners = fleet.prosumers
    no_plant = type(owners)(owners.bus, np.array([-1]), owners.storage)
    links = prosumers.Connections(env.grid, type(fleet)(**{**vars(fleet), "prosumers": no_plant}))
    np.testing.assert_array_equal(links.plant_sells, [True, True, True])
    np.testing.assert_array_equal(links.storage_sells, [True, False])
