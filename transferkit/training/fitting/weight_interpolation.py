"""The network between the start and the end of a training, in the space of weights.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), section 3: the weights that fine-tuning began
with, here the pretrained ones and the regression's head, averaged with those it ended with. What training forgot comes
back, and most of what it learned stays; the network costs no more than either.
"""

from pathlib import Path

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from transferkit.console import say
from transferkit.data import pipeline
from transferkit.data.view_cache import CacheSpace
from transferkit.evaluation.predict import BATCH, run
from transferkit.network import for_use
from transferkit.runs import temporary
from transferkit.training.fitting import checkpoints
from transferkit.training.planning.planner import Plan

START = "start.safetensors"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the trained weights: 0 is the start, 1 the end
USUAL = 2  # the place of 0.5, which is taken unless another one is better beyond chance
FEWEST = 10  # pictures, for a standard error that means something
RESAMPLES = 500


def mix(job: Plan, folder: Path) -> dict:
    """Give the network the interpolation that the validation pictures choose.

    Returns:
        `share` of the trained weights; its `val_accuracy`; `losses`, the cross-entropy on validation by share, each at
        its best temperature; `optimism`, by how much the choice flatters the accuracy on the pictures that made it.
    """
    logits, rows = _logits(job, folder)
    labels = np.array(job.splits.val.labels)[rows]
    losses = np.stack([_tempered(one.astype("float64"), labels) for one in logits])
    hits = logits.argmax(2) == labels
    place = chosen(losses)
    assign_share(job, folder, SHARES[place])
    of_share = {f"{share:g}": round(float(loss), 6) for share, loss in zip(SHARES, losses.mean(1), strict=True)}
    say(
        f"weights between the start (0) and the end (1) of training, validation loss: "
        f"{', '.join(f'{share} {loss:.3f}' for share, loss in of_share.items())}; {SHARES[place]:g} is kept"
    )
    return {
        "share": SHARES[place],
        "val_accuracy": float(hits[place].mean()),
        "losses": of_share,
        "optimism": optimism(losses, hits, job.recipe.train.seed),
    }


def _tempered(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The cross-entropy (n,) of logits (n, classes) at the temperature that makes its mean least.

    Training sharpens a network's answers, and averaging of weights softens them (Guo et al. 2017, section 4.2): without
    this, the shares would be told apart by that.
    """

    def losses(exponent):
        return -log_softmax(logits / np.exp(exponent), axis=1)[np.arange(len(labels)), labels]

    found = minimize_scalar(lambda exponent: losses(exponent).mean(), bounds=(-3, 3), method="bounded")
    return losses(found.x)


def chosen(losses: np.ndarray) -> int:
    """The place of the share to take: the usual one, unless the one of least loss is better by more than the standard
    error of their difference, which few pictures never show.

    Args:
        losses: (shares, pictures).
    """
    count, best = losses.shape[1], int(losses.mean(1).argmin())
    gain = losses[USUAL] - losses[best]
    return best if count >= FEWEST and gain.mean() > gain.std(ddof=1) / np.sqrt(count) else USUAL


def optimism(losses: np.ndarray, hits: np.ndarray, seed: int) -> float:
    """By how much the accuracy on the pictures that chose exceeds that on others.

    The choice is made again on bootstrap samples and judged on the pictures that each leaves out (Tsamardinos et al.
    2018, "Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation"), beside a share
    that nothing chose.

    Args:
        losses, hits: (shares, pictures).
    """
    rng, count, excess = np.random.default_rng(seed), losses.shape[1], []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, count, count)
        others = np.setdiff1d(np.arange(count), rows)
        if len(others):
            gain = hits[chosen(losses[:, rows])].astype(float) - hits[USUAL]
            excess.append(gain[rows].mean() - gain[others].mean())
    return max(0.0, float(np.mean(excess))) if excess else 0.0


def assign_share(job: Plan, folder: Path, share: float):
    """Give the network the weights of its start and its end, so much of the latter; where that is all, a training that
    has no start of its own will do."""
    if share == 1:
        return checkpoints.load_weights(job.network, folder / "checkpoints" / checkpoints.BEST)
    start, end = (checkpoints.read_weights(folder / "checkpoints" / name) for name in (START, checkpoints.BEST))
    mixed = {name: value + np.float32(share) * (end[name] - value) for name, value in start.items()}
    checkpoints.assign_weights(job.network, mixed, source="an interpolation")


def _logits(job: Plan, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Those of the validation pictures by each of `SHARES`, (shares, m, classes), and the rows (m,) of the pictures,
    which are decoded once."""
    knobs, part, found = job.recipe.train, job.splits.val, []
    bare = for_use(job.network).model
    model = keras.Model(bare.input, bare.output)
    with temporary(folder) as place:
        batches = pipeline.cached_evaluation_dataset(
            part.paths, job.network.pixels, batch_size=BATCH, space=CacheSpace(knobs.memory, place)
        )
        for share in SHARES:
            assign_share(job, folder, share)
            outputs, rows = zip(*run(model, batches, BATCH), strict=True)
            found.append(np.concatenate([output for (output,) in outputs]))
    return np.stack(found), np.concatenate(rows)
