"""`transferkit explain` as a user types it."""

import json

import keras
import pytest
from PIL import Image

from transferkit.commands import explain


def size(path):
    with Image.open(path) as image:
        return image.size


def test_a_sheet_of_a_folder_and_its_json(cli, finished, pets, tmp_path):
    status, out, _ = cli("explain", finished.folder, pets / "dog", "--out", "why.png", "--class", "dog", "--json")
    document = json.loads(out)
    assert status == 0 and document["files"] == ["why.png"] and document["errors"] == {}
    assert len(document["explanations"]) == 12
    row = document["explanations"][0]
    assert row["class"] == "dog" and row["layer"] == "stage2" and row["shape"] == [8, 8]
    assert 0 <= row["probability"] <= 1 and row["lowest"] >= 0
    one, three = "one.png", "three.png"
    files = sorted(map(str, pets.rglob("*.jpg")))
    assert cli("explain", finished.folder, files[0], "--out", one)[0] == 0
    assert cli("explain", finished.folder, *files[:3], "--out", three)[0] == 0
    assert size(tmp_path / three)[1] > 2 * size(tmp_path / one)[1]  # a row for each


def test_a_folder_has_a_file_for_each_picture(cli, finished, pets, tmp_path):
    files = sorted(pets.rglob("*.jpg"))[:2]
    status, out, _ = cli("explain", finished.folder, *files, "--method", "activations", "--out", "found")
    assert status == 0 and "stage1" in out and "stage2" in out
    names = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert names == [f"{n}-{file.stem}-activations.png" for n, file in enumerate(files, start=1)]


def test_a_deconvnet_is_a_strip_of_a_picture_and_a_sheet_of_a_folder(cli, finished, pets, tmp_path):
    picture = sorted(pets.rglob("*.jpg"))[0]
    status, out, _ = cli("explain", finished.folder, picture, "--method", "deconvnet", "--json")
    (row,) = json.loads(out)["explanations"]
    assert status == 0 and len(row["maps"]) == 8 and row["shape"] == [8, 32, 32, 3]
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    status, out, err = cli("explain", finished.folder, pets, "bad.jpg", "--method", "deconvnet", "--unit", 3, "--json")
    document = json.loads(out)
    (row,) = document["explanations"]
    assert status == 0 and row["class"] == "map 3" and len(row["pictures"]) == 9 and "bad.jpg cannot be read" in err
    assert list(document["errors"]) == ["bad.jpg"] and (tmp_path / "explain-deconvnet.png").is_file()
    status, out, err = cli("explain", "lenet5", "--weights", "none", picture, "--method", "deconvnet")
    assert (status, out) == (2, "") and "no way back through features.squash1.tanh" in " ".join(err.split())


def test_one_layer_of_activations(cli, finished, pets):
    words = (*sorted(pets.rglob("*.jpg"))[:2], "--method", "activations", "--layer", "stage1", "--json")
    status, out, _ = cli("explain", finished.folder, *words)
    assert status == 0 and [row["shape"] for row in json.loads(out)["explanations"]] == [[16, 16, 8]] * 2


def test_methods_without_pictures(cli, finished, tmp_path):
    assert cli("explain", finished.folder, "--method", "filters")[0] == 0
    assert (tmp_path / "explain-filters.png").is_file()
    words = ("--method", "maximise", "--layer", "stage1", "--unit", 3, "--n-steps", 2, "--out", "made.png")
    status, out, _ = cli("explain", finished.folder, *words)
    assert status == 0 and "map 3" in out and (tmp_path / "made.png").is_file()


def test_sanity_is_a_table_and_a_figure(cli, finished, pets, tmp_path):
    status, out, _ = cli("explain", finished.folder, sorted(pets.rglob("*.jpg"))[0], "--sanity", "--method", "saliency")
    assert status == 0 and "deletion" in out and "layer1.conv" in out and "turned by 180 degrees" in out
    assert (tmp_path / "explain-saliency-sanity.png").is_file()


