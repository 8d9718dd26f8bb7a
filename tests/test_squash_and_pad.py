"""Squashed and padded pictures: as Pillow's in evaluation, and consistent in training."""

import io
from functools import lru_cache

import numpy as np
import pytest
import tensorflow as tf
from pictures import encoded, exif, photo, training_view
from PIL import Image
from test_geometry import SIDES, ramp, smooth

from transferkit import pixels, zoo
from transferkit.data import geometry
from transferkit.data.augment import augmentation
from transferkit.lookup import UnknownName
from transferkit.pixels import Pixels
from transferkit.weights import catalogue

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SHAPES = SIDES | {"one": (1, 1), "line": (1, 300), "few": (3, 2), "longer": (3001, 401), "taller": (403, 2999)}
BACK = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Exif's orientations to Pillow's transpositions that undo them


def squashed(picture: Image.Image, side: int, interpolation="bilinear") -> Image.Image:
    return picture.resize((side, side), FILTERS[interpolation])


def padded(picture: Image.Image, side: int, interpolation="bilinear", colour=(124, 116, 104)) -> Image.Image:
    """The longer side to `side`, on a square of one colour, centred."""
    long = max(picture.size)
    width, height = (max(1, round(one / long * side)) for one in picture.size)
    square = Image.new(picture.mode, (side, side), colour)
    square.paste(
        picture.resize((width, height), FILTERS[interpolation]), (round((side - width) / 2), round((side - height) / 2))
    )
    return square


WAYS = {"squash": squashed, "pad": padded}


def evaluated(data: bytes, wanted: Pixels, places=geometry.CENTRE_CROP) -> np.ndarray:
    return _evaluation(wanted, places)(tf.constant(data)).numpy().astype(float)


@lru_cache
def _evaluation(wanted, places):
    return tf.function(lambda data: geometry.evaluation_views(data, wanted, places))


def everything(shape):
    return tf.concat(((0, 0), shape), 0)


def trained(data: bytes, wanted: Pixels, choose=everything) -> np.ndarray:
    return _training(wanted, choose)(tf.constant(data)).numpy().astype(float)


@lru_cache
def _training(wanted, choose):
    return tf.function(lambda data: training_view(data, wanted, choose))


def apart(found, wanted) -> float:
    return np.abs(found - np.asarray(wanted, float)).mean()


def test_the_fits_are_the_same_everywhere():
    assert list(geometry.FITS) == list(pixels.FITS)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("fit", WAYS)
def test_evaluation_is_pillows(fit, interpolation, form):
    wanted = Pixels(crop=56, resize=64, interpolation=interpolation, fit=fit)
    for name, size in SHAPES.items():
        data = encoded(smooth(*size), form)
        (found,) = evaluated(data, wanted)
        assert found.shape == (56, 56, 3)
        assert apart(found, WAYS[fit](Image.open(io.BytesIO(data)), 56, interpolation)) < (
            1 if form == "JPEG" else 0.25
        ), name


@pytest.mark.parametrize("fit", WAYS)
def test_five_crops_are_cropped_from_the_larger_square(fit):
    wanted = Pixels(crop=56, resize=64, fit=fit)
    for size in ((100, 80), (81, 113), (400, 40)):
        picture = smooth(*size)
        large = WAYS[fit](picture, 64)
        boxes = [(0, 0), (8, 0), (0, 8), (8, 8), (4, 4)]
        crops = [np.asarray(large.crop((x, y, x + 56, y + 56)), float) for x, y in boxes]
        assert apart(evaluated(encoded(picture, "PNG"), wanted, geometry.FIVE_CROPS), np.stack(crops)) < 0.2


def test_a_corner_may_be_all_background():
    found = evaluated(encoded(photo(300, 20), "PNG"), Pixels(crop=32, resize=256, fit="pad"), geometry.FIVE_CROPS)
    assert (found[:4] == (124, 116, 104)).all() and np.ptp(found[4]) > 0


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("fit", WAYS)
def test_a_rotated_jpeg_is_turned_upright_first(fit, turn):
    wanted = Pixels(crop=28, resize=32, fit=fit)
    for picture in (ramp(320, 200), ramp(263, 301), ramp(96, 400)):
        stored = picture.transpose(Image.Transpose(BACK[turn])) if turn > 1 else picture
        data = encoded(stored, exif=exif(turn))
        whole = WAYS[fit](picture, 28)
        assert apart(evaluated(data, wanted)[0], whole) < 1
        assert apart(trained(data, wanted), whole) < 5


