"""A learner of your own in one file: gradients of the return through 64 grids, compiled whole.

    python examples/own_learner.py --updates=300

Environments are pure functions, so that a training loop is `jax.grad` of a `lax.scan` and an
optimiser of optax. The last line is JSON: the mean return of validation days before and after, and
steps a second.
"""

import argparse
import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import optax
from flax import linen

from agents import controllers
from configs import registry
from envs import grid_env, restart
from evaluation import episodes, metrics

GRIDS, WINDOW, NEW_DAYS = 64, 8, 4  # days begun in an update, for the grids whose own are over
LEARNING_RATE, LARGEST_GRADIENT = 1e-3, 1.0
REWARD_SCALE = 0.1  # of rewards in thousand $


class Policy(linen.Module):
    """Actions in [−1, 1]; at first near zero, which is to follow the plan."""

    actions: int

    @linen.compact
    def __call__(self, observation):
        """Returns `[…, actions]` of normalised observations `[…, observation_size]`."""
        hidden = observation
        for width in (128, 128):
            hidden = jnp.tanh(linen.Dense(width)(hidden))
        small = linen.initializers.variance_scaling(1e-4, "fan_in", "normal")
        return jnp.tanh(linen.Dense(self.actions, kernel_init=small)(hidden))


def days(env: grid_env.GridEnv, key, count: int):
    """Returns states of `count` grids, each somewhere in a random day."""

    def begin(key):
        at, day = jax.random.split(key)
        series = env.sample_series(day)
        row = WINDOW * jax.random.randint(at, (), 0, env.horizon // WINDOW)
        return env.start(series, row).replace(series=series)  # what `reset` does for row 0

    return restart.strong(jax.vmap(begin)(jax.random.split(key, count)))


def learner(env: grid_env.GridEnv, policy: Policy, normalise, optimiser):
    """Returns the function that updates parameters by a window of all grids."""

    def window(params, states):
        def step(carry, _):
            states, going = carry
            actions = policy.apply(params, normalise(states.observation))
            after = jax.vmap(env.step)(states, actions)
            # A grid that has collapsed earns nothing more until its next day begins.
            return (after, going & ~after.done), jnp.where(going, after.reward, 0.0)

        going = jnp.ones(GRIDS, bool)
        (states, going), rewards = jax.lax.scan(step, (states, going), None, length=WINDOW)
        return -REWARD_SCALE * rewards.sum(0).mean(), (states, going)

    @jax.jit
    def update(params, memory, states, key):
        (loss, (states, going)), slope = jax.value_and_grad(window, has_aux=True)(params, states)
        change, memory = optimiser.update(slope, memory, params)
        fresh, which = jax.random.split(key)
        index = jax.random.randint(which, (GRIDS,), 0, NEW_DAYS)
        states = restart.restarted(states, ~going, days(env, fresh, NEW_DAYS), index)
        return optax.apply_updates(params, change), memory, states, -loss / REWARD_SCALE

    return update


def main() -> None:
    """Trains, and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", default="case14", help="grid, as of launch.evaluate")
    parser.add_argument("--updates", type=int, default=300, help="of 512 steps each")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()

    # Every control but breakers: opening lines at random ends days.
    options = dataclasses.replace(registry.load("case14").env, case=flags.case, layout="setpoints")
    env = grid_env.make(options)
    policy = Policy(env.layout.action_size)
    begin, first, key = jax.random.split(jax.random.PRNGKey(flags.seed), 3)
    states = jax.jit(lambda key: days(env, key, GRIDS))(begin)
    mean, spread = states.observation.mean(0), states.observation.std(0)
    normalise = lambda observation: jnp.clip((observation - mean) / (spread + 1e-3), -5.0, 5.0)
    params = policy.init(first, states.observation)

    # What decides for grids is a controller, which evaluations play, and a report compares.
    decide = lambda state, series, params: (
        policy.apply(params, normalise(state.observation)), params,
    )  # fmt: skip
    held_out, player = episodes.held_out(env, "validation", 16, seed=0), episodes.Player(env)

    def judged(params):
        mine = controllers.Controller(
            "mine", "mine", controllers.OBSERVATIONS, lambda days, seed: params, decide
        )
        played = player.play(mine, held_out)
        return float(metrics.compute(played.outcomes, env)["return"].mean())

    optimiser = optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), optax.adam(LEARNING_RATE))
    memory, update = optimiser.init(params), learner(env, policy, normalise, optimiser)
    before = judged(params)
    print(f"before: {before:.2f} thousand $ a day; compiling an update", flush=True)
    for number in range(flags.updates):
        key, of_update = jax.random.split(key)
        params, memory, states, reward = update(params, memory, states, of_update)
        if number == 0:
            reward.block_until_ready()
            begun = time.perf_counter()
        if number % 50 == 49:
            steps = (number + 1) * GRIDS * WINDOW
            print(f"{steps:9,} steps: {judged(params):8.2f} on validation days", flush=True)
    steps = (flags.updates - 1) * GRIDS * WINDOW
    rate = steps / max(time.perf_counter() - begun, 1e-9)
    print(json.dumps({
        "return_before": before, "return_after": judged(params), "steps_per_second": rate,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
