"""What a method of `explain` found, and the pictures that it looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from transferkit.explain.deconvnet_sheet import MapPictures


@dataclass(frozen=True, repr=False)
class Explanation:
    """What a method found.

    Attributes:
        method: a key of `methods.METHODS`.
        values: float32; of a heat map (height, width), which may be coarser than the picture; of activations (height,
            width, maps); of filters (filters, height, width, channels); of a made picture (height, width, channels); of
            projections (n, height, width, channels), each of a map or, in a sheet, of a picture.
        layer: that was looked at, or "".
        label: the class that is explained, or "".
        probability: of that class for the picture; None where no class is explained.
        predicted: the predicted class, or "".
        path: of the picture; None for an array.
        picture: uint8 (h, w, channels), what the network sees of it; None where there is none.
        true: the class of the picture, where it is known, else "".
        note: one more fact, or "".
        maps: of projections of one picture: {number of the map: its activation}, in the order of `values`.
        sheet: of projections of many pictures: those that move one map most.
    """

    method: str
    values: np.ndarray
    layer: str = ""
    label: str = ""
    probability: float | None = None
    predicted: str = ""
    path: str | None = None
    picture: np.ndarray | None = None
    true: str = ""
    note: str = ""
    maps: Mapping[int, float] = field(default_factory=dict)
    sheet: "MapPictures | None" = None

    def __repr__(self):
        about = ", ".join(filter(None, (self.label, self.layer, self.path)))
        return f"<Explanation: {self.method}, {about}, {'x'.join(map(str, self.values.shape))}>"

    @property
    def heat(self) -> np.ndarray:
        """A heat map at the size of the picture, (h, w), float32."""
        return enlarge(self.values, self.picture.shape[:2]) if self.picture is not None else self.values

    def draw(self):
        """A `matplotlib.figure.Figure` of it."""
        from transferkit.explain import drawing

        return drawing.draw_sheet([self])


@dataclass(frozen=True)
class Views:
    """Pictures as a network sees them.

    Attributes:
        paths: of those that could be read.
        pictures: (n, h, w, channels), uint8.
        logits: (n, classes).
        errors: why the others could not be read, by path.
    """

    paths: tuple[str, ...]
    pictures: np.ndarray
    logits: np.ndarray
    errors: dict[str, str]


def enlarge(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map (height, width) at another size, bilinear, float32."""
    if values.shape == tuple(shape):
        return values
    image = Image.fromarray(np.asarray(values, "float32"))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR))
