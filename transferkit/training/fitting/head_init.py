"""The head's start: the logistic regression on the frozen network's features, which is also the baseline.

Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", section 3.4: the
head is fitted first, so that the rest is not moved by the errors of a random one.
"""

import time
from pathlib import Path

import numpy as np
from scipy.special import log_softmax

from transferkit.atomic import write
from transferkit.console import say
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.evaluation.metrics import wilson
from transferkit.features import classifiers
from transferkit.features.extraction import extract
from transferkit.features.spec import FeatureSpec
from transferkit.training.fitting import checkpoints, weight_interpolation
from transferkit.training.fitting.checkpoints import State
from transferkit.training.planning.planner import Plan, layers_of

BASELINE = "baseline.json"


def start(job: Plan, folder: Path, lost: dict[str, str]):
    """Fit the regression, put it into the head, and save that as the first state of the run.

    Features come from the cache where it has them. What the regression says of the pictures that the run will be judged
    by is kept for the end.

    Args:
        lost: `{path: reason}`, to which pictures that cannot be read are added.

    Raises:
        ValueError: more than one picture in five cannot be read.
    """
    started = time.perf_counter()
    parts = dict(job.splits.items())
    features = {name: _features(job, part, name, lost) for name, part in parts.items()}
    train, rows, widths = features["train"]
    labels = np.array(job.splits.train.labels)[rows]
    groups = np.array(job.splits.train.groups)[rows] if job.splits.train.groups else None
    knobs = job.recipe.train
    ways = {"seed": knobs.seed, "class_weight": "balanced" if knobs.balance in ("weights", "sampling") else None}
    regression = classifiers.fitted("logreg", train, labels, groups, widths=widths, **ways)
    kernel, bias = linear(regression, train.shape[1], len(job.network.classes))
    job.network.model.get_layer(job.network.head).set_weights([kernel, bias])
    row = {"phase": "probe", "epoch": 0}
    for name, prefix in (("train", ""), ("val", "val_")):
        values, rows, _ = features[name]
        labels = np.array(parts[name].labels)[rows]
        chances = log_softmax((values @ kernel + bias).astype("float64"), axis=1)
        row |= {f"{prefix}loss": round(float(-chances[np.arange(len(rows)), labels].mean()), 9)}
        row |= {f"{prefix}accuracy": round(float((chances.argmax(1) == labels).mean()), 9)}
    row["seconds"] = round(time.perf_counter() - started, 2)
    judge = "test" if job.splits.test else "val"
    values, rows, _ = features[judge]
    guesses = (values @ kernel + bias).argmax(1)
    hits = {
        parts[judge].paths[row]: bool(parts[judge].labels[row] == guess)
        for row, guess in zip(rows, guesses, strict=True)
    }
    write(folder / "checkpoints" / BASELINE, hits)
    for name in (checkpoints.BEST, weight_interpolation.START) if knobs.keep == "mix" else (checkpoints.BEST,):
        checkpoints.save_weights(job.network, folder / "checkpoints" / name)
    checkpoints.save(folder, State(history=[row], parts=knobs.accumulate))
    say(f"logistic regression on the frozen network's features  val_accuracy {row['val_accuracy']:.3f}")


def _features(job: Plan, listing: Listing, what: str, lost: dict[str, str]):
    """The features that the head sees, of the pictures that can be read; their rows; the widths of the layers."""
    model, layers = job.recipe.model, layers_of(job.recipe.train.head_layers)
    own = {"size": model.size, "channels": model.channels, "fit": model.fit, "pixels": model.pixels}
    spec = FeatureSpec(model.base, model.weights, layers, **own)
    found = extract(listing.paths, spec, what=f"features of {what}")
    lost |= before_training.report_unreadable(listing.paths, found.rows, lost)
    before_training.check_unreadable_fraction(listing.paths, lost)
    return found.features, found.rows, found.widths


def linear(regression, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (width, count) and bias (count,) of the dense layer that decides as a fitted regression does.

    Args:
        regression: of scikit-learn, its decision an affine function of the features; its classes are numbers below
            `count`. Those it has not seen get the least bias of all.
    """
    bias = regression.decision_function(np.zeros((1, width)))
    kernel = regression.decision_function(np.eye(width)) - bias
    if kernel.ndim == 1:  # of two classes, the decision for the second one
        kernel, bias = np.stack((-kernel, kernel), 1) / 2, np.stack((-bias, bias), 1) / 2
    wide, low = np.zeros((width, count), "float32"), np.full(count, bias.min() - 1, "float32")
    wide[:, regression.classes_], low[regression.classes_] = kernel, bias[0]
    return wide, low


def added(hits: dict[str, bool], answers: list[dict]) -> dict | None:
    """What training changed in the accuracy of the regression, on the same pictures.

    Returns:
        `accuracy` and `ci95` of the regression, and `added` with its 95% interval `added_ci95`, which is that of a
        paired difference: pictures that both get right or wrong tell nothing (McNemar 1947). None of no pictures.
    """
    pairs = [(row["label"] == row["predicted"], hits[row["path"]]) for row in answers if row["path"] in hits]
    if not pairs:
        return None
    n, changes = len(pairs), np.array([int(after) - int(before) for after, before in pairs])
    mean, spread = changes.mean(), changes.std() / np.sqrt(n)
    right = sum(before for _, before in pairs)
    return {
        "accuracy": right / n,
        "ci95": list(wilson(right, n)),
        "added": float(mean),
        "added_ci95": [float(mean - 1.96 * spread), float(mean + 1.96 * spread)],
    }
