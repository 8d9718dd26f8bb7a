"""Predictions of a network, and its evaluation, by one compiled function on full batches."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from keras import ops

from transferkit.batchnorm_folding import fold_once
from transferkit.console import progress_bar
from transferkit.data import pipeline
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.evaluation import calibration, metrics, weighted_scores
from transferkit.lookup import none_can
from transferkit.network import Network, for_inference
from transferkit.pixels import Pixels

BATCH = 16
THREADS = 2  # while one batch waits for a core, the other has work: 1.1 to 1.2 times as fast as one batch of 32


def predict(network: Network, paths, *, top: int | None = 5, shift_model=None) -> list[dict]:
    """Classify pictures.

    Args:
        network: with a classifier.
        paths: of the pictures.
        top: number of most likely classes to return; None for all.
        shift_model: a run's `shift.ShiftModel`, for the key `unlike` of each dict: the distance to the training
            pictures; above 1, a picture looks unlike those.

    Returns:
        One dict for each path, in order: `path`, `label`, `probability`, `top` (pairs of label and probability, best
        first) and `error` (None, or why the picture could not be read; then the others are None).

    Raises:
        ValueError: the network has no classifier.

    Example:
        >>> predict(tk.load_run("runs/pets").network, ["tabby.jpg"])[0]["label"]  # doctest: +SKIP
        'cat'
    """
    paths = [str(path) for path in paths]
    model = shift_model.model if shift_model else require_classifier(network).model
    outputs, rows = predict_outputs(model, paths, network.pixels)
    unknown = {"unlike": None} if shift_model else {}
    predictions: dict[str, dict] = {
        path: {"path": path, "label": None, "probability": None, "top": None, "error": reason} | unknown
        for path, reason in before_training.explain_missing_rows(paths, rows)
    }
    answers = describe_outputs(network, outputs, top=top, shift=shift_model and shift_model.shift)
    for row, answer in zip(rows, answers, strict=True):
        predictions[paths[row]] = {"path": paths[row]} | answer
    return [predictions[path] for path in paths]


def describe_outputs(network: Network, outputs: np.ndarray, *, top: int | None = 5, shift=None) -> list[dict]:
    """What `predict` says of each picture, without its path.

    Args:
        outputs: (m, classes) logits; for a `shift.Shift`, with the features behind them.
    """
    logits, features = np.split(outputs, [len(network.classes)], axis=1)
    probabilities = calibration.to_probabilities(logits, network.temperature)
    answers = []
    order = np.argsort(-logits, axis=1, kind="stable")[:, :top]  # probabilities may be equal where logits are not
    for best, of_picture in zip(order, probabilities, strict=True):
        pairs = [[network.classes[i], round(float(of_picture[i]), calibration.DECIMALS)] for i in best]
        answers.append({"label": pairs[0][0], "probability": pairs[0][1], "top": pairs, "error": None})
    if shift:
        for answer, unlike in zip(answers, shift.measure(features), strict=True):
            answer["unlike"] = round(float(unlike), 3)
    return answers


def evaluate(network: Network, listing: Listing, outputs=None, temperatures=None) -> tuple[dict, list[dict]]:
    """Compare a network with the labels of a listing whose classes are the network's.

    Args:
        outputs: what `predict_outputs` would return for the listing, if it is known.
        temperatures: (m,), one for each readable picture, in place of the network's own.

    Returns:
        The figures of `metrics.compute_metrics`, with `unreadable` (number of pictures that could not be read), the
        network's `temperature` and `ece_uncalibrated`, the `ece` without any; and a row for each readable picture:
        path, label, predicted, probability.

    Raises:
        ValueError: no picture can be read.
    """
    logits, rows = outputs or predict_outputs(
        require_classifier(network).model, listing.paths, network.pixels, what="evaluation"
    )
    temperatures = network.temperature if temperatures is None else temperatures
    figures, predictions = measure(calibration.to_probabilities(logits, temperatures), rows, listing)
    labels = np.array(listing.labels)[rows]
    plain = weighted_scores.score_probabilities(calibration.to_probabilities(logits), labels, np.ones((1, len(rows))))
    return figures | {"temperature": network.temperature, "ece_uncalibrated": float(plain["ece"][0])}, predictions


def measure(probabilities: np.ndarray, rows: np.ndarray, listing: Listing) -> tuple[dict, list[dict]]:
    """Compare probabilities with the labels of a listing; returns and raises what `evaluate` does.

    Args:
        probabilities: (m, classes), float64.
        rows: (m,), of each picture in the listing.
    """
    if not len(rows):
        raise ValueError(f"{none_can(len(listing), 'picture')} be read.")
    labels = np.array(listing.labels)[rows]
    groups = [listing.groups[row] for row in rows] if listing.groups else ()
    figures = metrics.compute_metrics(probabilities, labels, listing.classes, groups)
    predictions = [
        {
            "path": listing.paths[row],
            "label": listing.classes[label],
            "predicted": listing.classes[predicted],
            "probability": round(float(probability), 6),
        }
        for row, label, predicted, probability in zip(
            rows, labels, probabilities.argmax(1), probabilities.max(1), strict=True
        )
    ]
    return figures | {"unreadable": len(listing) - len(rows)}, predictions


def require_classifier(network: Network) -> Network:
    """The network with its logits as the only output.

    Raises:
        ValueError: it has no classifier.
    """
    if network.doubt:
        raise ValueError(
            f"{network.doubt}, so it cannot classify: transferkit finetune --base, with --cut LAYER, trains a "
            "classifier."
        )
    if not network.classes:
        raise ValueError(
            f"{network.base} has no classifier, so it cannot classify: transferkit finetune --base trains one."
        )
    return for_inference(network)


def predict_outputs(model, paths, pixels: Pixels, *, what: str = "pictures") -> tuple[np.ndarray, np.ndarray]:
    """Run a model on pictures, with a progress bar.

    Args:
        model: a `keras.Model` from pictures to vectors or maps.
        paths: of the pictures.
        pixels: their geometry at the model's input.
        what: label of the bar.

    Returns:
        Outputs (m, width) or (m, h, w, width), float32, and their rows (m,) in `paths`; unreadable pictures have none.
    """
    model, batch_size = fold_once(model), choose_batch_size(len(paths))
    outputs, rows = [], [np.zeros(0, "int64")]
    batches = pipeline.evaluation_dataset(paths, pixels, batch_size=batch_size)
    with progress_bar(len(paths), what) as advance:
        for (output,), batch_rows in run_batches(model, batches, batch_size):
            outputs.append(output)
            rows.append(batch_rows)
            advance(len(batch_rows))
    empty = np.zeros([0, *(size or 0 for size in model.output_shape[1:])], "float32")
    return np.concatenate(outputs or [empty]), np.concatenate(rows)


def predict_changed(
    network: Network, paths, changes: Sequence[Callable], *, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """The classes of pictures that are changed in several ways, at the size of the network's input.

    Args:
        changes: functions of a picture (height, width, channels), uint8, and its row in `paths`, to such a picture.
        what: label of the progress bar.

    Returns:
        Numbers of the predicted classes, (m, changes), and the rows (m,) of the readable pictures.

    Raises:
        ValueError: no picture can be read.
    """
    model, batch_size = fold_once(require_classifier(network).model), choose_batch_size(len(paths))
    predicted: list[list[np.ndarray]] = [[] for _ in changes]
    found = [np.zeros(0, "int64")]

    def make_batches():
        for pictures, rows in pipeline.evaluation_dataset(paths, network.pixels, batch_size=batch_size):
            pictures, rows = np.asarray(pictures), np.asarray(rows)
            found.append(rows)
            for change in changes:
                yield np.stack([change(*each) for each in zip(pictures, rows, strict=True)]), rows

    with progress_bar(len(paths) * len(changes), what) as advance:
        for number, ((logits,), rows) in enumerate(run_batches(model, make_batches(), batch_size)):
            predicted[number % len(changes)].append(logits.argmax(1))
            advance(len(rows))
    if len(found) == 1:
        raise ValueError(f"{none_can(len(paths), 'picture')} be read.")
    return np.stack([np.concatenate(each) for each in predicted], axis=1), np.concatenate(found)


def choose_batch_size(count: int, largest: int = BATCH) -> int:
    """The batch size for `count` pictures: a power of two, so that a network is compiled for few sizes."""
    return min(largest, 1 << max(0, count - 1).bit_length())


def run_batches(model, batches, batch_size: int) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """The outputs of a model, each (m, ...) float32, and the rows (m,), of each batch of (pictures, rows).

    Batches are filled up to `batch_size`: another size would compile the network again.
    """
    running: deque = deque()

    def pop_result():
        future, rows = running.popleft()
        outputs = keras.tree.flatten(future.result())
        return [np.asarray(output, "float32")[: len(rows)] for output in outputs], np.asarray(rows)

    # on JAX, each call takes the model's weights and puts them back
    with ThreadPoolExecutor(1 if keras.backend.backend() == "jax" else THREADS) as threads:
        for pictures, rows in batches:
            missing, pictures = batch_size - len(rows), ops.convert_to_tensor(pictures)
            if missing:
                pictures = ops.pad(pictures, ((0, missing), *[(0, 0)] * (len(pictures.shape) - 1)))
            running.append((threads.submit(model.predict_on_batch, pictures), rows))
            if len(running) > THREADS:
                yield pop_result()
        while running:
            yield pop_result()
