"""Thousands of days of random actions on every case: nothing that is not a number, ever."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.termination import Reason

# Steps of each episode: a whole day where that takes minutes, less on the large cases.
CASES = {
    "case14": (10_000, 288),
    "case30": (10_000, 288),
    "case57": (10_000, 96),
    "case118": (10_000, 48),
    "case300": (2_000, 24),
    "case1354": (64, 6),
}
BATCH = 500


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_random_days_stay_finite(case):
    episodes, steps = CASES[case]
    batch = min(BATCH, episodes)
    env = grid_env.make(EnvOptions(case=case, branch_faults_per_day=1.0, gen_faults_per_day=0.5))
    strong = lambda tree: jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)

    def run(key):
        k_tape, k_row, k_act = jax.random.split(key, 3)
        tape = env.sample_tape(k_tape)
        row = jax.random.randint(k_row, (), 0, env.horizon - steps + 1)

        def step(carry, key):
            state, ended = carry
            action = 2.0 * jax.random.normal(key, (env.layout.action_size,))
            after = env.transition(state, action, tape)
            finite = jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), after)
            good = jnp.stack(jax.tree.leaves(finite)).all()
            return (strong(after), ended | after.terminated), (good | ended, after.reason)

        start = strong(env.start(tape, row))
        first = jnp.zeros((), bool)
        keys = jax.random.split(k_act, steps)
        _, (good, reasons) = jax.lax.scan(step, (start, first), keys)
        return good.all(), reasons.max()

    run = jax.jit(jax.vmap(run))
    seen = np.zeros(len(Reason), int)
    for number in range(episodes // batch):
        keys = jax.random.split(jax.random.PRNGKey(number), batch)
        good, reasons = run(keys)
        assert np.all(good), f"{case}: batch {number}, episodes {np.flatnonzero(~good)[:5]}"
        seen += np.bincount(reasons, minlength=len(Reason))
    print(case, dict(zip([reason.name for reason in Reason], seen.tolist())))
    assert seen[Reason.NONE] > 0
