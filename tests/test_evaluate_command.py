"""`transferkit evaluate`: ensembles, views, groups, slices, the gate, and the folder of results."""

import csv
import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from pictures import folder, photo
from scipy.special import softmax

import transferkit as tk
from transferkit.commands import evaluate as evaluate_command
from transferkit.commands import shift_output
from transferkit.evaluation import ensemble, multi_view, predict
from transferkit.evaluation.ensemble import Views, order_classes, predict_probabilities
from transferkit.evaluation.metrics import wilson_interval


@pytest.fixture
def new(tmp_path):
    """Pictures that no run knows."""
    return folder(tmp_path / "new", {"cat": 4, "dog": 6})


def answered(cli, *words):
    status, out, err = cli("evaluate", *words, "--json")
    assert status == 0, err
    return json.loads(out)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def reversed_network(network):
    """The same network with its classes in the other order."""
    model = keras.models.clone_model(network.model)
    model.set_weights(network.model.get_weights())
    kernel, bias = model.get_layer(network.head).get_weights()
    model.get_layer(network.head).set_weights([kernel[:, ::-1], bias[::-1]])
    return replace(network, model=model, classes=network.classes[::-1])


def test_an_ensemble_matches_classes_by_name(finished, pets):
    paths = [str(path) for path in sorted(pets.glob("*/*"))][::3]
    alone, rows = predict_probabilities([finished.network], paths)
    other = reversed_network(finished.network)
    assert predict_probabilities([other], paths)[0] == pytest.approx(alone[:, ::-1], abs=1e-4)
    both, both_rows = predict_probabilities([finished.network, other], paths)
    assert both == pytest.approx(alone, abs=1e-4) and np.array_equal(rows, both_rows)
    assert np.abs(alone - 0.5).max() > 0.1


def test_an_ensemble_averages_probabilities(finished, pets, monkeypatch):
    """And a picture that one network cannot read has none."""
    random = np.random.default_rng(0)
    outputs = [(softmax(random.normal(size=(n, 2)), 1), rows) for n, rows in ((3, [0, 1, 2]), (2, [0, 2]))]
    given = iter(outputs)
    monkeypatch.setattr(ensemble, "_predict_views", lambda *_: next(given))
    found, rows = predict_probabilities([finished.network] * 2, ["a", "b", "c"])
    assert rows.tolist() == [0, 2] and found == pytest.approx((outputs[0][0][[0, 2]] + outputs[1][0]) / 2)


def test_networks_of_other_classes_are_refused():
    assert order_classes(["cat", "guinea pig"], ["Guinea_Pig", "cat"], "b") == [1, 0]
    with pytest.raises(ValueError, match="same classes, and runs/b lacks 'cat' and has also 'cow'"):
        order_classes(["cat", "dog"], ["cow", "dog"], "runs/b")


def test_crops_are_those_of_the_papers(cli, finished, new):
    assert tuple(multi_view.CROPS) == evaluate_command.CROPS
    found = answered(cli, finished.folder, "--data", new, "--crops", "10")
    listing = tk.list_images(new)
    expected, _ = multi_view.predict_crops(finished.network, listing.paths, "10")
    chances = expected[np.arange(10), list(listing.labels)]
    assert found["loss"] == pytest.approx(-np.log(chances).mean(), rel=1e-4) and found["crops"] == "10"
    assert finished.evaluate(new, crops=10)["loss"] == pytest.approx(found["loss"], rel=1e-4)
    assert abs(found["loss"] - answered(cli, finished.folder, "--data", new)["loss"]) > 1e-4
    with pytest.raises(tk.UnknownName, match="No number of crops is called '7'"):
        finished.evaluate(new, crops=7)


def test_dense_evaluation(cli, finished, new):
    found = answered(cli, finished.folder, "--data", new, "--dense", "--scales", "36,48")
    paths = tk.list_images(new).paths
    views = Views(scales=(36, 48))
    expected, _ = predict_probabilities([finished.network], paths, views)
    assert found["accuracy"] == (expected.argmax(1) == tk.list_images(new).labels).mean()
    assert (found["scales"], found["n"]) == ([36, 48], 10)


