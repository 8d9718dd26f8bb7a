"""`transferkit data`: previews show the views of the network, and colour axes are fitted to the pictures."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import transferkit as tk
from transferkit.data import contact_sheet, pipeline
from transferkit.data.augment import augmentation, pca_axes
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.listing import list_images
from transferkit.data.sources.resolve import find_splits
from transferkit.pixels import Pixels


def test_a_preview_shows_evaluation_then_training(cli, pets, tmp_path):
    words = ("--augment", "crop(0.3) | flip", "--size", 96, "--fit", "crop", "--views", 3)
    status, out, err = cli("data", "preview", pets, *words)
    assert (status, out) == (0, "") and "4 pictures at 96, 3 views of each with crop(0.3) | flip" in err
    found = np.asarray(Image.open(tmp_path / "preview.png"))
    assert found.shape == (
        4 * (96 + contact_sheet.LINE_HEIGHT + contact_sheet.GAP) + contact_sheet.LINE_HEIGHT + contact_sheet.GAP,
        4 * 102 + contact_sheet.GAP,
        3,
    )
    some, pixels = contact_sheet.sample_per_class(list_images(pets), 2), Pixels().with_size(96)
    ((plain, _),) = pipeline.evaluation_dataset(some.paths, pixels, batch_size=4).as_numpy_iterator()
    source = pipeline.ViewSource(some, pixels, augmentation.parse_augmentation("crop(0.3) | flip"))
    columns = pipeline.preview_dataset(source, seed=0, epochs=range(3))
    for column, pictures in enumerate([plain, *(pictures for pictures, _ in columns.as_numpy_iterator())]):
        for row in range(4):
            top, left = (
                contact_sheet.LINE_HEIGHT + row * (96 + contact_sheet.LINE_HEIGHT + contact_sheet.GAP),
                contact_sheet.GAP + column * (96 + contact_sheet.GAP),
            )
            assert np.array_equal(found[top : top + 96, left : left + 96], pictures[row])


@pytest.mark.parametrize("channels", [1, 4])
def test_a_preview_of_other_channels(cli, tmp_path, channels):
    """Grey is grey; alpha, in all views, lets the white of the sheet through."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        pixels = np.dstack((rng.integers(0, 200, (96, 96, 3)), np.full((96, 96), 255))).astype("uint8")
        pixels[:, 48:, 3] = 0  # the right half is transparent
        Image.fromarray(pixels).save(tmp_path / "shapes" / name / "0.png")
    words = ("--size", 96, "--views", 2, "--augment", "jitter", "--channels", channels)
    assert cli("data", "preview", "shapes", *words)[0] == 0
    found = np.asarray(Image.open(tmp_path / "preview.png"))
    some, wanted = list_images(tmp_path / "shapes"), Pixels().with_size(96).with_channels(channels)
    ((plain, _),) = pipeline.evaluation_dataset(some.paths, wanted, batch_size=2).as_numpy_iterator()
    source = pipeline.ViewSource(some, wanted, augmentation.parse_augmentation("jitter"))
    columns = pipeline.preview_dataset(source, seed=0, epochs=range(2))
    assert plain.shape[-1] == channels and (channels == 1 or plain[..., 3].min() == 0)
    for column, pictures in enumerate([plain, *(pictures for pictures, _ in columns.as_numpy_iterator())]):
        for row in range(2):
            top, left = (
                contact_sheet.LINE_HEIGHT + row * (96 + contact_sheet.LINE_HEIGHT + contact_sheet.GAP),
                contact_sheet.GAP + column * (96 + contact_sheet.GAP),
            )
            cell = found[top : top + 96, left : left + 96]
            if channels == 1:
                assert np.array_equal(cell, np.repeat(pictures[row], 3, 2))
            else:
                alpha = pictures[row][..., 3:] / 255
                shown = alpha * pictures[row][..., :3] + (1 - alpha) * 255
                assert np.abs(cell - shown).max() <= 1 and (cell[:, 60:] == 255).all() and cell[:, :40].mean() < 180


def test_a_preview_shows_the_training_views(pets):
    """Picture by picture, epoch by epoch, but for the order."""
    listing, pixels, steps = (
        list_images(pets),
        Pixels().with_size(32),
        augmentation.parse_augmentation("crop(0.3) | flip | jitter"),
    )
    source, order = pipeline.ViewSource(listing, pixels, steps), EpochOrder(listing.labels, len(listing), 5, range(2))
    shown = pipeline.preview_dataset(source, seed=5, epochs=range(2))
    trained = pipeline.training_dataset(source, order)
    for (ours, _), (theirs, _) in zip(shown, trained, strict=True):
        assert {p.tobytes() for p in ours.numpy()} == {p.tobytes() for p in theirs.numpy()}


