"""How a process that computes keeps compiled programs, and memory that it has freed."""

import contextlib
import ctypes
import fcntl
import gc
import os
import pathlib
from collections.abc import Iterator

import jax

_CACHE = pathlib.Path("~/.cache/gridracer/xla")
# Parameters of glibc's mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE, _ALLOWED = 2**30, 2**25  # older versions take no more than the second
_GC_THRESHOLD = 50_000  # objects between two collections, by default 700


@contextlib.contextmanager
def alone(folder: pathlib.Path, name: str) -> Iterator[None]:
    """Lets one process of a run at a time into the block, such as to compile what others need too.

    Whoever comes later finds the program in the cache.
    """
    with open(folder / f"{name}.compiling", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def keep_programs() -> None:
    """Keeps compiled programs for the next run; JAX_COMPILATION_CACHE_DIR sets another folder."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(_CACHE.expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def keep() -> None:
    """Keeps compiled programs for the next run, and freed memory for the next allocation.

    By itself glibc gives large blocks of memory back to the system, and every call of a compiled
    function then has its results' pages made and cleared anew: a quarter of the time of a batch of
    4,096 power flows. Where the C library is another one, it is left as it is. Python looks for
    cyclic garbage less often: a trace makes millions of objects that are all in use, and a fifth of
    its time went there.
    """
    gc.set_threshold(_GC_THRESHOLD)
    keep_programs()
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        if any(library.mallopt(_M_MMAP_THRESHOLD, size) for size in (_LARGE, _ALLOWED)):
            library.mallopt(_M_TRIM_THRESHOLD, _LARGE)
