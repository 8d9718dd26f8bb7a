"""Export a network to another format, and check the file with the runtime that will use it."""

import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transferkit import models
from transferkit.data import decode, geometry, pillow_reader
from transferkit.data.listing import Listing
from transferkit.data.sources import resolve
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.predict import require_classifier
from transferkit.exchange import run_file, targets
from transferkit.exchange.classifier import build_classifier
from transferkit.exchange.requests import check_request
from transferkit.exchange.targets import FLOAT16, FLOAT32, INT8
from transferkit.lookup import UnknownName, as_text
from transferkit.network import Network

PICTURES = 200  # that a file is checked with
TOLERANCES = {FLOAT32: 0.01, FLOAT16: 0.05}  # of a probability
INT8_LOSS = 0.02  # of the accuracy, or of the pictures that get another class where no classes are known


@dataclass(frozen=True)
class Export:
    """A file that was written and checked.

    Attributes:
        path: of the file or folder.
        target: a key of `targets.TARGETS`.
        dtype: "float32", "float16" or "int8".
        megabytes: of the file.
        pictures: how many it was checked with.
        largest_difference: of a probability, from Keras' own.
        agreement: the fraction of pictures that get the class that Keras gives them.
        accuracy: of the file, or None where the classes of the pictures are not known.
        keras_accuracy: of the network in Keras on the same pictures.
        milliseconds: of a picture, one at a time, median, resizing included where the file does it.
    """

    path: str
    target: str
    dtype: str
    megabytes: float
    pictures: int
    largest_difference: float
    agreement: float
    accuracy: float | None
    keras_accuracy: float | None
    milliseconds: float

    def to_dict(self) -> dict:
        return asdict(self)


def export(
    base: str | os.PathLike,
    out: str | os.PathLike,
    *,
    to: str,
    dtype: str = FLOAT32,
    data=None,
    weights: str = "imagenet",
) -> Export:
    """Export a network, and check the file by its own runtime in another process.

    The file answers calibrated probabilities. An ONNX file and a SavedModel take uint8 RGB pictures of any size and
    resize, crop and normalise them as `predict` does; a LiteRT and a Keras file take views of the network's own size.

    Args:
        base: a run folder, a network's name, or a Keras model's file.
        out: path of the file or folder, which must not exist.
        to: a key of `targets.TARGETS`: "keras", "savedmodel", "onnx" or "litert".
        dtype: "float32", "float16" (ONNX and LiteRT) or "int8" (LiteRT), which is calibrated on `data`.
        data: pictures to check with, and to calibrate by, as `resolve.as_pictures` takes them or with classes; by
            default those of the run: test, else validation, or two photographs.
        weights: of a network's name, see `models.create`.

    Returns:
        What was measured.

    Raises:
        UnknownName: the format or the dtype is not known or not possible, or a package is missing.
        FileExistsError: there is something at `out`.
        ValueError: the file does not answer as the network does; it is not kept.

    Example:
        >>> export("runs/pets", "pets.onnx", to="onnx").largest_difference  # doctest: +SKIP
        0.0004
    """
    base, path = as_text(base, "base"), Path(as_text(out, "out"))
    target = check_request(to, dtype, path)
    network = models.load(base, weights)
    require_classifier(network)
    pictures = find_pictures(base, network, data)
    if dtype == INT8 and len(pictures.arrays) < 20:
        raise UnknownName(f"int8 is calibrated on pictures, at least 20, not {len(pictures.arrays)}: give data.")
    classifier = build_classifier(network, any_size=target.any_size, dtype="float32" if to == "keras" else "uint8")
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        target.write(classifier, str(partial), network.classes, dtype, pictures.views)
        answers, seconds = run_elsewhere(partial, pictures.arrays if target.any_size else list(pictures.views))
        found = _compare(network, pictures, answers, seconds, to=to, dtype=dtype, path=path, partial=partial)
        _refuse_wrong(found)
        os.replace(partial, path)
    finally:
        targets.remove(partial)
    return found


@dataclass(frozen=True)
class CheckPictures:
    """Pictures that a file is checked with.

    Attributes:
        arrays: uint8 (height, width, channels), whole pictures, decoded.
        views: uint8 (n, height, width, channels), what the network sees of them.
        labels: numbers of their classes, or None.
    """

    arrays: list[np.ndarray]
    views: np.ndarray
    labels: np.ndarray | None


