"""Rectangular pictures: 192x320 is height 192 and width 320 wherever a size is given."""

import dataclasses
import json
import zipfile

import keras
import numpy as np
import pytest
from conftest import QUICK
from pictures import encoded
from PIL import Image, ImageOps
from test_geometry import ramp, smooth
from test_squash_and_pad import apart, evaluated, trained, windows

import transferkit as tk
from transferkit import models, recipe_files, rules, zoo
from transferkit.data import geometry
from transferkit.features.feature_spec import FeatureSpec
from transferkit.lookup import UnknownName
from transferkit.network import Network, with_size
from transferkit.pixels import Pixels, format_size, parse_size
from transferkit.recipe import Recipe
from transferkit.training.fitting import distillation

SHAPES = [(48, 80), (80, 48), (32, 96)]  # (height, width)
PICTURES = [(100, 80), (81, 113), (400, 40), (40, 400), (527, 600), (31, 40), (1, 1), (1301, 401)]
BAD = ["0x3", "192x", "x320", "axb", "192x320x3", "-192x320", "192 x 320", "19.2x32", "9" * 5000, "９６x96", ""]


def of_shape(height, width, **more) -> Pixels:
    return Pixels(**more).with_size(f"{height}x{width}")


def cropped(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Resized until it covers the rectangle, times 256 / 224, and the centre cut out."""
    resize = round(min(height, width) * 256 / 224)
    tall, wide = (side * resize // min(height, width) for side in (height, width))
    if picture.height * wide < picture.width * tall:  # too low for its width: the height decides
        size = (picture.width * tall // picture.height, tall)
    else:
        size = (wide, picture.height * wide // picture.width)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return picture.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + width, top + height))


def squashed(picture: Image.Image, height: int, width: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def padded(picture: Image.Image, height: int, width: int) -> Image.Image:
    return ImageOps.pad(picture, (width, height), Image.Resampling.BILINEAR, color=(124, 116, 104))


WAYS = {"crop": cropped, "squash": squashed, "pad": padded}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", WAYS)
def test_evaluation_is_pillows(fit, shape):
    for size in PICTURES:
        for form in ("PNG", "JPEG"):
            picture = smooth(*size)  # Pillow takes the vertical pass of the tall one first: a quarter is 1 off
            (found,) = evaluated(encoded(picture, form), of_shape(*shape, fit=fit))
            assert found.shape == (*shape, 3)
            assert apart(found, WAYS[fit](picture, *shape)) < (1.5 if form == "JPEG" else 0.25), (size, form)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_size_with_the_pictures_aspect_ratio_shows_all_of_it(shape):
    """Whatever the fit, where `resize` adds nothing."""
    picture = smooth(shape[1] * 5, shape[0] * 5)
    whole = squashed(picture, *shape)
    for fit in WAYS:
        pixels = Pixels(crop=shape, resize=min(shape), fit=fit)
        assert apart(evaluated(encoded(picture, "PNG"), pixels), whole) < 0.01
        assert apart(trained(encoded(picture, "PNG"), pixels), whole) < 1


def test_five_crops():
    picture = smooth(300, 200)
    large = picture.resize((100, 60), Image.Resampling.BILINEAR)
    boxes = [(0, 0), (20, 0), (0, 12), (20, 12), (10, 6)]
    crops = np.stack([np.asarray(large.crop((x, y, x + 80, y + 48)), float) for x, y in boxes])
    pixels = Pixels(crop=(48, 80), resize=60, fit="squash")
    assert apart(evaluated(encoded(picture, "PNG"), pixels, geometry.FIVE_CROPS), crops) < 0.2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_the_window_of_the_whole_picture_is_the_evaluation_view(fit, shape):
    for size in PICTURES[:-2]:
        for form in ("PNG", "JPEG"):
            data, pixels = encoded(ramp(*size), form), of_shape(*shape, fit=fit)
            assert apart(trained(data, pixels), evaluated(data, pixels)[0]) < 3.5, (size, form)


@pytest.mark.parametrize("step", ["alexnet_crop", "scale_crop(256, 480)", "crop(0.2, 1)"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_a_window_has_the_networks_aspect_ratio(fit, shape, step):
    for size in [(600, 500), (500, 600)]:
        for seed in range(20):
            y, x, height, width = windows(of_shape(*shape, fit=fit), step)(size, (seed, 0)).numpy()
            if fit == "crop":
                assert 0 <= y <= size[0] - height and 0 <= x <= size[1] - width
            if height < size[0] - 1 and width < size[1] - 1:  # else it may be cut to the picture
                assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)


def test_a_squashed_window_keeps_the_pictures_aspect_ratio():
    for seed in range(20):
        _, _, height, width = windows(of_shape(48, 80, fit="squash"), "crop(0.2, 1)")((300, 900), (seed, 0)).numpy()
        assert width / height == pytest.approx(3, rel=0.02)


def test_parsing_sizes():
    for size, shape in ((224, (224, 224)), ("192x320", (192, 320)), ("1x99999", (1, 99999))):
        assert parse_size(size) == shape and format_size(shape) == size
    assert parse_size("96x96") == parse_size(np.int64(96)) == (96, 96)
    square, wide = Pixels().with_size("96x96"), Pixels().with_size("192x320")
    assert (square.crop, square.size, square.resize, square) == (96, 96, 110, Pixels().with_size(96))
    assert (wide.crop, wide.shape, wide.size, wide.resize, wide.uncropped) == (
        (192, 320),
        (192, 320),
        "192x320",
        219,
        (219, 365),
    )
    assert wide.with_size(224) == Pixels() and wide.describe() == "resized to cover 219x365, centre 192x320, bilinear"


@pytest.mark.parametrize("size", [*BAD, 0, -3, 2.5, True, (192, 320), None])
def test_invalid_sizes(size):
    with pytest.raises(
        UnknownName, match="size must be a side in pixels, as 224, or height x width, as '192x320', not "
    ):
        parse_size(size)


@pytest.mark.parametrize("size", BAD)
def test_invalid_sizes_in_a_recipe_and_in_features(size):
    with pytest.raises(UnknownName, match="size must be a side in pixels"):
        Recipe().override(size=size)
    with pytest.raises(UnknownName, match="size must be a side in pixels"):
        FeatureSpec(size=size)


@pytest.mark.parametrize("size", [15, 2049, "15x64", "64x15", "64x2049", "2049x64"])
def test_limits_apply_to_height_and_width(size, pets, cli):
    with pytest.raises(ValueError, match=f"size must be from 16 to 2048, not {size!r}."):
        Recipe().override(size=size)
    for words in (("finetune", "--data", pets), ("probe", "--data", pets), ("data", "preview", pets)):
        status, _, err = cli(*words, "--size", size)
        assert status == 2 and f"{size} is not in the range of 16 to 2048 pixels." in " ".join(err.split())


@pytest.mark.parametrize("size", ["0x3", "192x", "axb", "1.5", ""])
@pytest.mark.parametrize("command", ["finetune", "train", "lr-find", "extract", "inspect"])
def test_a_command_refuses_invalid_sizes(command, size, pets, cli, tmp_path):
    words = ("resnet18",) if command == "inspect" else ("--data", pets)
    status, _, err = cli(
        command, *words, "--size", size, *(("--out", tmp_path / "f.npz") if command == "extract" else ())
    )
    assert status == 2 and "or height x width, as '192x320', not" in " ".join(err.split()) and "Traceback" not in err


def test_a_square_stays_a_number_in_files(tmp_path):
    for size, line in ((224, "size = 224 "), ("192x320", 'size = "192x320" ')):
        (tmp_path / "r.toml").write_text(recipe_files.dumps(Recipe().override(size=size)))
        assert line in (tmp_path / "r.toml").read_text() and recipe_files.load(tmp_path / "r.toml").model.size == size


@pytest.fixture(scope="module")
def wide(tiny, pets, tmp_path_factory):
    splits = tk.find_splits(pets)
    knobs = QUICK | {"size": "24x48", "augment": "heavy | cutmix", "fit": "pad", "epochs": 2, "head_epochs": 1}
    return tk.finetune(tiny, splits.train, splits.val, out=tmp_path_factory.mktemp("runs") / "run", **knobs)


def answered(cli, *words):
    status, out, err = cli(*words, "--json")
    assert status == 0, err
    return json.loads(out)


@pytest.mark.slow
def test_a_run_of_rectangles(wide, pets, cli):
    note = json.loads(zipfile.ZipFile(wide.folder / "model.keras").read("transferkit.json"))
    assert note["pixels"]["crop"] == [24, 48] and wide.recipe.model.size == "24x48"
    pixels = wide.network.pixels
    assert (pixels.crop, pixels.resize, pixels.fit) == ((24, 48), 28, "pad")
    rows = answered(cli, "predict", wide.folder, pets)
    model = keras.models.load_model(wide.folder / "model.keras")
    with Image.open(rows[0]["path"]) as picture:
        view = np.asarray(ImageOps.pad(picture, (48, 24), Image.Resampling.BILINEAR, color=(124, 116, 104)))
    chances = keras.ops.softmax(model(view[None].astype("float32")))[0]
    assert rows[0]["probability"] == pytest.approx(float(max(chances)), abs=0.02)


@pytest.mark.slow
def test_a_resumed_run_keeps_its_rectangles(wide, pets, cli):
    plan = answered(cli, "finetune", "--base", wide.folder, "--data", pets, "--dry-run")
    assert plan["recipe"]["model"]["size"] == "24x48"
    plan = answered(cli, "finetune", "--base", wide.folder, "--data", pets, "--size", "64x32", "--dry-run")
    assert plan["recipe"]["model"]["size"] == "64x32"
    plan = answered(cli, "finetune", "--base", wide.folder, "--data", pets, "--size", "32x32", "--dry-run")
    assert plan["recipe"]["model"]["size"] == 32


def test_a_square_run_is_saved_as_in_earlier_versions(finished):
    note = json.loads(zipfile.ZipFile(finished.folder / "model.keras").read("transferkit.json"))
    assert note["pixels"]["crop"] == 32


def test_features_of_rectangles(tiny, wide, pets, cli, tmp_path):
    listing = tk.list_images(pets)
    flat = tk.FeatureExtractor(tiny, weights="none", size="32x64", layer="stage2", pool="flatten").transform(listing)
    assert flat.shape == (24, 8 * 16 * 16)
    crops = tk.FeatureExtractor(tiny, weights="none", size="32x64", crops=5, flip=True).transform(listing)
    assert crops.shape == (24, 16)
    words = ("extract", "--base", wide.folder, "--layer", "stage1", "--pool", "none", "--data", pets)
    told = answered(cli, *words, "--out", tmp_path / "f.npz")
    assert told["shape"] == [12, 24, 8]
    assert answered(cli, "probe", "--base", tiny, "--weights", "none", "--data", pets, "--size", "16x48", "--folds", 2)


def test_a_preview_of_rectangles(pets, cli, tmp_path):
    answered(
        cli, "data", "preview", pets, "--size", "32x64", "--views", 2, "--augment", "heavy", "--out", tmp_path / "p.png"
    )
    with Image.open(tmp_path / "p.png") as sheet:
        assert sheet.width == 3 * (128 + 6) + 6
        first = np.asarray(sheet)[16 : 16 + 128, 6 : 6 + 128].astype(int)
    assert (first[64:].reshape(-1, 3).min(1) == 255).mean() > 0.8 and (first[:64].min(2) < 255).mean() > 0.9


def test_layers_of_a_rectangle(cli):
    told = answered(cli, "inspect", "resnet18", "--size", "192x320")
    outputs = {layer["name"]: layer["output"] for layer in told["layers"]}
    assert outputs["pixels"] == [192, 320, 3] and outputs["stage4"] == [6, 10, 512]


@pytest.mark.slow
@pytest.mark.parametrize("name, size", [("vgg11", "64x96"), ("alexnet", "96x160"), ("googlenet(aux=true)", "64x96")])
def test_networks_that_pool_to_their_dense_layers_take_rectangles(name, size):
    model = tk.create(name, weights="none", num_classes=3, size=size)
    shape = parse_size(size)
    assert model.input_shape == (None, *shape, 3)
    outputs = keras.tree.flatten(model(np.zeros((1, *shape, 3), "float32")))
    assert {tuple(output.shape) for output in outputs} == {(1, 3)}


@pytest.mark.parametrize("size", ["8x12", "12x8", "16x4", 12])
def test_a_network_of_fixed_size_refuses_others(size):
    """16 x 4 pixels give 8 x 2 places, which fit the dense kernel of 4 x 4, but are not the same places."""
    pictures = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, 2, padding="same", name="conv")(pictures)
    logits = keras.layers.Dense(2, name="fc")(keras.layers.Flatten()(x))
    network = Network(keras.Model(pictures, logits), Pixels(crop=8, resize=8), ("a", "b"), "fc", "tied")
    with pytest.raises(UnknownName, match=f"^tied takes pictures of 8 pixels and no other size: omit {size}.$"):
        with_size(network, size)
    assert with_size(network, 8).model is network.model


def test_the_minimum_size_applies_to_height_and_width(finished):
    network = dataclasses.replace(finished.network, minimum=24)
    for size in ("64x16", "16x64"):
        with pytest.raises(UnknownName, match=f"needs pictures of at least 24 pixels, not {size}."):
            with_size(network, size)
    for size in ("320x32", "32x320"):
        with pytest.raises(UnknownName, match=f"alexnet.* needs pictures of at least 63 pixels, not {size}."):
            tk.create("alexnet", weights="none", size=size)


def test_the_rule_keeps_a_rectangle():
    facts = rules.RuleInputs(
        pictures=240,
        smallest_class=50,
        shorter_side=30,
        pixels=Pixels().with_size("192x320"),
        minimum_size=1,
        has_gpu=False,
        can_fit_head=False,
        head_layers=("pooled",),
    )
    choice = next(one for one in rules.choose_knobs(Recipe(), facts)[1] if one.knob == "size")
    assert (choice.value, choice.reason) == ("192x320", "the shape of the weights' own training")


@pytest.mark.slow
def test_a_teacher_of_rectangles(finished, wide):
    student = models.load(finished.folder)
    assert distillation.load_teacher(str(wide.folder), student, "float32").shape == (24, 48)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    seen = keras.layers.Resizing(24, 48, antialias=True)(pictures)
    answers = distillation.TeacherLayer(distillation.Teacher(wide.network.model, (24, 48)))(pictures)
    np.testing.assert_allclose(answers, wide.network.model(seen), rtol=1e-4, atol=1e-5)
    knobs = QUICK | {"teacher": str(wide.folder), "epochs": 1, "head_epochs": 0}
    run = tk.finetune("tiny", wide.splits.train, wide.splits.val, out=wide.folder.parent / "taught", **knobs)
    assert run.network.pixels.size == 32


def test_networks_of_the_zoo_have_square_native_sizes():
    assert all(isinstance(row.size, int) for row in zoo.variants().values())