@pytest.mark.parametrize(
    "fit, size, decoded",
    [
        ("squash", (3000, 400), (200, 1500)),  # 112 pixels of the height are needed: a quarter would leave 100
        ("squash", (400, 3000), (1500, 200)),
        ("squash", (3000, 3000), (375, 375)),
        ("pad", (3000, 400), (50, 375)),  # 15 pixels of the height are needed
        ("pad", (400, 3000), (375, 50)),
        ("pad", (400, 890), (223, 100)),
        ("crop", (3000, 400), (200, 1500)),
    ],
)
def test_a_large_jpeg_is_decoded_at_the_scale_that_is_enough(fit, size, decoded, monkeypatch):
    seen, crops = [], geometry.cut_crops
    monkeypatch.setattr(
        geometry, "cut_crops", lambda image, *rest, **more: seen.append(image.shape[:2]) or crops(image, *rest, **more)
    )
    geometry.evaluation_view(tf.constant(encoded(photo(*size))), Pixels(crop=56, resize=56, fit=fit))
    assert seen == [decoded]


@pytest.mark.parametrize("fit", WAYS)
def test_a_grey_network(fit):
    picture = smooth(90, 40).convert("L")
    for wanted in (Pixels(mean=(20.4,), std=(200.0,), crop=28, fit=fit), Pixels(crop=28, fit=fit).with_channels(1)):
        colour = {"colour": round(sum(wanted.mean) / len(wanted.mean))} if fit == "pad" else {}
        for form in ("PNG", "JPEG"):
            (found,) = evaluated(encoded(picture, form), wanted)
            assert found.shape == (28, 28, 1) and apart(found[..., 0], WAYS[fit](picture, 28, **colour)) < 1.5
            assert apart(trained(encoded(picture, form), wanted), found) < 4


@pytest.mark.parametrize("fit", WAYS)
def test_a_network_with_alpha(fit):
    wanted = Pixels(crop=28, fit=fit).with_channels(4)
    picture = smooth(90, 40).convert("RGBA")
    picture.putalpha(smooth(90, 40).convert("L"))
    colour = {"colour": (124, 116, 104, 124)} if fit == "pad" else {}
    (found,) = evaluated(encoded(picture, "PNG"), wanted)
    assert found.shape == (28, 28, 4) and apart(found, WAYS[fit](picture, 28, **colour)) < 0.5


@pytest.mark.parametrize("convention", pixels.CONVENTIONS)
def test_the_background_is_zero_after_normalisation(convention):
    wanted = Pixels(**vars(pixels.CONVENTIONS[convention]) | {"fit": "pad", "crop": 16})
    (found,) = evaluated(encoded(Image.new("RGB", (40, 2)), "PNG"), wanted)
    assert (np.abs(found[0] - wanted.mean) <= 0.5).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("fit", WAYS)
def test_the_window_of_the_whole_picture_is_the_evaluation_view(fit, form):
    """Padding is in whole pixels of the picture, so a padded one may lie half of one beside."""
    wanted = Pixels(crop=56, resize=64, fit=fit)
    for name, size in SHAPES.items():
        data = encoded(ramp(*size), form)
        assert apart(trained(data, wanted), evaluated(data, wanted)[0]) < (3 if max(size) > 3 else 50), name


@pytest.mark.parametrize("form, turn", [("PNG", 1), ("JPEG", 1), ("JPEG", 6), ("JPEG", 3)])
@pytest.mark.parametrize("window", [(0, 0, 240, 240), (24, 48, 120, 120), (200, 6, 30, 60)])
def test_a_squashed_window_is_drawn_in_a_square(window, form, turn):
    """Of a picture 240 wide and 160 high, red tells the column and green the row."""
    picture = ramp(240, 160)
    stored = picture.transpose(Image.Transpose(BACK[turn])) if turn > 1 else picture
    data = encoded(stored, form, **({"exif": exif(turn)} if turn > 1 else {}))
    found = trained(data, Pixels(crop=32, fit="squash"), lambda shape: tf.constant(window))
    y, x, height, width = np.array(window) / 240
    centres = (np.arange(32) + 0.5) / 32
    columns, rows = ((x + centres * width) * 240 - 0.5) / 239 * 255, ((y + centres * height) * 160 - 0.5) / 159 * 255
    slack = 4 + 255 / 160 * min(height, width) * 240 / 32
    assert np.abs(found[..., 0] - columns).max() < slack and np.abs(found[..., 1] - rows[:, None]).max() < slack


