"""Fine-tuning: first the head on the frozen network, then the network at a lower rate."""

import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import keras

from transferkit import models, rules, runs
from transferkit.console import say, warn
from transferkit.data import audit, augment, pipeline
from transferkit.data.listing import Listing, Splits, find_splits
from transferkit.evaluation.predict import BATCH, evaluate
from transferkit.models import Network
from transferkit.recipe import Recipe
from transferkit.training import callbacks, devices, optimizers
from transferkit.training.features import fit_head
from transferkit.training.freezing import release


@dataclass(frozen=True)
class Plan:
    """All that is settled before training: nothing of it is written yet."""

    recipe: Recipe
    choices: list[rules.Choice]
    splits: Splits
    unreadable: tuple[tuple[str, str], ...]
    network: Network
    device: devices.Device


def finetune(
    base: str,
    train: Listing,
    val: Listing,
    *,
    test: Listing | None = None,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    **knobs,
) -> runs.Run:
    """Fine-tune a network on pictures.

    Args:
        base: a network of `transferkit models`, a run folder, or a `.keras` file of a run.
        train, val: listings of the same classes, as of `list_images(folder).split(0.2)`.
        test: pictures to look at once, at the end.
        out: folder of the run; by default `runs/finetune-<base>-<n>`.
        overwrite: replace a run that is there.
        **knobs: those of `transferkit finetune --help`, such as `epochs=5`; the rest is chosen by rules.

    Returns:
        The run: `run.network.model` is a plain Keras model, `run.metrics` its figures.

    Raises:
        UnknownName: a knob, network, layer or augmentation is not known.
        ValueError: a knob is out of range, or pictures, weights or folder cannot be used.
    """
    job = plan(Recipe().override(base=str(base), **knobs), Splits(train, val, test))
    return run(job, runs.new_folder(out, overwrite=overwrite, name=f"runs/finetune-{runs.slug(str(base))}"))


def plan(wanted: Recipe, splits: Splits | None = None) -> Plan:
    """Settle a job: read the listing and every picture once, load the network, choose the open knobs.

    Args:
        splits: the listings; by default those of the folder `wanted.data.data`.
    """
    if wanted.augment.augment is not None:
        augment.parse(wanted.augment.augment)
    device = devices.choose(wanted.train.devices, wanted.train.precision)
    keras.utils.set_random_seed(wanted.train.seed)
    if splits is None:
        splits = find_splits(wanted.data.data, validation=wanted.data.validation, seed=wanted.train.seed)
    network = models.load(wanted.model.base, wanted.model.weights)
    splits, unreadable, side = _readable(splits, len(network.pixels.mean))
    counts = [count for count in splits.train.counts().values() if count]
    facts = rules.Facts(len(splits.train), min(counts), side, network.pixels, device.gpu)
    settled, choices = rules.choose(wanted, facts)
    if network.classes != splits.train.classes:
        network = models.with_head(network, splits.train.classes)
    network = dataclasses.replace(network, pixels=network.pixels.at(settled.model.size))
    if device.policy != "float32":
        network = models.with_policy(network, device.policy)
    release(network, settled.train.unfreeze)  # an unknown layer is an error now, not after the first phase
    return Plan(settled, choices, splits, unreadable, network, device)


def _readable(splits: Splits, channels: int) -> tuple[Splits, tuple, int]:
    """The splits without what cannot be read, the (path, reason) of that, and the training pictures' median side."""
    audits = {name: audit.audit(part, channels=channels, what=name) for name, part in splits.items()}
    lost = tuple(pair for found in audits.values() for pair in found.unreadable)
    for path, reason in lost:
        warn(f"{path} cannot be read and is left out: {reason}.")
    parts = {name: found.listing for name, found in audits.items()}
    return dataclasses.replace(splits, **parts), lost, audits["train"].side


