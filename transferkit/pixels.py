"""What a weight set expects of pixels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pixels:
    """How a picture (RGB, 0..255) reaches a network.

    Attributes:
        mean, std: per channel, in 0..255; the network's own first layer subtracts and divides.
        crop: side of the square the network sees, in pixels.
        resize: the shorter side is resized to this before the centre crop, in pixels.
        interpolation: "bilinear" or "bicubic", antialiased.
    """

    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    crop: int = 224
    resize: int = 256
    interpolation: str = "bilinear"

    def at(self, size: int) -> "Pixels":
        """The same convention at another side, the share of the picture that is seen kept."""
        return Pixels(self.mean, self.std, size, round(size * self.resize / self.crop), self.interpolation)
