"""What samples of another policy are worth: by brute force, alike without lag, and learned from."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import one_step_task as task

from learner import losses, options as options_lib, ppo
from learner.devices import AXIS

CORRECTIONS = options_lib.CORRECTIONS


def _samples(agents, lag):
    """Returns networks, a state, and a batch that another policy drew where there is lag."""
    nets = task.networks(agents)
    state = task.seen(ppo.PPO(nets, options_lib.LearnerOptions()).init(jax.random.PRNGKey(0)))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    flat = lambda x: jnp.asarray(x).reshape(-1, x.shape[-1])
    keys = iter(jax.random.split(jax.random.PRNGKey(2), 4))
    drawn = lambda size: jax.random.normal(next(keys), (task.T * task.B, agents)) * size
    log_probs = flat(unroll.log_probs)
    batch = losses.Batch(
        flat(unroll.observations), flat(unroll.raw_actions), log_probs + drawn(0.5 * lag),
        drawn(1.0), drawn(1.0), log_probs + drawn(0.2 * lag),
    )  # fmt: skip
    return nets, state, batch


def _slope(nets, state, batch, **options):
    """Returns the policy's part of the loss's gradient, the loss and metrics."""
    judge = losses.Losses(nets, options_lib.LearnerOptions(**options))
    fixed = losses.Fixed(state.statistics, state.value_statistics, 0.0)

    def one(batch):
        return jax.value_and_grad(judge, has_aux=True)(state.params, fixed, batch)

    with_axis = jax.vmap(one, axis_name=AXIS)
    (_, metrics), slope = with_axis(jax.tree.map(lambda x: x[None], batch))
    return jax.tree.map(lambda x: np.asarray(x[0]), (slope["policy"], metrics))


@pytest.mark.parametrize("agents", [1, 2])
def test_without_lag_all_corrections_have_the_gradient_of_one(agents):
    nets, state, batch = _samples(agents, lag=0.0)
    slopes = [_slope(nets, state, batch, correction=each)[0] for each in CORRECTIONS]
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes[0])) > 1e-3
    for slope in slopes[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), slopes[0], slope)


@pytest.mark.parametrize("agents", [1, 2])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_with_lag_the_loss_is_that_of_its_paper(correction, agents):
    nets, state, batch = _samples(agents, lag=1.0)
    _, metrics = _slope(nets, state, batch, correction=correction, clip=0.2)
    policy = nets.policy(state.params, state.statistics, batch.observations)
    now = np.asarray(nets.log_prob(policy, batch.raw_actions), float)
    acted, proximal = np.asarray(batch.log_probs, float), np.asarray(batch.proximal_log_probs)
    advantages = np.asarray(batch.advantages, float)
    advantages = (advantages - advantages.mean(0)) / advantages.std(0)
    total, beyond = 0.0, 0
    for n, a in np.ndindex(advantages.shape):
        gain, former = advantages[n, a], proximal if correction == "decoupled" else acted
        ratio = np.exp(now[n, a] - former[n, a])
        beyond += abs(ratio - 1.0) > 0.2
        if correction == "vtrace":
            total += min(1.0, ratio) * gain * now[n, a]
        else:
            weight = np.exp(former[n, a] - acted[n, a])
            total += weight * min(ratio * gain, np.clip(ratio, 0.8, 1.2) * gain)
    assert float(metrics["loss/policy"]) == pytest.approx(-total / advantages.size, rel=1e-4)
    assert float(metrics["policy/clip_share"]) == pytest.approx(beyond / advantages.size)


def test_the_weights_of_vtrace_have_no_gradient_of_their_own():
    nets, state, batch = _samples(1, lag=1.0)
    slope, _ = _slope(nets, state, batch, correction="vtrace")

    def by_hand(params):
        now = nets.log_prob(
            nets.policy(params, state.statistics, batch.observations), batch.raw_actions
        )
        mean, std = batch.advantages.mean(0), batch.advantages.std(0)
        return -(weights * (batch.advantages - mean) / std * now).mean()

    policy = nets.policy(state.params, state.statistics, batch.observations)
    ratios = jnp.exp(nets.log_prob(policy, batch.raw_actions) - batch.log_probs)
    weights = jnp.minimum(1.0, ratios)
    expected = jax.grad(by_hand)(state.params)["policy"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), slope, expected)


@pytest.mark.parametrize("correction", CORRECTIONS)
def test_a_task_is_learned_from_actors_three_updates_behind(correction):
    nets = task.networks()
    options = options_lib.LearnerOptions(
        learning_rate=3e-3, target_kl=0.02, correction=correction, epochs=2
    )
    algorithm = ppo.PPO(nets, options)
    state = task.replicated(algorithm.init(jax.random.PRNGKey(0)), 1)
    update = task.mapped(algorithm, 1)
    behind = collections.deque([task.one(state)], maxlen=4)
    for index in range(80):
        unroll = task.unroll(nets, behind[0], jax.random.PRNGKey(index))
        state, _ = update(state, task.split(unroll, 1))
        behind.append(task.one(state))
    assert int(task.one(state).bad_updates) == 0
    assert task.distance(nets, task.one(state)) < 0.1


def test_what_an_objective_has_no_ratio_for_is_refused():
    with pytest.raises(ValueError, match="learner.correction='klip': did you mean clip"):
        options_lib.LearnerOptions(correction="klip")
    with pytest.raises(ValueError, match="learner.correction=decoupled: .*analytic has no ratio"):
        options_lib.LearnerOptions(correction="decoupled", objective="analytic", window=1)
