"""How the process treats memory that it has freed."""

import contextlib
import ctypes

# Parameters of glibc's mallopt(3), from malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE, _ALLOWED = 2**30, 2**25  # older versions take no more than the second


def keep() -> None:
    """Has the C library keep what is freed, up to a gigabyte at a time, for the next allocation.

    By itself glibc gives large blocks back to the system, and every call of a compiled function
    then has its results' pages made and cleared anew: a quarter of the time of a batch of 4,096
    power flows. Does nothing where the C library is another one.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        if any(library.mallopt(_M_MMAP_THRESHOLD, size) for size in (_LARGE, _ALLOWED)):
            library.mallopt(_M_TRIM_THRESHOLD, _LARGE)
