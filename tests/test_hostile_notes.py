"""Manipulated feature files and notes of models: refused at once, with one sentence."""

import io
import json
import shutil
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from transferkit import model_note, models
from transferkit.features.extract_job import extract_to
from transferkit.features.extraction import extract
from transferkit.features.feature_files import load_features
from transferkit.features.feature_spec import FeatureSpec
from transferkit.pixels import Pixels


@pytest.fixture(scope="module")
def features(tiny, listing, tmp_path_factory):
    """The arrays of a good file."""
    path = tmp_path_factory.mktemp("features") / "f.npz"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFERKIT_HOME", str(path.parent / "home"))
        extract_to(path, FeatureSpec(tiny, "none", size=32), listing)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def changed(features, **changes):
    note = json.loads(str(features["note"]))
    return {
        "an array more": features | {"more": np.zeros(3)},
        "an array less": {name: value for name, value in features.items() if name != "paths"},
        "a note that is a list": features | {"note": np.array("[1, 2]")},
        "a note that is none": features | {"note": np.array("{")},
        "a note of numbers": features | {"note": np.array(json.dumps(note | {"layer": [1]}))},
        "a base that is a list": features | {"note": np.array(json.dumps(note | {"base": ["a"]}))},
        "few labels": features | {"labels": features["labels"][:3]},
        "labels beyond the classes": features | {"labels": features["labels"] + 2},
        "labels that are floats": features | {"labels": features["labels"].astype(float)},
        "a class twice": features | {"note": np.array(json.dumps(note | {"classes": ["cat", "cat"]}))},
        "features of a row": features | {"features": features["features"][0]},
        "no features": features | {"features": features["features"][:0]},
        "features in float64": features | {"features": features["features"].astype(float)},
        "paths that are numbers": features | {"paths": np.arange(24)},
        "objects": features | {"paths": np.array([{"a": 1}] * 24, object)},
    }


def test_a_valid_file(features, tmp_path):
    np.savez_compressed(tmp_path / "f.npz", **features)
    assert len(load_features(tmp_path / "f.npz")) == 24


@pytest.mark.parametrize("name", changed({"note": "{}"} | dict.fromkeys(("labels", "features"), np.zeros(24))))
def test_features(features, tmp_path, name):
    np.savez(tmp_path / "f.npz", **changed(features)[name])
    with pytest.raises(ValueError, match=r"f.npz holds no features that can be read \(.*\): expected") as error:
        load_features(tmp_path / "f.npz")
    assert "Error" not in str(error.value) and "()" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("packed", [True, False])
def test_features_without_bound(features, tmp_path, packed):
    """A gigabyte that is packed in a megabyte, and a header of forty million rows."""
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, {"descr": "<f4", "fortran_order": False, "shape": (40_000_000, 8)})
    np.savez(tmp_path / "f.npz", **{name: value for name, value in features.items() if name != "features"})
    body = header.getvalue() + bytes(200_000_000 if packed else 1_000_000)
    with zipfile.ZipFile(tmp_path / "f.npz", "a") as archive:
        archive.writestr("features.npy", body, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    with pytest.raises(ValueError, match="f.npz holds no features that can be read"):
        load_features(tmp_path / "f.npz")


def test_parquet_without_bound(tiny, listing, tmp_path):
    """Sixty million bytes of text, which are one text in a dictionary."""
    extract_to(tmp_path / "f.parquet", FeatureSpec(tiny, "none", size=32), listing)
    assert len(load_features(tmp_path / "f.parquet")) == 24
    good = parquet.read_table(tmp_path / "f.parquet")
    rows = pa.array(np.zeros(20_000, "int32"))
    for kind in (pa.string(), None):
        texts = pa.DictionaryArray.from_arrays(rows, pa.array(["x" * 1000]))
        texts = texts.cast(kind) if kind else texts
        columns = dict.fromkeys(("path", "label", "split"), texts)
        columns |= {"features": good["features"].combine_chunks().take(rows)}
        bomb = pa.table(columns).replace_schema_metadata({b"transferkit": good.schema.metadata[b"transferkit"]})
        parquet.write_table(bomb, tmp_path / "f.parquet", compression="zstd")
        assert (tmp_path / "f.parquet").stat().st_size < 100_000
        with pytest.raises(ValueError, match="unpacks to more than a hundred times its size"):
            load_features(tmp_path / "f.parquet")


NOTES = {
    "classes": [["a"], ["a", "a"], [1, 2], "ab", None, {"a": 1}],
    "head": ["nothing", 3, None],
    "base": [["tiny"], None],
    "minimum": [0, "1", -5, None],
    "temperature": [0.0, -1.0, float("nan"), float("inf"), 2, "1.0", None],
    "weights_sha256": [3, None],
    "transferkit": [0.1, None],
    "pixels": [
        *[None, [], {"crop": 32}],
        *[{"crop": crop} for crop in (0, -1, 10**9, "224", [1, 2, 3], 1.5)],
        *[{"std": std} for std in ([0, 0, 0], [1], "abc", [float("nan")] * 3)],
        *[{"mean": [1.0], "std": [1.0]}, {"interpolation": "nearest"}, {"fit": "none"}, {"resize": 0}, {"more": 1}],
    ],
}


@pytest.mark.parametrize(
    ("name", "number"), [(name, at) for name, values in NOTES.items() for at in range(len(values))]
)
def test_notes(finished, tmp_path, name, number):
    path, value = tmp_path / "model.keras", NOTES[name][number]
    with zipfile.ZipFile(finished.folder / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == model_note.NOTE:
                note = json.loads(content)
                if isinstance(value, dict) and name == "pixels" and value != {"crop": 32}:
                    value = note["pixels"] | value
                content = json.dumps(note | {name: value})
            new.writestr(member, content)
    if name == "pixels" and value == {"crop": 32}:  # omitted keys have their defaults
        assert models.load_file(path).pixels == Pixels(crop=32)
        return
    with pytest.raises(ValueError, match=f"model.keras cannot be used: its {model_note.NOTE} ") as error:
        models.load_file(path)
    assert "\n" not in str(error.value)


def test_a_damaged_run_is_reported_by_every_command(cli, finished, pets, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    with zipfile.ZipFile(tmp_path / "run" / "model.keras", "a") as file, pytest.warns(UserWarning):
        file.writestr(model_note.NOTE, "[]")
    for words in (
        ("predict", "run", pets),
        ("evaluate", "run"),
        ("extract", "--base", "run", "--data", pets, "--out", "f"),
    ):
        status, _, error = cli(*words)
        assert status == 1 and "run/model.keras cannot be used: its" in error, error
    with pytest.raises(ValueError, match="cannot be used"):
        extract([str(pets / "cat" / "000.jpg")], FeatureSpec(str(tmp_path / "run")))
