"""The views on which papers tested their networks, as `geometry.Crops`: sizes are relative to the network's."""

import itertools

import numpy as np

from transferkit.data.geometry import FITS, Box, Crops
from transferkit.pixels import Pixels

CORNERS_AND_CENTRE = ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5))
THIRDS = (0, 0.5, 1)
GRID = tuple(itertools.product((0, 0.25, 0.5, 0.75, 1), repeat=2))


def _resize(size, pixels: Pixels, factor: float):
    """The (height, width) of a picture that covers the network's input, scaled by a factor."""
    resized, _ = FITS["crop"].resize(size, np.round(np.array(pixels.shape) * factor).astype(int))
    return resized


def _box(size, resized, corner, shape, pixels: Pixels) -> Box:
    """The part (corner, shape) of a picture resized to `resized`, brought to the size of the network."""
    height, width = pixels.shape
    (top, left), (bottom, right) = corner * size / resized, (corner + shape) * size / resized
    return Box(left, top, right, bottom, 0, 0, width, height)


def _googlenet_boxes(size, pixels: Pixels) -> list[Box]:
    """Szegedy et al. 2014, section 7: at four scales three squares, and of each its corners, centre, and all of it."""
    shape, boxes = np.array(pixels.shape), []
    for factor in (256 / 224, 288 / 224, 320 / 224, 352 / 224):
        resized = _resize(size, pixels, factor)
        square = np.minimum(np.round(shape * factor).astype(int), resized)  # of the network's shape
        for third in THIRDS:
            corner = np.round((resized - square) * third)
            boxes += [
                _box(size, resized, corner + np.round((square - shape) * np.array(position)), shape, pixels)
                for position in CORNERS_AND_CENTRE
            ]
            boxes.append(_box(size, resized, corner, square, pixels))
    return boxes


def _vgg_boxes(size, pixels: Pixels) -> list[Box]:
    """Simonyan and Zisserman 2014, section 3.2: a grid of 5 x 5 crops at three scales."""
    shape, boxes = np.array(pixels.shape), []
    for factor in (256 / 224, 384 / 224, 512 / 224):
        resized = _resize(size, pixels, factor)
        corners = [np.round((resized - shape) * np.array(position)) for position in GRID]
        boxes += [_box(size, resized, corner, shape, pixels) for corner in corners]
    return boxes


GOOGLENET = Crops(72, _googlenet_boxes)  # 144 with their mirror images
VGG = Crops(75, _vgg_boxes)  # 150 with their mirror images
