"""Functions of a whole batch that look, from outside, like functions of one grid.

The batch is the last axis of every array. A place on that axis is a lane; lanes are cut into tiles
and gathered here, and nowhere else.
"""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

_TILE = 128  # lanes worked on together on a CPU, so that a step's arrays stay in its cache
_LEAST_TILE = 32  # in smaller ones the calls cost more than the work

Tree = chex.ArrayTree


def per_grid(
    batched: Callable[..., Tree], pull_back: Callable[..., Tree] | None = None
) -> Callable[..., Tree]:
    """Returns `batched` as a function of one grid, whose `jax.vmap` is `batched` itself.

    Args:
      batched: a function of pytrees whose leaves have the lanes as last axis.
      pull_back: its derivative in reverse mode: takes the arguments as a tuple, what `batched` made
        of them, and the cotangent of that; returns a tuple of the arguments' cotangents. By default
        what JAX makes of `batched`, which then must not loop until something is reached.

    Returns:
      The same function of leaves without that axis. Mapped over a batch with `jax.vmap` it runs
      `batched` on tiles of lanes, one after another on a CPU and all at once on an accelerator, and
      so does its derivative in reverse mode. It has none in forward mode.
    """
    single = _mapped_by_tiles(batched)
    differentiable = jax.custom_vjp(single)
    if pull_back is None:
        pull_back = lambda args, _, cotangent: jax.vjp(batched, *args)[1](cotangent)

    # Whole numbers have no cotangents, and nothing that stands for none is mapped.
    @_mapped_by_tiles
    def slopes(args, out, of_out):
        return _of_inexact(pull_back(args, out, _with_none(out, of_out)))

    forward = lambda *args: ((out := single(*args)), (args, out))
    backward = lambda kept, of_out: _with_none(kept[0], slopes(*kept, _of_inexact(of_out)))
    differentiable.defvjp(forward, backward)
    return differentiable


def _of_inexact(tree: Tree) -> list[chex.Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def _with_none(like: Tree, slopes: list[chex.Array]) -> Tree:
    """Returns cotangents shaped as `like`, of which `slopes` are those that are not none."""
    slopes = iter(slopes)
    none = lambda leaf: np.zeros(leaf.shape, jax.dtypes.float0)
    inexact = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.inexact)
    return jax.tree.map(lambda leaf: next(slopes) if inexact(leaf) else none(leaf), like)