def test_hits_and_misses_of_a_run(cli, finished, tmp_path):
    wrong = [row for row in finished.predictions if row["label"] != row["predicted"]]
    status, out, err = cli("explain", finished.folder, "--misses", 3, "--json")
    if wrong:
        assert status == 0 and len(json.loads(out)["explanations"]) == min(3, len(wrong))
    else:
        assert status == 1 and "has no misses among its 4 held-out pictures" in err
    status, out, _ = cli("explain", finished.folder, "--hits", 2, "--json")
    rows = json.loads(out)["explanations"]
    assert status == 0 and rows and all(row["true"] == row["class"] == row["predicted"] for row in rows)


@pytest.fixture
def no_maps(tmp_path):
    pictures = keras.Input((8, 8, 3))
    hidden = keras.layers.Dense(4, name="hidden")(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pictures)))
    keras.Model(pictures, keras.layers.Dense(2)(hidden), name="mlp").save(tmp_path / "mlp.keras")
    return tmp_path / "mlp.keras"


@pytest.mark.parametrize(
    "words, message",
    [
        (("PICTURE", "--layer", "fc"), "fc of tiny gives a vector of 2 numbers, not a map of height x width"),
        (("PICTURE", "--layer", "stge2"), "Did you mean 'stage2'"),
        (
            ("PICTURE", "--class", "dgo"),
            "No class of tiny (fresh) is called 'dgo'. Did you mean 'dog'? Known: cat, dog.",
        ),
        (("PICTURE", "--method", "occlusion", "--square", "33"), "larger than the picture of 32x32 pixels"),
        (("PICTURE", "--method", "gradcm"), "Did you mean 'gradcam'"),
        (("PICTURE", "--square", "5"), "gradcam takes no square: occlusion does"),
        (("PICTURE", "--method", "filters"), "filters needs no pictures: omit"),
        (("PICTURE", "--method", "activations", "--sanity"), "--sanity needs a method that gives heat maps"),
        (("PICTURE", "--misses", "3"), "--misses and --hits take the pictures of the run: omit"),
        (("PICTURE", "--out", "why.gif"), "--out must be a folder or end in .png, not 'why.gif'"),
        (("PICTURE", "--out", "nowhere/why.png"), "nowhere does not exist or is not writable"),
        ((), "Missing argument 'SOURCE...': gradcam explains pictures"),
        (("no.jpg",), "There is no folder or file 'no.jpg'"),
    ],
)
def test_wrong_usage_is_one_sentence(cli, finished, pets, words, message):
    picture = str(sorted(pets.rglob("*.jpg"))[0])
    status, out, err = cli("explain", finished.folder, *[picture if word == "PICTURE" else word for word in words])
    assert status == 2 and out == "" and "Traceback" not in err
    assert message in " ".join(err.split())


def test_networks_without_layers_or_maps(cli, no_maps, pets, tmp_path):
    picture = sorted(pets.rglob("*.jpg"))[0]
    status, _, err = cli("explain", no_maps, picture)
    assert status == 2 and "has no layer that gives a map" in err and "try --method saliency" in " ".join(err.split())
    assert cli("explain", no_maps, picture, "--method", "saliency")[0] == 0
    saved = tmp_path / "served"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"")
    status, _, err = cli("explain", saved, picture)
    assert status == 2 and "is a SavedModel, a program without layers to look into" in " ".join(err.split())


def test_pictures_that_cannot_be_read(cli, finished, pets, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    status, _, err = cli("explain", finished.folder, "bad.jpg")
    assert status == 1 and "The picture cannot be read: bad.jpg" in " ".join(err.split())
    status, out, err = cli("explain", finished.folder, "bad.jpg", sorted(pets.rglob("*.jpg"))[0], "--json")
    document = json.loads(out)
    assert status == 0 and list(document["errors"]) == ["bad.jpg"] and len(document["explanations"]) == 1


def test_a_sheet_says_that_it_is_not_all(cli, finished, pets, monkeypatch):
    monkeypatch.setattr(explain, "MOST_ROWS", 1)
    status, _, err = cli("explain", finished.folder, *sorted(pets.rglob("*.jpg"))[:2])
    assert status == 0 and "explain-gradcam.png has the first 1 of 2 pictures: --out FOLDER" in " ".join(err.split())
