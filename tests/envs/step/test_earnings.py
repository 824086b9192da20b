"""What buses earn: by term it is the grid's, together the reward, less what has no place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import earnings

PLACELESS = {  # prices in $ of terms that belong to no bus
    "surplus": "surplus_price", "switching": "switching_price", "angle_violation": "angle_price",
    "frequency_excursion": "frequency_price",
}  # fmt: skip


@pytest.mark.parametrize("spread, ends", [(0.01, False), (0.7, True)])
def test_buses_together_earn_the_reward_but_for_what_has_no_place(spread, ends, key):
    options = EnvOptions(case="case30", layout="full", reward="savings")
    env = grid_env.make(options)

    @jax.jit
    @jax.vmap
    def play(key):
        series = env.sample_series(key)

        def step(state, key):
            action = spread * jax.random.normal(key, (env.layout.action_size,))
            after, detail = env.detailed(state, action, series)
            kept = jax.tree.map(lambda a, b: jnp.where(state.done, a, b), state, after)
            return kept, (~state.done, after.reward, after.terms, detail.earned, after.terminated)

        start = env.start(series)
        start = jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), start)
        return jax.lax.scan(step, start, jax.random.split(key, 60))[1]

    going, reward, terms, earned, ended = jax.tree.map(np.asarray, play(jax.random.split(key, 16)))
    placeless = sum(getattr(options, price) * terms[name] for name, price in PLACELESS.items())
    expected = (reward + 1e-3 * placeless)[going]
    savings = sum(earned[name] for name in earnings.SAVINGS)
    np.testing.assert_allclose(savings.sum(-1)[going], expected, rtol=2e-4, atol=2e-4)
    for name, price in earnings.TERMS.items():
        whole = 1e-3 * price(options) * terms[name]
        np.testing.assert_allclose(
            earned[name].sum(-1)[going], whole[going], rtol=2e-4, atol=2e-4, err_msg=name
        )
    assert (savings[going].std(0) > 0).any() and bool((ended & going).any()) == ends


def test_what_is_unserved_at_a_bus_is_charged_there(key):
    env = grid_env.make(EnvOptions(case="case14", layout="full"))
    series = env.sample_series(key)
    state = env.start(series)
    nothing = jnp.zeros(env.layout.action_size)
    load = env.layout.action["load"].start
    moved = nothing.at[load].set(-1.0)  # the first load, lowered
    idle, lowered = (
        sum(env.detailed(state, action, series)[1].earned[name] for name in earnings.SAVINGS)
        for action in (nothing, moved)
    )
    change = np.asarray(lowered - idle)
    bus = env.grid.loads[env.site.controllable[0]]
    units = env.grid.gen.bus
    elsewhere = np.setdiff1d(np.arange(env.grid.n_bus), [*units, bus])
    assert change[bus] < 0 and np.abs(change[elsewhere]).max() < 1e-3 * abs(change[bus])
