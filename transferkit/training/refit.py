"""The training done again on all pictures, those among them that measured it the first time."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from transferkit import recipe, runs
from transferkit.console import say
from transferkit.data.folds import pooled
from transferkit.data.listing import Splits
from transferkit.network import Network
from transferkit.training import interpolation
from transferkit.training.planning import Plan, renewed

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
    place, whole = folder / FOLDER, pooled(job.splits)
    place.mkdir(exist_ok=True)
    say(
        f"The same training again, on all {len(whole):,} pictures, is what is saved. It learns from the validation "
        "pictures too, so its figures on them say nothing."
    )
    settled = recipe.load(folder / "recipe.toml")  # the epochs that --time had planned among it
    again = renewed(dataclasses.replace(job, recipe=settled, splits=Splits(whole, job.splits.val)))
    with runs.held(place):
        (train if share else begin)(again, place, lost)  # of the start alone nothing else is kept
        interpolation.assign_share(again, place, share)
    return again.network


def forget(folder: Path):
    """Delete what a training on all pictures needed to go on."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
