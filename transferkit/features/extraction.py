"""Compute the features of pictures once: those that the cache holds are not computed again."""

import hashlib
import importlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from transferkit import bases
from transferkit.console import progress_bar
from transferkit.cpus import available_cpus
from transferkit.data import deferred_errors, lazy_tensorflow
from transferkit.data.file_ranges import read_bytes
from transferkit.data.formats import UNCERTAIN, decoder_versions, error_reason
from transferkit.feature_cache import FeatureStore
from transferkit.features.feature_spec import FeatureSpec, cache_key

BLOCK = 1024  # pictures at a time


@dataclass(frozen=True)
class Extraction:
    """Features of some pictures.

    Attributes:
        features: (m, width) or, with `pool="none"`, (m, h, w, maps), float32.
        rows: (m,) positions of their pictures, ascending; positions in `errors` are not among them.
        errors: {position: reason why the picture cannot be read}.
        reused: number of features that came from the cache.
        widths: of the layers whose features are concatenated, `width` in total.
    """

    features: np.ndarray
    rows: np.ndarray
    errors: dict[int, str]
    reused: int
    widths: tuple[int, ...]


def extract(pictures: Sequence, spec: FeatureSpec, *, cache: bool = True, description: str = "features") -> Extraction:
    """Extract the features of pictures, all in memory, with a progress bar.

    Args:
        pictures: paths, or uint8 arrays (h, w, channels).
        cache: whether features are read from the cache folder (TRANSFERKIT_HOME) and stored there.
        description: label of the progress bar.

    Raises:
        UnknownName, FileNotFoundError, ValueError, OSError: the network, its weights or a layer is not found.

    Example:
        >>> extract(["tabby.jpg", "rex.jpg"], FeatureSpec("resnet34")).features.shape
        (2, 512)
    """
    starts = range(0, max(1, len(pictures)), BLOCK)
    with progress_bar(len(pictures), description) as advance:
        blocks = [extract_block(pictures[at : at + BLOCK], spec, cache=cache, advance=advance) for at in starts]
    placed = list(zip(starts, blocks, strict=True))
    return Extraction(
        np.concatenate([block.features for block in blocks]),
        np.concatenate([start + block.rows for start, block in placed]),
        {start + row: why for start, block in placed for row, why in block.errors.items()},
        sum(block.reused for block in blocks),
        blocks[0].widths,
    )


def extract_block(
    pictures: Sequence, spec: FeatureSpec, *, cache: bool = True, advance: Callable = lambda _: None
) -> Extraction:
    """Do `extract` in one piece; advance(count) is called as pictures are done."""
    digests, errors = _digest_pictures(pictures)
    distinct = list(set(digests.values()))
    with ExitStack() as stack:
        stores = [stack.enter_context(FeatureStore(cache_key(spec, layer))) for layer in spec.layer] if cache else []
        known = [store.get_features(distinct) for store in stores] or [{} for _ in spec.layer]
        unreadable = stores[0].get_errors(distinct, decoder_versions()) if stores else {}
        new: dict[bytes, int] = {}  # the row of each digest; a picture that is there twice is computed once
        for row, digest in digests.items():
            if digest not in unreadable and not all(digest in features for features in known):
                new.setdefault(digest, row)
        reused = sum(digest not in new and digest not in unreadable for digest in digests.values())
        advance(len(pictures) - len(new))
        if new:
            computed = _compute_new(pictures, new, spec, stores, advance)
            known = [old | added for old, added in zip(known, computed, strict=True)]
            deferred_errors.raise_recorded()
            failed = {digest: _explain(pictures[row], digest) for digest, row in new.items() if digest not in known[0]}
            unreadable |= {digest: why for digest, (why, _) in failed.items()}
            for store in stores:
                store.add_errors({digest: why for digest, (why, lasts) in failed.items() if lasts}, decoder_versions())
    errors |= {row: unreadable[digest] for row, digest in digests.items() if digest in unreadable}
    rows = [row for row in digests if row not in errors]
    shapes = _layer_shapes(spec, cache) if not rows else [()] * len(known)
    columns = [
        _stack([features[digests[row]] for row in rows], shape, spec.l2)
        for features, shape in zip(known, shapes, strict=True)
    ]
    widths = tuple(column.shape[-1] for column in columns)
    return Extraction(np.concatenate(columns, axis=1), np.array(rows, "int64"), errors, reused, widths)


