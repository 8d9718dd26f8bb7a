"""Fine-tuning as a scikit-learn classifier."""

import os
import time
from contextlib import nullcontext
from functools import cached_property
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from transferkit import models
from transferkit.console import REPORTS, quiet, say
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.data.sources.arrays import list_arrays
from transferkit.data.sources.picture_values import are_paths, picture_files
from transferkit.data.sources.resolve import as_listing, as_pictures
from transferkit.evaluation.calibration import to_probabilities
from transferkit.evaluation.metrics import describe_accuracy
from transferkit.evaluation.predict import predict_outputs
from transferkit.features.sklearn_inputs import check_groups, check_labels
from transferkit.lookup import count_noun
from transferkit.network import Network
from transferkit.recipe import Recipe, list_knobs
from transferkit.run_folder import check_output
from transferkit.training.fitting.checkpoints import preserve_random_state
from transferkit.training.run_job import finetune

PARAMETERS = (
    "weights",
    "epochs",
    "head_epochs",
    "batch_size",
    "lr",
    "size",
    "unfreeze",
    "augment",
)  # named as in the recipe
SOURCE_KNOBS = {knob.name for knob in list_knobs("data")} - {"fraction", "per_class"}
CACHED = ("network_",)  # Keras objects, which are built from the saved bytes when needed


