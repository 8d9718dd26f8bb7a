"""Training from pictures to a run folder: the head's start, then phase after phase, then the figures."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from transferkit import runs
from transferkit.atomic import read
from transferkit.console import say, warn
from transferkit.data.audit import before_training, duplicate_groups
from transferkit.data.listing import Listing, Splits
from transferkit.evaluation import metrics, verification
from transferkit.evaluation.predict import evaluate
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe
from transferkit.training import cross_validation, refit
from transferkit.training.distributed import workers
from transferkit.training.fitting import (
    checkpoints,
    fit_phase,
    head_init,
    schedules,
    weight_averaging,
    weight_interpolation,
)
from transferkit.training.fitting.checkpoints import State
from transferkit.training.fitting.freezing import release
from transferkit.training.planning import time_budget
from transferkit.training.planning.phases import Phase, phases
from transferkit.training.planning.planner import Plan, plan


def finetune(
    base: str,
    train: Listing,
    val: Listing | None = None,
    *,
    test: Listing | None = None,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    **knobs,
) -> runs.Run:
    """Fine-tune a network on pictures.

    Args:
        base: a network of `transferkit models`, a run folder, or a `.keras` file of a run; "auto" is the best of those
            whose weights are here, by a probe.
        train, val: listings, as of `list_images(folder).split(0.2)`, or of `find_splits(data)` for any source. Without
            val, a share `validation` of train is held out to measure, and then taught too where `refit` says so.
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
    of_sources = ("data", "image_col", "label_col", "split_col", "image_dir", "image_suffix", "data_dir", "group_by")
    if vain := [name for name in of_sources if name in knobs]:
        raise UnknownName(f"{vain[0]} is a knob of find_splits, which finds what is given here as train and val.")
    runs.check_free(out, overwrite=overwrite, base=base)
    wanted = Recipe().override(base=str(base), **knobs)
    given = Splits(train, train if val is None else val, test)  # which says what is no listing
    if val is None:
        parts = {"train": train} | ({"test": test} if test else {})
        given = duplicate_groups.make_splits(parts, validation=wanted.data.validation, seed=wanted.train.seed)
    given = given.subsample(wanted.data.fraction, wanted.data.per_class, wanted.train.seed)
    job = plan(wanted, given)
    return run(job, new_folder(job, out, overwrite=overwrite, name=f"runs/finetune-{runs.slug(str(base))}"))


def new_folder(job: Plan, out: str | os.PathLike | None, *, overwrite: bool, name: str) -> Path:
    """The folder of a new run, as `runs.new_folder` makes it; of several workers the first alone writes there."""
    return workers.private() if job.device.shard[0] else runs.new_folder(out, overwrite=overwrite, name=name)


def run(job: Plan, folder: Path) -> runs.Run:
    """Train what was planned and write the run folder."""
    with runs.held(folder):
        runs.begin(folder, time_budget.unplanned(job), job.splits, job.unreadable, job.device.name)
        return cross_validation.run(job, folder, run, resume) if job.recipe.train.folds else _fit(job, folder)


def resume(folder: str | os.PathLike) -> runs.Run:
    """Go on with a run that was cut short, from its last checkpoint.

    Raises:
        FileNotFoundError, ValueError: there is no such run, it is complete, another process trains in it, or its files
            cannot be used.
    """
    cut = runs.load_run(folder)
    if (cut.folder / "metrics.json").exists() and not cut.metrics["interrupted"]:
        raise ValueError(f"{folder} is complete: to go on from it, start a new run with --base {folder}.")
    if (member := workers.joined(cut.recipe.train.workers)) and member.rank:
        cut = runs.load_run(workers.private(cut.folder))
    with runs.held(cut.folder):
        job = plan(cut.recipe, cut.splits)
        job = dataclasses.replace(job, unreadable=cut.unreadable + job.unreadable)
        if job.recipe.train.folds:
            return cross_validation.run(job, cut.folder, run, resume)
        state = checkpoints.load(cut.folder)
        done = len([row for row in state.history if row["epoch"]])
        within = f" and {state.step} steps" if state.step else ""
        say(f"Going on after {done} of {job.recipe.train.epochs} epochs{within}.")
        return _fit(job, cut.folder)


def _fit(job: Plan, folder: Path) -> runs.Run:
    """All phases, from wherever the run is; then the figures. Ctrl-C leads to the figures at once."""
    lost, interrupted, answers = dict(job.unreadable), False, None
    try:
        answers = _all_phases(job, folder, lost)
    except fit_phase.Hopeless as error:
        if not checkpoints.load(folder).history:
            raise
        warn(f"{error} The best weights so far are kept.")
    except KeyboardInterrupt:
        if not checkpoints.load(folder).history:
            say(f"Nothing is trained yet: --resume {folder} starts again.")
            raise
        say("Interrupted: the best weights so far are evaluated and saved. Ctrl-C again ends at once.")
        interrupted = True
    checkpoints.load_weights(job.network, folder / "checkpoints" / checkpoints.BEST)
    averaged = _averaged(job, folder, interrupted)
    # an average may differ from what was stored in the frozen part too, of epochs in which that learned
    known = answers() if answers and not any(averaged.values()) and not job.splits.test else None
    return _finish(job, folder, lost, averaged, known, interrupted=interrupted)


