"""The resizer against Pillow: the same filters, whatever the size and the part."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from transferkit.data import resizing


def draw_pictures(count: int):
    """Noise and black and white pixels, of 1 and 3 channels, each with a part and a size to resize it to."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width, rows, columns = map(int, rng.integers(1, 150, 4))
        shape = height, width, (1, 3)[number % 2]
        picture = rng.integers(0, 256, shape) if number % 3 else 255 * rng.integers(0, 2, shape)
        left, top = rng.random(2) * (width / 2, height / 2)
        right, bottom = (start + max(0.01, part * (side - start)) for start, part, side in zip(
            (left, top), rng.random(2), (width, height), strict=True
        ))  # fmt: skip
        yield picture.astype("uint8"), (rows, columns), (left, top, min(right, width), min(bottom, height))


def in_two_steps(picture, size, interpolation, box):
    """Pillow's resize, the horizontal pass first, each rounded."""
    left, top, right, bottom = box
    narrow = resizing.resize_by_pillow(
        picture, (picture.shape[0], size[1]), interpolation, (left, 0, right, picture.shape[0])
    )
    return resizing.resize_by_pillow(narrow, size, interpolation, (0, top, size[1], bottom))


needs_simd = pytest.mark.skipif(resizing.simd is None, reason="cykooz-resizer is not installed")


@needs_simd
def test_values_are_pillows():
    for picture, size, box in draw_pictures(400):
        for interpolation in resizing.FILTERS:
            found = resizing.resize(picture, size, interpolation, box).astype(int)
            assert found.shape == (*size, picture.shape[2])
            assert np.abs(found - in_two_steps(picture, size, interpolation, box)).max() <= 2


@needs_simd
@pytest.mark.parametrize("interpolation", resizing.FILTERS)
def test_a_photographs_bytes_are_pillows(interpolation):
    for picture in load_sample_images().images:
        for size, box in (((224, 224), (100, 13.5, 514, 413.5)), ((256, 384), (0, 0, 640, 427))):
            found = resizing.resize(picture, size, interpolation, box)
            assert (found != resizing.resize_by_pillow(picture, size, interpolation, box)).mean() < 0.01


@needs_simd
def test_a_whole_picture_and_a_part_at_its_end():
    picture = np.random.default_rng(1).integers(0, 256, (61, 83, 3)).astype("uint8")
    assert np.array_equal(resizing.resize(picture, (61, 83), "bicubic"), picture)
    part = resizing.resize(picture, (20, 30), "bilinear", (53, 41, 83, 61))
    assert np.array_equal(part, picture[41:, 53:])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_without_the_package_and_with_alpha_pillow_resizes(channels, monkeypatch):
    monkeypatch.setattr(resizing, "simd", None)
    picture = np.random.default_rng(2).integers(0, 256, (40, 50, channels)).astype("uint8")
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    wanted = np.asarray(image.resize((21, 17), Image.Resampling.BICUBIC, (3, 4, 44, 30))).reshape(17, 21, -1)
    assert np.array_equal(resizing.resize(picture, (17, 21), "bicubic", (3, 4, 44, 30)), wanted)


def test_features_of_both_resizers_have_separate_caches(monkeypatch):
    from transferkit.features.feature_spec import FeatureSpec, cache_key

    spec = FeatureSpec("tiny", "none", size=32)
    keys = set()
    for name in ("cykooz-resizer", "pillow"):
        monkeypatch.setattr(resizing, "NAME", name)
        keys.add(cache_key(spec, "pooled"))
    assert len(keys) == 2
