"""`predict --reject` and `--sets`, and the temperature of a run, from the training to the predictions."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import transferkit as tk
from transferkit import models, runs
from transferkit.atomic import read, write
from transferkit.data.sources.resolve import find_splits
from transferkit.evaluation import calibration, thresholds
from transferkit.evaluation.predict import evaluate, predict, predict_outputs
from transferkit.network import with_head


@pytest.fixture
def many(finished, pets, tmp_path):
    """The finished run at a temperature that makes it unsure, with a record of 99 validation pictures: thresholds for
    0.9 are where half of the pictures are rejected, and half of the sets hold both classes."""
    folder = shutil.copytree(finished.folder, tmp_path / "many")
    network = dataclasses.replace(finished.network, temperature=20.0)
    models.save(network, folder / "model.keras")
    middle = round(float(np.median([row["probability"] for row in predict(network, pets.rglob("*.jpg"))])), 6)
    record = {
        "n": 99,
        "confidences": [*np.linspace(0.99, middle, 85), *np.linspace(middle - 0.01, 0.1, 14)],
        "hits": [True] * 78 + [False] * 21,
        "label_probabilities": [*np.linspace(0.01, 1 - middle, 10), *np.linspace(1 - middle, 0.99, 89)],
    }
    write(folder / runs.CALIBRATION, record)
    return tk.load_run(folder)


def test_a_training_fits_the_temperature_on_its_validation_pictures(finished):
    figures, network = finished.metrics, finished.network
    logits, rows = predict_outputs(network.model, finished.splits.val.paths, network.pixels)
    labels = np.array(finished.splits.val.labels)[rows]
    # the run gives its validation pictures, so it is not trained again on all: the network is the one that was measured
    assert figures["refit"] is None and network.temperature == figures["temperature"] != 1
    assert network.temperature == pytest.approx(calibration.fit_temperature(logits, labels), rel=1e-3)
    measured = evaluate(
        network, finished.splits.val, (logits, rows), calibration.cross_fit_temperatures(logits, labels)
    )
    assert figures["ece"] == pytest.approx(measured[0]["ece"], abs=1e-3)
    assert figures["loss"] == pytest.approx(measured[0]["loss"], abs=1e-3)
    plain = evaluate(dataclasses.replace(network, temperature=1.0), finished.splits.val, (logits, rows))[0]
    assert figures["ece_uncalibrated"] == pytest.approx(plain["ece"], abs=1e-3)
    probabilities = calibration.to_probabilities(logits, network.temperature)
    np.testing.assert_allclose(finished.calibration["confidences"], sorted_as_drawn(probabilities.max(1)), atol=1e-3)


def sorted_as_drawn(values):
    return values[np.random.default_rng(0).permutation(len(values))]


def test_a_refitted_network_has_the_temperature_of_the_evaluated_one(tiny, pets, tmp_path):
    knobs = {"weights": "none", "size": 32, "batch_size": 8, "epochs": 2, "head_epochs": 1, "keep": "last"}
    parts = find_splits(pets)
    test = parts.val.take(range(2))
    run = tk.finetune(tiny, parts.train, parts.val, test=test, out=tmp_path / "run", refit="on", **knobs)
    assert run.metrics["refit"] and run.network.temperature == run.metrics["temperature"] != 1
    logits, _ = predict_outputs(run.network.model, test.paths, run.network.pixels)
    expected = calibration.to_probabilities(logits, run.network.temperature).max(1)
    found = [float(row["probability"]) for row in read(run.folder / "predictions.csv")]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_predictions_are_calibrated_and_keep_their_order(finished, listing):
    network = finished.network
    plain, hot = (predict(dataclasses.replace(network, temperature=t), listing.paths, top=None) for t in (1.0, 5.0))
    for one, other in zip(plain, hot, strict=True):
        assert [name for name, _ in one["top"]] == [name for name, _ in other["top"]]
        ratio = one["top"][0][1] / one["top"][1][1]
        assert other["top"][0][1] / other["top"][1][1] == pytest.approx(ratio**0.2, rel=0.02)
        assert other["probability"] < one["probability"]


def test_a_new_head_has_no_temperature(finished):
    network = dataclasses.replace(finished.network, temperature=3.0)
    assert with_head(network, ("a", "b", "c")).temperature == 1


def test_weights_of_a_run_bring_its_temperature(many):
    assert models.load("tiny", str(many.folder)).temperature == many.network.temperature == 20


def test_rejection(many, pets, cli, tmp_path):
    status, out, error = cli("predict", many.folder, pets, "--reject", 0.9, "--json", "--all")
    rows = json.loads(out)
    assert status == 0, error
    record = (np.array(many.calibration[key]) for key in ("confidences", "hits"))
    threshold, kept = calibration.find_rejection_threshold(*record, 0.9)
    assert f"probability below {threshold:.3f}" in error and f"keeps {kept:.0%} of the 99 validation" in error
    assert 6 <= sum(row["rejected"] for row in rows) == sum(row["probability"] < threshold for row in rows)
    assert all((row["label"] == "") == row["rejected"] for row in rows)
    assert f"rejected: {sum(row['rejected'] for row in rows)} of 24 pictures" in error
    assert many.predict(str(pets), top=2, reject=0.9)[0]["rejected"] == rows[0]["rejected"]


def test_sets(many, pets, cli):
    least = calibration.find_conformal_threshold(np.array(many.calibration["label_probabilities"]), 0.9)
    status, out, error = cli("predict", many.folder, pets, "--sets", 0.9, "--top", 1, "--json")
    rows, every = json.loads(out), many.predict(str(pets), top=2)
    assert status == 0 and f"at least {least:.3f}" in error
    for row, all_classes in zip(rows, every, strict=True):
        assert row["set"] == [name for name, probability in all_classes["top"] if probability >= least]
        assert len(row["top"]) == 1
    assert {len(row["set"]) for row in rows} == {1, 2}
    assert many.predict(str(pets), sets=0.9, top=1) == [row | {"path": row["path"]} for row in rows]


@pytest.mark.parametrize("form", ["csv", "parquet", "table"])
def test_columns(many, pets, cli, form, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    words = ["--format", form] + (["--out", "p.parquet"] if form == "parquet" else [])
    status, out, error = cli("predict", many.folder, pets, "broken.jpg", "--reject", 0.9, "--sets", 0.95, *words)
    assert status == 0, error
    if form == "table":
        assert "rejected" in out and "cat|dog" in out and "yes" in out
        return
    (tmp_path / "p.csv").write_text(out)
    if form == "csv":
        rows = read(tmp_path / "p.csv")
        assert rows[-1]["rejected"] == rows[-1]["set"] == "" and {row["rejected"] for row in rows[:-1]} <= {
            "True",
            "False",
        }
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(tmp_path / "p.parquet").to_pylist()
        assert rows[-1]["rejected"] is None and {row["rejected"] for row in rows[:-1]} <= {True, False}
    assert {row["set"] for row in rows[:-1]} <= {"cat|dog", "dog|cat", "cat", "dog"}


def test_a_set_holds_the_most_likely_class_at_least():
    rows = [
        {"label": "a", "probability": 0.5, "top": [["a", 0.5], ["b", 0.3], ["c", 0.2]], "error": None},
        {"label": None, "probability": None, "top": None, "error": "gone"},
    ]
    for least, expected in ((0.6, ["a"]), (0.3, ["a", "b"]), (0.0, ["a", "b", "c"])):
        first, second = thresholds.apply_thresholds(rows, thresholds.Thresholds(0.6, least), 1)
        assert first["set"] == expected and first["label"] == "" and first["rejected"] and first["top"] == [["a", 0.5]]
        assert second["set"] is second["rejected"] is second["label"] is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--reject", 0.99),
            "reject 0.99 is a precision that no prediction has on the 99 validation pictures: expected at",
        ),
        (("--reject", 0.999), "reject 0.999 needs 999 validation pictures, and the run has 99: expected at most 0.99."),
        (("--sets", 0.995), "sets 0.995 needs 199 validation pictures, and the run has 99: expected at most 0.99."),
    ],
)
def test_too_few_pictures(many, pets, cli, flags, sentence):
    status, out, error = cli("predict", many.folder, pets, *flags)
    assert status == 1 and sentence in error and not out


def test_what_is_no_run(many, pets, cli, tmp_path):
    (tmp_path / "probe.skops").write_bytes(b"")
    for network in ("resnet34", many.folder / "model.keras", "probe.skops"):
        status, out, error = cli("predict", network, pets, "--sets", 0.9)
        assert status == 2 and f"give a run folder, not {network}." in error
    status, out, error = cli("predict", many.folder, pets, "--reject", 95)
    assert status == 2 and "0<x<1" in error
    with pytest.raises(ValueError, match="reject must be between 0 and 1, as 0.9, not 95"):
        many.predict(str(pets), reject=95)


@pytest.mark.parametrize("content", [None, [], {"confidences": [1.0], "hits": [], "label_probabilities": []}])
def test_an_older_run_and_a_damaged_one(many, pets, cli, content):
    path = many.folder / runs.CALIBRATION
    path.unlink() if content is None else write(path, content)
    status, out, error = cli("predict", many.folder, pets, "--reject", 0.9)
    assert status == 1 and ("has no calibration.json" if content is None else "is damaged: train the run") in error
    assert cli("predict", many.folder, pets)[0] == 0
