"""A task of one step for teams: what an action earns falls with its distance from a goal."""

import jax
import jax.numpy as jnp
import numpy as np

from agents import distributions, networks as networks_lib, team as team_lib
from agents.options import TeamOptions
from learner import devices as devices_lib
from replay import schema

OBSERVED, MOVED = 3, 2
T, B = 8, 16


def networks(agents=1, horizon=10.0, **options):
    """Returns the networks of one agent that moves everything, or of one for each action."""
    if agents == 1:
        members = (team_lib.Agent("one", np.arange(OBSERVED), np.arange(MOVED), horizon),)
    else:
        members = tuple(
            team_lib.Agent(f"agent {i}", np.arange(OBSERVED), np.array([i]), 5.0 * (i + 1))
            for i in range(MOVED)
        )
    team = team_lib.Team(members, OBSERVED, MOVED)
    layers = TeamOptions(policy_layers=(16,), value_layers=(16,), **options)
    return networks_lib.TeamNetworks(team, layers)


def unroll(nets, state, key, goal=0.5):
    """Returns experience, in which every step ends an episode."""
    k_observe, k_act = jax.random.split(key)
    observations = jax.random.normal(k_observe, (T, B, OBSERVED))
    policy = nets.policy(state.params, state.statistics, observations)
    raw = nets.sample(k_act, policy)
    distance = (distributions.squash(raw) - goal) ** 2
    rewards = -distance @ nets.team.membership
    end = jnp.ones((T, B), bool)
    blank = jnp.zeros((B, OBSERVED))
    return schema.Unroll(
        observations, raw, nets.log_prob(policy, raw), rewards, end, ~end, blank, blank, {}, None
    )


def distance(nets, state, goal=0.5):
    """Returns how far the policy's most likely actions are from the goal, on average."""
    observations = jax.random.normal(jax.random.PRNGKey(99), (256, OBSERVED))
    mean = nets.policy(state.params, state.statistics, observations).mean
    return float(jnp.abs(distributions.squash(mean) - goal).mean())


def mapped(algorithm, devices):
    """Returns the update over so many devices; leaves of what it takes are `[devices, …]`."""
    return devices_lib.mapped(algorithm.update, jax.devices()[:devices])


def split(experience, devices):
    """Returns each device's share of an unroll, `[devices, …]`."""

    def one(x):
        axis = 1 if x.ndim > 1 and x.shape[:2] == (T, B) else 0
        return np.stack(np.split(x, devices, axis=axis))

    return devices_lib.put(jax.tree.map(one, experience), jax.devices()[:devices])


def replicated(state, devices):
    """Returns the state on every device, `[devices, …]`."""
    return devices_lib.replicate(state, jax.devices()[:devices])


def one(state):
    """Returns the state of the first device."""
    return jax.tree.map(lambda x: x[0], state)


def seen(state):
    """Returns the state as if it had seen observations of mean zero and variance one."""
    return state.replace(statistics=state.statistics.replace(count=jnp.float32(1000.0)))
