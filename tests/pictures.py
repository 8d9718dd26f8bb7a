"""Small pictures and folders of them, made from seeds."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def photo(width, height, seed=0, color=None) -> Image.Image:
    """Smooth colours with some noise; around one colour if it is given."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3)).astype("uint8")
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype("float64")
    if color is not None:
        pixels = 0.3 * pixels + 0.7 * np.array(color)
    return Image.fromarray((pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype("uint8"))


def folder(root: Path, counts: dict[str, int]) -> Path:
    """Class folders whose pictures differ in colour from class to class."""
    colors = [(230, 40, 40), (40, 60, 230), (40, 220, 60), (230, 220, 40)]
    for label, (name, count) in enumerate(counts.items()):
        for number in range(count):
            path = Path(root) / name / f"{number:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            width, height = (48, 36) if number % 2 else (36, 48)
            photo(width, height, seed=1000 * label + number, color=colors[label % 4]).save(path, quality=95)
    return Path(root)


def training_view(data, pixels, choose):
    """The steps of the training pipeline, one after the other, from a file's bytes to a view."""
    from transferkit.data import decode, geometry

    opened = decode.open_picture(data, pixels.channels)
    window = geometry.training_window(opened, pixels, choose)
    return geometry.training_view(decode.decode_window(data, opened, window, pixels.shape), window, opened, pixels)


def encoded(picture: Image.Image, form="JPEG", **options) -> bytes:
    """A picture as the bytes of a file; JPEG without chroma subsampling unless told."""
    if form == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def exif(turn=None, *, big_endian=False, thumbnail_turn=None) -> bytes:
    """An Exif block with a maker's name, perhaps an orientation, and perhaps a thumbnail's directory with its own."""
    order = ">" if big_endian else "<"
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", 8)
    entries = [struct.pack(order + "HHI4s", 0x010F, 2, 4, b"cam\0")]
    if turn:
        entries.append(struct.pack(order + "HHIHH", 0x0112, 3, 1, turn, 0))
    entries.append(struct.pack(order + "HHI4s", 0x0131, 2, 4, b"pen\0"))
    end = len(head) + 2 + 12 * len(entries) + 4
    first = struct.pack(order + "H", len(entries)) + b"".join(entries)
    if not thumbnail_turn:
        return b"Exif\0\0" + head + first + bytes(4)
    second = struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, thumbnail_turn, 0, 0)
    return b"Exif\0\0" + head + first + struct.pack(order + "I", end) + second
