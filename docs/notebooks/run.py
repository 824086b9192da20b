"""Runs notebooks from a fresh kernel and keeps their outputs; `make notebooks` calls it.

    python docs/notebooks/run.py [NOTEBOOK.ipynb …]

When and by which Python a cell ran is left out, so that a notebook changes where its outputs do.
"""

import pathlib
import sys
import tempfile

import nbclient
import nbformat

_TIMEOUT_S = 900  # of a cell


def main(arguments: list[str]) -> None:
    """Runs the notebooks named, or all beside this file; raises what a cell raises."""
    beside = sorted(pathlib.Path(__file__).parent.glob("*.ipynb"))
    for path in map(pathlib.Path, arguments) if arguments else beside:
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            nbclient.NotebookClient(
                notebook,
                timeout=_TIMEOUT_S,
                record_timing=False,
                coalesce_streams=True,  # what a cell prints is one output, however fast
                resources={"metadata": {"path": folder}},
            ).execute()
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, path)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
