"""The notebooks hold the outputs of their last run, install what they need, stay small, and run again."""

import sys
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST = 64_000  # bytes of a notebook
MOST_OF_ALL = 400_000

by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def execute(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from execute import execute

    return execute


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook) -> list:
    """What each cell shows: text, pictures, pages."""
    cells = code_cells(notebook)
    return [[sorted(output.get("data", ())) or output.output_type for output in cell.outputs] for cell in cells]


@by_name
def test_outputs_of_a_whole_run(path):
    cells = code_cells(nbformat.read(path, 4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2


@by_name
def test_the_first_cell_installs_what_is_needed(path):
    first = code_cells(nbformat.read(path, 4))[0]
    assert 'find_spec("transferkit") is None' in first.source and '%pip install --quiet "transferkit[' in first.source


def test_sizes():
    sizes = {path.name: path.stat().st_size for path in NOTEBOOKS}
    assert not {name: size for name, size in sizes.items() if size > MOST}
    assert sum(sizes.values()) < MOST_OF_ALL


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own
@by_name
def test_notebooks_run(path, execute):
    assert kinds(execute(path)) == kinds(nbformat.read(path, 4))