def test_groups_and_slices(cli, finished, new):
    lines = [f"new/{p.parent.name}/{p.name},{p.parent.name},{i % 3},k" for i, p in enumerate(sorted(new.glob("*/*")))]
    (new.parent / "list.csv").write_text("\n".join(["path,label,camera,kind", *lines]))
    words = (finished.folder, "--data", "list.csv", "--group-by", "camera", "--slice", "camera", "--slice", "size")
    found = answered(cli, *words)
    assert found["groups"] == 3
    assert {row["value"]: row["n"] for row in found["slices"]["camera"]} == {"0": 4, "1": 3, "2": 3}
    assert [(row["value"], row["n"]) for row in found["slices"]["size"]] == [("36", 10)]
    for rows in found["slices"].values():
        assert sum(row["accuracy"] * row["n"] for row in rows) == pytest.approx(found["accuracy"] * 10)
    assert found["ci95"] == pytest.approx(wilson_interval(3, 3)), "all are right, so groups count as pictures"
    lines = cli("evaluate", *words)[1].splitlines()
    assert "intervals are over 3 groups" in lines and max(len(line) for line in lines if "unlike" not in line) <= 80
    assert any(line.startswith("size (shorter side, pixels)") for line in lines)
    assert answered(cli, finished.folder, "--data", new, "--group-by", r"(\d)\.jpg")["groups"] == 6
    assert answered(cli, finished.folder, "--group-by", r"(\w+)/\d+\.jpg")["groups"] == 2


def test_pictures_of_one_class(cli, finished, new):
    shutil.rmtree(new / "dog")
    status, out, _ = cli("evaluate", finished.folder, "--data", new)
    assert status == 0 and "all pictures are of one class: ROC-AUC and average precision need two" in out


def test_pictures_of_a_class_that_the_network_does_not_know(cli, finished, new):
    (new / "dog").rename(new / "cow")
    status, out, err = cli("evaluate", finished.folder, "--data", new)
    assert (status, out) == (1, "") and "cow" in err and "Traceback" not in err


@pytest.mark.parametrize("words", [["--crops", "10"], ["--crops", "144"], ["--dense", "--scales", "32,48"]])
def test_pictures_smaller_than_the_crop(cli, finished, tmp_path, words):
    """And some that are far longer than wide: they are enlarged as for a training."""
    root = folder(tmp_path / "small", {"cat": 1, "dog": 1})
    for name, size in (("cat/small", (20, 20)), ("dog/one", (1, 1)), ("dog/long", (3000, 2)), ("cat/high", (2, 3000))):
        photo(*size).save(root / f"{name}.png")
    found = answered(cli, finished.folder, "--data", root, *words)
    assert (found["n"], found["unreadable"]) == (6, 0)


def test_the_calibration_error_without_the_temperature(cli, finished, new):
    listing = tk.list_images(new)
    expected = predict.evaluate(finished.network, listing)[0]
    found = answered(cli, finished.folder, "--data", new)
    assert found["temperature"] == finished.network.temperature != 1
    assert found["ece_uncalibrated"] == pytest.approx(expected["ece_uncalibrated"], abs=1e-6)
    assert f"{found['ece_uncalibrated']:.3f} without" in cli("evaluate", finished.folder, "--data", new)[1]
    assert "temperature" not in answered(cli, finished.folder, "--data", new, "--crops", "5")


def test_slices_are_of_unseen_pictures(cli, finished, pets):
    found = answered(cli, finished.folder, "--data", pets, "--slice", "brightness")
    assert "confusion" not in found | found["unseen"]
    assert found["unseen"]["n"] == 4 and sum(row["n"] for row in found["slices"]["brightness"]) == 4


