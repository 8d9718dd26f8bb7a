"""Views of pictures: as Pillow and torchvision in evaluation, the drawn window in training."""

import io
import sys
import types
from functools import lru_cache

import numpy as np
import pytest
import tensorflow as tf
from pictures import encoded, exif, photo, training_view
from PIL import Image

from transferkit.data.geometry import evaluation_view
from transferkit.pixels import Pixels

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SIDES = {
    "exact": (64, 64),
    "landscape": (100, 80),
    "portrait": (81, 113),
    "upscaled": (40, 31),
    "wide": (400, 40),
    "twice": (263, 131),
    "large": (527, 600),
    "very large": (1301, 1042),
}


def smooth(width, height) -> Image.Image:
    """A picture whose detail grows with it, as a photograph's does."""
    return photo(max(width // 4, 16), max(height // 4, 16), seed=width).resize((width, height), RESAMPLING["bicubic"])


def pillow(picture: Image.Image, pixels: Pixels) -> np.ndarray:
    """Shorter side to `resize`, centre `crop`: torchvision's rule, by Pillow."""
    short = min(picture.size)
    width, height = (int(side * pixels.resize / short) for side in picture.size)
    left, top = (round((side - pixels.crop) / 2) for side in (width, height))
    resized = picture.resize((width, height), RESAMPLING[pixels.interpolation])
    return np.asarray(resized.crop((left, top, left + pixels.crop, top + pixels.crop))).astype(float)


def evaluated(data: bytes, pixels: Pixels) -> np.ndarray:
    return _views(pixels)[0](tf.constant(data)).numpy().astype(float)


def trained(data: bytes, pixels: Pixels, window) -> np.ndarray:
    return _views(pixels)[1](tf.constant(data), tf.constant(window)).numpy().astype(float)


@lru_cache
def _views(pixels):
    """Both views, traced once for all pictures."""
    evaluation = tf.function(lambda data: evaluation_view(data, pixels))
    return evaluation, tf.function(lambda data, window: training_view(data, pixels, lambda shape: window))


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_is_pillows_resize(form, interpolation):
    pixels = Pixels(crop=56, resize=64, interpolation=interpolation)
    for name, size in SIDES.items():
        data = encoded(smooth(*size), form)
        found, wanted = evaluated(data, pixels), pillow(Image.open(io.BytesIO(data)), pixels)
        assert found.shape == (56, 56, 3)
        assert np.abs(found - wanted).mean() < (1 if form == "JPEG" else 0.25), name


def test_evaluation_of_a_photograph_is_pillows_resize():
    from sklearn.datasets import load_sample_images

    for picture in map(Image.fromarray, load_sample_images().images):
        data = encoded(picture, quality=90, subsampling=2)
        for side, interpolation in ((56, "bilinear"), (90, "bicubic"), (224, "bilinear")):
            pixels = Pixels(crop=side, resize=side * 8 // 7, interpolation=interpolation)
            wanted = pillow(Image.open(io.BytesIO(data)), pixels)
            assert np.abs(evaluated(data, pixels) - wanted).mean() < 1


@pytest.mark.parametrize("size", [(100, 80), (81, 113), (263, 131), (40, 31)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_is_torchvisions(size, interpolation, monkeypatch):
    pytest.importorskip("torch")
    # its compiled operators may be missing, which the transforms do not use
    monkeypatch.setitem(sys.modules, "torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
    transforms = pytest.importorskip("torchvision.transforms")
    resize = transforms.Resize(64, transforms.InterpolationMode(interpolation))
    picture = smooth(*size)
    wanted = np.asarray(transforms.CenterCrop(56)(resize(picture))).astype(float)
    pixels = Pixels(crop=56, resize=64, interpolation=interpolation)
    assert np.array_equal(wanted, pillow(picture, pixels))
    assert np.abs(evaluated(encoded(picture, "PNG"), pixels) - wanted).mean() < 0.25


@pytest.mark.parametrize("turn", range(1, 9))
def test_evaluation_of_a_rotated_jpeg(turn):
    pixels = Pixels(crop=28, resize=32)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    for picture in (smooth(320, 240), smooth(263, 301)):
        stored = picture.transpose(Image.Transpose(back[turn])) if turn > 1 else picture
        found = evaluated(encoded(stored, exif=exif(turn)), pixels)
        assert np.abs(found - pillow(picture, pixels)).mean() < 1


def test_evaluation_for_a_grey_network():
    pixels = Pixels(mean=(127.5,), std=(127.5,), crop=28, resize=32)
    for form in ("PNG", "JPEG"):
        picture = smooth(90, 70).convert("L")
        found = evaluated(encoded(picture, form), pixels)
        assert found.shape == (28, 28, 1)
        assert np.abs(found[..., 0] - pillow(picture, pixels)).mean() < 1.5


def test_the_crop_is_centred():
    """One pixel in the middle, of odd sides, stays in the middle."""
    picture = Image.new("RGB", (97, 65))
    picture.putpixel((48, 32), (255, 255, 255))
    found = evaluated(encoded(picture, "PNG"), Pixels(crop=33, resize=65))
    assert found[16, 16].min() == found.max() == 255 and (found > 0).sum() == 3


def ramp(width, height) -> Image.Image:
    """Red tells the column and green the row, in parts of 255."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack((x, y, np.full_like(x, 128)), 2).round().astype("uint8"))


@pytest.mark.parametrize("form, turn", [("PNG", 1), ("JPEG", 1), ("JPEG", 6), ("JPEG", 3), ("JPEG", 7)])
@pytest.mark.parametrize("window", [(0, 0, 160, 240), (16, 32, 24, 24), (100, 8, 60, 200), (3, 150, 150, 90)])
def test_a_training_view_is_the_drawn_window(form, turn, window):
    back = {3: 3, 6: 2, 7: 6}
    picture = ramp(240, 160)
    stored = picture.transpose(Image.Transpose(back[turn])) if turn > 1 else picture
    data = encoded(stored, form, **({"exif": exif(turn)} if turn > 1 else {}))
    found = trained(data, Pixels(crop=32), window)
    assert found.shape == (32, 32, 3)
    y, x, height, width = window
    centres = (np.arange(32) + 0.5) / 32
    columns, rows = (x + centres * width - 0.5) / 239 * 255, (y + centres * height - 0.5) / 159 * 255
    slack = 2 + 255 / 160 * min(height, width) / 32  # a decode at a smaller scale starts at a multiple of it
    assert np.abs(found[..., 0] - columns).max() < slack
    assert np.abs(found[..., 1] - rows[:, None]).max() < slack


def test_a_training_view_of_much_larger_pictures_does_not_alias():
    """Fine stripes become the grey that they are from afar."""
    stripes = np.zeros((256, 256, 3), "uint8")
    stripes[:, ::2] = 255
    for form in ("PNG", "JPEG"):
        found = trained(encoded(Image.fromarray(stripes), form), Pixels(crop=32), (0, 0, 256, 256))
        assert np.abs(found - 127.5).max() < 10
