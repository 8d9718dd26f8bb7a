"""What a network says of pictures, by one compiled function on full batches."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from keras import ops
from scipy.special import log_softmax, softmax

from transferkit.batchnorm_folding import folded
from transferkit.console import track
from transferkit.data import pipeline
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.evaluation import metrics
from transferkit.network import Network, for_use
from transferkit.pixels import Pixels

BATCH, AT_ONCE = 16, 2  # where one batch waits for a core, the other has work: 1.1 to 1.2 times one batch of 32


def outputs_of(model, paths, pixels: Pixels, *, what: str = "pictures") -> tuple[np.ndarray, np.ndarray]:
    """Run a model over pictures behind a progress bar.

    Args:
        model: a `keras.Model` from pictures to vectors or maps.
        paths: of the pictures.
        pixels: the geometry they are brought to.
        what: they are, for the bar.

    Returns:
        Outputs (m, width) or (m, h, w, width), float32, and the rows (m,) of `paths` they belong to; a picture that
        cannot be read has none.
    """
    model, batch_size = folded(model), batch_for(len(paths))
    outputs, kept = [], [np.zeros(0, "int64")]
    batches = pipeline.evaluation_dataset(paths, pixels, batch_size=batch_size)
    for (output,), rows in track(run(model, batches, batch_size), -(-len(paths) // batch_size), what):
        outputs.append(output)
        kept.append(rows)
    nothing = np.zeros([0, *(side or 0 for side in model.output_shape[1:])], "float32")
    return np.concatenate(outputs or [nothing]), np.concatenate(kept)


def batch_for(count: int, most: int = BATCH) -> int:
    """The batch of so many pictures: a power of two, so that a network is compiled for few sizes."""
    return min(most, 1 << max(0, count - 1).bit_length())


def run(model, batches, batch_size: int) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """The outputs of a model, each (m, ...) float32, and the rows (m,) of each batch of (pictures, rows).

    All batches are filled up to `batch_size`: one of another size would compile the network again.
    """
    under_way = deque()

    def first():
        answer, rows = under_way.popleft()
        outputs = keras.tree.flatten(answer.result())
        return [np.asarray(output, "float32")[: len(rows)] for output in outputs], np.asarray(rows)

    # each run on JAX gives its weights away and gets them back
    with ThreadPoolExecutor(1 if keras.backend.backend() == "jax" else AT_ONCE) as threads:
        for pictures, rows in batches:
            missing, pictures = batch_size - len(rows), ops.convert_to_tensor(pictures)
            if missing:
                pictures = ops.pad(pictures, ((0, missing), *[(0, 0)] * (len(pictures.shape) - 1)))
            under_way.append((threads.submit(model.predict_on_batch, pictures), rows))
            if len(under_way) > AT_ONCE:
                yield first()
        while under_way:
            yield first()


def classified(network: Network) -> Network:
    """The network, its logits alone.

    Raises:
        ValueError: it has no classifier.
    """
    if network.doubt:
        raise ValueError(
            f"{network.doubt}, so it cannot tell classes: transferkit finetune --base, with --cut LAYER, trains one."
        )
    if not network.classes:
        raise ValueError(
            f"{network.base} has no classifier, so it cannot tell classes: transferkit finetune --base trains one."
        )
    return for_use(network)


def predict(network: Network, paths, *, top: int = 5) -> list[dict]:
    """Classify pictures.

    Returns:
        One dict a path, in the order given: `path`, `label`, `probability`, `top` (pairs of label and probability,
        best first) and `error` (None, or why the picture could not be read; the others are None then).
    """
    paths = [str(path) for path in paths]
    logits, rows = outputs_of(classified(network).model, paths, network.pixels)
    errors = dict(before_training.explain_missing_rows(paths, rows))
    answers = {
        path: {"path": path, "label": None, "probability": None, "top": None, "error": why}
        for path, why in errors.items()
    }
    for row, chances in zip(rows, softmax(logits, axis=1), strict=True):
        best = np.argsort(-chances, kind="stable")[:top]
        pairs = [[network.classes[i], round(float(chances[i]), 6)] for i in best]
        answers[paths[row]] = {
            "path": paths[row],
            "label": pairs[0][0],
            "probability": pairs[0][1],
            "top": pairs,
            "error": None,
        }
    return [answers[path] for path in paths]


def evaluate(network: Network, listing: Listing, outputs=None) -> tuple[dict, list[dict]]:
    """Compare a network with the labels of a listing whose classes are the network's.

    Args:
        outputs: what `outputs_of` would give of them, where it is known.

    Returns:
        The figures of `metrics.report`, with `unreadable` (how many pictures could not be read), and a row for each
        picture that could: path, label, predicted, probability.

    Raises:
        ValueError: no picture can be read.
    """
    logits, rows = outputs or outputs_of(classified(network).model, listing.paths, network.pixels)
    if not len(rows):
        raise ValueError(f"None of the {len(listing)} pictures can be read.")
    labels = np.array(listing.labels)[rows]
    chances = np.exp(log_softmax(logits.astype("float64"), axis=1))
    figures = metrics.report(chances, labels, listing.classes) | {"unreadable": len(listing) - len(rows)}
    guesses = chances.argmax(1)
    answers = [
        {
            "path": listing.paths[row],
            "label": listing.classes[label],
            "predicted": listing.classes[guess],
            "probability": round(float(chance), 6),
        }
        for row, label, guess, chance in zip(rows, labels, guesses, chances.max(1), strict=True)
    ]
    return figures, answers