def _averaged(job: Plan, folder: Path, interrupted: bool) -> dict:
    """Give the network the average of weights that the recipe asks for; what it is, for `metrics.json`."""
    stirred = mixed = None
    if job.recipe.train.soup and not interrupted:
        stirred = weight_averaging.stir(job, folder, checkpoints.load(folder).history)
    if job.recipe.train.keep == "mix" and (folder / "checkpoints" / weight_interpolation.START).exists():
        mixed = weight_interpolation.mix(job, folder)
    return {"soup": stirred, "mix": mixed}


def begin(job: Plan, folder: Path, lost: dict[str, str]):
    """Save the state that a training starts from, the head's start among it, where none is saved yet."""
    if not (folder / "checkpoints" / checkpoints.STATE).exists():
        if job.recipe.train.start == "probe":
            head_init.start(job, folder, lost)
        else:
            checkpoints.save(folder, State(parts=job.recipe.train.accumulate))


def _all_phases(job: Plan, folder: Path, lost: dict[str, str]) -> Callable | None:
    """Train the phases that are due, from the head's start on; the `answers` of the last one's material."""
    begin(job, folder, lost)
    answers = None
    for phase in phases(job.recipe)[checkpoints.load(folder).phase :]:
        answers = go_through(job, folder, phase, lost)
    return answers


def go_through(job: Plan, folder: Path, phase: Phase, lost: dict[str, str]) -> Callable | None:
    """Train a phase from where it is to its end, and save that the next one is due; the material's `answers`."""
    with fit_phase.prepared(job, folder, phase, lost) as material:
        fit_phase.fit(job, folder, time_budget.planned(job, folder, phase, material), material)
    checkpoints.save(folder, checkpoints.load(folder).next_phase())
    return material.answers


def _finish(job: Plan, folder: Path, lost: dict[str, str], averaged: dict, known, *, interrupted: bool):
    """Evaluate once on test, or on val, of which the outputs may be `known`, and write the run.

    Where the training is done again on all pictures, val measures the network that has not learned from it, and test
    the one that is saved.
    """
    split, history = "test" if job.splits.test else "val", checkpoints.load(folder).history
    part, again = getattr(job.splits, split), job.recipe.train.refit == "on" and not interrupted
    release(job.network, "all", bn="train")  # what was switched off while it was frozen is on again in the saved model
    found = None if again and split == "test" else evaluate(job.network, part, known)
    network = job.network
    if again:
        try:
            share = averaged["mix"]["share"] if averaged["mix"] else 1.0
            network = refit.refitted(job, folder, share, lost, begin, _all_phases)
            release(network, "all", bn="train")
        except KeyboardInterrupt:
            say("Interrupted: the network that was measured is saved.")
            interrupted = True
        except (ValueError, OSError) as error:  # no numbers, no pictures, no room: what is there is not lost for that
            warn(f"{error} The network that was measured is saved, without the training on all pictures.")
    figures, answers = found or evaluate(network, part)
    kept = schedules.kept(history, job.recipe.train.keep)
    if split == "val":
        verification.check_measured(figures, (averaged["mix"] or averaged["soup"] or kept)["val_accuracy"])
    if split == "val" and averaged["mix"]:
        figures["ci95"] = list(metrics.corrected(figures, averaged["mix"]["optimism"]))
    answered = {row["path"] for row in answers}
    lost |= before_training.report_unreadable(
        part.paths, [row for row, path in enumerate(part.paths) if path in answered], lost
    )
    runs.write_unreadable(folder, lost)
    baseline = folder / "checkpoints" / head_init.BASELINE
    figures |= {
        "split": split,
        "baseline": head_init.added(read(baseline), answers) if baseline.exists() else None,
        "kept": {name: kept[name] for name in ("phase", "epoch")},
        "refit": len(job.splits.train) + len(job.splits.val) if network is not job.network else None,
        "unreadable": len(lost),
        "interrupted": interrupted,
        "seconds": round(job.elapsed(), 1),
    }
    # what was trained on all pictures was not measured on val: it is asked for answers of its own
    measured = network is job.network or split == "test"
    own = answers if measured else evaluate(network, part.take(range(len(part))[: verification.PICTURES]))[1]
    runs.finish(folder, network, history, figures | averaged, answers, own)
    if not interrupted:
        for module in (checkpoints, weight_averaging, refit):
            module.forget(folder)
    return runs.Run(folder)
