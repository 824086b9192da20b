"""A lock that one process at a time holds, and that the system frees with the process."""

import fcntl
import os
import pathlib


class HeldError(RuntimeError):
    """Another process holds the lock."""

    def __init__(self, holder: int | None):
        super().__init__(f"process {holder}" if holder else "a process that is just starting")
        self.holder = holder


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
            raise HeldError(int(holder) if holder.isdigit() else None) from None
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
