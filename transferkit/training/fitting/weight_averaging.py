"""The average of the weights of several good epochs.

Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time", section 3: the greedy soup, here of the epochs of one training.
"""

from pathlib import Path

import keras
import numpy as np

from transferkit.console import say
from transferkit.data import pipeline
from transferkit.data.view_cache import CacheSpace
from transferkit.evaluation.predict import BATCH
from transferkit.runs import temporary
from transferkit.training.fitting import checkpoints, losses, schedules
from transferkit.training.planning.planner import Plan
from transferkit.zoo.googlenet import LOSS_WEIGHTS


def best(history: list[dict], count: int) -> list[int]:
    """The places in the history of so many of the best epochs, the best one first; the head's start is no epoch."""
    places = [place for place, row in enumerate(history) if row["epoch"]]
    return sorted(places, key=lambda place: schedules.gain(history[place]), reverse=True)[:count]


def path(folder: Path, place: int) -> Path:
    """The file of the weights of an epoch, by its place in the history."""
    return folder / "checkpoints" / f"soup-{place:05d}.safetensors"


def keep(job: Plan, folder: Path, history: list[dict], weights: dict[int, dict[int, np.ndarray]]):
    """Write the weights of those epochs that are among the best.

    Args:
        weights: by the place in the history, each by `id` of the variable.
    """
    for place in set(best(history, job.recipe.train.soup)) & weights.keys():
        checkpoints.save_weights(job.network, path(folder, place), weights[place])


def forget(folder: Path, but: list[int] = ()):
    """Delete the files of all epochs but some."""
    kept = {path(folder, place) for place in but}
    for old in (folder / "checkpoints").glob("soup-*.safetensors"):
        if old not in kept:
            old.unlink()


def stir(job: Plan, folder: Path, history: list[dict]) -> dict:
    """Give the network the greedy soup: the best weights, averaged with those of each next best epoch that does not
    lower the accuracy on the validation pictures, nor, where that stays, raise the loss.

    The statistics of batch norm are averaged as weights are.

    Returns:
        `epochs`, those that went in, each by phase and epoch, and the `val_accuracy` and `val_loss` of their average.
    """
    network, start = job.network, schedules.best_of(history)
    tensors = checkpoints.read_weights(folder / "checkpoints" / checkpoints.BEST)
    used = [{name: start[name] for name in ("phase", "epoch")}]
    with temporary(folder) as place:
        figures = _figures(job, place)
        checkpoints.assign_weights(network, tensors, source="the best epoch")
        found = figures()
        for number in best(history, job.recipe.train.soup):
            if history[number] is start or not path(folder, number).exists():
                continue
            more = checkpoints.read_weights(path(folder, number))
            mixed = {name: value + (more[name] - value) / (len(used) + 1) for name, value in tensors.items()}
            checkpoints.assign_weights(network, mixed, source="an average")
            tried = figures()
            if schedules.gain(tried) >= schedules.gain(found):
                tensors, found = mixed, tried
                used.append({name: history[number][name] for name in ("phase", "epoch")})
    checkpoints.assign_weights(network, tensors, source="an average")
    say(f"soup of {len(used)} epochs  val_loss {found['val_loss']:.3f}  val_accuracy {found['val_accuracy']:.3f}")
    return {"epochs": used} | found


def _figures(job: Plan, place: Path):
    """A function that evaluates the network on the validation pictures, which are decoded once."""
    knobs, part = job.recipe.train, job.splits.val
    logits = job.network.model.output
    if isinstance(logits, dict):  # heads for training alone have no say
        logits = logits[next(iter(LOSS_WEIGHTS))]
    model = keras.Model(job.network.model.input, logits)
    losses.compile_for(model, keras.optimizers.SGD(), knobs, list(job.splits.train.counts().values()))
    batches = pipeline.validation_dataset(
        part, job.network.pixels, batch_size=BATCH, space=CacheSpace(knobs.memory, place)
    )
    steps = pipeline.steps_per_epoch(part, BATCH)

    def figures() -> dict:
        found = model.evaluate(batches, steps=steps, return_dict=True, verbose=0)
        return {"val_accuracy": float(found["accuracy"]), "val_loss": float(found["cross_entropy"])}

    return figures
