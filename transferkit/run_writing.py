"""The files of a run folder, written so that a crash never leaves half a file. `runs` reads them.

What loads Keras is imported in the functions, so that a command line is checked without it.
"""

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit import recipe as recipes
from transferkit import recipe_files, versions
from transferkit.atomic import write
from transferkit.data.listing import Splits
from transferkit.data.split_file import split_rows
from transferkit.runs import CHOICES, MISTAKES

if TYPE_CHECKING:
    from transferkit.network import Network

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "pillow", "jax")


def write_inputs(folder: Path, recipe: recipes.Recipe, splits: Splits, unreadable, device: str, choices=()):
    """Write what is known before training: enough to start the run again.

    Args:
        unreadable: (path, reason) of the skipped pictures.
        device: its name, for `environment.json`.
        choices: the `rules.Choice`s of the recipe, for `choices.json`.
    """
    write(folder / "recipe.toml", recipe_files.dumps(recipe))
    write(folder / CHOICES, [asdict(choice) for choice in choices])
    write(folder / "classes.txt", "".join(f"{name}\n" for name in splits.train.classes))
    write(folder / "split.csv", split_rows(splits))
    write_unreadable(folder, dict(unreadable))
    packages = {name: version for name in PACKAGES if (version := _find_version(name))}
    environment = {"python": platform.python_version(), "platform": platform.platform(), "device": device}
    write(folder / "environment.json", environment | versions.RUN_STAMP | packages)


def write_unreadable(folder: Path, unreadable: dict[str, str]):
    """Write `unreadable.csv` from `{path: reason}`, unless that is empty."""
    if unreadable:
        write(folder / "unreadable.csv", [{"path": path, "reason": reason} for path, reason in unreadable.items()])


@dataclass(frozen=True)
class Results:
    """What a training found.

    Attributes:
        history: a row for each epoch.
        figures: for `metrics.json`.
        predictions: rows of `predict.evaluate`, for `predictions.csv`.
        own_predictions: some by the saved network itself, which its file must reproduce.
    """

    history: list[dict]
    figures: dict
    predictions: list[dict]
    own_predictions: list[dict]


def write_results(folder: Path, network: "Network", results: Results) -> "Network":
    """Save the network and write the results. `metrics.json` is written last: a run that has it is complete.

    Returns:
        The network, loaded from its file.

    Raises:
        ValueError: the saved network is not the one that was evaluated; it is deleted, and checkpoints stay.
    """
    from transferkit import models
    from transferkit.evaluation import plots, verification

    models.save(network, folder / "model.keras")
    try:
        saved = verification.check_saved(folder / "model.keras", network, results.own_predictions)
    except ValueError:
        (folder / "model.keras").unlink()
        raise
    write_predictions(folder, results.predictions, results.figures["confusion"], network.classes)
    if results.history:
        write(folder / "curves.png", lambda path: plots.plot_curves(results.history, path))
    write(folder / "metrics.json", results.figures)
    return saved


def write_predictions(folder: Path, predictions: list[dict], confusion, classes):
    """Write `predictions.csv`, and what is drawn of it: the confusion matrix, unless it is None, and the mistakes."""
    from transferkit.evaluation import mistakes, plots

    write(folder / "predictions.csv", predictions)
    if confusion:
        write(folder / "confusion.png", lambda path: plots.plot_confusion(confusion, classes, path))
    (folder / MISTAKES).unlink(missing_ok=True)  # of an evaluation before the run was resumed
    if sheet := mistakes.draw_mistakes(predictions):
        write(folder / MISTAKES, lambda path: mistakes.save_sheet(sheet, path))


def _find_version(package: str) -> str:
    import importlib.metadata  # slow to import

    try:
        return importlib.metadata.version(package) or ""
    except importlib.metadata.PackageNotFoundError:
        return ""