class FineTuner(ClassifierMixin, BaseEstimator):
    """A network fine-tuned on pictures: its new head, then what `unfreeze` says, as `tk.finetune` does.

    `fit` holds out a fraction of its pictures, duplicates and near-duplicates on one side, to evaluate the training,
    and then trains again on all pictures (the knob `refit`). Parameters at None are chosen by rules from the pictures
    and the hardware.

    Args:
        base: a network of `transferkit models`, `keras:NAME`, a run folder, or the file of a Keras model.
        weights: "imagenet", a tag of `transferkit models`, "none" (fresh), or the path of a weights file.
        epochs: of all phases together, at least 1.
        head_epochs: of these, the epochs in which only the head is trained, 0 to `epochs`.
        batch_size: pictures per step.
        lr: highest learning rate after the head's own phase.
        size: of the network's input, in pixels, or "192x320", height x width.
        unfreeze: "all", "head", "last-stage", "last-2", or a layer: it and all after it are trained.
        augment: "none", "light", "medium", "heavy", a paper's, or steps as "crop(0.5) | flip".
        validation: fraction of each class that `fit` holds out, between 0 and 1.
        random_state: seed of the split, order, augmentation and fresh weights: an integer of at least 0, a
            `RandomState`, or None for another one in each `fit`.
        knobs: other knobs of the recipe, as {"optimizer": "sgd"}; `transferkit finetune --help-all` lists them.
        out: folder to write the run to, which must not exist; None keeps no run. A search, which fits many times,
            needs None.
        verbose: 0 shows nothing, and warnings are Python's; 1 prints a line after each `fit`, with the parameters,
            the accuracy on the held-out pictures and the seconds, so that a search shows that it is alive; 2 shows all
            lines and bars of `tk.finetune` too.

    Attributes:
        classes_: (k,) sorted labels, of the dtype of `y`; the columns of `predict_proba`.
        network_: the trained `Network`, its classes the labels as text; `network_.model` is a Keras model.
        metrics_: figures on the held-out pictures, as in the `metrics.json` of a run.

    Example:
        >>> tuner = FineTuner("efficientnet_lite0", epochs=3).fit(train.paths, train.labels)  # doctest: +SKIP
        >>> tuner.predict_proba(["tabby.jpg"])  # doctest: +SKIP
    """

    __module__ = "transferkit"  # its public name, which files and pickles hold

    def __init__(
        self,
        base="resnet34",
        *,
        weights="imagenet",
        epochs=None,
        head_epochs=None,
        batch_size=None,
        lr=None,
        size=None,
        unfreeze="all",
        augment=None,
        validation=0.2,
        random_state=0,
        knobs=None,
        out=None,
        verbose=0,
    ):
        self.base = base
        self.weights = weights
        self.epochs = epochs
        self.head_epochs = head_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.size = size
        self.unfreeze = unfreeze
        self.augment = augment
        self.validation = validation
        self.random_state = random_state
        self.knobs = knobs
        self.out = out
        self.verbose = verbose

    def fit(self, X, y=None, groups=None):
        """Fine-tune on labelled pictures, from the base again.

        Unreadable pictures are skipped with a warning; more than one in five are an error.

        Args:
            X: n paths; n uint8 pictures, RGB, 0..255, as an array (n, h, w) or (n, h, w, c), a list of arrays or of
                pictures of Pillow; or a `Listing`, or a path or name as of `--data`, which have labels of their own.
            y: n labels, names or integers; at least two pictures of each.
            groups: n names or numbers; the pictures of one group, as a patient, are all held out or all trained on.

        Raises:
            UnknownName: there is no such network, knob, layer or augmentation.
            ValueError: pictures, labels, groups or a parameter cannot be used.
            KeyboardInterrupt: training was interrupted; the best epoch so far is in `out`, if that is given.
        """
        started, knobs = time.perf_counter(), self._collect_knobs()
        X = as_listing(X, "X") if isinstance(X, (str, os.PathLike)) else X
        pictures = as_pictures(X, "X")
        if isinstance(X, Listing):
            y = [X.classes[label] for label in X.labels] if y is None else y
            groups = X.groups or None if groups is None else groups
        groups = () if groups is None else check_groups(groups, len(pictures))
        classes, rows = np.unique(check_labels(y, len(pictures)), return_inverse=True)
        if len(classes) < 2:
            found = f"one class, {classes[0].item()!r}" if len(classes) else "no labels"
            raise ValueError(f"y holds {found}: expected two or more classes.")
        names, rows = tuple(str(label) for label in classes.tolist()), rows.tolist()
        with (
            self._verbosity(),
            preserve_random_state(),
            self._run_folder() as folder,
            self._picture_files(pictures) as paths,
        ):
            listing = Listing(tuple(map(os.path.abspath, paths)), tuple(rows), names, groups=groups)
            run = finetune(os.fspath(self.base), listing, out=folder, validation=self.validation, **knobs)
            saved, metrics = (run.folder / "model.keras").read_bytes(), run.metrics
        if metrics["interrupted"]:  # a search would go on with its next fit
            raise KeyboardInterrupt
        for name in CACHED:
            self.__dict__.pop(name, None)
        self.classes_, self.metrics_, self._saved = classes, metrics, saved
        if self.verbose:
            self._report(time.perf_counter() - started)
        return self

    def predict(self, X):
        """The most likely label of each picture of X, (n,), of the dtype of `classes_`; see `predict_proba`."""
        probabilities = self.predict_proba(X)  # raises if not fitted
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, X):
        """Probabilities (n, k) of `classes_`, float64, in the order of X.

        Args:
            X: as in `fit`; a path may also be a picture or a folder of pictures.

        Raises:
            NotFittedError: before `fit`.
            ValueError: X is something else, or a picture cannot be read.
        """
        check_is_fitted(self)
        with self._verbosity(), picture_files(as_pictures(X, "X")) as paths:
            logits, rows = predict_outputs(self.network_.model, paths, self.network_.pixels)
            if unreadable := before_training.explain_missing_rows(paths, rows):
                path, reason = unreadable[0]
                raise ValueError(
                    f"{len(unreadable)} of {count_noun(len(paths), 'picture')} cannot be read, the first: "
                    f"{path}: {reason}."
                )
        columns = [self.network_.classes.index(str(label)) for label in self.classes_.tolist()]  # the base's own order
        return to_probabilities(logits, self.network_.temperature)[:, columns]

    @cached_property
    def network_(self) -> Network:
        check_is_fitted(self)
        with TemporaryDirectory(prefix="transferkit-") as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(self._saved)
            return models.load_file(path)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name not in CACHED}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.one_d_array, tags.input_tags.string = True, True  # paths
        tags.input_tags.two_d_array = False
        return tags

    def _collect_knobs(self) -> dict:
        """The knobs of the recipe, except `base`, each checked."""
        if not isinstance(self.base, (str, os.PathLike)):
            raise ValueError(
                f"base is of type {type(self.base).__name__}: expected a name or a path, such as of a .keras file "
                "that a Keras model was saved to."
            )
        others = {} if self.knobs is None else self.knobs
        if not isinstance(others, dict):
            raise ValueError(f"knobs must be a dict, as {{'optimizer': 'sgd'}}, not {others!r}.")
        for name in others:
            if name == "seed" or name in self.get_params(deep=False):
                parameter = "random_state" if name == "seed" else name
                raise ValueError(f"knobs holds {name!r}, which is a parameter of FineTuner: give it as {parameter}.")
            if name in SOURCE_KNOBS:
                raise ValueError(f"knobs holds {name!r}, but fit gets the pictures: omit it.")
        if others.get("folds"):
            raise ValueError(
                "FineTuner trains a single network: remove folds from knobs, and use cross_val_score instead."
            )
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        knobs = others | {name: getattr(self, name) for name in PARAMETERS} | {"seed": seed}
        # a parameter grid of NumPy's has NumPy numbers
        knobs = {name: value.item() if isinstance(value, np.generic) else value for name, value in knobs.items()}
        Recipe().override(**knobs)
        return knobs

    def _verbosity(self):
        """A context in which lines are quiet or not."""
        return nullcontext() if self.verbose > 1 else quiet()

    def _report(self, seconds: float):
        """Print a line on the fit, with the parameters that are not at their defaults."""
        defaults = type(self)().get_params(deep=False)
        changed = {name: value for name, value in self.get_params(deep=False).items() if value != defaults[name]}
        shown = ", ".join(f"{name}={value!r}" for name, value in changed.items() if name != "verbose")
        figures = describe_accuracy(self.metrics_, "held-out pictures")
        say(f"FineTuner({shown}): {figures}, {seconds:.0f} s", on=REPORTS)

    def _run_folder(self):
        """A context that gives the folder of the run."""
        if self.out is None:
            return TemporaryDirectory(prefix="transferkit-")
        check_output(self.out, overwrite=False)
        return nullcontext(self.out)

    def _picture_files(self, pictures):
        """A context that gives files of the pictures, which last as long as the run."""
        if self.out is None or are_paths(pictures):
            return picture_files(pictures)
        return nullcontext(list_arrays(pictures, [0] * len(pictures)).paths)
