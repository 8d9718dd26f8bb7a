"""Files of earlier versions (see `record_saved.py`): loaded, resumed, with the same predictions."""

import json
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from pictures import folder
from record_saved import COUNTS, DATA, PLACE

import transferkit as tk
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation.predict import predict
from transferkit.features.skops_file import load_pipeline
from transferkit.training import run_job

VERSIONS = sorted(path.name for path in DATA.iterdir())


@pytest.fixture(scope="module", params=VERSIONS)
def saved(request, tiny, tmp_path_factory):
    """A folder with what a version saved, and the pictures it had."""
    place = tmp_path_factory.mktemp("saved")
    for archive in (DATA / request.param).iterdir():
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(place)
    for name in ("split.csv", "recipe.toml"):
        path = place / "cut" / name
        path.write_text(path.read_text().replace(PLACE, str(place)))
    folder(place / "pets", COUNTS)
    return place


@pytest.fixture
def answers(saved):
    return json.loads((saved / "answers.json").read_text())


@pytest.fixture
def pictures(saved):
    return sorted(find_splits(saved / "pets").train.paths)


def test_files_are_small():
    assert not [path for path in DATA.rglob("*.zip") if path.stat().st_size > 30_000]


def test_a_run(saved, answers, pictures, cli):
    run = tk.load_run(saved / "run")
    assert [row["probability"] for row in run.predict(pictures)] == pytest.approx(answers["run"], abs=1e-3)
    assert cli("report", saved / "run")[0] == 0 and (saved / "run" / "MODEL_CARD.md").exists()
    status, out, error = cli("evaluate", saved / "run", "--data", saved / "pets", "--json")
    assert status == 0 and json.loads(out)["accuracy"] == 1, error


def test_an_interrupted_run(saved, answers, pictures):
    shutil.copytree(saved / "cut", saved / "again")
    network = run_job.resume(saved / "again").network
    if not (saved / "run" / "calibration.json").exists():  # the first files are of before temperatures were fitted
        network = replace(network, temperature=1.0)
    rows = predict(network, pictures)
    assert [row["probability"] for row in rows] == pytest.approx(answers["run"], abs=1e-3)


@pytest.mark.parametrize("name", ["probe", "tuner"])
def test_classifiers(saved, answers, pictures, name, cli):
    loaded = load_pipeline(saved / f"{name}.skops")
    np.testing.assert_allclose(loaded.predict_proba(pictures), answers[name], atol=1e-3)
    status, out, error = cli("predict", saved / f"{name}.skops", *pictures[:2], "--json")
    assert status == 0 and [row["label"] for row in json.loads(out)] == ["cat", "cat"], error


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_features(saved, answers, kind):
    features = tk.load_features(saved / f"good.{kind}")
    assert features.features.shape == (12, 16) and list(features.classes) == ["cat", "dog"]
    np.testing.assert_allclose(features.features[:3], answers["features"], rtol=1e-4)


def test_packed_pictures(saved):
    parts = find_splits(saved / "packed")
    assert len(parts.train) + len(parts.val) == 12 and parts.train.classes == ("cat", "dog")
