"""Run folders: what a training leaves behind, written so that a crash never leaves half a file.

What loads Keras is imported in the functions, so that the output of a training is checked without it.
"""

import itertools
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from transferkit import base_names, recipe_files
from transferkit import recipe as recipes
from transferkit.atomic import read, write
from transferkit.console import warn
from transferkit.data import display
from transferkit.data.listing import Splits
from transferkit.data.sources import resolve
from transferkit.data.sources.picture_values import are_paths, picture_files
from transferkit.data.split_file import read_splits, split_rows
from transferkit.lookup import as_count, as_text

if TYPE_CHECKING:
    from transferkit.network import Network

PACKAGES = ("transferkit", "tensorflow", "keras", "numpy", "scikit-learn", "pillow", "jax")
LOCK = ".lock"
MISTAKES = "mistakes.png"
UNFINISHED = "not finished"
TEMPORARY = "temporary-"  # prefix of the folders of `temporary_folder`


@dataclass(frozen=True, repr=False)
class Run:
    """A finished or unfinished training. Its files are read at first use.

    Example:
        >>> run = load_run("runs/finetune-resnet34-pets-1")  # doctest: +SKIP
        >>> run.predict("tabby.jpg")[0]["label"]  # doctest: +SKIP
        'cat'
    """

    folder: Path

    def __repr__(self):
        return f"<Run: {self.folder}, {self._headline()}>"

    def _repr_html_(self):
        plots = {name: self.folder / f"{name}.png" for name in ("curves", "confusion")}
        headline = self._headline()
        return display.run_html(str(self.folder), headline, {} if headline == UNFINISHED else self.metrics, plots)

    def _headline(self) -> str:
        """The accuracy with its interval, or `UNFINISHED`."""
        from transferkit.evaluation import metrics

        try:
            figures = self.metrics
            pictures = {"test": "test pictures", "val": "validation pictures"}.get(figures.get("split", ""), "pictures")
            return metrics.describe_accuracy(figures, pictures)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a damaged file must be shown too
            return UNFINISHED

    @cached_property
    def network(self) -> "Network":
        from transferkit import models

        return models.load_file(self.folder / "model.keras")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(read(self.folder / "classes.txt").removesuffix("\n").split("\n"))

    @cached_property
    def recipe(self) -> recipes.Recipe:
        return recipe_files.load(self.folder / "recipe.toml")

    @cached_property
    def splits(self) -> Splits:
        return read_splits(self.folder / "split.csv", self.classes)

    @property
    def learned(self) -> set[str]:
        """The paths that the saved network was trained on; after a refit these include the validation pictures."""
        refit = (self.folder / "metrics.json").exists() and self.metrics.get("refit")
        listings = (self.splits.train, self.splits.val) if refit else (self.splits.train,)
        return {path for listing in listings for path in listing.paths}

    @cached_property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of the pictures that were skipped."""
        path = self.folder / "unreadable.csv"
        return tuple((row["path"], row["reason"]) for row in read(path)) if path.exists() else ()

    @cached_property
    def metrics(self) -> dict:
        return read(self.folder / "metrics.json")

    @cached_property
    def history(self) -> list[dict]:
        """A row for each epoch, and one for a fitted initial head: its `phase` and its figures."""
        rows = read(self.folder / "history.csv")
        return [{name: text if name == "phase" else float(text) for name, text in row.items() if text} for row in rows]

    def predict(self, pictures, *, top: int = 5) -> list[dict]:
        """Classify pictures.

        Args:
            pictures: a path (a picture, a folder, or what `--data` takes); a list of paths of pictures; a listing;
                uint8 RGB arrays of 0..255, (height, width, channels) or (n, height, width, channels); or pictures of
                Pillow.
            top: number of most likely classes to return, 1 or more.

        Returns:
            A dict for each picture, as `evaluation.predict.predict` returns them, with `unlike`: above 1, the picture
            looks unlike the training pictures. `path` is None for a picture without a file.

        Raises:
            FileNotFoundError: a path that is given alone does not exist.
            ValueError: `pictures` is something else.

        Example:
            >>> run.predict("holiday/")  # doctest: +SKIP
            >>> run.predict(np.asarray(Image.open("tabby.png").convert("RGB")))  # doctest: +SKIP
        """
        from transferkit.evaluation import predict, shift

        values = resolve.as_pictures(pictures, "pictures")
        with picture_files(values) as paths:
            measure = shift.load_measure(self.folder, self.network)
            rows = predict.predict(self.network, paths, top=as_count(top, "top"), measure=measure)
        return rows if are_paths(values) else [row | {"path": None} for row in rows]

    def evaluate(self, data=None) -> dict:
        """Figures on labelled pictures, whose classes are matched by name; see `metrics.compute_metrics`.

        Args:
            data: a path or name as of `--data` (its test, else val, else all pictures), a list of paths (the folder of
                each is its class), or a listing; by default the pictures that the run held out: test, else val.

        Raises:
            FileNotFoundError, UnknownName, ValueError: it is something else, or the network lacks a class of it.

        Example:
            >>> run.evaluate("more-pets/")["accuracy"]  # doctest: +SKIP
        """
        from transferkit.evaluation import predict

        data = self.splits if data is None else data
        listing = resolve.as_labelled(data, self.network.classes, "data")
        learned = set(map(os.path.realpath, self.learned))
        if trained := sum(os.path.realpath(path) in learned for path in listing.paths):
            warn(f"The run was trained on {trained:,} of the {len(listing):,} pictures, so these figures are too good.")
        return predict.evaluate(self.network, listing)[0]


def load_run(folder: str | os.PathLike) -> Run:
    """Open a run folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is not a run folder.

    Example:
        >>> load_run("runs/finetune-resnet34-pets-1").metrics["accuracy"]  # doctest: +SKIP
    """
    folder = Path(as_text(folder, "folder"))
    if not folder.is_dir():
        raise FileNotFoundError(base_names.missing_path_message(str(folder)))
    if not (folder / "recipe.toml").is_file():
        raise ValueError(f"{folder} is not a run folder: it holds no recipe.toml.")
    return Run(folder)


def slug(text: str) -> str:
    """A short name for a folder: `my.keras` becomes `my`."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", Path(text).stem or Path(text).name).strip("-.")[:60] or "data"


