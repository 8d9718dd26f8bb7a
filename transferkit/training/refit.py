"""The training done again on all pictures, those among them that measured it the first time."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from transferkit import recipe, runs
from transferkit.console import say
from transferkit.data.folds import pool_train_and_val
from transferkit.data.listing import Splits
from transferkit.network import Network
from transferkit.recipe import Train
from transferkit.training.fitting import weight_interpolation
from transferkit.training.planning.phases import words_of
from transferkit.training.planning.planner import Plan, renewed

FOLDER = "refit"


def refitted(job: Plan, folder: Path, share: float, lost: dict[str, str], begin: Callable, train: Callable) -> Network:
    """A network trained as `job` was, on its training and validation pictures; cut short before, it goes on.

    Args:
        folder: of the run, in which the training has a folder of its own.
        share: of the trained weights in what is kept, as the validation pictures chose it.
        lost: `{path: reason}`, to which pictures that break are added.
        begin: begin(plan, folder, lost) fits the head's start, where that is not done.
        train: train(plan, folder, lost) takes a training to its end, from wherever it is.

    Raises:
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    place, whole = folder / FOLDER, pool_train_and_val(job.splits)
    place.mkdir(exist_ok=True)
    say(
        f"The same training again, on all {len(whole):,} pictures, is what is saved. It learns from the validation "
        "pictures too, so its figures on them say nothing."
    )
    settled = recipe.load(folder / "recipe.toml")  # the epochs that --time had planned among it
    settled = settled.override(**as_many_steps(settled.train, len(job.splits.train) / len(whole)))
    again = renewed(dataclasses.replace(job, recipe=settled, splits=Splits(whole, job.splits.val)))
    with runs.held(place):
        (train if share else begin)(again, place, lost)  # of the start alone nothing else is kept
        weight_interpolation.assign_share(again, place, share)
    return again.network


def as_many_steps(knobs: Train, ratio: float) -> dict[str, int]:
    """The `epochs` and `head_epochs` that take as many steps, where an epoch has 1 / ratio times as many."""

    def fewer(count, least=1):
        return max(least, round(count * ratio)) if count else 0

    head = fewer(knobs.head_epochs)
    if knobs.unfreeze == "head":
        return {"epochs": head, "head_epochs": head}
    return {
        "epochs": head + fewer(knobs.epochs - knobs.head_epochs, len(words_of(knobs.unfreeze))),
        "head_epochs": head,
    }


def forget(folder: Path):
    """Delete what a training on all pictures needed to go on."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
