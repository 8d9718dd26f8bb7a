"""Features of pictures, computed once: what the cache has of them is not computed again."""

import hashlib
import importlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from transferkit.console import counted, silenced
from transferkit.cpus import available_cpus
from transferkit.data import pipeline_errors
from transferkit.data.file_ranges import read_bytes
from transferkit.data.formats import UNCERTAIN, decoder_versions, error_reason
from transferkit.feature_cache import Vectors
from transferkit.features.spec import FeatureSpec, kind

BLOCK = 1024  # pictures at a time


@dataclass(frozen=True)
class Extraction:
    """Features of some pictures.

    Attributes:
        features: (m, width), or (m, h, w, maps) with `pool="none"`, float32.
        rows: (m,) positions of their pictures, rising; those in `errors` are not among them.
        errors: {position: why the picture cannot be read}.
        reused: how many came from the cache.
        widths: of the layers whose features stand side by side, `width` in all.
    """

    features: np.ndarray
    rows: np.ndarray
    errors: dict[int, str]
    reused: int
    widths: tuple[int, ...]


def extract(pictures: Sequence, spec: FeatureSpec, *, cache: bool = True, what: str = "features") -> Extraction:
    """The features of pictures, all in memory, behind a progress bar.

    Args:
        pictures: paths, or arrays (h, w, channels) of uint8.
        cache: whether features are taken from the cache folder (TRANSFERKIT_HOME) and kept there.

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: the network, its weights or a layer cannot be had.
    """
    starts = range(0, max(1, len(pictures)), BLOCK)
    with counted(len(pictures), what) as tick:
        blocks = [extract_block(pictures[at : at + BLOCK], spec, cache=cache, tick=tick) for at in starts]
    placed = list(zip(starts, blocks, strict=True))
    return Extraction(
        np.concatenate([block.features for block in blocks]),
        np.concatenate([at + block.rows for at, block in placed]),
        {at + row: why for at, block in placed for row, why in block.errors.items()},
        sum(block.reused for block in blocks),
        blocks[0].widths,
    )


def extract_block(
    pictures: Sequence, spec: FeatureSpec, *, cache: bool = True, tick: Callable = lambda _: None
) -> Extraction:
    """`extract` in one piece; `tick(count)` is told of pictures that are done."""
    digests, errors = _digests(pictures)
    with ExitStack() as stack:
        stores = [stack.enter_context(Vectors(kind(spec, layer))) for layer in spec.layer] if cache else []
        found = [store.recall(list(set(digests.values()))) for store in stores] or [{} for _ in spec.layer]
        lost = stores[0].reasons(list(set(digests.values())), decoder_versions()) if stores else {}
        new = {}  # a picture that is there twice is computed once
        for row, digest in digests.items():
            if digest not in lost and not all(digest in one for one in found):
                new.setdefault(digest, row)
        reused = sum(digest not in new and digest not in lost for digest in digests.values())
        tick(len(pictures) - len(new))
        if new:
            _compute(pictures, new, spec, found, stores, tick)
            pipeline_errors.raise_recorded()
            fresh = {digest: _why(pictures[row], digest) for digest, row in new.items() if digest not in found[0]}
            lost |= {digest: why for digest, (why, _) in fresh.items()}
            for store in stores:
                store.remember_reasons(
                    {digest: why for digest, (why, lasts) in fresh.items() if lasts}, decoder_versions()
                )
    errors |= {row: lost[digest] for row, digest in digests.items() if digest in lost}
    rows = [row for row in digests if row not in errors]
    shapes = shapes_of(spec, cache=cache) if not rows else [None] * len(found)
    columns = [
        _column([one[digests[row]] for row in rows], shape, spec.l2) for one, shape in zip(found, shapes, strict=True)
    ]
    widths = tuple(column.shape[-1] for column in columns)
    return Extraction(np.concatenate(columns, axis=1), np.array(rows, "int64"), errors, reused, widths)


def shapes_of(spec: FeatureSpec, *, cache: bool = True) -> list[tuple[int, ...]]:
    """Of the features of each layer; the network is built where the cache does not know."""
    shapes = []
    for layer in spec.layer if cache else ():
        with Vectors(kind(spec, layer)) as store:
            shapes.append(store.shape())
    if shapes and all(shape is not None for shape in shapes):
        return shapes
    return list(_body().body_of(spec).shapes)


def _digests(pictures: Sequence) -> tuple[dict[int, bytes], dict[int, str]]:
    """The digest of each picture's content, and why some have none, by position."""

    def digest(picture):
        if isinstance(picture, str):
            try:
                return hashlib.sha256(read_bytes(picture)).digest()
            except (OSError, ValueError) as error:
                return error_reason(error)
        told = hashlib.sha256(repr(picture.shape).encode())
        told.update(np.ascontiguousarray(picture))
        return told.digest()

    with ThreadPoolExecutor(available_cpus() + 4) as threads:
        found = dict(enumerate(threads.map(digest, pictures)))
    errors = {row: why for row, why in found.items() if isinstance(why, str)}
    return {row: one for row, one in found.items() if row not in errors}, errors


def _compute(
    pictures, new: dict[bytes, int], spec: FeatureSpec, found: list[dict], stores: list[Vectors], tick: Callable
):
    """Add the features of the new pictures to what is found, and to the stores."""
    digests, done = list(new), 0
    for outputs, rows in _body().features_of([pictures[row] for row in new.values()], spec):
        batch = [digests[row] for row in rows]
        for layer, output in enumerate(outputs):
            found[layer] |= zip(batch, output, strict=True)
            if stores:
                stores[layer].remember(batch, output)
        tick(int(rows[-1]) + 1 - done)
        done = int(rows[-1]) + 1
    tick(len(new) - done)


def _body():
    """The module that runs networks: it loads Keras, for seconds, which cached features do without."""
    with silenced():
        return importlib.import_module("transferkit.features.feature_model")


def _why(path: str, digest: bytes) -> tuple[str, bool]:
    """Why a picture could not be read, and whether that is in its content: a file that has gone may come back."""
    from transferkit.data.decode import explain_undecodable

    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        return error_reason(error), False
    why = explain_undecodable(data)
    return why or UNCERTAIN, bool(why) and hashlib.sha256(data).digest() == digest


def _column(vectors: list[np.ndarray], shape, l2: bool) -> np.ndarray:
    """The features (n, ...) of one layer; of no pictures, their shape must be told."""
    column = np.stack(vectors) if vectors else np.zeros((0, *shape), "float32")
    if l2:
        length = np.sqrt(np.square(column.reshape(len(column), -1)).sum(1))
        column = column / np.maximum(length, 1e-12).reshape(-1, *[1] * (column.ndim - 1))
    return column
