"""Exported files answer as the network does, hold their labels, and are not kept if they do not."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit.exchange import check_pictures
from transferkit.exchange import export as exporting
from transferkit.exchange.classifier import FitPictures
from transferkit.exchange.requests import name_file
from transferkit.exchange.resizing import fit_pictures
from transferkit.exchange.run_file import load_onnx
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.pixels import INTERPOLATIONS, Pixels

LARGEST = {"bilinear": 1, "bicubic": 4}  # difference of 255 from Pillow, which cuts off what overshoots between passes


def picture(height, width, seed=0):
    """Smooth structure and noise, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (9, 12, 3), "uint8"))
    large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), "int16")
    return np.clip(large + random.integers(-20, 21, large.shape), 0, 255).astype("uint8")


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("height", "width"), [(97, 301), (300, 120), (40, 31), (64, 64)])
def test_the_resize_of_the_graph_is_that_of_pillow(height, width, interpolation):
    given, pixels = picture(height, width), Pixels(crop=64, fit="squash", interpolation=interpolation)
    method = getattr(Image.Resampling, interpolation.upper())
    expected = np.asarray(Image.fromarray(given).resize((64, 64), method), "int16")
    apart = np.abs(np.asarray(fit_pictures(given[None], pixels))[0] - expected)
    assert apart.max() <= LARGEST[interpolation]
    assert apart.mean() < 0.25  # the order in which rows and columns are rounded depends on Pillow's version


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("crop", [48, (40, 56)])
@pytest.mark.parametrize(("height", "width"), [(97, 301), (300, 121), (41, 30)])
def test_crop_and_padding_are_those_of_predict(fit, crop, height, width, pets_network):
    pixels = Pixels(crop=crop, resize=54, fit=fit)
    network = Network(pets_network.model, pixels, pets_network.classes, pets_network.head, "test")
    given = picture(height, width)
    expected = check_pictures.fit_as_pillow(given, network).astype("int16")
    apart = np.abs(np.asarray(fit_pictures(given[None], pixels))[0] - expected)
    assert apart.max() <= 1
    assert apart.mean() < 0.25


@pytest.fixture(scope="session")
def pets_network(finished):
    return finished.network


@pytest.fixture(scope="session")
def onnx_file(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "pets.onnx"
    return path, exporting.export(finished.folder, path, to="onnx")


def test_an_onnx_file_answers_as_the_run(finished, onnx_file):
    path, found = onnx_file
    assert found.accuracy == found.keras_accuracy
    assert found.largest_difference < 0.01
    run, paths = load_onnx(str(path)), list(finished.held_out.paths)[:4]
    for row in finished.predict(paths, top=10):
        pixels = np.asarray(Image.open(row["path"]).convert("RGB"))[None]
        own = dict(row["top"])
        expected = [own[name] for name in finished.classes]
        np.testing.assert_allclose(run(pixels)[0], expected, atol=0.02)


def test_an_onnx_file_takes_several_pictures_of_any_size(onnx_file):
    run = load_onnx(str(onnx_file[0]))
    assert run(np.zeros((3, 20, 50, 3), "uint8")).shape[0] == 3


def test_an_onnx_file_holds_its_labels(finished, onnx_file):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_file[0]), providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["labels"].splitlines() == list(finished.classes)


def test_half_precision_halves_an_onnx_file(finished, onnx_file, tmp_path):
    found = exporting.export(finished.folder, tmp_path / "half.onnx", to="onnx", dtype="float16")
    assert found.agreement == 1
    weights = sum(weight.shape.num_elements() for weight in finished.network.model.weights if len(weight.shape) > 1)
    saved = 1e6 * (onnx_file[1].megabytes - found.megabytes)
    assert saved == pytest.approx(2 * weights, rel=0.35)  # besides names, and what was folded


