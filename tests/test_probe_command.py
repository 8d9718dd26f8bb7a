"""`transferkit probe`: the leaderboard, the ranking, and the saved classifier."""

import json

import numpy as np
import pytest
from pictures import folder

import transferkit as tk
from transferkit.data.sources.resolve import find_probe_listing
from transferkit.features import feature_model, leaderboard
from transferkit.features.feature_spec import FeatureSpec
from transferkit.features.skops_file import load_pipeline
from transferkit.recipe import Data

WORDS = ("probe", "--weights", "none", "--base", "tiny")


def test_a_leaderboard(cli, pets):
    words = ("probe", "--weights", "none", "--base", "tiny, resnet20_cifar(shortcut=b),tiny", "--folds", 3)
    status, out, err = cli(*words, "--data", pets, "--json")
    rows = json.loads(out)
    assert status == 0 and {row["base"] for row in rows} == {"tiny", "resnet20_cifar(shortcut=b)"}
    for row in rows:
        assert set(row) == {"base", "accuracy", "ci95", "folds", "features", "seconds"} and len(row["folds"]) == 3
        assert row["ci95"][0] <= row["accuracy"] <= row["ci95"][1] + 1e-9 and row["accuracy"] > 0.9
    assert rows[0]["accuracy"] >= rows[1]["accuracy"] and {row["features"] for row in rows} == {16, 64}
    status, out, err = cli(*words, "--data", pets)
    assert status == 0 and "logreg, 3 folds of 24 pictures in 2 classes" in out
    assert "24 of 24 pictures from the cache" in err


@pytest.mark.parametrize("classifier", ["logreg", "svm", "knn", "ridge"])
def test_the_saved_classifier_predicts(cli, pets, classifier, tmp_path):
    status, _, err = cli(*WORDS, "--data", pets, "--classifier", classifier, "--folds", 2, "--out", "p.skops")
    assert status == 0 and "p.skops: tiny with " + classifier in err
    listing = tk.list_images(pets)
    guesses = load_pipeline(tmp_path / "p.skops").predict(listing.paths)
    assert (guesses == np.array(listing.classes)[list(listing.labels)]).mean() > 0.9
    status, out, _ = cli("predict", "p.skops", pets / "dog" / "003.jpg", "--json")
    assert json.loads(out)[0]["label"] == "dog"
    assert cli(*WORDS, "--data", pets, "--out", "p.skops")[0] == 1
    assert cli(*WORDS, "--data", pets, "--folds", 2, "--out", "p.skops", "--overwrite")[0] == 0


def test_ranking_needs_no_training(cli, pets):
    status, out, _ = cli(
        "probe", "--weights", "none", "--base", "tiny,resnet20_cifar", "--data", pets, "--rank", "--json"
    )
    rows = json.loads(out)
    assert status == 0 and rows[0]["logme"] >= rows[1]["logme"]
    assert all(set(row) == {"base", "logme", "neighbours", "features", "seconds"} for row in rows)
    assert "LogME" in cli(*WORDS, "--data", pets, "--rank")[1]


def test_test_pictures_are_used_once(cli, tmp_path, monkeypatch):
    folder(tmp_path / "d" / "train", {"cat": 6, "dog": 6})
    folder(tmp_path / "d" / "val", {"dog": 3})
    folder(tmp_path / "d" / "test", {"cat": 4, "dog": 4})
    listing, test = find_probe_listing(Data(data=str(tmp_path / "d")))
    assert len(listing) == 15 and len(test) == 8 and test.classes == listing.classes == ("cat", "dog")
    seen, compare = [], leaderboard.compare
    monkeypatch.setattr(
        leaderboard, "compare", lambda specs, some, **words: seen.append(some) or compare(specs, some, **words)
    )
    status, out, _ = cli(*WORDS, "--data", tmp_path / "d", "--folds", 2, "--json")
    (row,) = json.loads(out)
    assert status == 0 and row["test"]["n"] == 8 and row["test"]["accuracy"] > 0.8
    assert not any("/d/test/" in path for path in seen[0].paths)
    assert "on 8 test pictures" in cli(*WORDS, "--data", tmp_path / "d", "--folds", 2)[1]


def test_groups_and_fractions(cli, pets, data):
    root = data({})
    pattern = r"(\d+)\.jpg"
    status, _, err = cli(*WORDS, "--data", root, "--group-by", pattern, "--folds", 3)
    assert status == 0, err
    status, out, _ = cli(*WORDS, "--data", pets, "--per-class", 5, "--folds", 2)
    assert status == 0 and "2 folds of 10 pictures" in out
    status, _, err = cli(*WORDS, "--data", pets, "--per-class", 4)
    assert status == 1 and "Class cat has 4 pictures: folds must be at most 4, not 5." in err


def test_unreadable_pictures_are_named_and_skipped(cli, data):
    root = data({"cat/000b.jpg": b"none"})
    status, out, err = cli(*WORDS, "--data", root, "--folds", 2)
    assert status == 0 and "000b.jpg is skipped: it cannot be read (not a known picture format)." in err
    with pytest.raises(FileNotFoundError, match="There is no gone.h5"):
        leaderboard.compare([FeatureSpec("tiny", "none"), FeatureSpec("tiny", "gone.h5")], tk.list_images(root))


def test_an_unavailable_network_is_an_error_before_others_run(cli, pets, monkeypatch):
    monkeypatch.setattr(feature_model, "compute_features", lambda *_: pytest.fail("it ran"))
    status, _, err = cli("probe", "--weights", "none", "--base", "tiny,resnet3", "--data", pets)
    assert status == 2 and "Did you mean 'resnet34'" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--classifier", "svn"), "No classifier is called 'svn'. Did you mean 'svm'?"),
        (("--out", "p.pkl"), "--out must be a .skops file, not p.pkl"),
        (("--out", "p.skops", "--rank"), "--rank fits no classifier to save: omit --out"),
        (("--layer", "stage9"), "No layer of tiny is called 'stage9'."),
        (("--folds", "1"), "1 is not in the range x>=2"),
    ],
)
def test_invalid_options_are_one_sentence(cli, pets, words, sentence):
    status, out, err = cli(*WORDS, "--data", pets, *words)
    assert (status, out) == (2, "") and sentence in err and "Traceback" not in err


def test_maps_are_refused(cli, pets):
    status, _, err = cli(*WORDS, "--data", pets, "--layer", "stage1", "--pool", "none")
    assert status == 1 and "A probe needs vectors, not maps: give another --pool than none." in err
