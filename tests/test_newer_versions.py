"""Files of a newer transferkit: read where that is possible, else refused in a sentence that names both versions."""

import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from pyarrow import parquet
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import transferkit as tk
from transferkit import model_note, models, recipe_files, versions
from transferkit.data.sources import shards
from transferkit.data.sources.resolve import list_given_splits
from transferkit.features import feature_folder, skops_file
from transferkit.features.extract_job import extract_to
from transferkit.recipe import Data
from transferkit.training.fitting import checkpoints

NEWER = "99.1.2"
REFUSED = rf"was written by transferkit {NEWER}, and this is transferkit {tk.__version__}, .* install {NEWER} or later"


def rewrite(path, member, change):
    """Change a member of JSON in a zip archive."""
    whole = path.with_name("whole")
    path.rename(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(change(json.loads(old.read(name)))) if name == member else old.read(name))


def newer_or_not(path, member, change):
    """Change a member twice: with our version, then with a newer one."""
    rewrite(path, member, change)
    yield tk.__version__
    rewrite(path, member, lambda note: note | {versions.VERSION: NEWER})
    yield NEWER


@pytest.fixture
def model(finished, tmp_path):
    return shutil.copy(finished.folder / "model.keras", tmp_path / "model.keras")


def test_versions_are_compared_as_numbers():
    for newer in ("0.1.1", "0.2", "0.10.0", "1", "0.2.0.dev1"):
        assert versions.is_newer(newer), newer
    for other in (tk.__version__, "0.0.9", "0.1", "", "x", None, 3, "9" * 5000, "1\n2"):
        assert not versions.is_newer(other), other


def test_an_unknown_version_is_named_as_such_and_its_text_is_not_shown():
    reading = versions.reading("a", {versions.VERSION: "\x1b[31m", "format": 2})
    with pytest.raises(versions.NewerVersionError, match="^a was written by a newer transferkit, .* a later one"):
        reading.__enter__()


def test_a_network_whose_note_has_more_loads(model, finished):
    rewrite(model, model_note.NOTE, lambda note: note | {versions.VERSION: NEWER, "more": [1]})
    assert models.load_file(model).classes == finished.classes


@pytest.mark.parametrize("change", ["format", "pixels", "model"])
def test_a_network(model, change, cli, listing):
    """A format that is newer; a fit of pictures that is not known; a layer that is not known."""
    if change == "model":
        rewrite(model, "config.json", lambda config: json.loads(json.dumps(config).replace('"ReLU"', '"NewReLU"')))
    changes = {"format": lambda note: note | {"format": 2}, "pixels": lambda note: note | {"pixels": {"fit": "new"}}}
    for version in newer_or_not(model, model_note.NOTE, changes.get(change, lambda note: note)):
        newer = version == NEWER or change == "format"
        expected = versions.NewerVersionError if newer else ValueError
        with pytest.raises(expected, match=REFUSED if version == NEWER else "model.keras") as error:
            models.load_file(model)
        assert isinstance(error.value, versions.NewerVersionError) == newer
    status, _, error = cli("predict", model, listing.paths[0])
    *_, last = error.strip().splitlines()
    assert status == 1 and last.startswith("Error: ") and re.search(REFUSED, last)


def test_a_run(finished, tmp_path, cli):
    """A recipe with a knob that is not known."""
    run = shutil.copytree(finished.folder, tmp_path / "run")
    path = run / "recipe.toml"
    good = path.read_text("utf-8")
    assert good.startswith(f'transferkit = "{tk.__version__}"') and recipe_files.load(path) == finished.recipe
    path.write_text(good + "new_knob = 3\n", "utf-8")
    with pytest.raises(tk.UnknownName, match="new_knob"):
        recipe_files.load(path)
    path.write_text(good.replace(tk.__version__, NEWER), "utf-8")
    assert recipe_files.load(path) == finished.recipe
    path.write_text(path.read_text("utf-8") + "new_knob = 3\n", "utf-8")
    with pytest.raises(versions.NewerVersionError, match=REFUSED):
        recipe_files.load(path)
    assert NEWER in cli("report", run)[2]


