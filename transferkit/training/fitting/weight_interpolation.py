"""Weight interpolation between the start and the end of a training.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), section 3: the weights before fine-tuning,
here the pretrained ones and the regression's head, averaged with those after it. The average recovers what fine-tuning
forgot and keeps most of what it learned, and the network costs no more.
"""

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from transferkit.batchnorm_folding import fold_once
from transferkit.console import progress_bar, say
from transferkit.data import pipeline
from transferkit.data.view_cache import CacheSpace
from transferkit.evaluation.predict import BATCH, run_batches
from transferkit.network import for_inference
from transferkit.run_folder import temporary_folder
from transferkit.training.fitting import checkpoints
from transferkit.training.job_records import TrainingJob

START = "start.safetensors"
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the trained weights: 0 is the start, 1 the end
DEFAULT = 2  # index of 0.5, which is chosen unless another one is significantly better
MIN_PICTURES = 10  # for a standard error that means something
RESAMPLES = 500


def interpolate_weights(job: TrainingJob) -> dict:
    """Assign the interpolation to the network that the validation pictures choose.

    Returns:
        `share`, the fraction of the trained weights; its `val_accuracy`; `losses`, the calibrated cross-entropy on
        validation by fraction; `optimism`, by how much the choice overestimates the accuracy on the same pictures.
    """
    logits, rows = _predict_logits(job)
    labels = np.array(job.splits.val.labels)[rows]
    losses = np.stack([_calibrated_losses(values.astype("float64"), labels) for values in logits])
    hits = logits.argmax(2) == labels
    index = choose_fraction(losses)
    assign_interpolation(job, FRACTIONS[index])
    pairs = zip(FRACTIONS, losses.mean(1), strict=True)
    mean_losses = {f"{fraction:g}": round(float(loss), 6) for fraction, loss in pairs}
    say(
        f"weights between the start (0) and the end (1) of training, validation loss: "
        f"{', '.join(f'{fraction} {loss:.3f}' for fraction, loss in mean_losses.items())}; {FRACTIONS[index]:g} is kept"
    )
    return {
        "share": FRACTIONS[index],
        "val_accuracy": float(hits[index].mean()),
        "losses": mean_losses,
        "optimism": estimate_optimism(losses, hits, job.knobs.seed),
    }


def _predict_logits(job: TrainingJob) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the validation pictures for each of `FRACTIONS`, (fractions, m, classes), and the rows (m,) of the
    pictures, which are decoded once."""
    logits, network = [], for_inference(job.network).model
    model = keras.Model(network.input, network.output)
    total = len(FRACTIONS) * len(job.splits.val)
    with temporary_folder(job.folder) as folder, progress_bar(total, "averages of weights") as advance:
        space = CacheSpace(job.knobs.memory, folder)
        batches = pipeline.cached_evaluation_dataset(
            job.splits.val.paths, job.network.pixels, batch_size=BATCH, space=space
        )
        for fraction in FRACTIONS:
            assign_interpolation(job, fraction)
            outputs, rows = zip(*run_batches(fold_once(model), batches, BATCH), strict=True)
            logits.append(np.concatenate([output for (output,) in outputs]))
            advance(len(job.splits.val))
    return np.stack(logits), np.concatenate(rows)


def assign_interpolation(job: TrainingJob, fraction: float):
    """Assign the weights between the job's start and its end to its network.

    Args:
        fraction: of the end. With 1, the job needs no saved start.
    """
    if fraction == 1:
        return checkpoints.load_weights(job.network, job.checkpoint_path(checkpoints.BEST))
    start, end = (checkpoints.read_weights(job.checkpoint_path(name)) for name in (START, checkpoints.BEST))
    mixed = {name: value + np.float32(fraction) * (end[name] - value) for name, value in start.items()}
    checkpoints.restore_weights(job.network, mixed, source="an interpolation")


def _calibrated_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The cross-entropy (n,) of logits (n, classes) at the temperature that minimises its mean.

    Training makes a network overconfident, and averaging of weights makes it less so (Guo et al. 2017, section 4.2):
    uncalibrated losses would compare that.
    """

    def compute_losses(exponent):
        return -log_softmax(logits / np.exp(exponent), axis=1)[np.arange(len(labels)), labels]

    best = minimize_scalar(lambda exponent: compute_losses(exponent).mean(), bounds=(-3, 3), method="bounded")
    return compute_losses(best.x)


def choose_fraction(losses: np.ndarray) -> int:
    """The index of the fraction to use: the default, unless the one with the lowest loss is better by more than the
    standard error of the difference, which few pictures never show.

    Args:
        losses: (fractions, pictures).
    """
    count, best = losses.shape[1], int(losses.mean(1).argmin())
    gain = losses[DEFAULT] - losses[best]
    return best if count >= MIN_PICTURES and gain.mean() > gain.std(ddof=1) / np.sqrt(count) else DEFAULT


def estimate_optimism(losses: np.ndarray, hits: np.ndarray, seed: int) -> float:
    """By how much the accuracy on the pictures that chose a fraction exceeds the accuracy on others.

    The choice is repeated on bootstrap samples and evaluated on the pictures outside each sample (Tsamardinos et al.
    2018, "Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation"), relative to the
    default fraction, which nothing chose.

    Args:
        losses: (fractions, pictures).
        hits: of the same shape, whether the prediction is correct.
        seed: of the bootstrap.
    """
    rng, count, excess = np.random.default_rng(seed), losses.shape[1], []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, count, count)
        others = np.setdiff1d(np.arange(count), rows)
        if len(others):
            gain = hits[choose_fraction(losses[:, rows])].astype(float) - hits[DEFAULT]
            excess.append(gain[rows].mean() - gain[others].mean())
    return max(0.0, float(np.mean(excess))) if excess else 0.0
