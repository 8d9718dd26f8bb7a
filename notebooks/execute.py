"""Runs notebooks from the first to the last cell, and keeps what they show: pictures as PNG of 64 colours.

    .venv/bin/python notebooks/execute.py [NAME ...]      # without, all

A notebook runs in a folder of its own, and writes nothing else.
"""

import base64
import io
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parent
SECONDS = 600  # of a cell


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new run."""
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as place:
        resources = {"metadata": {"path": place}}
        # of a stream one output: in how many pieces its text comes depends on the time
        NotebookClient(notebook, timeout=SECONDS, coalesce_streams=True, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ at each run
        for output in cell.get("outputs", ()):
            shrink_picture(output.get("data", {}))
    notebook.metadata.pop("language_info", None)
    return notebook


def shrink_picture(data: dict):
    if "image/png" in data:
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
        file = io.BytesIO()
        picture.quantize(64, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        data["image/png"] = base64.b64encode(file.getvalue()).decode()


def main(*names: str):
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            begin = time.perf_counter()
            nbformat.write(execute(path), path)
            seconds, size = time.perf_counter() - begin, path.stat().st_size / 1000
            print(f"{path.stem}: {seconds:.0f} s, {size:.0f} KB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
