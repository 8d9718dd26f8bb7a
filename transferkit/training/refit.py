"""The same training again on all pictures, including the validation pictures that measured it the first time."""

import dataclasses
import shutil
import time
from pathlib import Path

from transferkit import recipe_files, run_folder
from transferkit.console import say
from transferkit.data.folds import pool_train_and_val
from transferkit.data.listing import Splits
from transferkit.network import Network
from transferkit.recipe import Train
from transferkit.training import phase_loop
from transferkit.training.fitting import weight_interpolation
from transferkit.training.job_records import TrainingJob
from transferkit.training.planning.phases import parse_unfreeze
from transferkit.training.planning.plan_completion import renew_plan

FOLDER = "refit"


def refit_network(job: TrainingJob, fraction: float) -> Network:
    """Train a new network as the job did, on its training and validation pictures. An interrupted refit is resumed.

    Args:
        job: the finished training; the refit gets a folder of its own in the job's.
        fraction: of the trained weights in the interpolation, as the validation pictures chose it.

    Raises:
        KeyboardInterrupt: Ctrl-C; the state was saved.
    """
    folder, pool = job.folder / FOLDER, pool_train_and_val(job.splits)
    folder.mkdir(exist_ok=True)
    say(
        f"The same training again, on all {len(pool):,} pictures; its network is saved. It is trained on the "
        "validation pictures too, so they no longer measure it."
    )
    resolved = recipe_files.load(job.folder / "recipe.toml")  # with the epochs that --time planned
    resolved = resolved.override(**scale_epochs(resolved.train, len(job.splits.train) / len(pool)))
    started = time.perf_counter()
    plan = renew_plan(dataclasses.replace(job.plan, recipe=resolved, splits=Splits(pool, job.splits.val)))
    plan.clock.measure("build", 1, time.perf_counter() - started)
    again = TrainingJob(plan, folder, job.unreadable, is_refit=True)
    with run_folder.lock_run(folder):
        if fraction:
            phase_loop.train_phases(again)
        else:
            phase_loop.initialise(again)  # only the initial weights are used
        weight_interpolation.assign_interpolation(again, fraction)
    return plan.network


def scale_epochs(knobs: Train, ratio: float) -> dict[str, int]:
    """The `epochs` and `head_epochs` that take as many steps, where an epoch has 1 / ratio times as many steps."""

    def scale(count, minimum=1):
        return max(minimum, round(count * ratio)) if count else 0

    head = scale(knobs.head_epochs)
    if knobs.unfreeze == "head":
        return {"epochs": head, "head_epochs": head}
    unfrozen = scale(knobs.epochs - knobs.head_epochs, len(parse_unfreeze(knobs.unfreeze)))
    return {"epochs": head + unfrozen, "head_epochs": head}


def delete_folder(folder: Path):
    """Delete the refit's own folder in a run."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