def feature_shape(spec: FeatureSpec, *, cache: bool = True) -> tuple[int, ...]:
    """The shape of one picture's features; several layers are concatenated to one vector."""
    shapes = _layer_shapes(spec, cache)
    return shapes[0] if len(shapes) == 1 else (sum(width for (width,) in shapes),)


def feature_widths(spec: FeatureSpec, *, cache: bool = True) -> list[int]:
    """The number of features of each layer, where features are vectors."""
    return [width for (width,) in _layer_shapes(spec, cache)]


def _layer_shapes(spec: FeatureSpec, cache: bool) -> list[tuple[int, ...]]:
    """The shape of each layer's features; the network is built if the cache does not know it."""
    shapes = []
    for layer in spec.layer if cache else ():
        with FeatureStore(cache_key(spec, layer)) as store:
            shapes.append(store.shape())
    if shapes and all(shape is not None for shape in shapes):
        return shapes
    return list(_import_feature_model(spec).load_feature_model(spec).shapes)


def _digest_pictures(pictures: Sequence) -> tuple[dict[int, bytes], dict[int, str]]:
    """By position: the digest of each picture's content, and the reasons why some cannot be read."""

    def digest(picture) -> bytes | str:
        if isinstance(picture, str):
            try:
                return hashlib.sha256(read_bytes(picture)).digest()
            except (OSError, ValueError) as error:
                return error_reason(error)
        digest = hashlib.sha256(repr(picture.shape).encode())
        digest.update(np.ascontiguousarray(picture))  # type: ignore[arg-type]  # a buffer in NumPy's stubs from 3.12 on
        return digest.digest()

    with ThreadPoolExecutor(available_cpus() + 4) as threads:
        found = list(enumerate(threads.map(digest, pictures)))
    digests = {row: value for row, value in found if isinstance(value, bytes)}
    return digests, {row: value for row, value in found if isinstance(value, str)}


def _compute_new(
    pictures: Sequence, new: dict[bytes, int], spec: FeatureSpec, stores: list[FeatureStore], advance: Callable
) -> list[dict[bytes, np.ndarray]]:
    """Compute the features of new pictures and store them; {digest: features} for each layer."""
    digests, done = list(new), 0
    computed: list[dict[bytes, np.ndarray]] = [{} for _ in spec.layer]
    batches = _import_feature_model(spec).compute_features([pictures[row] for row in new.values()], spec)
    for outputs, rows in batches:
        batch = [digests[row] for row in rows]
        for layer, output in enumerate(outputs):
            computed[layer] |= zip(batch, output, strict=True)
            if stores:
                stores[layer].add_features(batch, output)
        advance(int(rows[-1]) + 1 - done)
        done = int(rows[-1]) + 1
    advance(len(new) - done)
    return computed


def _import_feature_model(spec: FeatureSpec):
    """The module that runs networks. Importing it loads Keras, which takes seconds, and cached features do not need."""
    if isinstance(spec.base, str):
        bases.fetch_missing(spec.base, spec.weights)  # before Keras: without a network, the error comes at once
    lazy_tensorflow.load()
    return importlib.import_module("transferkit.features.feature_model")


def _explain(path: str, digest: bytes) -> tuple[str, bool]:
    """Why a picture could not be read, and whether its content is the reason: a file that is gone may come back."""
    from transferkit.data.decode import explain_undecodable

    try:
        data = read_bytes(path)
    except (OSError, ValueError) as error:
        return error_reason(error), False
    why = explain_undecodable(data)
    return why or UNCERTAIN, bool(why) and hashlib.sha256(data).digest() == digest


def _stack(vectors: list[np.ndarray], shape: tuple[int, ...], l2: bool) -> np.ndarray:
    """The features (n, ...) of one layer, of length 1 if `l2`; `shape` is used if there are no vectors."""
    features = np.stack(vectors) if vectors else np.zeros((0, *shape), "float32")
    if l2:
        length = np.sqrt(np.square(features.reshape(len(features), -1)).sum(1))
        features = features / np.maximum(length, 1e-12).reshape(-1, *[1] * (features.ndim - 1))
    return features
