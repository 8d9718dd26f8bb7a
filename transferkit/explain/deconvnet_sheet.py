"""The pictures of a folder that move a map most, beside their projections: figure 2 of Zeiler and Fergus 2013."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.console import progress_bar, warn
from transferkit.data import fonts, pipeline
from transferkit.data.audit import before_training
from transferkit.evaluation.predict import BATCH, choose_batch_size, run_batches
from transferkit.explain import map_layers
from transferkit.explain.deconvnet import Projections, make_projector
from transferkit.explain.explanation import Explanation
from transferkit.lookup import none_can
from transferkit.network import Network, find_output

MOST = 9  # pictures of a map, as in the paper
GREY = 128  # what is outside the picture


@dataclass(frozen=True)
class MapPictures:
    """The pictures that move one map most.

    Attributes:
        map: number of the map.
        paths: of at most nine pictures, the strongest first.
        strengths: (n,) the largest activation of the map in each.
        places: (n, 2) its row and column in the map.
        patches: (n, h, w, channels) uint8, what the unit there sees of each picture; grey outside the picture.
        projections: (n, h, w, channels) float32, the activation projected to the same pixels; 0 has no part in it.
    """

    map: int
    paths: tuple[str, ...]
    strengths: np.ndarray
    places: np.ndarray
    patches: np.ndarray
    projections: np.ndarray


def find_strongest(network: Network, layer: str, paths: Sequence[str], most: int = MOST):
    """For every map of a layer, the pictures with its largest activations.

    Args:
        paths: of the pictures; those that cannot be read are left out, with a warning.
        most: pictures for each map.

    Returns:
        (strengths, rows, errors): the first two (at most `most`, maps), the strongest first; rows are positions in
        `paths`; and why pictures could not be read, by path.
    """
    output = find_output(network.model, layer)
    model = fold_batchnorm(keras.Model(network.model.input, ops.max(output, axis=(1, 2))))
    batch_size = choose_batch_size(len(paths))
    strengths = np.zeros((0, output.shape[-1]), "float32")
    rows, read = np.zeros(strengths.shape, int), [np.zeros(0, int)]
    batches = pipeline.evaluation_dataset(paths, network.pixels, batch_size=batch_size)
    with progress_bar(len(paths), "pictures") as advance:
        for (largest,), numbers in run_batches(model, batches, batch_size):
            strengths = np.concatenate([strengths, largest])
            rows = np.concatenate([rows, np.broadcast_to(numbers[:, None], largest.shape)])
            order = np.argsort(-strengths, axis=0, kind="stable")[:most]
            strengths, rows = np.take_along_axis(strengths, order, 0), np.take_along_axis(rows, order, 0)
            advance(len(numbers))
            read.append(numbers)
    errors = dict(before_training.explain_missing_rows(paths, np.concatenate(read)))
    if not len(rows):
        raise ValueError(f"{none_can(len(paths), 'picture')} be read.")
    for path, reason in errors.items():
        warn(f"{path} cannot be read: {reason}.")
    return strengths, rows, errors


def project_strongest(network: Network, layer: str, paths: Sequence[str], maps: int | Sequence[int] = 4):
    """The nine pictures that move each of some maps most, and their projections.

    Args:
        network: see `models.load`.
        layer: name of a layer with a map.
        paths: of the pictures.
        maps: numbers of the maps, or how many to take: those with the largest mean of their nine activations.

    Returns:
        A tuple of `MapPictures`.

    Raises:
        UnknownName: there is no such layer or map, or the layer has no way back to the pixels (see `deconvnet`).
        ValueError: no picture can be read.

    Example:
        >>> project_strongest(network, "conv4", listing.paths)[0].projections.shape
        (9, 131, 131, 3)
    """
    return _project_strongest(network, layer, paths, maps)[0]


def explain_strongest(network: Network, paths: Sequence[str], *, layer: str = "", unit: int | None = None):
    """What `project_strongest` finds, as explanations.

    Args:
        layer: with a map; by default the last one before the pooling.
        unit: number of the one map; by default the nine maps with the largest activations.

    Returns:
        A list of an `Explanation` for each map, and why pictures could not be read, by path.
    """
    layer = layer or map_layers.find_last_map(network.model)
    found, errors = _project_strongest(network, layer, paths, MOST if unit is None else [unit])
    explanations = [
        Explanation(
            "deconvnet",
            each.projections,
            layer,
            f"map {each.map}",
            note=f"{each.strengths[-1]:.3g} to {each.strengths[0]:.3g}",
            sheet=each,
        )
        for each in found
    ]
    return explanations, errors


def _project_strongest(network: Network, layer: str, paths: Sequence[str], maps):
    """What `project_strongest` returns, and why pictures could not be read, by path."""
    projector = make_projector(network.model, layer)
    for number in [] if isinstance(maps, int) else maps:
        map_layers.check_map(network.model, layer, number)
    strengths, rows, errors = find_strongest(network, layer, paths)
    chosen = np.argsort(-strengths.mean(0), kind="stable")[:maps] if isinstance(maps, int) else np.asarray(maps)
    pairs = [(int(number), int(row)) for number in chosen for row in rows[:, number]]
    spans, cells = map_layers.find_record(network, layer).spans, []
    for at in range(0, len(pairs), BATCH):
        some, views = zip(*pairs[at : at + BATCH], strict=True)
        pictures = _load(network, [paths[row] for row in views])
        cells += _cut_cells(projector(pictures, some), pictures, spans)
    each = len(rows)
    found = tuple(
        MapPictures(
            int(number),
            tuple(paths[row] for row in rows[:, number]),
            *map(np.stack, zip(*cells[at * each : (at + 1) * each], strict=True)),
        )
        for at, number in enumerate(chosen)
    )
    return found, errors


def _load(network: Network, paths: Sequence[str]) -> np.ndarray:
    """The views of pictures, of which some may be there twice."""
    distinct = sorted(set(paths))
    batches = pipeline.evaluation_dataset(distinct, network.pixels, batch_size=len(distinct))
    ((views, rows),) = batches.as_numpy_iterator()
    position = {distinct[row]: at for at, row in enumerate(rows)}
    return views[[position[path] for path in paths]]


def _cut_cells(found: Projections, pictures: np.ndarray, spans) -> list[tuple]:
    """(strength, place, patch, projection) of each picture, the last two cut to the receptive field."""
    cells = []
    for strength, place, picture, values in zip(found.strengths, found.places, pictures, found.values, strict=True):
        box = [_field(span, at, side) for span, at, side in zip(spans, place, picture.shape, strict=False)]
        cells.append((strength, place, _crop(picture, box, GREY), _crop(values, box, 0)))
    return cells


def _field(span, place: int, side: int) -> tuple[int, int]:
    """The receptive field along one axis; the whole picture, if the field is larger."""
    first, end = (0, side) if span.side is None else span.at(place)
    return (first, end) if end - first <= side else (0, side)


def _crop(picture: np.ndarray, box, fill) -> np.ndarray:
    """Cut ((top, bottom), (left, right)) out of a picture; what is outside of it gets `fill`."""
    margins = [(max(0, -first), max(0, end - side)) for (first, end), side in zip(box, picture.shape, strict=False)]
    padded = np.pad(picture, [*margins, (0, 0)], constant_values=fill)
    (top, bottom), (left, right) = (
        (first + before, end + before) for (first, end), (before, _) in zip(box, margins, strict=True)
    )
    return padded[top:bottom, left:right]


def draw_sheet(found: Sequence[MapPictures], layer: str, name: str = "") -> Figure:
    """Draw, for each map, its projections (left) beside what the units see of the pictures (right), three by three.

    Each projection has its own scale around grey, which is 0.

    Args:
        found: of `project_strongest`.
        layer, name: of the layer and the network, for the heading.
    """
    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    figure = Figure((6.4 * columns, 3.6 * lines + 0.5), layout="constrained")
    (title,), families = fonts.make_drawable(
        [f"{layer}{f' of {name}' if name else ''}: what moves its maps most (left: deconvnet projection)"]
    )
    figure.suptitle(title, fontfamily=families)
    for cell, each in zip(figure.subfigures(lines, columns, squeeze=False).flat, found, strict=False):
        cell.suptitle(f"map {each.map}: {each.strengths[-1]:.3g} to {each.strengths[0]:.3g}", fontsize=10)
        for axes, tiles in zip(cell.subplots(1, 2), (each.projections, each.patches), strict=True):
            shown = [scale(tile) if tile.dtype != np.uint8 else tile / 255 for tile in tiles]
            axes.imshow(_mosaic(shown).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_axis_off()
    return figure


def scale(projection: np.ndarray) -> np.ndarray:
    """A projection as 0..1 with 0 at the grey in the middle; the strongest of a thousand values are cut off."""
    return np.clip(0.5 + projection / (2 * max(np.quantile(abs(projection), 0.999), 1e-12)), 0, 1)


def _mosaic(tiles: Sequence[np.ndarray], columns: int = 3) -> np.ndarray:
    """Tiles of one size in rows of three, with white lines between them."""
    height, width, channels = tiles[0].shape
    gap = max(1, height // 40)
    lines = -(-len(tiles) // columns)
    sheet = np.ones((lines * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet
