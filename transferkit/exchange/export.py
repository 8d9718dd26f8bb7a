"""Export a network to another format, and check the file with the runtime that will use it."""

import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferkit import models
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.predict import require_classifier
from transferkit.exchange import run_file, targets
from transferkit.exchange.check_pictures import CheckPictures, find_pictures
from transferkit.exchange.classifier import build_classifier
from transferkit.exchange.other_process import run_script
from transferkit.exchange.requests import check_request
from transferkit.exchange.targets import FLOAT16, FLOAT32, INT8
from transferkit.lookup import UnknownName, as_text, count_noun
from transferkit.network import Network

FEWEST = 20  # pictures to calibrate int8 by
TOLERANCES = {FLOAT32: 0.01, FLOAT16: 0.05}  # of a probability
INT8_LOSS = (
    0.02  # of the accuracy, or of the pictures that get another class where no classes are known; or one picture
)


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
        dtype: "float32", "float16" (ONNX and LiteRT) or "int8" (LiteRT).
        data: pictures to check with, with or without classes of the network: what `--data` takes, a listing, paths or
            arrays. By default those of the run: test, else validation, or two photographs. int8 is calibrated on the
            run's training pictures, or on every second picture of `data`, which is not checked with.
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
    pictures = find_pictures(base, network, data, calibrate=dtype == INT8)
    if dtype == INT8 and len(pictures.calibration) < FEWEST:
        count = len(pictures.calibration)
        raise UnknownName(f"int8 is calibrated on pictures, at least {FEWEST}, not {count}: give more as data.")
    classifier = build_classifier(network, any_size=target.any_size, dtype=targets.input_dtype(to, dtype))
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        target.write(classifier, str(partial), network.classes, dtype, pictures.calibration)
        answers, seconds = run_elsewhere(partial, pictures.arrays if target.any_size else list(pictures.views))
        found = _compare(network, pictures, answers, seconds, to=to, dtype=dtype, path=path, partial=partial)
        _refuse_wrong(found)
        os.replace(partial, path)
    finally:
        targets.remove(partial)
    return found


def run_elsewhere(path: Path, pictures: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Answers (n, classes) of an exported file in a process without transferkit, and the seconds (n,) they took.

    Raises:
        ValueError: the runtime does not load or run the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, written = os.path.join(folder, "pictures.npz"), os.path.join(folder, "answers.npz")
        arrays: dict[str, Any] = {f"picture_{number}": array for number, array in enumerate(pictures)}
        np.savez(given, **arrays)
        try:
            run_script(run_file.__file__, str(path), given, written)
        except ValueError as error:
            raise ValueError(f"The runtime cannot use the file, which is not kept: {error}") from None
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
    allowed = max(INT8_LOSS, 1 / found.pictures) + 1e-6
    if found.dtype in TOLERANCES:
        wrong = not found.largest_difference <= TOLERANCES[found.dtype]
        what = f"a probability differs by {found.largest_difference:.3f}, more than {TOLERANCES[found.dtype]}"
    elif found.accuracy is not None and found.keras_accuracy is not None:
        wrong = found.keras_accuracy - found.accuracy > allowed
        what = f"its accuracy is {found.accuracy:.1%}, and {found.keras_accuracy:.1%} in Keras"
    else:
        wrong, what = 1 - found.agreement > allowed, f"{1 - found.agreement:.1%} of the pictures get another class"
    if wrong:
        raise ValueError(
            f"The {found.target} file in {found.dtype} is not kept, as on "
            f"{count_noun(found.pictures, 'picture')} {what}."
        )
