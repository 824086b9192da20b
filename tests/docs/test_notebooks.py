"""Notebooks run from a fresh kernel, and are kept with what they printed and drew."""

import json

import nbclient
import nbformat
import pytest
from support import documentation

_LARGEST_BYTES = 250_000

each_notebook = pytest.mark.parametrize(
    "notebook", documentation.NOTEBOOKS, ids=lambda path: path.stem
)


def _code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _kinds(cell):
    """Returns what a cell gave, without its text: streams by name, pictures by type."""
    return [output.get("name") or sorted(output["data"]) for output in cell["outputs"]]


@each_notebook
def test_outputs_are_kept(notebook):
    """As they were made in one go, small, and without warnings."""
    assert notebook.stat().st_size < _LARGEST_BYTES
    code = _code(json.loads(notebook.read_text()))
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs, "none: run make notebooks"
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    assert "/tmp/" not in json.dumps(outputs)


@pytest.mark.slow  # A minute or two each: they train, and solve optimal power flows.
@each_notebook
def test_notebooks_run(notebook, tmp_path):
    kept = nbformat.read(notebook, as_version=4)
    fresh = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(
        fresh, timeout=900, coalesce_streams=True, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()  # raises what a cell raises
    for before, after in zip(_code(kept), _code(fresh)):
        assert _kinds(after) == _kinds(before), after["source"]