def test_a_run_in_another_form(finished, tmp_path, cli):
    run = shutil.copytree(finished.folder, tmp_path / "run")
    path = run / "environment.json"
    content = json.loads(path.read_text())
    assert content[versions.VERSION] == tk.__version__ and content["format"] == versions.RUN_FORMAT
    path.write_text("{")
    assert tk.load_run(run).classes == finished.classes
    path.write_text(json.dumps(content | {versions.VERSION: NEWER}))
    assert tk.load_run(run).classes == finished.classes
    path.write_text(json.dumps(content | {versions.VERSION: NEWER, "format": 2}))
    with pytest.raises(versions.NewerVersionError, match=REFUSED):
        tk.load_run(run)
    status, _, error = cli("report", run)
    assert status == 1 and re.search(REFUSED, error)


def test_a_table_of_that_name_is_not_our_version(tmp_path):
    (tmp_path / "r.toml").write_text("[transferkit]\nversion = 1\n")
    with pytest.raises(tk.UnknownName, match="No section"):
        recipe_files.load(tmp_path / "r.toml")


def test_a_training_is_not_continued(finished, tmp_path):
    run = shutil.copytree(finished.folder, tmp_path / "run")
    path = run / "checkpoints" / checkpoints.STATE
    state = json.loads(path.read_text())
    assert state[versions.VERSION] == tk.__version__ and checkpoints.load_state(run).history
    path.write_text(json.dumps(state | {versions.VERSION: NEWER}))
    with pytest.raises(versions.NewerVersionError, match=REFUSED):
        checkpoints.load_state(run)


@pytest.mark.parametrize("form", ["npz", "parquet", "folder"])
@pytest.mark.parametrize("change", [{"format": 2}, {"classes": 3}], ids=["format", "more"])
def test_features(form, change, tiny, listing, tmp_path):
    path = tmp_path / ("f" if form == "folder" else f"f.{form}")
    extract_to(path, tk.FeatureSpec(tiny, "none", size=32), listing)
    for version in (tk.__version__, NEWER):
        changes = change | {versions.VERSION: version}
        if form == "npz":
            with np.load(path) as file:
                arrays = dict(file)
            np.savez(path, **arrays | {"note": np.array(json.dumps(json.loads(str(arrays["note"])) | changes))})
        else:
            for file in [path] if form == "parquet" else path.glob("parts/*"):
                table = parquet.read_table(file)
                note = json.loads(table.schema.metadata[b"transferkit"]) | changes
                parquet.write_table(table.replace_schema_metadata({"transferkit": json.dumps(note)}), file)
        if form == "folder":
            note = json.loads((path / feature_folder.NOTE).read_text())
            (path / feature_folder.NOTE).write_text(json.dumps(note | changes))
        with pytest.raises(ValueError, match=REFUSED if version == NEWER else str(path)) as error:
            tk.load_features(path)
        assert isinstance(error.value, versions.NewerVersionError) == (version == NEWER or "format" in change)


def test_classifiers(tiny, listing, tmp_path, cli):
    path = tmp_path / "probe.skops"
    steps = make_pipeline(tk.FeatureExtractor(tiny, weights="none", size=32, cache=False), LogisticRegression())
    skops_file.save_pipeline(steps.fit(listing.paths, listing.labels), path)
    with zipfile.ZipFile(path) as archive:
        note = json.loads(archive.read(skops_file.NOTE))
    assert note == {"format": 1, "transferkit": tk.__version__}
    assert len(skops_file.load_pipeline(path)) == 2
    rewrite(path, "schema.json", lambda schema: json.loads(json.dumps(schema).replace('"identity_"', '"new_knob"')))
    for version in newer_or_not(path, skops_file.NOTE, lambda note: note):
        with pytest.raises(ValueError, match=REFUSED if version == NEWER else "unknown attribute 'new_knob'"):
            skops_file.load_pipeline(path)
    assert NEWER in cli("predict", path, listing.paths[0])[2]


@pytest.mark.parametrize("change", [{"format": "transferkit shards 2"}, {"sizes": None}], ids=["format", "sizes"])
def test_shards(change, data, tmp_path):
    shards.pack_shards(list_given_splits(Data(str(data({})))), tmp_path / "packed")
    path = tmp_path / "packed" / shards.INDEX
    for version in (tk.__version__, NEWER):
        path.write_text(json.dumps(json.loads(path.read_text()) | change | {versions.VERSION: version}))
        with pytest.raises(ValueError, match=REFUSED if version == NEWER else "shards.json") as error:
            shards.list_shard_splits(tmp_path / "packed")
        assert isinstance(error.value, versions.NewerVersionError) == (version == NEWER or "format" in change)
