"""Nearest neighbours, and their contact sheet."""

import json

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.data import contact_sheet
from transferkit.features import neighbours
from transferkit.features.feature_files import load_features
from transferkit.features.feature_spec import FeatureSpec
from transferkit.lookup import UnknownName


@pytest.fixture
def feats(listing, tmp_path):
    tk.extract_to(tmp_path / "pets.npz", FeatureSpec("tiny", "none"), listing)
    return load_features(tmp_path / "pets.npz")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_are_the_nearest(feats, listing, metric):
    (answer,) = neighbours.find_neighbours(feats, [listing.paths[7]], top=4, metric=metric)
    x = feats.features.astype("float64")
    far = np.linalg.norm(x - x[7], axis=1)
    if metric == "cosine":
        far = 1 - x @ x[7] / np.linalg.norm(x, axis=1) / np.linalg.norm(x[7])
    far[7] = np.inf  # a picture is not its own neighbour
    order = np.argsort(far)[:4]
    assert [one["path"] for one in answer["neighbours"]] == [listing.paths[i] for i in order]
    assert [one["label"] for one in answer["neighbours"]] == [listing.classes[listing.labels[i]] for i in order]
    np.testing.assert_allclose([one["distance"] for one in answer["neighbours"]], far[order], rtol=1e-3, atol=1e-4)


def test_the_command_and_its_contact_sheet(cli, listing, feats, tmp_path, pets):
    (tmp_path / "bad.png").write_bytes(b"none")
    words = ("similar", "pets.npz", listing.paths[0], "bad.png", "--top", 3, "--out", "sheet.png", "--json")
    status, out, err = cli(*words)
    first, second = json.loads(out)
    assert status == 0 and len(first["neighbours"]) == 3 and first["error"] is None
    assert second == {"query": "bad.png", "neighbours": [], "error": "not a known picture format"}
    sheet = Image.open(tmp_path / "sheet.png")
    height = neighbours.CELL + contact_sheet.LINE_HEIGHT + contact_sheet.GAP
    assert sheet.size == (
        4 * (neighbours.CELL + contact_sheet.GAP) + contact_sheet.GAP,
        2 * height + contact_sheet.LINE_HEIGHT + contact_sheet.GAP,
    )
    cell = np.asarray(sheet)[
        contact_sheet.LINE_HEIGHT : contact_sheet.LINE_HEIGHT + 128, contact_sheet.GAP : contact_sheet.GAP + 128
    ]
    assert cell[64, 64, 0] > 150 > cell[64, 64, 2], "the red cat"
    status, out, _ = cli("similar", "pets.npz", pets / "dog", "--top", 1)
    assert status == 0 and out.count("dog/") >= 12


def test_other_features_are_refused(cli, listing, tmp_path):
    weights = str(tmp_path / "a.weights.h5")
    tk.create("tiny", weights="none").save_weights(weights)
    tk.extract_to(tmp_path / "f.npz", FeatureSpec("tiny", weights), listing)
    tk.create("tiny", weights="none").save_weights(weights)
    status, _, err = cli("similar", "f.npz", listing.paths[0])
    assert status == 1 and "The weights of tiny have changed since the features were extracted" in err
    tk.extract_to(tmp_path / "m.npz", FeatureSpec("tiny", "none", layer=("stage1",), pool="none"), listing)
    status, _, err = cli("similar", "m.npz", listing.paths[0])
    assert status == 1 and "The features are maps: extract" in err


def test_invalid_options(cli, listing, feats):
    with pytest.raises(UnknownName, match="No metric is called 'cosin'. Did you mean 'cosine'?"):
        neighbours.find_neighbours(feats, [listing.paths[0]], metric="cosin")
    assert cli("similar", "pets.npz", listing.paths[0], "--out", "x.gif")[0] == 2
    assert cli("similar", "gone.npz", listing.paths[0])[0] == 2
    assert cli("similar", listing.paths[1], listing.paths[0])[0] == 2