def _make_numbered_folder(name: str) -> Path:
    for n in itertools.count(1):
        folder = Path(f"{name}-{n}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def make_run_folder(out: str | os.PathLike | None, *, overwrite: bool, name: str) -> Path:
    """Make the folder of a new run: `out`, empty except for a lock, or `<name>-<n>` with the first free n.

    Raises:
        ValueError: `out` exists and may not be replaced, is not a run, or another process trains in it.
    """
    if out is None:
        return _make_numbered_folder(name)
    check_output(out, overwrite=overwrite)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with lock_run(folder):
        check_output(out, overwrite=overwrite)  # another process may have been quicker
        _empty(folder)
    return folder


def check_output(out: str | os.PathLike | None, *, overwrite: bool, base: str | os.PathLike = ""):
    """Raise `ValueError` if a run may not be written to `out`: it exists, or is to be replaced but is not a run, or is
    the run's own base; or if no run can be written, because of the clock."""
    if (year := time.localtime().tm_year) < 1980:
        raise ValueError(f"The clock says {year}, and a model.keras cannot be dated before 1980: set the clock first.")
    folder = Path("runs/new" if out is None else as_text(out, "out"))
    if out is None or not folder.exists() or _is_bare(folder):
        return _check_writable(folder)
    if not overwrite and (folder / "split.csv").is_file() and not (folder / "metrics.json").is_file():
        raise ValueError(
            f"{folder} exists and is not finished: --resume {folder} continues it; for a new run give another --out, "
            "or --overwrite to replace it."
        )
    if not overwrite:
        raise ValueError(f"{folder} exists: give another --out, or --overwrite to replace it.")
    if not (folder / "recipe.toml").is_file():
        raise ValueError(f"{folder} is not replaced: it is not a run folder, as it holds no recipe.toml.")
    if folder.resolve() in (Path(base).resolve(), Path(base).resolve().parent):
        raise ValueError(f"{folder} is not replaced: it is the base of the new run. Give another --out.")


def _is_bare(folder: Path) -> bool:
    """Whether a folder is empty, or holds only what `lock_run` makes: on a full disk, a run gets no further."""
    ours = (folder / "checkpoints", folder / "checkpoints" / LOCK)
    return folder.is_dir() and all(path in ours for path in folder.rglob("*"))


def _check_writable(folder: Path):
    """Raise `OSError` if the folder cannot be made: now, not after the pictures are read."""
    with suppress(FileNotFoundError):
        folder.stat()  # raises if its name is too long, or a parent is a file
    parent = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=parent))
    except OSError as error:
        raise PermissionError(
            f"The run folder {folder} cannot be made in {parent} ({error.strerror}): give another --out."
        ) from None


def _empty(folder: Path):
    """Delete everything in a run that this process has locked, except the lock."""
    for entry in (*(entry for entry in folder.iterdir() if entry.name != "checkpoints"), *folder.glob("checkpoints/*")):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


@contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Reserve a run folder for this process until it ends, and delete the partial files of a process that was killed.

    Raises:
        ValueError: another process trains in it.
    """
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    try:
        with FileLock(checkpoints / LOCK, timeout=0):
            for partial in (*folder.glob(".[0-9]*.*"), *checkpoints.glob(".[0-9]*.*")):
                partial.unlink()
            for temporary in checkpoints.glob(f"{TEMPORARY}*"):
                shutil.rmtree(temporary)
            yield
    except Timeout:
        raise ValueError(f"Another process trains in {folder}: wait until it ends, or give another --out.") from None


@contextmanager
def temporary_folder(run: Path) -> Iterator[Path]:
    """A folder in a run's `checkpoints` that exists in this context."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=run / "checkpoints") as folder:
        yield Path(folder)


def write_inputs(folder: Path, recipe: recipes.Recipe, splits: Splits, unreadable, device: str):
    """Write what is known before training: enough to start the run again.

    Args:
        unreadable: (path, reason) of the skipped pictures.
        device: its name, for `environment.json`.
    """
    write(folder / "recipe.toml", recipe_files.dumps(recipe))
    write(folder / "classes.txt", "".join(f"{name}\n" for name in splits.train.classes))
    write(folder / "split.csv", split_rows(splits))
    write_unreadable(folder, dict(unreadable))
    versions = {name: version for name in PACKAGES if (version := _find_version(name))}
    environment = {"python": platform.python_version(), "platform": platform.platform(), "device": device}
    write(folder / "environment.json", environment | versions)


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


def write_results(folder: Path, network: "Network", results: Results):
    """Save the network and write the results. `metrics.json` is written last: a run that has it is complete.

    Raises:
        ValueError: the saved network is not the one that was evaluated; it is deleted, and checkpoints stay.
    """
    from transferkit import models
    from transferkit.evaluation import plots, verification

    models.save(network, folder / "model.keras")
    try:
        verification.check_saved(folder / "model.keras", network, results.own_predictions)
    except ValueError:
        (folder / "model.keras").unlink()
        raise
    write_predictions(folder, results.predictions, results.figures["confusion"], network.classes)
    if results.history:
        write(folder / "curves.png", lambda path: plots.plot_curves(results.history, path))
    write(folder / "metrics.json", results.figures)


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