def find_pictures(base: str | os.PathLike, network: Network, data=None) -> CheckPictures:
    """The pictures that a file is checked with: `data`, those that a run held out, or scikit-learn's photographs."""
    paths, labels = _list_pictures(base, network, data)
    arrays, kept = [], []
    for row, path in enumerate(paths):
        try:
            arrays.append(pillow_reader.read_picture(decode.read_path(path), network.pixels.channels))
            kept.append(row)
        except Exception:  # whatever Pillow raises on a damaged file: the check takes the others
            continue
    if not paths:
        from sklearn.datasets import load_sample_images

        modes = pillow_reader.MODES[network.pixels.channels]
        images = [Image.fromarray(image).convert(modes) for image in load_sample_images().images]
        arrays = [pillow_reader.image_to_array(image) for image in images]
    if not arrays:
        raise ValueError("None of the pictures to check the file with can be read: give others as data.")
    views = np.stack([fit_as_pillow(array, network) for array in arrays])
    return CheckPictures(arrays, views, None if labels is None else labels[kept])


def _list_pictures(base, network: Network, data) -> tuple[list[str], np.ndarray | None]:
    if data is None and not os.path.isfile(os.path.join(base, "recipe.toml")):
        return [], None
    if data is None:
        from transferkit.runs import load_run

        run = load_run(base)
        listing: Listing = run.splits.test or run.splits.val
    else:
        listing = resolve.as_labelled(data, network.classes, "data")
    chosen = np.random.default_rng(0).permutation(len(listing))[:PICTURES]
    return [listing.paths[row] for row in chosen], np.array(listing.labels)[chosen]


def fit_as_pillow(array: np.ndarray, network: Network) -> np.ndarray:
    """The view of a decoded picture (h, w, c), uint8, that `predict` gives the network."""
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    return geometry.cut_crops(image, np.array(array.shape[:2]), network.pixels, geometry.CENTRE_CROP)[0]


def run_elsewhere(path: Path, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Answers (n, classes) of an exported file in a process without transferkit, and the seconds (n,) they took.

    Raises:
        ValueError: the runtime does not load or run the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, written = os.path.join(folder, "pictures.npz"), os.path.join(folder, "answers.npz")
        arrays: dict[str, Any] = {f"picture_{number}": array for number, array in enumerate(pictures)}
        np.savez(given, **arrays)
        command = [sys.executable, "-P", run_file.__file__, str(path), given, written]
        ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"})
        if ended.returncode:
            lines = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
            raise ValueError(f"The runtime cannot use the file, which is not kept: {lines[-1]}")
        with np.load(written) as found:
            return found["answers"], found["seconds"]


def _compare(network: Network, pictures: CheckPictures, answers, seconds, *, to, dtype, path, partial) -> Export:
    logits = network.model.predict(pictures.views.astype("float32"), batch_size=16, verbose=0)
    expected, labels = to_probabilities(logits, network.temperature), pictures.labels
    chosen = answers.argmax(1)
    return Export(
        path=str(path),
        target=to,
        dtype=dtype,
        megabytes=_measure_bytes(partial) / 1e6,
        pictures=len(answers),
        largest_difference=float(np.abs(answers - expected).max()),
        agreement=float((chosen == expected.argmax(1)).mean()),
        accuracy=None if labels is None else float((chosen == labels).mean()),
        keras_accuracy=None if labels is None else float((expected.argmax(1) == labels).mean()),
        milliseconds=float(np.median(seconds) * 1e3),
    )


def _measure_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _refuse_wrong(found: Export):
    """Raise `ValueError` if the file does not answer as the network does."""
    if found.dtype in TOLERANCES:
        wrong = not found.largest_difference <= TOLERANCES[found.dtype]
        what = f"a probability differs by {found.largest_difference:.3f}, more than {TOLERANCES[found.dtype]}"
    elif found.accuracy is not None and found.keras_accuracy is not None:
        wrong = found.accuracy < found.keras_accuracy - INT8_LOSS
        what = f"its accuracy is {found.accuracy:.1%}, and {found.keras_accuracy:.1%} in Keras"
    else:
        wrong, what = found.agreement < 1 - INT8_LOSS, f"{1 - found.agreement:.1%} of the pictures get another class"
    if wrong:
        raise ValueError(
            f"The {found.target} file in {found.dtype} is not kept, as on {found.pictures} pictures {what}."
        )
