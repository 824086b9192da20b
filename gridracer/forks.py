"""Refuses to compute in a process that was forked when jax had begun, where jax waits for ever."""

import os

from gridracer import devices

_inherited = False  # whether jax had begun before this process was forked


def check() -> None:
    """Raises RuntimeError in a process that was forked from one in which jax has computed."""
    if _inherited:
        raise RuntimeError(
            "this process was forked from one in which jax has begun, and jax would wait for ever "
            "here: step a batch in one call, as gymnasium.make_vec and gridracer.vector_env.make "
            "do, or start processes anew, vector_kwargs={'context': 'spawn'} of make_vec and "
            "start_method='spawn' of SubprocVecEnv"
        )


def _note() -> None:
    global _inherited
    _inherited = devices.begun()


os.register_at_fork(after_in_child=_note)