def test_the_folder_of_results(cli, finished, new, tmp_path):
    words = (finished.folder, "--data", new, "--out", "found")
    document = answered(cli, *words)
    assert json.loads((tmp_path / "found" / "metrics.json").read_text()) == document
    names = {path.name for path in (tmp_path / "found").iterdir()} - {"mistakes.png"}
    assert names == {
        *("metrics.json", "predictions.csv", "probabilities.csv", "confusion.csv"),
        *("confusion.png", "confusion_normalised.png", "reliability.png", "report.html"),
    }
    rows = rows_of(tmp_path / "found" / "predictions.csv")
    assert np.mean([row["label"] == row["predicted"] for row in rows]) == document["accuracy"]
    for row, chances in zip(rows, rows_of(tmp_path / "found" / "probabilities.csv"), strict=True):
        assert row["path"] == chances["path"]
        assert max(("cat", "dog"), key=lambda name: float(chances[name])) == row["predicted"]
    matrix = rows_of(tmp_path / "found" / "confusion.csv")
    assert [[int(row[name]) for name in ("cat", "dog")] for row in matrix] == document["confusion"]
    assert "found exists" in cli("evaluate", *words)[2]
    assert cli("evaluate", *words, "--overwrite")[0] == 0
    for kept in (new, finished.folder):
        status, _, err = cli("evaluate", finished.folder, "--out", kept, "--overwrite")
        assert (status, "did not write it" in err, kept.exists()) == (1, True, True)


def test_the_gate(cli, finished, new):
    accuracy = answered(cli, finished.folder, "--data", new)["accuracy"]
    assert cli("evaluate", finished.folder, "--data", new, "--min-accuracy", accuracy)[0] == 0
    relabelled = new.parent / "swapped"
    (relabelled / "cat").parent.mkdir()
    shutil.copytree(new / "dog", relabelled / "cat")
    shutil.copytree(new / "cat", relabelled / "dog")
    status, out, err = cli("evaluate", finished.folder, "--data", relabelled, "--min-accuracy", "0.99")
    assert (status, "pictures" in out) == (1, True) and "below the wanted 0.99" in err


def test_corruptions_are_named_in_a_list():
    assert shift_output.parse_corruptions("noise, blur,noise") == ("noise", "blur")


def test_many_classes_are_shortened():
    from transferkit.commands import evaluation_output

    scores = {f"class {i}": {"precision": 1, "recall": 1, "f1": i / 30, "roc_auc": None, "n": 2} for i in range(30)}
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_output, "print_line", lines.append)
        patch.setattr("transferkit.console.table", lambda title, columns, rows, on: lines.extend(r[0] for r in rows))
        evaluation_output._print_classes(scores)
    assert lines == ["the 20 classes of 30 with the least F1:", *(f"class {i}" for i in range(20))]


def test_a_run_whose_pictures_are_gone(cli, finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    text = (tmp_path / "run" / "split.csv").read_text()
    (tmp_path / "run" / "split.csv").write_text(text.replace("/pets/", "/gone/"))
    status, _, err = cli("evaluate", "run")
    assert status == 2 and "None of the 4 pictures that run held out is there any more" in err
    status, _, err = cli("evaluate", "run", finished.folder)
    assert status == 1 and "held out no picture in common" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--crops", "10", "--dense"], "omit --crops 10"),
        (["--scales", "64"], "add --dense"),
        (["--dense", "--scales", "64,x"], "not '64,x'"),
        (["--dense", "--scales", "64,9000"], "not in the range of 1 to 4096"),
        (["--min-accuracy", "90"], "did you mean 0.9?"),
        (["--min-accuracy", "nan"], "not a finite number"),
        (["--slice", "brightnes"], "Did you mean 'brightness'?"),
        (["--corrupt", "noise,blurr"], "Did you mean 'blur'?"),
    ],
)
def test_wrong_usage(cli, finished, words, sentence):
    status, out, err = cli("evaluate", finished.folder, *words)
    assert (status, out) == (2, "") and sentence in " ".join(err.split())