def _mapped_by_tiles(batched: Callable[..., Tree]) -> Callable[..., Tree]:
    """Returns `batched` as a function of one grid, mapped by tiles; it has no derivative."""

    @jax.custom_batching.custom_vmap
    def single(*args):
        # Twice the same: of a single lane XLA makes loops that always run, and Newton with them.
        out = batched(*jax.tree.map(lambda leaf: jnp.stack([leaf, leaf], -1), args))
        return jax.tree.map(lambda leaf: leaf[..., 0], out)

    @single.def_vmap
    def rule(axis_size, in_batched, *args):
        tile = _tile(axis_size)
        leaves, structure = jax.tree.flatten(args)
        mapped = jax.tree.leaves(tuple(in_batched))
        if axis_size == 1:
            alone = [leaf[0] if m else leaf for leaf, m in zip(leaves, mapped)]
            out = single(*jax.tree.unflatten(structure, alone))
            return jax.tree.map(lambda leaf: leaf[None], out), jax.tree.map(lambda _: True, out)

        def cut(leaf):
            leaf = leaf.reshape(axis_size // tile, tile, *leaf.shape[1:])
            return jnp.moveaxis(leaf, 1, -1)

        def one_tile(parts):
            # What all lanes share is spread out here, where it can be part of other operations.
            parts = iter(parts)
            spread = [
                next(parts) if m else jnp.broadcast_to(leaf[..., None], (*leaf.shape, tile))
                for leaf, m in zip(leaves, mapped)
            ]
            return batched(*jax.tree.unflatten(structure, spread))

        parts = [cut(leaf) for leaf, m in zip(leaves, mapped) if m]
        if axis_size == tile:
            out = jax.tree.map(lambda leaf: leaf[None], one_tile([part[0] for part in parts]))
        else:
            out = jax.lax.map(one_tile, parts)
        back = lambda leaf: jnp.moveaxis(leaf, -1, 1).reshape(axis_size, *leaf.shape[1:-1])
        return jax.tree.map(back, out), jax.tree.map(lambda _: True, out)

    return single


def on_selected(
    function: Callable[..., Tree],
    selected: chex.Array,
    args: Tree,
    results: Tree,
    *,
    share: int = 16,
    least: int = 2,
) -> Tree:
    """Returns `results` with the selected lanes replaced by what `function(*args)` says of them.

    `selected` is bool `[lanes]`, the others are as in `until_done`. It has a derivative in reverse
    mode where all leaves are of real numbers: that of `function` for the selected lanes.
    """
    each = functools.partial(until_done, share=share, least=least)
    none = lambda few: jnp.zeros(jax.tree.leaves(few)[0].shape[-1], bool)

    @jax.custom_vjp
    def replaced(selected, args, results):
        once = lambda _, *args: ((few := function(*args)), none(few))
        return each(once, selected, args, results)

    def backward(kept, of_results):
        selected, args = kept
        slopes = lambda cotangent, *args: jax.vjp(function, *args)[1](cotangent)
        once = lambda _, *args: ((few := slopes(*args)), none(few))
        of_args = each(once, selected, (of_results, *args), jax.tree.map(jnp.zeros_like, args))
        passed = jax.tree.map(lambda leaf: jnp.where(selected, 0.0, leaf), of_results)
        return np.zeros(selected.shape, jax.dtypes.float0), of_args, passed

    replaced.defvjp(lambda *taken: (replaced(*taken), taken[:2]), backward)
    return replaced(selected, args, results)


def until_done(
    function: Callable[..., tuple[Tree, chex.Array]],
    going: chex.Array,
    args: Tree,
    state: Tree,
    *,
    share: int = 16,
    least: int = 2,
) -> Tree:
    """Applies `function` to the lanes that are going, until none is.

    Lanes are gathered a few at a time, so that work on few of them costs little, and those that
    need long do not keep the others waiting.

    Args:
      function: takes the state and the args of a few lanes, leaves `[..., few]`; returns their new
        state and which of them go on, bool `[few]`.
      going: bool `[lanes]`.
      args: tuple of pytrees, leaves `[..., lanes]`.
      state: pytree, leaves `[..., lanes]`.
      share: one lane in so many is gathered at a time,
      least: and no fewer than this. A lane alone costs XLA more than two together do, but for work
        whose cost is all each lane's own.
    """
    lanes = going.shape[0]
    few = min(lanes, max(least, lanes // share))
    # Lanes first within the loop: a lane is then a row, which is gathered and put back whole.
    first = lambda tree: jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), tree)
    last = lambda tree: jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), tree)
    args = first(args)

    def body(carry):
        going, state = carry
        (index,) = jnp.nonzero(going, size=few, fill_value=lanes)
        take = lambda tree: last(
            jax.tree.map(lambda leaf: leaf[jnp.minimum(index, lanes - 1)], tree)
        )
        new_state, more = function(take(state), *take(args))
        put = lambda old, new: old.at[index].set(new, mode="drop")
        return put(going, more), jax.tree.map(put, state, first(new_state))

    return last(jax.lax.while_loop(lambda carry: carry[0].any(), body, (going, first(state)))[1])


def _tile(lanes: int) -> int:
    """Returns how many lanes to work on together: a divisor of `lanes`."""
    if jax.default_backend() != "cpu" or lanes <= _TILE:
        return lanes
    tile = next(tile for tile in range(_TILE, 0, -1) if lanes % tile == 0)
    return tile if tile >= _LEAST_TILE else lanes
