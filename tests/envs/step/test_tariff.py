"""Prices: what the plan costs for each MWh, and what a tariff makes of it."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import tariff


def _grid():
    """Returns two units, of 10 + 2 p and 4 p + 0.1 p² $/h, and a condenser."""
    gen = types.SimpleNamespace(
        cost_c2=np.array([0.0, 0.1, 9.0]), cost_c1=np.array([2.0, 4.0, 9.0]),
        cost_c0=np.array([10.0, 0.0, 9.0]), is_unit=np.array([True, True, False]),
    )  # fmt: skip
    return types.SimpleNamespace(gen=gen)


def _row(load=25.0, plan=(20.0, 10.0, 3.0)):
    return types.SimpleNamespace(
        plan_p_mw=jnp.array(plan), day_ahead_load_mw=jnp.float32(load)
    )  # fmt: skip


def _prices(t, row=None, **options):
    market = tariff.Market(_grid(), EnvOptions(**options))
    return [float(price) for price in market(row or _row(), jnp.int32(t))]


@pytest.mark.parametrize(
    "hour, markup",
    [(0, 2.0), (6, 2.0), (7, 3.0), (15, 3.0), (16, 4.0), (20, 4.0), (21, 2.0), (24, 2.0)],
)
def test_prices_are_those_worked_out_by_hand(hour, markup):
    # (10 + 2·20) + (4·10 + 0.1·10²) = 100 $/h for 25 MW.
    for minute in (0, 5) if hour < 24 else (0,):
        got = _prices((60 * hour + minute) // 5)
        np.testing.assert_allclose(got, [4.0, 4.0 * markup, 3.6], rtol=1e-6)
    quarters = _prices(4 * hour, step_minutes=15, horizon_steps=96)
    np.testing.assert_allclose(quarters, [4.0, 4.0 * markup, 3.6], rtol=1e-6)
    np.testing.assert_allclose(_prices(12 * hour, tariff="flat"), [4.0, 12.0, 3.6], rtol=1e-6)


def test_an_hour_begins_with_its_first_step():
    retail = [_prices(t)[1] for t in range(191, 193)]
    np.testing.assert_allclose(retail, [12.0, 16.0], rtol=1e-6)


@pytest.mark.parametrize("row", [_row(load=0.0), _row(load=-5.0), _row(plan=(-60.0, 0.0, 0.0))])
def test_where_nothing_is_drawn_or_paid_for_the_price_is_zero(row):
    assert _prices(0, row) == [0.0, 0.0, 0.0]


def test_an_unknown_tariff_is_refused():
    with pytest.raises(
        ValueError, match="env.tariff='time_of_day': did you mean time_of_use.*flat"
    ):
        grid_env.check(EnvOptions(tariff="time_of_day"))
