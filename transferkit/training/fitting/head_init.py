"""The initial head: a logistic regression on the frozen network's features, which is also the baseline.

Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", section 3.4: with
a fitted head, the other layers are not moved by the errors of a random one.
"""

import time

import numpy as np
from scipy.special import log_softmax

from transferkit.atomic import write
from transferkit.console import progress_bar, say
from transferkit.data.listing import Listing
from transferkit.evaluation.metrics import wilson_interval
from transferkit.features import classifiers
from transferkit.features.extraction import Extraction, extract
from transferkit.features.feature_spec import FeatureSpec
from transferkit.training.fitting import checkpoints, weight_interpolation
from transferkit.training.fitting.checkpoints import State
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning.phases import parse_layers

BASELINE = "baseline.json"


def fit_head(job: TrainingJob):
    """Fit the regression, assign it to the head, and save the first state of the run.

    Features come from the cache if they are there. The regression's hits on the pictures that will evaluate the run are
    saved for the comparison at the end.

    Raises:
        ValueError: more than one picture in five is unreadable.
    """
    started = time.perf_counter()
    listings = dict(job.splits.items())
    features = {split: _extract_features(job, listing, split) for split, listing in listings.items()}
    extracted = time.perf_counter()
    dense = kernel, bias = _fit_regression(job, features["train"])
    job.plan.clock.measure("head", 1, time.perf_counter() - extracted)
    job.network.model.get_layer(job.network.head).set_weights([kernel, bias])
    row = {"phase": "probe", "epoch": 0}
    for split, prefix in (("train", ""), ("val", "val_")):
        loss, accuracy = _evaluate(dense, features[split], listings[split])
        row |= {f"{prefix}loss": round(loss, 9), f"{prefix}accuracy": round(accuracy, 9)}
    row["seconds"] = round(time.perf_counter() - started, 2)
    split = "test" if job.splits.test else "val"
    write(job.checkpoint_path(BASELINE), _find_hits(dense, features[split], listings[split]))
    checkpoints.save_weights(job.network, job.checkpoint_path(checkpoints.BEST))
    if job.knobs.keep == "mix":
        checkpoints.save_weights(job.network, job.checkpoint_path(weight_interpolation.START))
    checkpoints.save_state(job.folder, State(history=[row], parts=job.knobs.accumulate))
    say(f"logistic regression on the frozen network's features  val_accuracy {row['val_accuracy']:.3f}")


def _extract_features(job: TrainingJob, listing: Listing, split: str) -> Extraction:
    """The features that the head gets, of the readable pictures."""
    model, layers = job.plan.recipe.model, parse_layers(job.knobs.head_layers)
    spec = FeatureSpec(
        model.base,
        model.weights,
        layers,
        size=model.size,
        channels=model.channels,
        fit=model.fit,
        pixels=model.pixels,
    )
    extraction = extract(listing.paths, spec, description=f"features of {split}")
    job.skip_unreadable(listing.paths, extraction.rows)
    return extraction


def _fit_regression(job: TrainingJob, extraction: Extraction) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of the regression that is fitted on the training pictures."""
    knobs, train, rows = job.knobs, job.splits.train, extraction.rows
    with progress_bar(classifiers.MAX_TRIALS, "logistic regression") as advance:
        regression = classifiers.fit_classifier(
            "logreg",
            extraction.features,
            np.array(train.labels)[rows],
            np.array(train.groups)[rows] if train.groups else None,
            widths=extraction.widths,
            seed=knobs.seed,
            class_weight="balanced" if knobs.balance in ("weights", "sampling") else None,
            advance=advance,
        )
    return convert_to_dense(regression, extraction.features.shape[1], len(job.network.classes))


def convert_to_dense(regression, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (width, classes) and bias (classes,) of the dense layer that decides as a fitted regression does.

    Args:
        regression: of scikit-learn, its decision an affine function of the features, its classes integers below
            `classes`. A class that it has not seen gets a bias below all others.
        width: number of features.
        classes: number of outputs.
    """
    bias = regression.decision_function(np.zeros((1, width)))
    kernel = regression.decision_function(np.eye(width)) - bias
    if kernel.ndim == 1:  # with two classes, the decision is a single score for the second one
        kernel, bias = np.stack((-kernel, kernel), 1) / 2, np.stack((-bias, bias), 1) / 2
    all_kernel, all_bias = np.zeros((width, classes), "float32"), np.full(classes, bias.min() - 1, "float32")
    all_kernel[:, regression.classes_], all_bias[regression.classes_] = kernel, bias[0]
    return all_kernel, all_bias


def _evaluate(dense: tuple[np.ndarray, np.ndarray], extraction: Extraction, listing: Listing) -> tuple[float, float]:
    """Cross-entropy and accuracy of a dense layer."""
    kernel, bias = dense
    labels = np.array(listing.labels)[extraction.rows]
    log_probabilities = log_softmax((extraction.features @ kernel + bias).astype("float64"), axis=1)
    loss = -log_probabilities[np.arange(len(labels)), labels].mean()
    return float(loss), float((log_probabilities.argmax(1) == labels).mean())


def _find_hits(dense: tuple[np.ndarray, np.ndarray], extraction: Extraction, listing: Listing) -> dict[str, bool]:
    """Whether a dense layer classifies each picture correctly, by path."""
    kernel, bias = dense
    predicted = (extraction.features @ kernel + bias).argmax(1)
    pairs = zip(extraction.rows, predicted, strict=True)
    return {listing.paths[row]: bool(listing.labels[row] == label) for row, label in pairs}


def compare_to_baseline(hits: dict[str, bool], predictions: list[dict]) -> dict | None:
    """What training changed in the accuracy of the regression, on the same pictures.

    Args:
        hits: the saved `BASELINE`: whether the regression classifies a picture correctly, by path.
        predictions: rows of `predict.evaluate` of the trained network.

    Returns:
        `accuracy` and `ci95` of the regression, and `added` with its 95% interval `added_ci95`, which is that of a
        paired difference: pictures that both classify correctly or wrongly tell nothing (McNemar 1947). None if there
        are no common pictures.
    """
    pairs = [(row["label"] == row["predicted"], hits[row["path"]]) for row in predictions if row["path"] in hits]
    if not pairs:
        return None
    n, changes = len(pairs), np.array([int(after) - int(before) for after, before in pairs])
    mean, spread = changes.mean(), changes.std() / np.sqrt(n)
    correct = sum(before for _, before in pairs)
    return {
        "accuracy": correct / n,
        "ci95": list(wilson_interval(correct, n)),
        "added": float(mean),
        "added_ci95": [float(mean - 1.96 * spread), float(mean + 1.96 * spread)],
    }
