"""Which branches are in service, why the others are not, and when that may change."""

from typing import NamedTuple

import chex
import flax.struct
import jax.numpy as jnp

from envs.time_series.series import IN_SERVICE

CLOSED, OPENED, TRIPPED = 0, 1, 2  # what the controller and protection made of a branch
# Steps that a branch stays as it is after it was switched, and at least after it tripped: Grid2Op's
# NB_TIMESTEP_COOLDOWN_LINE and NB_TIMESTEP_RECONNECTION, at its level `competition`.
COOLDOWN_STEPS, RECLOSE_STEPS = 3, 12
REQUEST = 0.5  # an action beyond this requests a switch


@flax.struct.dataclass
class BranchState:
    """Service of every branch, `[n_branch]`."""

    why: chex.Array  # int8: closed, opened by the controller, or tripped by protection
    available: chex.Array  # bool: in service by the time series, whatever `why` says
    cooldown: chex.Array  # int32 steps: at 1 it may change in the next step, at 0 in any
    overloaded: chex.Array  # int32 steps in a row above its limit

    @property
    def closed(self) -> chex.Array:
        """Whether each branch is in service, bool `[n_branch]`."""
        return (self.why == CLOSED) & self.available


class Switched(NamedTuple):
    """What became of a switching action."""

    state: BranchState
    operations: chex.Array  # breakers moved
    refused: chex.Array  # requests that cooldown or the limit of one a step prevented


def initial(n_branch: int) -> BranchState:
    """Returns all branches in service."""
    none = jnp.zeros(n_branch, jnp.int32)
    return BranchState(none.astype(jnp.int8), jnp.ones(n_branch, bool), none, none)


def advance(state: BranchState, status: chex.Array, *, recloses: bool = True) -> BranchState:
    """Returns the state after `status` `[n_branch]` applies, and after reclosing what tripped.

    A branch that comes back from maintenance or a fault of the time series is what it was before:
    in service, open because the controller opened it, or tripped. One that protection tripped is
    closed when its cooldown is over, available or not, unless it never `recloses`; one that the
    controller opened stays open.
    """
    cooldown = jnp.maximum(state.cooldown - 1, 0)
    over = (state.why == TRIPPED) & (cooldown == 0) & recloses
    why = jnp.where(over, CLOSED, state.why).astype(jnp.int8)
    state = state.replace(why=why, available=status == IN_SERVICE, cooldown=cooldown)
    return state.replace(overloaded=jnp.where(state.closed, state.overloaded, 0))


def switch(state: BranchState, action: chex.Array, steps: int = COOLDOWN_STEPS) -> Switched:
    """Returns the state after a switching action `[n_branch]` in [−1, 1].

    Below −0.5 an action requests that a closed branch opens, above 0.5 that one closes that the
    controller opened or that tripped. What the time series has out cannot be switched, and to ask
    for it is not counted. One breaker moves a step, that of the strongest request; it then cools
    down.
    """
    request = jnp.where(state.why == CLOSED, -action, action)
    request = jnp.where(state.available & (request > REQUEST), request, 0.0)
    allowed = jnp.where(state.cooldown == 0, request, 0.0)
    chosen = (jnp.arange(action.size) == allowed.argmax()) & (allowed > 0)
    why = jnp.where(chosen, jnp.where(state.why == CLOSED, OPENED, CLOSED), state.why)
    moved = chosen.sum()
    cooldown = jnp.where(chosen, steps, state.cooldown)
    state = state.replace(why=why.astype(jnp.int8), cooldown=cooldown)
    return Switched(state, moved, (request > 0).sum() - moved)


def trip(
    state: BranchState, tripped: chex.Array, rho: chex.Array, reclose_steps: int = RECLOSE_STEPS
) -> BranchState:
    """Returns the state after protection: `tripped` bool `[n_branch]` are out and wait.

    The count of steps above the limit goes on for those that stay in service with `rho` above 1.
    """
    return state.replace(
        why=jnp.where(tripped, TRIPPED, state.why).astype(jnp.int8),
        cooldown=jnp.where(tripped, reclose_steps, state.cooldown),
        overloaded=jnp.where((rho > 1.0) & ~tripped & state.closed, state.overloaded + 1, 0),
    )
