"""Predictions of a network, and its evaluation, by one compiled function on full batches."""

from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from keras import ops
from scipy.special import log_softmax, softmax

from transferkit.batchnorm_folding import fold_batchnorm
from transferkit.console import progress_bar
from transferkit.data import pipeline
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.evaluation import metrics
from transferkit.network import Network, for_inference
from transferkit.pixels import Pixels

BATCH = 16
THREADS = 2  # while one batch waits for a core, the other has work: 1.1 to 1.2 times as fast as one batch of 32


def predict(network: Network, paths, *, top: int | None = 5, measure=None) -> list[dict]:
    """Classify pictures.

    Args:
        network: with a classifier.
        paths: of the pictures.
        top: number of most likely classes to return; None for all.
        measure: the run's `shift.Measure`, for the key `unlike` of each dict: the distance to the training pictures,
            of which above 1 they look unlike those.

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
    model = measure.model if measure else require_classifier(network).model
    outputs, rows = predict_outputs(model, paths, network.pixels)
    logits, features = np.split(outputs, [len(network.classes)], axis=1)
    unknown = {"unlike": None} if measure else {}
    predictions: dict[str, dict] = {
        path: {"path": path, "label": None, "probability": None, "top": None, "error": reason} | unknown
        for path, reason in before_training.explain_missing_rows(paths, rows)
    }
    for row, probabilities in zip(rows, softmax(logits, axis=1), strict=True):
        best = np.argsort(-probabilities, kind="stable")[:top]
        pairs = [[network.classes[i], round(float(probabilities[i]), 6)] for i in best]
        predictions[paths[row]] = {
            "path": paths[row],
            "label": pairs[0][0],
            "probability": pairs[0][1],
            "top": pairs,
            "error": None,
        } | unknown
    if measure:
        for row, unlike in zip(rows, measure.shift.measure(features), strict=True):
            predictions[paths[row]]["unlike"] = round(float(unlike), 3)
    return [predictions[path] for path in paths]


def evaluate(network: Network, listing: Listing, outputs=None) -> tuple[dict, list[dict]]:
    """Compare a network with the labels of a listing whose classes are the network's.

    Args:
        outputs: what `predict_outputs` would return for the listing, if it is known.

    Returns:
        The figures of `metrics.compute_metrics`, with `unreadable` (number of pictures that could not be read), and a
        row for each readable picture: path, label, predicted, probability.

    Raises:
        ValueError: no picture can be read.
    """
    logits, rows = outputs or predict_outputs(
        require_classifier(network).model, listing.paths, network.pixels, what="evaluation"
    )
    if not len(rows):
        raise ValueError(f"None of the {len(listing)} pictures can be read.")
    labels = np.array(listing.labels)[rows]
    probabilities = np.exp(log_softmax(logits.astype("float64"), axis=1))
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


def evaluate_unseen(network: Network, listing: Listing, seen: Collection[int]) -> tuple[dict | None, dict]:
    """Compare a network with the labels of all pictures, and of those apart that it was not trained on.

    Args:
        seen: rows of the pictures that it was trained on.

    Returns:
        The figures of `evaluate` for the unseen pictures, None if none of them is readable, and for all.
    """
    logits, rows = predict_outputs(require_classifier(network).model, listing.paths, network.pixels)
    unseen = np.setdiff1d(np.arange(len(listing)), list(seen))
    apart = np.isin(rows, unseen)
    outputs = logits[apart], np.searchsorted(unseen, rows[apart])
    figures = evaluate(network, listing.take(unseen), outputs)[0] if apart.any() else None
    return figures, evaluate(network, listing, (logits, rows))[0]


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
    model, batch_size = fold_batchnorm(model), choose_batch_size(len(paths))
    outputs, rows = [], [np.zeros(0, "int64")]
    batches = pipeline.evaluation_dataset(paths, pixels, batch_size=batch_size)
    with progress_bar(len(paths), what) as advance:
        for (output,), batch_rows in run_batches(model, batches, batch_size):
            outputs.append(output)
            rows.append(batch_rows)
            advance(len(batch_rows))
    empty = np.zeros([0, *(size or 0 for size in model.output_shape[1:])], "float32")
    return np.concatenate(outputs or [empty]), np.concatenate(rows)


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
