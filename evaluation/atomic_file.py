"""Replaces a file whole: a reader sees the old content or the new, never half of it."""

import pathlib


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes `content` beside the file at `path` and puts it in its place.

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
