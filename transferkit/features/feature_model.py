"""Build the part of a network that computes features, and run it."""

import functools
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops
from PIL import Image

from transferkit import adopt, models
from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.cpus import available_cpus
from transferkit.data import geometry, pillow_reader, pipeline
from transferkit.evaluation.predict import BATCH, choose_batch_size, run_batches
from transferkit.features.feature_spec import FeatureSpec
from transferkit.lookup import UnknownName
from transferkit.network import Network, find_output, with_channels, with_fit, with_size
from transferkit.pixels import Pixels


@dataclass(frozen=True)
class FeatureModel:
    """A model from pictures to features.

    Attributes:
        model: from pictures (n, h, w, channels), or views of pictures (n, crops, h, w, channels), to the features of
            each layer.
        pixels: what the network expects of pictures.
        shapes: of one picture's features, for each layer.
    """

    model: keras.Model
    pixels: Pixels
    shapes: tuple[tuple[int, ...], ...]


@contextmanager
def _fixed_random_state():
    """Make fresh weights the same each time: Keras draws the seeds of its initialisers from `random`."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


def load_feature_model(spec: FeatureSpec) -> FeatureModel:
    """Build the model, or return the one that was built last in this process.

    Raises:
        UnknownName: there is no such layer, size or number of channels.
        ValueError, OSError: the weights cannot be used.
    """
    return _build(replace(spec, l2=False), spec.identity())


@functools.lru_cache(maxsize=2)
@_fixed_random_state()
def _build(spec: FeatureSpec, _identity: str) -> FeatureModel:
    network = _load_network(spec)
    if network.doubt and "pooled" in spec.layer:
        raise UnknownName(f"{network.doubt}: give --layer LAYER to say which features to extract.")
    cuts = [find_output(network.model, layer) for layer in spec.layer]
    for layer, cut in zip(spec.layer, cuts, strict=True):
        if spec.views > 1 and len(cut.shape) > 2 and spec.pool in ("flatten", "none"):
            raise ValueError(
                f"pool {spec.pool!r} keeps the positions of {layer!r}, which differ between views: take avg."
            )
    folded_model = fold_batchnorm(keras.Model(network.model.input, cuts))
    model = keras.Model(folded_model.input, [_pool(cut, spec.pool) for cut in keras.tree.flatten(folded_model.output)])
    picture = *network.pixels.shape, network.pixels.channels
    shapes = [tuple(shape[1:]) for shape in _output_shapes(model, (1, *picture))]
    if spec.pool == "flatten":
        shapes = [(int(np.prod(shape)),) for shape in shapes]
    return FeatureModel(_average_views(model, network.pixels, spec), network.pixels, tuple(shapes))


def _load_network(spec: FeatureSpec) -> Network:
    if isinstance(spec.base, str):
        network = models.load(spec.base, spec.weights, pixels=spec.pixels)
    else:
        network = adopt.adopt_model(spec.base, spec.pixels, source="the model")
    network = with_channels(network, spec.channels) if spec.channels else network
    network = with_fit(network, spec.fit) if spec.fit else network
    return with_size(network, spec.size) if spec.size else network


def _output_shapes(model, shape) -> list[tuple]:
    shapes = model.compute_output_shape(shape)
    return list(shapes) if isinstance(shapes, list) else [shapes]


def _pool(cut, pool: str):
    """Pool a map (n, h, w, maps), or tokens (n, tokens, width), to a vector; a vector is not changed."""
    positions = tuple(range(1, len(cut.shape) - 1))
    if not positions or pool in ("flatten", "none"):
        return cut
    if pool == "gem":  # of rectified values, as in the paper
        return ops.power(ops.mean(ops.power(ops.maximum(cut, 1e-6), 3.0), axis=positions), 1 / 3)
    return {"avg": ops.mean, "max": ops.max}[pool](cut, axis=positions)


def _average_views(model, pixels: Pixels, spec: FeatureSpec) -> keras.Model:
    """A model of (n, crops, h, w, channels) that averages the features over the crops and, if asked, mirror images."""
    if spec.views == 1:
        return model
    shape = (*pixels.shape, pixels.channels)
    pictures = keras.Input((spec.crops, *shape), dtype="uint8")
    views = ops.concatenate([pictures, pictures[:, :, :, ::-1]], axis=1) if spec.flip else pictures
    outputs = keras.tree.flatten(model(ops.reshape(views, (-1, *shape))))
    averaged = [ops.mean(ops.reshape(output, (-1, spec.views, output.shape[-1])), axis=1) for output in outputs]
    return keras.Model(pictures, averaged)


def compute_features(pictures: Sequence, spec: FeatureSpec) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Compute features batch by batch; pictures that cannot be read are skipped.

    Args:
        pictures: paths, or uint8 arrays (h, w, channels).

    Yields:
        The features of each layer, (m, ...) float32, and the positions (m,) of their pictures.
    """
    feature_model = load_feature_model(spec)
    batch_size = choose_batch_size(len(pictures), largest=max(1, BATCH // spec.views))
    crops = geometry.FIVE_CROPS if spec.crops > 1 else geometry.CENTRE_CROP
    source = pipeline.multi_crop_dataset if isinstance(pictures[0], str) else _views_of_arrays
    batches = source(pictures, feature_model.pixels, crops, batch_size=batch_size)
    if spec.views == 1:
        batches = ((views[:, 0], rows) for views, rows in batches)
    for outputs, rows in run_batches(feature_model.model, batches, batch_size):
        yield (
            [output.reshape(len(rows), *shape) for output, shape in zip(outputs, feature_model.shapes, strict=True)],
            rows,
        )


def _views_of_arrays(pictures, pixels: Pixels, crops: geometry.Crops, *, batch_size: int):
    """Do what `pipeline.multi_crop_dataset` does for pictures in memory."""

    def view(picture):
        image = pillow_reader.convert_image(
            Image.fromarray(picture.squeeze(-1) if picture.shape[2] == 1 else picture), pixels.channels
        )
        return geometry.cut_crops(pillow_reader.image_to_array(image), np.array(picture.shape[:2]), pixels, crops)

    with ThreadPoolExecutor(available_cpus() + 4) as threads:
        for at in range(0, len(pictures), batch_size):
            batch = pictures[at : at + batch_size]
            yield np.stack(list(threads.map(view, batch))), np.arange(at, at + len(batch))