def test_a_preview_shows_what_the_rules_of_a_training_choose(cli, pets, tmp_path):
    """Signs of 8 pixels are not mirrored, and wide pictures are squashed; an option is taken as it is."""
    for name, shape in {"small": (8, 8), "wide": (100, 200)}.items():
        for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (10, *shape, 3))):
            path = tmp_path / name / ("cat", "dog")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype("uint8")).save(path)

    def choose(name, *words):
        found = json.loads(cli("data", "preview", name, "--views", 1, "--json", *words)[1])
        said = cli("data", "preview", name, "--views", 1, *words)[2]
        return [found[knob] for knob in ("augment", "size", "fit")], said.count("\n--")

    small = 128 if tf.config.list_physical_devices("GPU") else 64
    assert choose("small") == (["crop(0.7)", small, "crop"], 3)
    assert choose("wide") == (["crop(0.5) | flip", 224, "squash"], 3)
    assert choose("small", "--augment", "flip", "--size", 32) == (["flip", 32, "crop"], 1)
    plan = json.loads(
        cli("finetune", "--base", "resnet18", "--weights", "none", "--data", "small", "--dry-run", "--json")[1]
    )
    assert {choice["knob"]: choice["value"] for choice in plan["chosen"]}.items() >= {
        "augment": "crop(0.7)",
        "size": small,
        "fit": "crop",
    }.items()


def test_a_preview_leaves_out_no_class(cli, tmp_path):
    for label in "abc":
        (tmp_path / "shapes" / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.zeros((32, 32, 3), "uint8")).save(tmp_path / "shapes" / label / f"{number}.png")
    found = json.loads(cli("data", "preview", "shapes", "--views", 1, "--each", 3, "--most", 5, "--json")[1])
    assert [path.split("/")[-2] for path in found["pictures"]] == ["a", "b", "c"]


def test_a_preview_skips_unreadable_pictures(cli, pets, tmp_path):
    folder = tmp_path / "some"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.jpg").write_bytes((pets / name / "000.jpg").read_bytes())
        (folder / name / "1.jpg").write_text("no picture")
    status, _, _ = cli("data", "preview", folder, "--size", 32, "--augment", "crop | mixup(1)", "--out", "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert status == 0 and image.height == 2 * (96 + contact_sheet.LINE_HEIGHT + contact_sheet.GAP) + 22
    for name in ("cat", "dog"):
        (folder / name / "0.jpg").write_text("no picture")
    status, _, err = cli("data", "preview", folder)
    assert (status, err) == (1, f"Looking at 4 pictures in {folder} ...\nError: None of the 4 pictures can be read.\n")


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--augment", "flop"), "No augmentation is called 'flop'. Did you mean 'flip'?"),
        (("--out", "sheet.gif"), "--out must end in .png, .jpg or .jpeg, not 'sheet.gif'."),
        (("--pca", "gone.json"), "File 'gone.json' does not exist."),
        (("--channels", "2"), "'2' is not one of '1', '3', '4'."),
    ],
)
def test_invalid_preview_options_are_refused(cli, pets, words, sentence):
    status, _, err = cli("data", "preview", pets, *words)
    assert status == 2 and sentence in err


@pytest.fixture
def list_csv(pets, tmp_path):
    """A list whose columns have to be named."""
    lines = [f"{path},{path.parent.name},train" for path in sorted(pets.rglob("*.jpg"))]
    (tmp_path / "list.csv").write_text("\n".join(["shot,beast,side", *lines]))
    return "list.csv"


@pytest.mark.parametrize("words", [("preview", "--size", 32, "--views", 1), ("pca", "--most", 2)])
def test_a_list_whose_columns_are_named(cli, list_csv, words):
    columns = ("--image-col", "shot", "--label-col", "beast", "--split-col", "side")
    status, out, _ = cli("data", *words, list_csv, *columns, "--json")
    assert status == 0 and json.loads(out)["pictures"]
    status, _, err = cli("data", *words, list_csv, *columns, "--data-dir", ".")
    assert status == 1 and err == "Error: --data-dir is for tfds:NAME, and list.csv is not.\n"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_must_be_finite(cli, pets, number):
    for words in (("data", "pack", pets, "--out", "new", "--shard-mb"), ("finetune", "--data", pets, "--lr")):
        status, _, err = cli(*words, number)
        assert status == 2 and number in err and ("is not a finite number" in err or "is not in the range" in err)


