"""The part of a network that gives features, ready to run."""

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
from transferkit.batchnorm_folding import folded
from transferkit.cpus import available_cpus
from transferkit.data import geometry, pillow_reader, pipeline
from transferkit.evaluation.predict import BATCH, batch_for, run
from transferkit.features.spec import FeatureSpec, identity
from transferkit.lookup import UnknownName
from transferkit.network import Network, at_size, output_of, with_channels, with_fit
from transferkit.pixels import Pixels


@dataclass(frozen=True)
class Body:
    """`model` goes from pictures, or several views of each, to the features of each layer; `shapes` are theirs."""

    model: keras.Model
    pixels: Pixels
    shapes: tuple[tuple[int, ...], ...]


@contextmanager
def _same_chance():
    """Fresh weights are the same each time: Keras draws the seeds of its initialisers from here."""
    before = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(before)


def body_of(spec: FeatureSpec) -> Body:
    """Build it, or take the one that was built last: it is shared by all that ask in this process.

    Raises:
        UnknownName: there is no such layer, size or number of channels.
        ValueError, OSError: the weights cannot be used.
    """
    return _body(replace(spec, l2=False), identity(spec))


@functools.lru_cache(maxsize=2)
@_same_chance()
def _body(spec: FeatureSpec, _identity: str) -> Body:
    network = _network(spec)
    if network.doubt and "pooled" in spec.layer:
        raise UnknownName(f"{network.doubt}: give --layer LAYER, whose features are wanted.")
    cuts = [output_of(network.model, layer) for layer in spec.layer]
    for layer, cut in zip(spec.layer, cuts, strict=True):
        if spec.views > 1 and len(cut.shape) > 2 and spec.pool in ("flatten", "none"):
            raise ValueError(
                f"pool {spec.pool!r} keeps the places of {layer!r}, so views cannot be averaged: take avg."
            )
    bare = folded(keras.Model(network.model.input, cuts))
    model = keras.Model(bare.input, [_pooled(cut, spec.pool) for cut in keras.tree.flatten(bare.output)])
    seen = *network.pixels.shape, network.pixels.channels
    shapes = [tuple(shape[1:]) for shape in _shapes(model, (1, *seen))]
    if spec.pool == "flatten":
        shapes = [(int(np.prod(shape)),) for shape in shapes]
    return Body(_of_views(model, network.pixels, spec), network.pixels, tuple(shapes))


def _network(spec: FeatureSpec) -> Network:
    if isinstance(spec.base, str):
        network = models.load(spec.base, spec.weights, pixels=spec.pixels)
    else:
        network = adopt.adopted(spec.base, spec.pixels, source="the model")
    network = with_channels(network, spec.channels) if spec.channels else network
    network = with_fit(network, spec.fit) if spec.fit else network
    return at_size(network, spec.size) if spec.size else network


def _shapes(model, shape) -> list[tuple]:
    shapes = model.compute_output_shape(shape)
    return list(shapes) if isinstance(shapes, list) else [shapes]


def _pooled(cut, pool: str):
    """What becomes of a map (n, h, w, maps), or of a row of tokens (n, tokens, width); a vector stays as it is."""
    places = tuple(range(1, len(cut.shape) - 1))
    if not places or pool in ("flatten", "none"):
        return cut
    if pool == "gem":  # of rectified values, as the paper has it: negative ones count as nothing
        return ops.power(ops.mean(ops.power(ops.maximum(cut, 1e-6), 3.0), axis=places), 1 / 3)
    return {"avg": ops.mean, "max": ops.max}[pool](cut, axis=places)


def _of_views(model, pixels: Pixels, spec: FeatureSpec) -> keras.Model:
    """The same for (n, crops, height, width, channels): features are averaged over the crops, and mirrored ones too."""
    if spec.views == 1:
        return model
    shape = (*pixels.shape, pixels.channels)
    pictures = keras.Input((spec.crops, *shape), dtype="uint8")
    views = ops.concatenate([pictures, pictures[:, :, :, ::-1]], axis=1) if spec.flip else pictures
    outputs = keras.tree.flatten(model(ops.reshape(views, (-1, *shape))))
    averaged = [ops.mean(ops.reshape(output, (-1, spec.views, output.shape[-1])), axis=1) for output in outputs]
    return keras.Model(pictures, averaged)


def features_of(pictures: Sequence, spec: FeatureSpec) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """The features of each layer, (m, ...) float32, and the rows (m,) they belong to, batch by batch.

    Pictures that cannot be read have none.

    Args:
        pictures: paths, or arrays (h, w, channels) of uint8.
    """
    body = body_of(spec)
    batch_size = batch_for(len(pictures), most=max(1, BATCH // spec.views))
    places = geometry.FIVE_CROPS if spec.crops > 1 else geometry.CENTRE_CROP
    source = pipeline.multi_crop_dataset if isinstance(pictures[0], str) else _of_arrays
    batches = source(pictures, body.pixels, places, batch_size=batch_size)
    if spec.views == 1:
        batches = ((views[:, 0], rows) for views, rows in batches)
    for outputs, rows in run(body.model, batches, batch_size):
        yield [output.reshape(len(rows), *shape) for output, shape in zip(outputs, body.shapes, strict=True)], rows


def _of_arrays(pictures, pixels: Pixels, places, *, batch_size: int):
    """As `pipeline.several_views`, of pictures in memory."""

    def view(picture):
        image = pillow_reader.convert_image(
            Image.fromarray(picture.squeeze(-1) if picture.shape[2] == 1 else picture), pixels.channels
        )
        return geometry.cut_crops(image, np.array(picture.shape[:2]), pixels, places)

    with ThreadPoolExecutor(available_cpus() + 4) as threads:
        for at in range(0, len(pictures), batch_size):
            some = pictures[at : at + batch_size]
            yield np.stack(list(threads.map(view, some))), np.arange(at, at + len(some))
