"""Starting episodes within compiled loops, the first ones and those that follow."""

import chex
import jax
import jax.numpy as jnp

Tree = chex.ArrayTree


def strong(tree: Tree) -> Tree:
    """Returns `tree` in strong types: a loop's carry keeps one type from the first step on."""
    return jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), tree)


def restarted(states: Tree, done: chex.Array, starts: Tree, index: chex.Array) -> Tree:
    """Returns `states` with those that are done replaced by `starts[index]`.

    Leaves of states are `[batch, …]`, as are `done` and `index`; those of starts `[starts, …]`.
    """
    if jax.default_backend() != "cpu":
        expand = lambda leaf: done.reshape(done.shape + (1,) * (leaf.ndim - 1))
        replaced = lambda start, now: jnp.where(expand(now), start[index], now)
        return jax.tree.map(replaced, starts, states)

    # Few are done in a step: one after another they cost less than gathering a start for each.
    def body(carry):
        left, states = carry
        row = left.argmax()
        put = lambda start, now: now.at[row].set(start[index[row]])
        return left.at[row].set(False), jax.tree.map(put, starts, states)

    return jax.lax.while_loop(lambda carry: carry[0].any(), body, (done, strong(states)))[1]
