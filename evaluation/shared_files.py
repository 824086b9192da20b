"""Files that several processes share: replaced whole, or locked by one process at a time."""

import fcntl
import os
import pathlib


def replace(path: pathlib.Path, content: bytes) -> None:
    """Replaces the file at `path`: a reader sees the old content or the new, never half of it.

    Raises:
      OSError: it cannot be written; the error names `path`, which is as it was.
    """
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(content)
    except OSError as error:  # It does not always name the file.
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    partial.replace(path)


class HeldError(RuntimeError):
    """Another process holds the lock; the message says which."""


class FolderLock:
    """A file that says which process works in a folder, locked while it does.

    However the process ends, the system frees the lock; processes that it starts do not inherit it.
    """

    def __init__(self, path: str | os.PathLike):
        """Takes the path of the file."""
        self._path = pathlib.Path(path)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock, until `release` or the end of this process.

        Raises:
          HeldError: another process has it.
          OSError: the file cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "a process that is just starting"
            raise HeldError(who) from None
        except OSError:
            os.close(descriptor)
            raise
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Frees the lock."""
        # Who comes next would name this process while it has not written its own number yet.
        os.truncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None
