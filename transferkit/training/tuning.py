"""Fine-tuning: first the head on the frozen network, then the network at a lower rate."""

import dataclasses
import json
import os
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf
from rich.progress import TextColumn

from transferkit import runs
from transferkit.console import progress, say
from transferkit.data import audit, augment, axes, pipeline
from transferkit.data.listing import Listing, Splits
from transferkit.evaluation.predict import evaluate
from transferkit.recipe import Recipe
from transferkit.training import callbacks, losses, optimizers
from transferkit.training.features import fit_head
from transferkit.training.freezing import release
from transferkit.training.planning import Plan, plan

VALIDATION_BATCH = 32


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
        train, val: listings, as of `list_images(folder).split(0.2)`, or of `find_splits(data)` for any source.
        test: pictures to look at once, at the end.
        out: folder of the run; by default `runs/finetune-<base>-<n>`.
        overwrite: replace a run that is there.
        **knobs: fields of the recipe, as `transferkit finetune --help` lists them: `epochs=5`. What is not given is
            chosen by rules.

    Returns:
        The run: `run.network.model` is a plain Keras model, `run.metrics` its figures.

    Raises:
        UnknownName: a knob, network, layer or augmentation is not known.
        ValueError: a knob is out of range, or pictures, weights or folder cannot be used.
    """
    runs.check_free(out, overwrite=overwrite, base=base)
    wanted = Recipe().override(base=str(base), **knobs)
    given = Splits(train, val, test).lessened(wanted.data.fraction, wanted.data.per_class, wanted.train.seed)
    job = plan(wanted, given)
    return run(job, runs.new_folder(out, overwrite=overwrite, name=f"runs/finetune-{runs.slug(str(base))}"))


def run(job: Plan, folder: Path) -> runs.Run:
    """Train what was planned and write the run folder."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    runs.begin(folder, job.recipe, job.splits, job.unreadable, job.device.name)
    return _fit(job, folder, history=[], last=None)


def resume(folder: str | os.PathLike) -> runs.Run:
    """Go on with a run that was cut short, from its last whole epoch.

    Raises:
        FileNotFoundError, ValueError: there is no such run, it is complete, or its files cannot be used.
    """
    cut = runs.load_run(folder)
    if (cut.folder / "metrics.json").exists() and not cut.metrics["interrupted"]:
        raise ValueError(f"{folder} is complete: to go on from it, start a new run with --base {folder}.")
    job = plan(cut.recipe, cut.splits)
    job = dataclasses.replace(job, unreadable=cut.unreadable + job.unreadable)
    checkpoints = cut.folder / "checkpoints"
    if not (checkpoints / "state.json").exists():
        return run(job, cut.folder)
    state = json.loads((checkpoints / "state.json").read_text("utf-8"))
    say(f"Going on after {len(state['history'])} of {job.recipe.train.epochs} epochs.")
    return _fit(job, cut.folder, state["history"], state["last"] and checkpoints / state["last"])


def _fit(job: Plan, folder: Path, history: list[dict], last: Path | None) -> runs.Run:
    """The two phases, from wherever the history ends; then the figures. Ctrl-C leads to the figures at once."""
    knobs, best_weights, interrupted = job.recipe.train, folder / "checkpoints" / "best.safetensors", False
    lost = dict(job.unreadable)
    try:
        if knobs.head_epochs and not history:
            release(job.network, "head")
            learnt = fit_head(job.network, job.splits, job.recipe, lost)
            accuracy = callbacks.best_of(learnt)["val_accuracy"]
            say(f"head  {knobs.head_epochs} epochs on features  val_accuracy {accuracy:.3f}")
            callbacks.save_weights(job.network, best_weights)
            history += learnt
            callbacks.save_state(folder, history)
        elif history:
            callbacks.load_weights(job.network, best_weights)
        if len(history) < knobs.epochs:
            _fit_released(job, folder, history, last, lost)
    except KeyboardInterrupt:
        if not history:
            say(f"Nothing is trained yet: transferkit finetune --resume {folder} starts again.")
            raise
        say("Interrupted: the best weights so far are evaluated and saved. Ctrl-C again ends at once.")
        interrupted = True
    if not history:
        raise ValueError(f"Nothing was learnt in {folder}: start again with a lower --lr than {knobs.lr}.")
    callbacks.load_weights(job.network, best_weights)
    return _finish(job, folder, history, lost, interrupted=interrupted)


