"""The notebook runs from its first cell to its last."""

from pathlib import Path

import pytest


NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


def test_the_notebook_runs(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    assert "<answer>" in text
    assert "rejected:" in text
    assert (tmp_path / "quickstart-tree.png").read_bytes().startswith(b"\x89PNG")
    assert [cell.outputs for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"] == [
        [] for cell in notebook.cells if cell.cell_type == "code"
    ]  # what a reader sees is what this version makes
