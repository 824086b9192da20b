"""How a run ends whose folder cannot be written: by one line that says why.

A node that cannot write leaves by an exit code that tells the launcher the system's error number,
since neither its log nor its status may have room for it.
"""

import errno
import functools
import os
import sys
from collections.abc import Callable

from absl import logging

from envs.inputs import exit_codes
from launch.run import run_folder

_FIRST = 100  # Exit codes are this and the system's error number, which is below 134 on Linux.
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "make it writable",
    errno.EIO: "check the disk",
    errno.ESTALE: "mount it again",
}


def cause(error: BaseException, folder: run_folder.RunFolder) -> int | None:
    """Returns the system's error number where `error` means that the folder cannot be used."""
    if not folder.exists():
        return errno.ENOENT
    number = error.errno if isinstance(error, OSError) else None
    return number if number in _REMEDIES else None


def reported(*known: type[Exception]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Has a node leave with a line and an exit code if it cannot write.

    Args:
      *known: other exceptions whose message says it all, so that it needs no traceback.

    Returns:
      The decorator of the node, a function that takes the node's settings first.
    """

    def decorate(node: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(node)
        def run(settings, *args) -> None:
            try:
                node(settings, *args)
            except Exception as error:
                number = cause(error, run_folder.RunFolder(settings.workdir))
                if number is None and not isinstance(error, known):
                    raise
                logging.error("%s cannot go on: %s", settings.name, error)
                # At once: what Python and Launchpad do on the way out would fail as well, or take
                # so long that Launchpad's alarm kills the process.
                sys.stderr.flush()
                os._exit(exit_codes.FAILED if number is None else _FIRST + number)

        return run

    return decorate


def error_number(code: int | None) -> int | None:
    """Returns the system's error number that a node's exit code tells, if it does."""
    number = -1 if code is None else code - _FIRST
    return number if number in (errno.ENOENT, *_REMEDIES) else None


def explain(folder: run_folder.RunFolder, number: int, who: str, where: str) -> str:
    """Returns in a line what ended the run, and what to do; `where` is how a user types it."""
    if not folder.exists():
        return f"{where}: the folder of the run was removed, and the run was ended"
    return (
        f"{where}: {os.strerror(number)} ({who} could not write), and the run was ended; "
        f"{_REMEDIES.get(number, 'put it back')}, then go on with "
        f"python -m launch.local --workdir={where} --resume"
    )
