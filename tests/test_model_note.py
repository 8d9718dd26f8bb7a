"""The note in `model.keras`: everything that Keras has no place for, read by plain Python."""

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import transferkit as tk
from transferkit import model_note, models

DOCS = Path(__file__).parent.parent / "docs" / "models.md"


def test_what_it_says(finished):
    with zipfile.ZipFile(finished.folder / "model.keras") as archive:
        note = json.loads(archive.read("transferkit.json"))
        weights = archive.read("model.weights.h5")
    assert note["classes"] == ["cat", "dog"] and note["head"] == "fc" and note["base"] == "tiny (fresh)"
    assert note["transferkit"] == tk.__version__ and note["format"] == 1 and note["minimum"] == finished.network.minimum
    assert note["temperature"] == finished.network.temperature
    assert note["pixels"]["crop"] == 32 and note["pixels"]["fit"] == finished.network.pixels.fit
    assert note["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_the_function_of_the_docs_needs_python_alone(finished):
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.S) if "zipfile" in block
    )
    assert "transferkit." not in code.replace("transferkit.json", "") and "import keras" not in code
    show = f"print(json.dumps(read_note({str(finished.folder / 'model.keras')!r})))"
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", f"{code}\n{show}"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["classes"] == list(finished.classes)


def test_other_weights_are_refused(finished, tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(finished.folder / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == model_note.WEIGHTS:
                value = finished.network.model.get_layer("fc").weights[1].numpy().tobytes()
                assert data.count(value) == 1
                data = data.replace(value, value[::-1])
            new.writestr(name, data)
    with pytest.raises(ValueError, match=r"model.keras cannot be used: its weights are not those .* was written for"):
        models.load_file(path)


def test_the_docs_name_every_field(finished):
    text = DOCS.read_text("utf-8")
    note = model_note.read_note(finished.folder / "model.keras")
    assert not [name for name in note if f"| `{name}` |" not in text]
