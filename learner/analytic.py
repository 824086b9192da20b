"""Policy gradients through the environment: short windows of days stepped again, differentiated.

Short-horizon actor-critic (Xu et al. 2022, Accelerated Policy Learning with Parallel Differentiable
Simulation): a window begins in a state that an actor met, follows the policy as it is now for a few
steps, and ends in the value of where it got to. The gradient of what it earned goes through policy,
projection, balance and power flow. As it is the policy's own, it does not matter how old the policy
was that led to the state.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import distributions, networks as networks_lib
from envs import grid_env, restart
from envs.time_series import series as series_lib
from learner import losses, options as options_lib, popart
from replay import schema

_MARGIN_PRICE = 4.0  # of loading above `learner.loading_margin`, over that of an overload
_OUTAGE_LOADING = 0.1  # above it after an outage, for which that is priced as insecurity is


class AnalyticGradient:
    """The loss of windows of one environment."""

    def __init__(
        self,
        env: grid_env.GridEnv,
        networks: networks_lib.TeamNetworks,
        options: options_lib.LearnerOptions,
    ):
        self.env, self.networks, self.options = env, networks, options
        rate_mva = env.grid.branch.rate_mva
        rate_mva = np.where(np.isfinite(rate_mva), rate_mva, 0.0)
        price = _MARGIN_PRICE * env.options.overload_price * env.dt_h
        self._limits = options.limits_per_day
        self._margin_cost = jnp.asarray(1e-3 * price * rate_mva, jnp.float32)  # thousand $
        # Whether an outage overloads has no derivative.
        self._outage_cost = 1e-3 * env.options.insecurity_price * env.dt_h / _OUTAGE_LOADING
        self._reactive_cost = 1e-3 * env.options.reactive_price * env.dt_h
        if options.reactive_margin:
            low, high = env.grid.gen.q_min_mvar, env.grid.gen.q_max_mvar
            # Of a range that is narrower than both margins, the middle is left.
            margin = np.minimum(options.reactive_margin, 0.5 * (high - low))
            self._q_min, self._q_max = low + margin, high - margin

    def windows(self, unroll: schema.Unroll) -> schema.Windows:
        """Returns an unroll's windows with their states, and as observations what networks read."""
        observations = unroll.observations[:: self.options.window]
        states = unroll.windows.states.replace(observation=observations)
        return unroll.windows.replace(states=states)

    def loss(
        self,
        params: networks_lib.Params,
        fixed: losses.Fixed,
        windows: schema.Windows,
        chosen: chex.Array,
    ) -> tuple[chex.Array, dict[str, chex.Array]]:
        """Returns minus what a step of the chosen windows earns, and metrics.

        Args:
          params: of the team; the value function counts as given.
          fixed: statistics of observations and value targets, and prices of costs, if any.
          windows: leaves `[W, B, …]`, as `windows` returns them.
          chosen: `[N]` numbers of windows, w · B + b.
        """
        count, batch = windows.usable.shape
        flat = jax.tree.map(
            lambda leaf: leaf.reshape(count * batch, *leaf.shape[2:])[chosen], windows.states
        )
        index = chosen % batch
        usable = windows.usable.reshape(-1)[chosen]
        earned, over = jax.vmap(
            lambda state, index: self._window(
                params, fixed, state,
                series_lib.WindowedTimeSeries(windows.series, index, windows.first_row[0, index]),
            )
        )(flat, index)  # fmt: skip
        weight = usable / jnp.maximum(usable.sum(), 1)
        loss = -(weight * earned).sum() / self.options.window
        return loss, {"analytic/loss": loss, "analytic/margin": (weight * over).sum()}

    def _window(self, params, fixed: losses.Fixed, state, series):
        """Returns what one window earns, in thousand $, and what of it is for limits that are near.

        What costs are priced at is taken off; of a team it is the mean over its agents. Actions are
        the policy's means, as it is served: sampled ones would be judged by limits that only their
        noise breaks.
        """
        team = self.networks.team
        discounts, weights = team.discounts, team.weights("policy")
        limit = self.options.reward_limit

        def advance(carry, _):
            state, seen, going = carry
            raw = self.networks.mode(self.networks.policy(params, fixed.statistics, seen))
            raw = self.networks.differentiated(raw)
            action = team.to_grid(distributions.squash_to_minimise(raw))
            after, detail = self.env.detailed(state, action, series)
            reward = team.rewards(after.reward, detail.earned)
            reward = _within(reward, limit, after.terminated)
            above = lambda rho: jnp.maximum(rho - self.options.loading_margin, 0.0)
            over = (self._margin_cost * above(detail.rho)).sum()
            if self.options.reactive_margin:
                q = detail.gen_q_mvar
                beyond = jnp.maximum(q - self._q_max, 0.0) + jnp.maximum(self._q_min - q, 0.0)
                over += self._reactive_cost * beyond.sum()
            if self._outage_cost:
                over += self._outage_cost * above(detail.after_outage_rho).sum()
            over = _within(over, limit, after.terminated)
            if self._limits:
                costs = jnp.stack([after.terms[n] / most for n, most in self._limits.items()])
                reward -= fixed.prices @ costs
            after = restart.strong(after.replace(series=None, terms={}, metrics={}))
            seen = team.input(after.observation, team.remember(seen, raw))
            carry = (after, seen, going * discounts * ~after.done)
            earned = (going * weights * (reward - over)).mean()
            return carry, (earned, going.mean() * over)

        seen = state.observation  # with the team's memory
        state = state.replace(observation=seen[: team.observation_size])
        carry = (state, seen, jnp.ones(team.size))
        if self.options.window == 1:  # A loop would be traced three times, not once.
            (_, seen, going), (earned, over) = advance(carry, None)
        else:
            (_, seen, going), (earned, over) = jax.lax.scan(
                advance, carry, length=self.options.window
            )
        if not (self.options.bootstrap and discounts.any()):  # What comes after need not be known.
            return earned.sum(), over.sum()
        given = jax.lax.stop_gradient(params)
        values = self.networks.value(given, fixed.statistics, seen)
        values = popart.denormalise(fixed.value_statistics, values)
        value, *costs = values.reshape(-1, team.size)
        if self._limits:
            value -= fixed.prices @ jnp.stack(costs)
        return earned.sum() + (going * weights * value).mean(), over.sum()


def _within(value: chex.Array, limit: float, terminated: chex.Array) -> chex.Array:
    """Returns `value` within ±`limit` (0 for none) with the derivative that it has beyond.

    A grid in an emergency is where the derivative is wanted most; one that has collapsed has none.
    """
    if not limit:
        return value
    fixed = jax.lax.stop_gradient(value)
    slope = jnp.where(terminated, fixed, value) - fixed
    return jnp.clip(fixed, -limit, limit) + slope
