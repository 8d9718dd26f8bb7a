"""Run folders: what a training leaves behind, read again.

What loads Keras is imported in the functions, so that the output of a training is checked without it.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from transferkit import base_names, bases, recipe_files, versions
from transferkit import recipe as recipes
from transferkit.atomic import read
from transferkit.console import warn
from transferkit.data import display
from transferkit.data.listing import Listing, Splits
from transferkit.data.sources import resolve
from transferkit.data.sources.picture_values import are_paths, picture_files
from transferkit.data.split_file import read_splits
from transferkit.lookup import as_count, as_text, count_noun, look_up

if TYPE_CHECKING:
    from transferkit.network import Network

MISTAKES, GRADCAM, CALIBRATION, CHOICES = "mistakes.png", "gradcam.png", "calibration.json", "choices.json"
UNFINISHED = "not finished"


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
    def _shift_model(self):
        from transferkit.evaluation import shift

        return shift.load_shift_model(self.folder, self.network)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(read(self.folder / "classes.txt").removesuffix("\n").split("\n"))

    @cached_property
    def recipe(self) -> recipes.Recipe:
        return recipe_files.load(self.folder / "recipe.toml")

    @cached_property
    def choices(self) -> list[dict]:
        """`knob`, `value` and `reason` of each knob that a rule chose; [] for a run of an earlier version."""
        path = self.folder / CHOICES
        return read(path) if path.exists() else []

    @cached_property
    def splits(self) -> Splits:
        return read_splits(self.folder / "split.csv", self.classes)

    @property
    def learned(self) -> set[str]:
        """The paths that the saved network was trained on, after a refit validation too; of a run on the Hub none."""
        if not (self.folder / "split.csv").exists():
            return set()
        listings = (self.splits.train, self.splits.val) if self._is_refitted else (self.splits.train,)
        return {path for listing in listings for path in listing.paths}

    @property
    def _is_refitted(self) -> bool:
        return bool((self.folder / "metrics.json").exists() and self.metrics.get("refit"))

    @property
    def held_out(self) -> Listing:
        """The pictures that the saved network was not trained on: test pictures, else validation pictures.

        Raises:
            ValueError: there are none, as a refit was on all of them; the message has what was measured before it.
        """
        if self.splits.test or not self._is_refitted:
            return self.splits.test or self.splits.val
        raise ValueError(
            f"The network of {self.folder} was trained again on its validation pictures, so they cannot measure it. "
            f"The run's own figures are of the network before that: {self._headline()}. Give other pictures (--data)."
        )

    def find_learned(self, listing: Listing) -> list[int]:
        """The rows of the pictures in a listing that the saved network was trained on, by their real paths."""
        learned = set(map(os.path.realpath, self.learned))
        return [row for row, path in enumerate(listing.paths) if os.path.realpath(path) in learned]

    @cached_property
    def unreadable(self) -> tuple[tuple[str, str], ...]:
        """(path, reason) of the pictures that were skipped."""
        path = self.folder / "unreadable.csv"
        return tuple((row["path"], row["reason"]) for row in read(path)) if path.exists() else ()

    @cached_property
    def metrics(self) -> dict:
        """The figures of `metrics.json`.

        Raises:
            FileNotFoundError: the run is not finished.
        """
        if not (self.folder / "metrics.json").exists():
            raise FileNotFoundError(f"{self.folder} is not finished: transferkit finetune --resume {self.folder}.")
        return read(self.folder / "metrics.json")

    @cached_property
    def calibration(self) -> dict:
        """Probabilities of the validation pictures, for thresholds; see `calibration.record_confidences`.

        Raises:
            ValueError: the run has none: an earlier version wrote it, or it has no network.
        """
        path = self.folder / CALIBRATION
        if not path.exists():
            raise ValueError(
                f"{self.folder} has no {CALIBRATION}, from which reject and sets have their thresholds: train it again "
                "with this version."
            )
        found = read(path)
        names = ("confidences", "hits", "label_probabilities")
        lists = [found.get(name) for name in names] if isinstance(found, dict) else []
        lengths = {len(values) for values in lists if isinstance(values, list)}
        if len(lengths) != 1 or not all(isinstance(values, list) for values in lists):
            raise ValueError(f"{path} is damaged: train the run again.")
        return found

    @cached_property
    def predictions(self) -> list[dict]:
        """A row for each held-out picture: `path`, `label`, `predicted` and `probability`."""
        rows = read(self.folder / "predictions.csv") if self.metrics else []  # of an unfinished run, `metrics` raises
        return [row | {"probability": float(row["probability"])} for row in rows]

    @cached_property
    def history(self) -> list[dict]:
        """A row for each epoch, and one for a fitted initial head: its `phase` and its figures."""
        rows = read(self.folder / "history.csv")
        return [{name: text if name == "phase" else float(text) for name, text in row.items() if text} for row in rows]

    def predict(self, pictures, *, top: int = 5, reject: float | None = None, sets: float | None = None) -> list[dict]:
        """Classify pictures.

        Args:
            pictures: a path (a picture, a folder, or what `--data` takes); a list of paths of pictures; a listing;
                uint8 RGB arrays of 0..255, (height, width, channels) or (n, height, width, channels); or pictures of
                Pillow.
            top: number of most likely classes to return, 1 or more.
            reject: a precision, as 0.95: predictions that are too unsure for it have the label "".
            sets: a coverage, as 0.9: the set of classes that holds the right one that often.

        Returns:
            A dict for each picture, as `evaluation.predict.predict` returns them, with `unlike` (above 1, the picture
            looks unlike the training pictures), and `rejected` (bool) and `set` (a list of classes) where they are
            asked for; `path` is None for a picture without a file.

        Raises:
            FileNotFoundError: a path that is given alone does not exist.
            ValueError: `pictures` is something else, or the validation pictures are too few for `reject` or `sets`.

        Example:
            >>> run.predict("holiday/")  # doctest: +SKIP
            >>> run.predict(np.zeros((224, 224, 3), "uint8"))  # doctest: +SKIP
        """
        from transferkit.evaluation import predict, thresholds

        values, top = resolve.as_pictures(pictures, "pictures"), as_count(top, "top")
        chosen = thresholds.choose_thresholds(self.calibration if reject or sets else {}, reject=reject, sets=sets)
        with picture_files(values) as paths:
            rows = predict.predict(self.network, paths, top=None if sets else top, shift_model=self._shift_model)
        rows = thresholds.apply_thresholds(rows, chosen, top)
        return rows if are_paths(values) else [row | {"path": None} for row in rows]

    def evaluate(self, data=None, *, crops: int = 1) -> dict:
        """Figures on labelled pictures, whose classes are matched by name; see `metrics.compute_metrics`.

        Args:
            data: a path or name as of `--data` (its test, else val, else all pictures), a list of paths (the folder of
                each is its class), or a listing; by default the pictures that the run held out: test, else val.
            crops: over how many crops of a picture probabilities are averaged: 1, 5, 10, 144 or 150, see
                `multi_view.CROPS`.

        Raises:
            FileNotFoundError, UnknownName, ValueError: it is something else, the network lacks a class of it, or it is
                None and there are no such pictures, see `held_out`.

        Example:
            >>> run.evaluate("more-pets/")["accuracy"]  # doctest: +SKIP
        """
        from transferkit.evaluation import ensemble, multi_view, predict

        look_up(multi_view.CROPS, str(crops), "number of crops")
        listing = resolve.as_labelled(self.held_out if data is None else data, self.network.classes, "data")
        if trained := len(self.find_learned(listing)):
            warn(
                f"The run was trained on {trained:,} of the {count_noun(len(listing), 'picture')}, so these "
                "figures are too good."
            )
        views = ensemble.Views(str(crops))
        return predict.measure(*ensemble.predict_probabilities([self.network], listing.paths, views), listing)[0]

    def plot_confusion(self, normalize: bool = True):
        """The confusion matrix of the pictures that the run held out, labels down and predictions across.

        Args:
            normalize: whether cells show the fraction of their row, or the number of pictures.

        Returns:
            A `matplotlib.figure.Figure`. It is none of pyplot's, so nothing has to be closed.

        Raises:
            FileNotFoundError: the run is not finished.
            ValueError: it has too many classes for a matrix.

        Example:
            >>> run.plot_confusion().savefig("confusion.pdf")  # doctest: +SKIP
        """
        from transferkit.evaluation import plots

        matrix = self.metrics["confusion"]
        if matrix is None:
            raise ValueError(f"{self.folder} has {len(self.classes):,} classes, too many for a confusion matrix.")
        return plots.draw_confusion(matrix, self.classes, normalize=normalize)

    def plot_calibration(self):
        """How often predictions of about the same probability are right, with 95% intervals (Guo et al. 2017).

        Returns:
            A `matplotlib.figure.Figure`. Points below the line: the network is too sure.

        Raises:
            FileNotFoundError: the run is not finished.
            ValueError: its figures have no reliability, as those of folds and of earlier versions.

        Example:
            >>> run.plot_calibration().savefig("calibration.pdf")  # doctest: +SKIP
        """
        from transferkit.evaluation import plots

        if not self.metrics.get("reliability"):
            raise ValueError(
                f"The metrics.json of {self.folder} has no reliability, as those of folds and of earlier versions: "
                "evaluate a run that has a network."
            )
        return plots.draw_calibration(self.metrics["reliability"])

    def show_errors(self, n: int = 12):
        """The surest mistakes on the pictures that the run held out.

        Args:
            n: number of pictures at most, 1 or more.

        Returns:
            A `matplotlib.figure.Figure` of the pictures, each with the true class, the predicted one and its
            probability.

        Raises:
            FileNotFoundError: the run is not finished, or the pictures are gone.

        Example:
            >>> run.show_errors().savefig("errors.png")  # doctest: +SKIP
        """
        from transferkit.evaluation import mistakes, plots

        wrong, n = mistakes.rank_mistakes(self.predictions), as_count(n, "n")
        shown = mistakes.load_thumbnails(wrong, n)
        if wrong and not shown:
            raise FileNotFoundError(
                f"The pictures of {self.folder} cannot be read any more, from {wrong[0]['path']} on."
            )
        cells = [(picture, mistakes.describe_mistake(row)) for row, picture in shown]
        return plots.draw_pictures(cells, f"{len(shown)} of {len(wrong):,} mistakes, the surest first")


def load_run(folder: str | os.PathLike) -> Run:
    """Open a run folder, or download the run `hf://USER/NAME@REVISION`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is not a run folder, or one that a newer transferkit wrote in another form.
        UnknownName, OSError: it cannot be downloaded.

    Example:
        >>> load_run("runs/finetune-resnet34-pets-1").metrics["accuracy"]  # doctest: +SKIP
    """
    folder = Path(bases.find_local(as_text(folder, "folder")))
    if not folder.is_dir():
        raise FileNotFoundError(base_names.missing_path_message(str(folder)))
    if not (folder / "recipe.toml").is_file():
        raise ValueError(f"{folder} is not a run folder: it holds no recipe.toml.")
    versions.check_run(folder)
    return Run(folder)
