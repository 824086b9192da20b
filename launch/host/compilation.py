"""Keeps compiled programs between runs, which makes the second start fast."""

import os
import pathlib

import jax

_FOLDER = pathlib.Path("~/.cache/gridracer/xla")


def use_cache() -> None:
    """Turns the persistent compilation cache on, unless JAX_COMPILATION_CACHE_DIR sets another."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(_FOLDER.expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