def test_pack_overwrites_no_file(cli, pets, tmp_path):
    (tmp_path / "packed").touch()
    status, _, err = cli("data", "pack", pets, "--out", "packed")
    assert status == 2 and "'packed' is a file" in err and (tmp_path / "packed").is_file()


def test_axes_are_those_of_the_covariance():
    mixing = np.array([[40, 10, 3], [38, -2, -5], [35, -12, 4]])
    pixels = (
        (np.random.default_rng(0).normal(size=(4, 50, 50, 3)) @ mixing.T + 128).round().clip(0, 255).astype("uint8")
    )
    found = pca_axes.fit_axes([pixels[:1], pixels[1:]])
    covariance = np.cov(pixels.reshape(-1, 3).T / 255, ddof=0)
    vectors, values = np.array(found.vectors), np.array(found.values)
    assert np.allclose(vectors @ np.diag(values) @ vectors.T, covariance, atol=1e-9)
    assert (np.diff(values) < 0).all() and found.pictures == 4
    assert np.allclose(found.shifts(), 255 * vectors * values)
    # scale-free: the covariance of the very pixels, of 0 to 255
    assert np.allclose(found.deviations() @ found.deviations().T, np.cov(pixels.reshape(-1, 3).T, ddof=0), atol=1e-4)


def test_imagenets_axes_are_orthonormal():
    vectors = np.array(pca_axes.IMAGENET.vectors)
    assert np.allclose(vectors.T @ vectors, np.eye(3), atol=5e-4)
    assert np.allclose(np.linalg.norm(pca_axes.IMAGENET.shifts(), axis=0), (55.46, 4.794, 1.148), atol=5e-3)


@pytest.mark.slow
def test_fitted_axes_go_into_training(cli, pets, tiny, tmp_path):
    status, out, err = cli("data", "pca", pets)
    assert status == 0 and "eigenvalue" in out and "axes of 24 pictures" in err
    status, out, _ = cli("data", "pca", pets, "--json", "--out", "again.json")
    answer = json.loads(out)
    assert (tmp_path / "pca.json").read_text() == (tmp_path / "again.json").read_text()
    fitted = pca_axes.load_axes("again.json")
    assert fitted.values == tuple(answer["values"]) and answer["pictures"] == 24
    ours = augmentation.parse_augmentation("pca_jitter", fitted).ops[0].keywords["axes"]
    assert ours == fitted != pca_axes.IMAGENET == augmentation.parse_augmentation("pca_jitter").ops[0].keywords["axes"]
    assert augmentation.parse_augmentation("pca_jitter_std", fitted).ops[0].keywords["axes"] == fitted
    parts = find_splits(pets)
    knobs = {"weights": "none", "size": 32, "batch_size": 8, "epochs": 1, "head_epochs": 0, "lr": 0.01}
    steps = "crop | flip | pca_jitter(0.1) | rand_augment | mixup | cutmix"
    run = tk.finetune(tiny, parts.train, parts.val, augment=steps, pca="pca.json", label_smoothing=0.1, **knobs)
    assert run.recipe.augment.pca == str(tmp_path / "pca.json")
    with open(run.folder / "history.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert 0 <= float(row["accuracy"]) <= 1 and float(row["loss"]) > 0


@pytest.mark.parametrize("content", ["text", "[]", '{"values": [1, 2]}', '{"values": [0.1, 0.1, "x"], "vectors": []}'])
def test_files_without_axes_are_refused(cli, pets, tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    status, _, err = cli("data", "preview", pets, "--pca", "bad.json")
    sentence = "bad.json does not hold axes of colour: expected the file that `transferkit data pca` writes."
    assert (status, err) == (1, f"Error: {sentence}\n")


def test_pictures_of_one_colour_have_no_axes(cli, pets, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "plain" / name).mkdir(parents=True)
        Image.new("RGB", (300, 200), (90, 120, 30)).save(tmp_path / "plain" / name / "0.png")
    said = "are all of one colour, so pca_jitter and pca_jitter_std have no effect with pca.json"
    assert [said in " ".join(cli("data", "pca", data)[2].split()) for data in ("plain", pets)] == [True, False]


def test_no_picture_has_no_axes():
    with pytest.raises(ValueError, match="no picture that can be read"):
        pca_axes.fit_axes([])