def run(job: Plan, folder: Path) -> runs.Run:
    """Train what was planned and write the run folder."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    runs.begin(folder, job.recipe, job.splits, job.device.name)
    return _fit(job, folder, history=[], best=None, last=None)


def resume(folder: str | os.PathLike) -> runs.Run:
    """Go on with a run that was cut short, from its last whole epoch.

    Raises:
        FileNotFoundError, ValueError: there is no such run, it is complete, or its files cannot be used.
    """
    cut = runs.load_run(folder)
    if (cut.folder / "metrics.json").exists() and not cut.metrics["interrupted"]:
        raise ValueError(f"{folder} is complete: to go on from it, start a new run with --base {folder}.")
    job = plan(cut.recipe, cut.splits)
    checkpoints = cut.folder / "checkpoints"
    if not (checkpoints / "state.json").exists():
        return run(job, cut.folder)
    state = json.loads((checkpoints / "state.json").read_text("utf-8"))
    say(f"Going on after {len(state['history'])} of {job.recipe.train.epochs} epochs.")
    return _fit(job, cut.folder, state["history"], state["best"], state["last"] and checkpoints / state["last"])


def _fit(job: Plan, folder: Path, history: list[dict], best: dict | None, last: Path | None) -> runs.Run:
    """The two phases, from wherever the history ends; then the figures."""
    started, knobs, best_weights = time.perf_counter(), job.recipe.train, folder / "checkpoints" / "best.safetensors"
    if knobs.head_epochs and not history:
        release(job.network, "head")
        history = fit_head(job.network, job.splits, job.recipe)
        best = max(history, key=lambda row: row["val_accuracy"])
        say(f"head  {knobs.head_epochs} epochs on features  val_accuracy {best['val_accuracy']:.3f}")
        callbacks.save_weights(job.network, best_weights)
        callbacks.save_state(folder, history, best)
    elif best:
        callbacks.load_weights(job.network, best_weights)
    with callbacks.Stopper() as stopper:
        if len(history) < knobs.epochs:
            _fit_released(job, folder, history, best, last, stopper)
    if best_weights.exists():
        callbacks.load_weights(job.network, best_weights)
    return _finish(job, folder, history, interrupted=stopper.asked, seconds=time.perf_counter() - started)


def _fit_released(job: Plan, folder: Path, history: list[dict], best, last: Path | None, stopper):
    """The second phase: the released part learns on augmented pictures."""
    knobs, pixels, train = job.recipe.train, job.network.pixels, job.splits.train
    model, epochs = job.network.model, knobs.epochs - knobs.head_epochs
    release(job.network, knobs.unfreeze, bn=knobs.bn)
    steps = pipeline.steps(train, knobs.batch_size)
    optimizer = optimizers.make(
        knobs.optimizer, lr=knobs.lr, steps=steps * epochs, warmup=knobs.warmup, weight_decay=knobs.weight_decay
    )
    optimizers.compile_for(model, optimizer, label_smoothing=knobs.label_smoothing)
    first = len(history) - knobs.head_epochs
    if last:
        optimizer.build(model.trainable_variables)
        model.load_weights(last)
    views = augment.parse(job.recipe.augment.augment)
    dataset, waited = pipeline.clocked(
        pipeline.training(
            train, pixels, views, batch_size=knobs.batch_size, seed=knobs.seed, epochs=range(first, epochs)
        )
    )
    model.fit(
        dataset,
        epochs=epochs,
        initial_epoch=first,
        steps_per_epoch=steps,
        validation_data=pipeline.validation(job.splits.val, pixels, batch_size=BATCH),
        validation_steps=pipeline.steps(job.splits.val, BATCH),
        shuffle=False,
        callbacks=[
            callbacks.Show(knobs.unfreeze, epochs, steps, knobs.batch_size, waited),
            callbacks.Keep(job.network, folder, knobs.unfreeze, history, best),
            stopper,
        ],
        verbose=0,
    )


def _finish(job: Plan, folder: Path, history: list[dict], *, interrupted: bool, seconds: float) -> runs.Run:
    """Evaluate once on test, or on val, and write the run."""
    split = "test" if job.splits.test else "val"
    figures, answers = evaluate(job.network, getattr(job.splits, split))
    head = [row["val_accuracy"] for row in history if row["phase"] == "head"]
    figures |= {
        "split": split,
        "head_accuracy": max(head) if head else None,
        "unreadable": len(job.unreadable),
        "interrupted": interrupted,
        "seconds": round(seconds, 1),
    }
    runs.finish(folder, job.network, history, figures, answers)
    if not interrupted:
        for checkpoint in (folder / "checkpoints").glob("last-*.weights.h5"):
            checkpoint.unlink()  # the optimizer's state: large, and of no more use
    return runs.Run(folder)
