"""A disk of a few megabytes, so that a full one is no thought experiment."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
import subprocess
from collections.abc import Sequence


def command(folder: pathlib.Path, megabytes: int, arguments: Sequence[str]) -> list[str]:
    """Returns the command that runs `arguments` with a file system of its own at `folder`.

    Only that command and its children see the file system, which goes with them. Where the system
    lends none (user namespaces are off), the command fails and says so.
    """
    mount = f"mount -t tmpfs -o size={megabytes}m tmpfs {shlex.quote(str(folder))}"
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
            f'{mount} && exec "$@"', "sh", *arguments]  # fmt: skip


def mounted(process: subprocess.Popen, folder: pathlib.Path) -> bool:
    """Returns whether the file system of `process` is there yet."""
    return os.stat(f"/proc/{process.pid}/root{folder}").st_dev != os.stat(folder).st_dev


@contextlib.contextmanager
def seen_from_outside(process: subprocess.Popen, folder: pathlib.Path):
    """Gives a path of `folder` as `process` sees it, valid even when the process has ended."""
    handle = os.open(f"/proc/{process.pid}/root{folder}", os.O_RDONLY)
    try:
        yield pathlib.Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)


def fill(folder: pathlib.Path) -> pathlib.Path:
    """Leaves no byte free in the file system of `folder`; returns the file that takes them."""
    file = folder / "filler"
    space = os.statvfs(folder)
    with file.open("wb", buffering=0) as taken, contextlib.suppress(OSError):
        taken.write(bytes(space.f_bavail * space.f_frsize))
        while taken.write(bytes(4096)):
            pass
    return file
