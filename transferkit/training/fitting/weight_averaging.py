"""Weight averaging: the mean of the weights of several good epochs.

Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", section 3: the greedy soup, here of the epochs of one training.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from transferkit.console import say
from transferkit.data import pipeline
from transferkit.data.view_cache import CacheSpace
from transferkit.evaluation.predict import BATCH
from transferkit.lookup import count_noun
from transferkit.network import for_inference
from transferkit.run_folder import temporary_folder
from transferkit.training.fitting import checkpoints, losses
from transferkit.training.fitting.history import find_best_epoch, rank_epochs, score_epoch
from transferkit.training.job_records import TrainingJob


def weights_path(folder: Path, index: int) -> Path:
    """The file of the weights of an epoch, by its index in the history."""
    return folder / "checkpoints" / f"soup-{index:05d}.safetensors"


def save_epochs(job: TrainingJob, weights: dict[int, dict[int, np.ndarray]]):
    """Write the weights of epochs.

    Args:
        weights: by index in the history, each by `id` of the variable.
    """
    for index, replacements in weights.items():
        checkpoints.save_weights(job.network, weights_path(job.folder, index), replacements)


def delete_epochs(folder: Path, keep: Sequence[int] = ()):
    """Delete the files of all epochs but some."""
    kept = {weights_path(folder, index) for index in keep}
    for path in (folder / "checkpoints").glob("soup-*.safetensors"):
        if path not in kept:
            path.unlink()


def average_epochs(job: TrainingJob, history: list[dict]) -> dict:
    """Assign the greedy average to the network: the best weights, averaged with those of each next best epoch unless
    that lowers the validation accuracy, or leaves it the same and raises the validation loss.

    The statistics of batch norm are averaged as weights are.

    Returns:
        `epochs`, by phase and epoch, and the `val_accuracy` and `val_loss` of their average.
    """
    best = find_best_epoch(history)
    tensors = checkpoints.read_weights(job.checkpoint_path(checkpoints.BEST))
    used = [{name: best[name] for name in ("phase", "epoch")}]
    with temporary_folder(job.folder) as folder:
        evaluate = _make_evaluation(job, folder)
        checkpoints.restore_weights(job.network, tensors, source="the best epoch")
        figures = evaluate()
        for index in rank_epochs(history, job.knobs.soup):
            path = weights_path(job.folder, index)
            if history[index] is best or not path.exists():
                continue
            other = checkpoints.read_weights(path)
            average = {name: value + (other[name] - value) / (len(used) + 1) for name, value in tensors.items()}
            checkpoints.restore_weights(job.network, average, source="an average")
            average_figures = evaluate()
            if score_epoch(average_figures) >= score_epoch(figures):
                tensors, figures = average, average_figures
                used.append({name: history[index][name] for name in ("phase", "epoch")})
    checkpoints.restore_weights(job.network, tensors, source="an average")
    say(
        f"average of {count_noun(len(used), 'epoch')}  val_loss {figures['val_loss']:.3f}  val_accuracy "
        f"{figures['val_accuracy']:.3f}"
    )
    return {"epochs": used} | figures


def _make_evaluation(job: TrainingJob, folder: Path) -> Callable[[], dict]:
    """A function that evaluates the network on the validation pictures, which are decoded once."""
    val, bare = job.splits.val, for_inference(job.network).model
    model = keras.Model(bare.input, bare.output)
    counts = list(job.splits.train.counts().values())
    losses.compile_model(model, keras.optimizers.SGD(), job.knobs, counts)
    space = CacheSpace(job.knobs.memory, folder)
    batches = pipeline.validation_dataset(val, job.network.pixels, batch_size=BATCH, space=space)
    steps = pipeline.steps_per_epoch(val, BATCH)

    def evaluate() -> dict:
        figures = model.evaluate(batches, steps=steps, return_dict=True, verbose=0)
        return {"val_accuracy": float(figures["accuracy"]), "val_loss": float(figures["cross_entropy"])}

    return evaluate
