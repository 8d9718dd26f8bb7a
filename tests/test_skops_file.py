"""Saved pipelines from pictures to labels, read by another process; unusable files are refused."""

import json
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skops import io

import transferkit as tk
from transferkit.features import skops_file
from transferkit.features.feature_spec import FeatureSpec


def fitted(listing, classifier=None):
    made = make_pipeline(tk.FeatureExtractor("tiny", weights="none"), classifier or LogisticRegression(max_iter=1000))
    return made.fit(listing.paths, [listing.classes[label] for label in listing.labels])


def test_predict_uses_a_saved_pipeline(cli, listing, tmp_path):
    made = fitted(listing)
    skops_file.save_pipeline(made, tmp_path / "pets.skops")
    (tmp_path / "bad.png").write_bytes(b"none")
    words = [listing.paths[20], "bad.png", listing.paths[1]]
    status, out, _ = cli("predict", "pets.skops", *words, "--json")
    rows = json.loads(out)
    assert status == 0 and [row["path"] for row in rows] == [str(word) for word in words]
    assert [row["label"] for row in rows] == ["dog", None, "cat"] and rows[1]["error"] == "not a known picture format"
    chances = made.predict_proba([listing.paths[20]])[0]
    assert rows[0]["top"] == [["dog", round(chances[1], 6)], ["cat", round(chances[0], 6)]]
    status, out, _ = cli("predict", "pets.skops", *words)
    assert status == 0 and "cannot be read" in out


def test_a_classifier_without_probabilities(cli, listing, tmp_path):
    made = fitted(listing, RidgeClassifier())
    skops_file.save_pipeline(made, tmp_path / "ridge.skops")
    status, out, _ = cli("predict", "ridge.skops", listing.paths[20], "--json")
    (row,) = json.loads(out)
    assert (row["label"], row["probability"], row["top"]) == ("dog", None, [["dog", None], ["cat", None]])
    assert "None" not in cli("predict", "ridge.skops", listing.paths[20])[1]


def test_features_in_a_file_are_classified_if_they_are_the_networks(cli, listing, tmp_path):
    skops_file.save_pipeline(fitted(listing), tmp_path / "pets.skops")
    tk.extract_to(tmp_path / "same.parquet", FeatureSpec("tiny", "none"), listing)
    status, out, _ = cli("predict", "pets.skops", "same.parquet", "--json")
    assert status == 0 and [row["label"] for row in json.loads(out)] == ["cat"] * 12 + ["dog"] * 12
    for name, spec, other in (
        ("a.npz", FeatureSpec("tiny", "none", pool="max"), "pool (max in place of avg)"),
        ("b", FeatureSpec("resnet20_cifar", "none"), "network or weights"),
    ):
        tk.extract_to(tmp_path / name, spec, listing)
        status, _, err = cli("predict", "pets.skops", name)
        assert status == 1 and f"These features differ in {other} from those that the classifier was fitted to" in err


class Foreign:
    pass


def test_unknown_types_are_not_loaded(cli, listing, tmp_path):
    import os

    made = fitted(listing)
    made.steps.insert(1, ("call", FunctionTransformer(os.getcwd)))
    for name, content, named in (("a", Foreign(), "Foreign"), ("b", made, "getcwd")):
        io.dump(content, tmp_path / f"{name}.skops")
        status, _, err = cli("predict", f"{name}.skops", listing.paths[0])
        assert status == 1 and f"{named}, which is not a type of scikit-learn or transferkit." in err
    io.dump(LogisticRegression(), tmp_path / "c.skops")
    status, _, err = cli("predict", "c.skops", listing.paths[0])
    assert status == 1 and "A LogisticRegression does not classify pictures: expected a fitted pipeline" in err


@pytest.mark.slow
def test_a_fine_tuner_predicts_too(cli, listing, tmp_path):
    tuner = tk.FineTuner("tiny", weights="none", size=32, epochs=1, head_epochs=1, batch_size=8)
    tuner.fit(listing)
    io.dump(tuner, tmp_path / "tuner.skops")
    status, out, err = cli("predict", "tuner.skops", *listing.paths[:2], "--json")
    assert status == 0, err
    assert [row["label"] for row in json.loads(out)] == list(tuner.predict(listing.paths[:2]))


def test_damaged_and_missing_files(cli, listing, tmp_path):
    skops_file.save_pipeline(fitted(listing), tmp_path / "pets.skops")
    whole = (tmp_path / "pets.skops").read_bytes()
    (tmp_path / "cut.skops").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.skops").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "zip.skops", "w") as archive:
        archive.writestr("something", "else")
    for name in ("cut", "empty", "zip"):
        status, _, err = cli("predict", f"{name}.skops", listing.paths[0])
        assert status == 1 and f"{name}.skops cannot be read" in err
    assert cli("predict", "gone.skops", listing.paths[0])[0] == 2
    status, _, err = cli("predict", "pets.skops", listing.paths[0], "--pixels", "tf")
    assert status == 2 and "names its network" in err


def test_more_classes_than_two_and_top(listing):
    made = fitted(listing, RidgeClassifier())
    many = make_pipeline(tk.FeatureExtractor("tiny", weights="none"), RidgeClassifier())
    many.fit(listing.paths, [f"{label}{row % 2}" for row, label in enumerate(listing.labels)])
    for pipeline, classes in ((made, 2), (many, 4)):
        scores = pipeline.decision_function(listing.paths[:1])[0]
        (row,) = skops_file.classify_pictures(pipeline, listing.paths[:1], top=3)
        assert len(row["top"]) == min(3, classes) and row["label"] == pipeline.predict(listing.paths[:1])[0]
        if classes == 4:
            assert [name for name, _ in row["top"]] == [pipeline.classes_[i] for i in np.argsort(-scores)[:3]]
