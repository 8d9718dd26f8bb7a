"""The pixel conventions of weights: normalisation, size, resizing and fit."""

import dataclasses
import math
import re
from dataclasses import dataclass
from numbers import Integral

from transferkit.lookup import UnknownName, look_up, show

FITS = {  # how a picture of any shape is fitted to the size of the network
    "crop": "the shorter side is resized and the centre is cut out, so what is near the border may be lost",
    "squash": "the whole picture is resized, and its aspect ratio is lost",
    "pad": "the whole picture is resized in its aspect ratio, on a background of the mean colour",
}

INTERPOLATIONS = ("bilinear", "bicubic")
MAX_SIZE = 20_000  # pixels


def parse_size(size: int | str) -> tuple[int, int]:
    """Parse a size: 224 is a square, "192x320" is 192 high and 320 wide. Returns (height, width).

    Raises:
        UnknownName: it is not a size.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", size) if isinstance(size, str) else None
    if found:
        return int(found[1]), int(found[2])
    if isinstance(size, Integral) and not isinstance(size, bool) and size >= 1:
        return int(size), int(size)
    raise UnknownName(f"size must be a side in pixels, as 224, or height x width, as '192x320', not {show(size)}.")


def format_size(shape: tuple[int, int]) -> int | str:
    """The inverse of `parse_size`: 224 for a square, else "192x320"."""
    height, width = shape
    return height if height == width else f"{height}x{width}"


@dataclass(frozen=True)
class Pixels:
    """How a picture (RGB, 0..255) reaches a network.

    Attributes:
        mean, std: per channel, in 0..255; the network's own first layer subtracts and divides.
        crop: size of the network's input in pixels, of a square or (height, width).
        resize: shorter side in pixels to which pictures are resized before the centre crop. The other fits use it for
            several crops only.
        interpolation: "bilinear" or "bicubic", antialiased.
        repeat: whether pictures are grey, and the network repeats them to as many channels as `mean` has.
        fit: a key of `FITS`.
    """

    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    crop: int | tuple[int, int] = 224
    resize: int = 256
    interpolation: str = "bilinear"
    repeat: bool = False
    fit: str = "crop"

    def __post_init__(self):
        look_up(FITS, self.fit, "fit")
        look_up(dict.fromkeys(INTERPOLATIONS), self.interpolation, "interpolation")
        if not 1 <= len(self.mean) == len(self.std) <= 4 or not all(map(math.isfinite, self.mean + self.std)):
            raise ValueError(f"mean {self.mean} and std {self.std} must be a number for each of 1 to 4 channels.")
        (height, width), lengths = self.shape, range(1, MAX_SIZE + 1)
        if not all(self.std) or not all(side in lengths for side in (height, width, self.resize)):
            raise ValueError(f"std must not be 0, and crop and resize 1 to {MAX_SIZE:,} pixels: {self}.")

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the network's input in pixels."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    @property
    def size(self) -> int | str:
        """The same, as users give it: 224 or "192x320"."""
        return format_size(self.shape)

    @property
    def uncropped(self) -> tuple[int, int]:
        """(height, width) in pixels to which pictures are resized before a crop."""
        height, width = self.shape
        return height * self.resize // min(self.shape), width * self.resize // min(self.shape)

    @property
    def channels(self) -> int:
        """Number of channels of a picture: 1 is grey, 3 RGB, 4 RGB and alpha."""
        return 1 if self.repeat else len(self.mean)

    @property
    def background(self) -> tuple[int, ...]:
        """The colour, 0..255 per channel, that is nearest to zero after normalisation."""
        colour = (sum(self.mean) / len(self.mean),) if self.repeat else self.mean
        return tuple(min(255, max(0, round(value))) for value in colour)

    def describe(self) -> str:
        """Describe the geometry: "shorter side to 256, centre 224x224, bilinear"."""
        seen, whole = ("{}x{}".format(*shape) for shape in (self.shape, self.uncropped))
        larger = f"shorter side to {self.resize}" if isinstance(self.size, int) else f"resized to cover {whole}"
        how = {
            "crop": f"{larger}, centre {seen}",
            "squash": f"squashed to {seen}",
            "pad": f"padded to {seen}",
        }
        return f"{how[self.fit]}, {self.interpolation}"

    def with_size(self, size: int | str) -> "Pixels":
        """The same convention at another size (see `parse_size`); the crop keeps its fraction of the picture."""
        shape = parse_size(size)
        crop = shape[0] if shape[0] == shape[1] else shape
        return dataclasses.replace(self, crop=crop, resize=round(min(shape) * self.resize / min(self.shape)))

    def with_channels(self, channels: int) -> "Pixels":
        """The convention for pictures of 1, 3 or 4 channels; the fourth, alpha, gets the mean and std of red."""
        if channels == 1:
            return dataclasses.replace(self, repeat=True)
        fourth = channels - 3
        return dataclasses.replace(self, mean=self.mean + self.mean[:fourth], std=self.std + self.std[:fourth])


# The conventions of public networks, by their names on the command line. "caffe" is for networks trained on BGR.
CONVENTIONS = {
    "torch": Pixels(),
    "caffe": Pixels((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "tf": Pixels((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "unit": Pixels((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "raw": Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