def _fit_released(job: Plan, folder: Path, history: list[dict], last: Path | None, lost: dict[str, str]):
    """The second phase: the released part learns on augmented pictures; whole epochs are added to the history."""
    knobs, pixels, train = job.recipe.train, job.network.pixels, job.splits.train
    model, epochs, first = job.network.model, knobs.epochs - knobs.head_epochs, len(history) - knobs.head_epochs
    release(job.network, knobs.unfreeze, bn=knobs.bn)
    steps = pipeline.steps(train, knobs.batch_size)
    optimizer = optimizers.make(knobs, lr=knobs.lr, steps=steps * epochs)
    losses.compile_for(model, optimizer, knobs, np.bincount(train.labels, minlength=len(train.classes)))
    if last:
        model.optimizer.build(model.trainable_variables)
        model.load_weights(last)
    views = augment.parse(job.recipe.augment.augment, axes.of(job.recipe.augment.pca))
    with tf.device("CPU:0"):
        delivered = tf.Variable(tf.zeros(len(train), tf.int32), trainable=False)
    keep = callbacks.Keep(job.network, folder, knobs.unfreeze, history)
    with (
        progress(TextColumn("{task.fields[figures]}")) as bars,
        callbacks.Interruptible() as interruptible,
        TemporaryDirectory(dir=folder / "checkpoints") as place,
        warnings.catch_warnings(),
    ):
        room = {"memory": knobs.memory, "folder": Path(place)}
        batches = pipeline.training(
            train,
            pixels,
            views,
            batch_size=knobs.batch_size,
            seed=knobs.seed,
            epochs=range(first, 2 * epochs),  # some in reserve, for pictures that break are missing
            delivered=delivered,
            **room,
        )
        batches, waited = pipeline.clocked(batches)
        warnings.filterwarnings("ignore", "Your input ran out of data")  # of which Watch tells the cause
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=first,
            steps_per_epoch=steps,
            validation_data=pipeline.validation(job.splits.val, pixels, batch_size=VALIDATION_BATCH, **room),
            validation_steps=pipeline.steps(job.splits.val, VALIDATION_BATCH),
            callbacks=[
                callbacks.Watch(train.paths, delivered, lost),
                callbacks.Show(bars, knobs.unfreeze, knobs.batch_size, waited),
                keep,
                interruptible,
                *_logs(folder),
            ],
            shuffle=False,
            verbose=0,
        )


def _logs(folder: Path) -> list[keras.callbacks.Callback]:
    """TensorBoard's, where it is installed (extra `tensorboard`)."""
    return [keras.callbacks.TensorBoard(folder / "tensorboard")] if find_spec("tensorboard") else []


def _finish(job: Plan, folder: Path, history: list[dict], lost: dict[str, str], *, interrupted: bool) -> runs.Run:
    """Evaluate once on test, or on val, and write the run."""
    split = "test" if job.splits.test else "val"
    figures, answers = evaluate(job.network, getattr(job.splits, split))
    paths, answered = getattr(job.splits, split).paths, {row["path"] for row in answers}
    audit.note_lost(paths, [row for row, path in enumerate(paths) if path in answered], lost)
    runs.write_unreadable(folder, lost)
    head, best = [row for row in history if row["phase"] == "head"], callbacks.best_of(history)
    figures |= {
        "split": split,
        "head_accuracy": callbacks.best_of(head)["val_accuracy"] if head else None,
        "kept": {name: best[name] for name in ("phase", "epoch")},
        "unreadable": len(lost),
        "interrupted": interrupted,
        "seconds": round(time.perf_counter() - job.started, 1),
    }
    runs.finish(folder, job.network, history, figures, answers)
    if not interrupted:
        for checkpoint in (folder / "checkpoints").glob("last-*.weights.h5"):
            checkpoint.unlink()  # the optimizer's state: large, and of no more use
    return runs.Run(folder)