@pytest.mark.parametrize("fit", WAYS)
def test_the_square_that_windows_are_drawn_in(fit):
    shapes = []
    trained(
        encoded(photo(50, 30), "PNG"),
        Pixels(crop=16, fit=fit),
        lambda shape: shapes.append(shape.shape) or tf.concat(((0, 0), shape), 0),
    )
    window = geometry.FITS[fit].adapt_window(lambda shape: tf.concat((shape // 5, shape // 2), 0))
    # drawn in 50 x 50 at (10, 10), 25 x 25; the picture begins in row 10 of the padded square
    assert window(tf.constant((30, 50))).numpy().tolist() == {"squash": [6, 10, 15, 25], "pad": [0, 10, 25, 25]}[fit]
    assert window(tf.constant((50, 30))).numpy().tolist() == {"squash": [10, 6, 25, 15], "pad": [10, 0, 25, 25]}[fit]


@lru_cache
def windows(wanted: Pixels, step: str):
    """(y, x, height, width) = windows(...)(shape, seed), as training draws it."""
    draw, pair = augmentation.parse_augmentation(step).window, tf.TensorSpec((2,), tf.int32)
    return tf.function(
        lambda shape, seed: geometry._window_function(lambda other: draw(other, seed), wanted)(shape),
        input_signature=(pair, pair),
    )


@pytest.mark.parametrize("step", ["crop(0.08)", "alexnet_crop", "scale_crop(256, 480)", "crop(0.01, 10)"])
def test_a_padded_window_has_the_minimum_padding(step):
    for shape in [(30, 200), (200, 30), (1, 1), (1, 9), (64, 64), (4000, 3)]:
        for seed in range(20):
            y, x, height, width = windows(Pixels(fit="pad"), step)(shape, (seed, 0)).numpy()
            for start, length, side in ((y, height, shape[0]), (x, width, shape[1])):
                assert (start >= 0 and start + length <= side) or (start <= 0 and start + length >= side)


@pytest.mark.parametrize("size", [224, "192x320", "16x2048", "2048x16"])
@pytest.mark.parametrize("fit", geometry.FITS)
def test_every_window_shows_something_of_the_picture(fit, size):
    """Of pictures of all shapes, from one pixel to tens of thousands, and of those that are hardly more than lines."""
    rng = np.random.default_rng(0)
    for seed in range(150):
        shape = np.exp(rng.uniform(0, [(11, 11), (11, 1), (1, 11)][seed % 3])).astype("int32")
        y, x, height, width = windows(Pixels(fit=fit).with_size(size), "crop(0.01, 10)")(shape, (seed, 0)).numpy()
        for start, length, side in ((y, height, shape[0]), (x, width, shape[1])):
            assert length >= 1 and min(start + length, side) > max(start, 0)
            assert fit == "pad" or (start >= 0 and start + length <= side)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_padded_view_lies_where_its_window_is(form):
    """A picture of one colour, of which a window shows the upper half, with ground above it and on the left."""
    data = encoded(Image.new("RGB", (400, 100), (10, 200, 30)), form)
    found = trained(data, Pixels(crop=40, fit="pad"), lambda shape: tf.constant((50, 0, 200, 200)))
    # in the square of 400 the picture lies in rows 150 to 250
    assert (found[:19] == (124, 116, 104)).all() and np.abs(found[21:] - (10, 200, 30)).max() <= 3
    found = trained(data, Pixels(crop=40, fit="pad"), lambda shape: tf.constant((160, 100, 50, 50)))
    assert np.abs(found - (10, 200, 30)).max() <= 3


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_strong_shrinking_of_one_dimension_does_not_alias(form):
    """Fine stripes become the grey that they are from afar, in a picture that is squashed along them."""
    stripes = np.zeros((40, 499, 3), "uint8")
    stripes[:, ::2] = 255
    found = trained(encoded(Image.fromarray(stripes), form), Pixels(crop=32, fit="squash"))
    assert np.abs(found - 127.5).max() < 10


def test_all_public_weights_were_trained_on_crops():
    """`features.feature_spec` takes that for granted where it names features in the cache."""
    assert {row.pixels.fit for row in zoo.variants().values()} == {"crop"}
    assert {
        one.pixels.fit for network in catalogue.networks_with_weights() for one in catalogue.weight_sets(network)
    } == {"crop"}


def test_an_unknown_fit():
    with pytest.raises(
        UnknownName, match="No fit is called 'squish'. Did you mean 'squash'\\? Known: crop, pad, squash."
    ):
        Pixels(fit="squish")
