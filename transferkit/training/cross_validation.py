"""Cross-validation: a run for each fold, and the figures of all pictures, each from the run that held it out.

The fold's pictures are its run's `test`: they choose nothing, so the figures are as good on them as on new ones.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from transferkit import runs
from transferkit.atomic import read, write
from transferkit.console import say
from transferkit.data import folds
from transferkit.evaluation import metrics, plots
from transferkit.training.fitting import checkpoints
from transferkit.training.planning import time_budget
from transferkit.training.planning.phases import seconds
from transferkit.training.planning.planner import Plan, plan

FIGURES = ("accuracy", "ci95", "n", "loss", "seconds")


def run(job: Plan, folder: Path, start: Callable, go_on: Callable) -> runs.Run:
    """Train each fold that is not whole yet, in `folder/fold-1` and so on, and write the figures of all.

    Args:
        job: the plan of the whole, which is begun in `folder`: its split says what is shared out.
        start: start(plan, folder) trains what was planned.
        go_on: go_on(folder) goes on with what was cut short. Both give the run.

    Raises:
        KeyboardInterrupt: Ctrl-C, before a fold was whole.
    """
    knobs, pool, whole = job.recipe.train, folds.pool_train_and_val(runs.Run(folder).splits), []
    for number, held in enumerate(folds.hold_out_folds(pool, knobs.folds, knobs.seed), start=1):
        place = folder / f"fold-{number}"
        if not _is_whole(place):
            say(f"Fold {number} of {knobs.folds}: {len(held):,} of {len(pool):,} pictures are held out.")
            if (place / "checkpoints" / checkpoints.STATE).exists():
                go_on(place)
            else:
                place.mkdir(exist_ok=True)
                split = folds.fold_splits(pool, held, job.recipe.data.validation, knobs.seed)
                start(plan(_of_one(job, knobs.folds - number + 1), split), place)
        if not _is_whole(place):
            break
        whole.append(runs.Run(place))
    if not whole:
        say(f"Interrupted in the first fold: transferkit finetune --resume {folder} goes on.")
        raise KeyboardInterrupt
    return _finish(job, folder, whole)


def _is_whole(place: Path) -> bool:
    path = place / "metrics.json"
    return path.exists() and not read(path)["interrupted"]


def _of_one(job: Plan, left: int):
    """The recipe of a fold, where so many share the time that is left."""
    recipe = time_budget.unplanned(job).override(folds=0)
    if not recipe.train.time:
        return recipe
    return recipe.override(time=f"{max(1, round((seconds(recipe.train.time) - job.elapsed()) / left))}s")


def _finish(job: Plan, folder: Path, whole: list[runs.Run]) -> runs.Run:
    """Write the figures over the pictures that the folds held out. `metrics.json` comes last."""
    answers, lost = [], dict(job.unreadable)
    for number, one in enumerate(whole, start=1):
        lost |= dict(one.unreadable)
        answers += [row | {"fold": number} for row in read(one.folder / "predictions.csv")]
    classes = job.splits.train.classes
    labels, guesses = (np.array([classes.index(row[name]) for row in answers]) for name in ("label", "predicted"))
    of_each = [one.metrics["accuracy"] for one in whole]
    figures = metrics.agreement(labels, guesses, classes) | {
        "split": "folds",
        "folds": [{"run": str(one.folder)} | {name: one.metrics[name] for name in FIGURES} for one in whole],
        "mean": float(np.mean(of_each)),
        "deviation": float(np.std(of_each, ddof=1)) if len(whole) > 1 else None,
        "unreadable": len(lost),
        "interrupted": len(whole) < job.recipe.train.folds,
        "seconds": round(sum(one.metrics["seconds"] for one in whole), 1),
    }
    runs.write_unreadable(folder, lost)
    write(folder / "predictions.csv", answers)
    if figures["confusion"]:
        write(folder / "confusion.png", lambda path: plots.confusion(figures["confusion"], classes, path))
    write(folder / "metrics.json", figures)
    return runs.Run(folder)
