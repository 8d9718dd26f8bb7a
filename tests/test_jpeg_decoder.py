"""JPEGs by simplejpeg: exactly Pillow's pixels, and Pillow decides what it cannot decode without a warning."""

import io

import numpy as np
import pytest
from pictures import encoded, exif, photo
from PIL import Image

from transferkit.data import file_segments, jpeg_decoder, pillow_reader


def decode(data: bytes, channels: int, divisor: int = 1) -> np.ndarray | None:
    return jpeg_decoder.decode_ordinary(data, file_segments.ordinary_frame(data), channels, divisor)


def by_pillow(data: bytes, channels: int, divisor: int) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("L" if channels == 1 else None, tuple(side // divisor for side in image.size))
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2, "progressive": True}, {"keep_rgb": True}])
@pytest.mark.parametrize("size", [(64, 48), (83, 61), (17, 131)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_pillows(mode, size, options):
    data = encoded(photo(*size).convert(mode), quality=80, **(options if mode == "RGB" else {}))
    for channels in (1, 3):
        for divisor in (1, 2, 4, 8):
            found = decode(data, channels, divisor)
            assert np.array_equal(found, by_pillow(data, channels, divisor)), (channels, divisor)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_jpeg_is_the_same_without_the_package(turn, monkeypatch):
    data = encoded(photo(320, 240), exif=exif(turn))
    for channels in (1, 3):
        found, size = pillow_reader.read_shrunk(data, channels, lambda size: size // 3)
        with monkeypatch.context() as patch:
            patch.setattr(jpeg_decoder, "simplejpeg", None)
            wanted, same = pillow_reader.read_shrunk(data, channels, lambda size: size // 3)
        assert min(found.shape[:2]) == 120
        assert np.array_equal(found, wanted) and np.array_equal(size, same)


def test_others_are_left_to_pillow():
    whole = encoded(photo(90, 70))
    damaged = whole[:-300] + bytes(200) + whole[-100:]  # libjpeg warns of it
    cmyk = encoded(photo(90, 70).convert("CMYK"))
    for data in (damaged, whole[:-2], cmyk, encoded(photo(90, 70), "PNG"), b"", b"\xff\xd8\xff"):
        assert decode(data, 3) is None
    assert decode(whole, 3) is not None
    assert decode(encoded(photo(9, 9)), 3, 2) is None
