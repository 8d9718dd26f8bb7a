"""Probabilities averaged over several views of a picture, as papers tested their networks."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import keras
import numpy as np
from keras import ops

from transferkit import zoo
from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.console import track
from transferkit.cpus import available_cpus
from transferkit.data import decode, geometry, paper_crops, pillow_reader, pipeline, resizing
from transferkit.data.geometry import FITS
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.predict import BATCH, choose_batch_size, require_classifier, run_batches
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.pixels import Pixels

CROPS = {  # name: crops, and whether their mirror images are added
    "1": (geometry.CENTRE_CROP, False),
    "5": (geometry.FIVE_CROPS, False),
    "10": (geometry.FIVE_CROPS, True),  # Krizhevsky et al. 2012, section 4.1
    "144": (paper_crops.GOOGLENET, True),  # Szegedy et al. 2014, section 7
    "150": (paper_crops.VGG, True),  # Simonyan and Zisserman 2014, section 3.2
}
AHEAD = 16  # pictures that are read at a time
MAX_ASPECT = 4  # of the longer to the shorter side, in dense evaluation: memory grows with it


def predict_crops(network: Network, paths: Sequence[str], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Average the probabilities of a picture's crops.

    Args:
        network: with a classifier.
        paths: of the pictures.
        name: a key of `CROPS`.

    Returns:
        Probabilities (m, classes), float64, and their rows (m,) in `paths`; unreadable pictures have none.

    Raises:
        ValueError: the network has no classifier.
    """
    crops, mirrored = CROPS[name]
    model = _average_crops(require_classifier(network), crops.views, mirrored=mirrored)
    batch_size = choose_batch_size(len(paths), max(1, BATCH // (crops.views * (1 + mirrored))))
    batches = pipeline.multi_crop_dataset(paths, network.pixels, crops, batch_size=batch_size)
    probabilities, rows = [np.zeros((0, len(network.classes)))], [np.zeros(0, "int64")]
    for (output,), batch_rows in track(run_batches(model, batches, batch_size), -(-len(paths) // batch_size), "crops"):
        probabilities.append(output.astype("float64"))
        rows.append(batch_rows)
    return np.concatenate(probabilities), np.concatenate(rows)


def _average_crops(network: Network, crops: int, *, mirrored: bool) -> keras.Model:
    """A model from crops (n, crops, h, w, channels) to the mean of their probabilities (n, classes)."""
    shape = (*network.pixels.shape, network.pixels.channels)
    pictures = keras.Input((crops, *shape), dtype="uint8")
    views = ops.concatenate([pictures, pictures[:, :, :, ::-1]], axis=1) if mirrored else pictures
    logits = fold_batchnorm(network.model)(ops.reshape(views, (-1, *shape)))
    probabilities = ops.softmax(ops.cast(logits, "float32") / network.temperature)
    views_of_each = (-1, crops * (1 + mirrored), probabilities.shape[-1])
    return keras.Model(pictures, ops.mean(ops.reshape(probabilities, views_of_each), axis=1))


def predict_dense(network: Network, paths: Sequence[str], scales: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Run a network over whole pictures, and average its map of scores (Simonyan and Zisserman 2014, section 3.2).

    The probabilities are averaged over the scales, and over each picture and its mirror image. Of a picture that is
    over `MAX_ASPECT` times as long as wide, only the middle is seen.

    Args:
        network: with a classifier; a head of dense layers is made of convolutions with the same kernels.
        paths: of the pictures.
        scales: shorter sides in pixels to which each picture is resized.

    Returns:
        As `predict_crops`.

    Raises:
        UnknownName: the network takes pictures of one size only, or a scale is below its minimum.
    """
    network = _fully_convolutional(require_classifier(network))
    if min(scales) < network.minimum:
        raise UnknownName(f"scales must be at least {network.minimum} pixels for {network.base}, not {min(scales)}.")
    model = fold_batchnorm(network.model)
    probabilities, rows = [np.zeros((0, len(network.classes)))], []
    for row, views in track(_read_whole(paths, network.pixels, scales), len(paths), "dense"):
        if views is None:
            continue
        logits = [np.asarray(model(np.stack((view, view[:, ::-1])), training=False), "float64") for view in views]
        probabilities.append(to_probabilities(np.concatenate(logits), network.temperature).mean(0, keepdims=True))
        rows.append(row)
    return np.concatenate(probabilities), np.array(rows, "int64")


def _read_whole(paths: Sequence[str], pixels: Pixels, scales: Sequence[int]) -> Iterator[tuple[int, list | None]]:
    """(row, the picture at each scale) of each path in order; None in place of a picture that cannot be read."""

    def resize(size):
        return [FITS["crop"].resize(size, np.array((scale, scale)))[0] for scale in scales]

    def read(path):
        try:
            picture, size = pillow_reader.read_shrunk(
                decode.read_path(os.fsencode(path)), pixels.channels, lambda size: 2 * np.max(resize(size), 0)
            )
        except Exception:  # Pillow's readers raise nearly anything on damaged files
            return None
        picture, size = _cut_middle(picture), np.minimum(size, MAX_ASPECT * np.min(size))
        return [resizing.resize(picture, (int(h), int(w)), pixels.interpolation) for h, w in resize(size)]

    with ThreadPoolExecutor(available_cpus()) as threads:
        for start in range(0, len(paths), AHEAD):
            yield from enumerate(threads.map(read, paths[start : start + AHEAD]), start)


def _cut_middle(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, at most `MAX_ASPECT` times as long as wide."""
    sides = np.array(picture.shape[:2])
    height, width = kept = np.minimum(sides, MAX_ASPECT * sides.min())
    y, x = (sides - kept) // 2
    return picture[y : y + height, x : x + width]


def _fully_convolutional(network: Network) -> Network:
    """The network itself if it takes any size, else its form with a convolutional head."""
    if network.model.input_shape[1] is None:
        return network
    base = network.base
    if not zoo.is_network(base) or "convolutional_head" not in zoo.variant(base).knobs:
        raise UnknownName(f"{base} takes pictures of one size only: dense evaluation needs a network of any size.")
    knobs = f"{base.removesuffix(')')}, " if "(" in base else f"{base}("
    name = zoo.spell(f"{knobs}convolutional_head=true)")
    model = zoo.build(name, pixels=network.pixels, num_classes=len(network.classes))
    for layer in model.layers:
        if layer.weights:
            found = network.model.get_layer(layer.name).get_weights()
            layer.set_weights([np.reshape(*pair) for pair in zip(found, [w.shape for w in layer.weights], strict=True)])
    return replace(network, model=model, minimum=zoo.minimum_size(name))
