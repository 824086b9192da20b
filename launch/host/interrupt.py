"""What Ctrl-C and SIGTERM do to a command, from its first moment to its last.

Python answers Ctrl-C with a KeyboardInterrupt, which is lost where it cannot be raised: in a
callback of the import system, or while an extension is being loaded. A command that imports for
seconds would then start after all. So it begins with a handler that ends the process by itself, and
takes another one when it has something to put in order.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from envs.inputs import exit_codes

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING_DONE = "interrupted before anything was done"


def end_at_once(line: str = NOTHING_DONE) -> None:
    """Has an interrupt write `line` and end the process there and then, whatever it does."""

    def leave(*_) -> None:
        try:
            os.write(2, f"{line}\n".encode())
        finally:
            os._exit(exit_codes.INTERRUPTED)

    _install(leave)


def call(action: Callable[[], None]) -> None:
    """Has an interrupt call `action`, and nothing else; so does the next one."""
    _install(lambda *_: action())


def raise_error() -> None:
    """Gives Python's own handling back: Ctrl-C raises KeyboardInterrupt, SIGTERM ends.

    Off the main thread, which signals do not reach, all stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def held(line: str) -> Iterator[None]:
    """Lets an interrupt wait until the block has ended; from then on it ends with `line`."""
    received: list[int] = []
    _install(lambda number, _: received.append(number))
    try:
        yield
    finally:
        end_at_once(line)
        if received:
            signal.raise_signal(received[0])


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Lets Ctrl-C wait until the block has ended; then whoever had it before gets it.

    For a block in a program that is somebody else's. Off the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if before is None:  # not installed by Python, which could not put it back
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if received:
            signal.raise_signal(received[0])


def _install(handler: Callable) -> None:
    for number in _SIGNALS:
        signal.signal(number, handler)
