"""Cross-validation: a run for each fold, and figures over all pictures, each from the run that held it out.

A fold's pictures are the `test` split of its run: nothing is chosen by them, so the figures hold for new pictures.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from transferkit import run_writing, runs
from transferkit.atomic import read, write
from transferkit.console import say
from transferkit.data import folds
from transferkit.evaluation import metrics
from transferkit.lookup import count_noun
from transferkit.recipe import Recipe
from transferkit.training import closing_pages
from transferkit.training.fitting import checkpoints, work_left
from transferkit.training.job_records import Plan, TrainingJob
from transferkit.training.planning import time_budget
from transferkit.training.planning.phases import parse_seconds
from transferkit.training.planning.planner import make_plan

FIGURES = ("accuracy", "ci95", "n", "loss", "seconds")


def train_folds(job: TrainingJob, train_plan: Callable, resume: Callable) -> runs.Run:
    """Train each fold that is not complete yet, in `fold-1` and so on, and write the figures of all.

    Args:
        job: its splits are divided into folds.
        train_plan: train_plan(plan, folder, callbacks) trains a fold and returns its run.
        resume: resume(folder, clock, callbacks) resumes an interrupted fold and returns its run.

    Raises:
        KeyboardInterrupt: Ctrl-C, before the first fold was complete.
    """
    knobs, pool, complete = job.knobs, folds.pool_train_and_val(runs.Run(job.folder).splits), []
    clock, each = job.plan.clock, work_left.count_job(job)
    for number, held_out in enumerate(folds.hold_out_folds(pool, knobs.folds, knobs.seed), start=1):
        folder = job.folder / f"fold-{number}"
        if not _is_complete(folder):
            say(
                f"Fold {number} of {knobs.folds}: {len(held_out):,} of {count_noun(len(pool), 'picture')} are held out."
            )
            clock.later = Counter({kind: (knobs.folds - number) * count for kind, count in each.items()})
            if (folder / "checkpoints" / checkpoints.STATE).exists():
                resume(folder, clock, job.callbacks)
            else:
                folder.mkdir(exist_ok=True)
                splits = folds.fold_splits(pool, held_out, job.plan.recipe.data.validation, knobs.seed)
                plan = make_plan(_make_fold_recipe(job.plan, knobs.folds - number + 1), splits)
                train_plan(dataclasses.replace(plan, clock=clock), folder, job.callbacks)
        if not _is_complete(folder):
            break
        complete.append(runs.Run(folder))
    if not complete:
        say(f"Interrupted in the first fold: transferkit finetune --resume {job.folder} resumes it.")
        raise KeyboardInterrupt
    return _finish(job, complete)


def _is_complete(folder: Path) -> bool:
    path = folder / "metrics.json"
    return path.exists() and not read(path)["interrupted"]


def _make_fold_recipe(plan: Plan, folds_left: int) -> Recipe:
    """The recipe of a single fold, with its part of the time that is left."""
    recipe = time_budget.without_planned_epochs(plan.recipe).override(folds=0)
    if not recipe.train.time:
        return recipe
    seconds = (parse_seconds(recipe.train.time) - plan.elapsed()) / folds_left
    return recipe.override(time=f"{max(1, round(seconds))}s")


def _finish(job: TrainingJob, complete: list[runs.Run]) -> runs.Run:
    """Write the figures over the pictures that the folds held out. `metrics.json` is written last."""
    predictions = []
    for number, fold in enumerate(complete, start=1):
        job.unreadable.update(fold.unreadable)
        rows = read(fold.folder / "predictions.csv")
        predictions += [row | {"probability": float(row["probability"]), "fold": number} for row in rows]
    classes = job.splits.train.classes
    labels, predicted = (np.array([classes.index(row[name]) for row in predictions]) for name in ("label", "predicted"))
    accuracies = [fold.metrics["accuracy"] for fold in complete]
    figures = metrics.compute_label_metrics(labels, predicted, classes) | {
        "split": "folds",
        "folds": [{"run": str(fold.folder)} | {name: fold.metrics[name] for name in FIGURES} for fold in complete],
        "mean": float(np.mean(accuracies)),
        "deviation": float(np.std(accuracies, ddof=1)) if len(complete) > 1 else None,
        "unreadable": len(job.unreadable),
        "interrupted": len(complete) < job.knobs.folds,
        "seconds": round(sum(fold.metrics["seconds"] for fold in complete), 1),
    }
    run_writing.write_unreadable(job.folder, job.unreadable)
    run_writing.write_predictions(job.folder, predictions, figures["confusion"], classes)
    write(job.folder / "metrics.json", figures)
    run = runs.Run(job.folder)
    closing_pages.write_pages(run)
    return run