def test_a_file_that_answers_otherwise_is_not_kept(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(FitPictures, "call", lambda self, pictures: 255 - fit_pictures(pictures, self.pixels))
    with pytest.raises(ValueError, match="is not kept"):
        exporting.export(finished.folder, tmp_path / "wrong.onnx", to="onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # each starts TensorFlow twice
@pytest.mark.parametrize(("to", "name"), [("keras", "pets.keras"), ("savedmodel", "pets")])
def test_files_for_tensorflow_answer_as_the_run(finished, tmp_path, to, name):
    found = exporting.export(finished.folder, tmp_path / name, to=to)
    assert found.largest_difference < 0.01
    if to == "savedmodel":
        assert (tmp_path / "pets/assets/labels.txt").read_text("utf-8").splitlines() == list(finished.classes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_litert_file_answers_as_the_run(finished, tmp_path, dtype):
    pytest.importorskip("ai_edge_litert")
    found = exporting.export(finished.folder, tmp_path / "pets.tflite", to="litert", dtype=dtype)
    assert found.accuracy >= found.keras_accuracy - 0.02
    with zipfile.ZipFile(tmp_path / "pets.tflite") as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(finished.classes)


def test_int8_is_calibrated_on_pictures_that_do_not_check_it(finished, pets):
    own = check_pictures.find_pictures(finished.folder, finished.network, calibrate=True)
    assert (len(own.arrays), len(own.calibration)) == (len(finished.splits.val), len(finished.splits.train))
    halves = check_pictures.find_pictures(finished.folder, finished.network, str(pets), calibrate=True)
    assert len(halves.arrays) == len(halves.labels) == len(halves.calibration) == 12
    for found in (own, halves):
        assert not {view.tobytes() for view in found.views} & {view.tobytes() for view in found.calibration}


@pytest.mark.parametrize(("pictures", "lost", "kept"), [(35, 1, True), (35, 2, False), (200, 4, True), (200, 5, False)])
@pytest.mark.parametrize("labelled", [True, False])
def test_int8_may_lose_two_points_or_one_picture(pictures, lost, kept, labelled):
    right = 1 - lost / pictures
    accuracies = {"accuracy": right, "keras_accuracy": 1.0} if labelled else {"accuracy": None, "keras_accuracy": None}
    figures = {"megabytes": 1.0, "pictures": pictures, "largest_difference": 0.2, "agreement": right, **accuracies}
    found = exporting.Export(path="a.tflite", target="litert", dtype="int8", milliseconds=1.0, **figures)
    if kept:
        exporting._refuse_wrong(found)
    else:
        with pytest.raises(ValueError, match="is not kept"):
            exporting._refuse_wrong(found)


def test_pictures_of_other_classes_check_a_file_without_an_accuracy(finished, tmp_path):
    other = tmp_path / "other" / "bird"
    other.mkdir(parents=True)
    Image.fromarray(picture(40, 50)).save(other / "1.png")
    found = check_pictures.find_pictures(finished.folder, finished.network, str(tmp_path / "other"))
    assert found.labels is None
    assert len(found.arrays) == 1


def test_default_names():
    assert name_file("runs/pets/", "onnx") == "pets.onnx"
    assert name_file("resnet18(stem=small)", "litert") == "resnet18-stem-small.tflite"
    assert name_file("nets/mine.keras", "savedmodel") == "mine-savedmodel"


def test_the_command_prints_what_was_measured(cli, finished):
    status, printed, _ = cli("export", finished.folder, "--to", "onnx", "--out", "pets.onnx", "--json")
    figures = json.loads(printed)
    assert not status
    assert figures["agreement"] == 1
    assert figures["megabytes"] > 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--to", "onxx"), "onnx"),
        (("--to", "onnx", "--dtype", "int8"), "float32 or float16"),
        (("--to", "onnx", "--out", "pets.tflite"), "ends in .onnx"),
        (("--to", "onnx", "--out", "nowhere/pets.onnx"), "no folder"),
    ],
)
def test_wrong_requests(cli, finished, args, message):
    status, _, said = cli("export", finished.folder, *args)
    assert status == 2
    assert message in said


def test_a_file_that_exists_is_kept(cli, finished, tmp_path):
    (tmp_path / "pets.onnx").write_text("mine")
    status, _, said = cli("export", finished.folder, "--to", "onnx", "--out", "pets.onnx")
    assert status
    assert "exists" in said
    assert (tmp_path / "pets.onnx").read_text() == "mine"


def test_a_missing_runtime_names_the_extra(cli, finished, monkeypatch):
    monkeypatch.setattr("transferkit.exchange.requests.find_spec", lambda name: None)
    status, _, said = cli("export", finished.folder, "--to", "litert")
    assert status == 2
    assert "transferkit[litert]" in said


def test_int8_needs_pictures_to_calibrate_by(tmp_path):
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(UnknownName, match="at least 20"):
        tk.export("efficientnet_lite0", tmp_path / "lite.tflite", to="litert", dtype="int8")
