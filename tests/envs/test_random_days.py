"""Thousands of days of random actions on every case: nothing that is not a number, ever."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step.termination import Reason

EPISODES = {"case300": 1_000, "case1354": 500}  # 10,000 of smaller cases
# Steps of each episode: a whole day where that takes minutes, less on the large cases. A grid that
# ends begins again.
STEPS = {"case14": 288, "case30": 288, "case57": 96, "case118": 48, "case300": 12, "case1354": 2}
BATCH = {"case300": 250, "case1354": 100}


@pytest.mark.slow
@pytest.mark.parametrize("case", STEPS)
def test_random_days_stay_finite(case):
    steps, batch = STEPS[case], BATCH.get(case, 500)
    env = grid_env.make(EnvOptions(case=case, branch_faults_per_day=1.0, gen_faults_per_day=0.5))
    strong = lambda tree: jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)

    def run(key):
        k_series, k_row, k_act = jax.random.split(key, 3)
        series = env.sample_series(k_series)
        row = jax.random.randint(k_row, (), 0, env.horizon - steps + 1)
        start = strong(env.start(series, row))

        def step(state, key):
            action = 2.0 * jax.random.normal(key, (env.layout.action_size,))
            after = strong(env.transition(state, action, series))
            finite = jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), after)
            good = jnp.stack(jax.tree.leaves(finite)).all()
            again = jax.tree.map(lambda a, b: jnp.where(after.done, a, b), start, after)
            return again, (good, after.reason)

        return jax.lax.scan(step, start, jax.random.split(k_act, steps))[1]

    run = jax.jit(jax.vmap(run))
    seen = np.zeros(len(Reason), int)
    for number in range(EPISODES.get(case, 10_000) // batch):
        good, reasons = run(jax.random.split(jax.random.PRNGKey(number), batch))
        assert np.all(good), f"{case}: batch {number}, episodes {np.flatnonzero(~good.all(1))[:5]}"
        seen += np.bincount(np.ravel(reasons), minlength=len(Reason))
    print(case, dict(zip([reason.name for reason in Reason], seen.tolist())))
    assert seen[Reason.NONE] > 0
