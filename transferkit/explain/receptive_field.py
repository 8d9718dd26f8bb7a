"""The receptive field of a unit on a picture: what it can see, and what moves it.

The theoretical field follows from kernels and strides (`geometry`). The empirical one is the gradient of the unit by
the pixels (Luo et al. 2016, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks"). They
call the pixels with more than 4.55% of the largest gradient, two standard deviations of a Gaussian, the effective
field.
"""

from dataclasses import dataclass

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from transferkit.data import fonts
from transferkit.data import lazy_tensorflow as tf
from transferkit.explain import map_layers
from transferkit.network import Network

EFFECTIVE = 1 - 0.9545  # of the largest gradient


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of the unit in the middle of a layer.

    Attributes:
        layer: name of the layer.
        place: row and column of the unit in its map.
        box: ((top, bottom), (left, right)) in pixels, the last one exclusive; beyond the picture in the padding.
        gradient: (height, width) of the picture, the absolute gradient, summed over colours; its maximum is 1.
    """

    layer: str
    place: tuple[int, int]
    box: tuple[tuple[int, int], tuple[int, int]]
    gradient: np.ndarray

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the theoretical field in pixels."""
        (top, bottom), (left, right) = self.box
        return bottom - top, right - left

    @property
    def effective_side(self) -> float:
        """The side of a square with as many pixels as the effective field has."""
        return float(np.sqrt((self.gradient > EFFECTIVE).sum()))


def find_field(network: Network, layer: str, picture: np.ndarray) -> ReceptiveField:
    """The receptive field of the unit in the middle of a layer, the sum of its maps.

    Args:
        network: see `models.load`.
        layer: name of a layer with a map, or the prefix of its name.
        picture: (height, width, channels), 0..255, of the network's size.

    Raises:
        UnknownName: there is no such layer, or it has no map.

    Example:
        >>> find_field(network, "conv5", picture).sides
        (163, 163)
    """
    output, record = map_layers.find_map(network.model, layer), map_layers.find_record(network, layer)
    place = record.output[0] // 2, record.output[1] // 2  # type: ignore[operator]  # the size of the picture is known
    pictures = tf.convert_to_tensor(picture[None], "float32")
    graph = keras.Model(network.model.input, output)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pictures)
        unit = tf.reduce_sum(graph(pictures, training=False)[:, place[0], place[1]])
    gradient = np.abs(np.asarray(tape.gradient(unit, pictures))[0]).sum(-1)
    top, left = (
        (0, side) if span.side is None else span.at(at)
        for span, at, side in zip(record.spans, place, picture.shape, strict=False)
    )
    return ReceptiveField(layer, place, (top, left), gradient / max(gradient.max(), 1e-30))


def draw_field(field: ReceptiveField, picture: np.ndarray, name: str) -> Figure:
    """Draw the theoretical field as a frame on the picture, and the gradient beside it.

    Args:
        field: of `find_field`.
        picture: what it was found on.
        name: of the network, for the heading.
    """
    figure = Figure((9.6, 5), layout="constrained")
    (title,), families = fonts.make_drawable([f"The unit in the middle of {field.layer} of {name}"])
    figure.suptitle(title, fontfamily=families)
    seen, moved = figure.subplots(1, 2)
    (top, bottom), (left, right) = field.box
    height, width = picture.shape[:2]
    seen.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
    seen.set_title("theoretical field: {} x {} pixels".format(*field.sides), fontsize=10)
    shown = moved.imshow(np.sqrt(field.gradient), cmap="cividis", vmin=0, vmax=1)
    moved.set_title(f"empirical: {field.effective_side:.0f} x {field.effective_side:.0f} above 4.55%", fontsize=10)
    figure.colorbar(shown, ax=moved, shrink=0.7, label="root of the gradient, largest 1")
    for axes, color in ((seen, "#d55e00"), (moved, "white")):
        frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=color, linewidth=2)
        axes.add_patch(frame)
        axes.set(xlim=(min(left, 0) - 1, max(right, width)), ylim=(max(bottom, height), min(top, 0) - 1))
    return figure
