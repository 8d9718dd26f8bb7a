"""Fine-tuning as a scikit-learn classifier."""

import os
from contextlib import nullcontext
from functools import cached_property
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from transferkit import models
from transferkit.batchnorm_folding import folded
from transferkit.console import quiet
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.data.sources.arrays import list_arrays, write_arrays
from transferkit.evaluation.predict import outputs_of
from transferkit.features.inputs import pictures_of
from transferkit.features.labels import groups_of, labels_of
from transferkit.network import Network
from transferkit.recipe import Recipe, knobs_of
from transferkit.runs import check_free
from transferkit.training.fitting.checkpoints import chance_kept
from transferkit.training.run_job import finetune

OWN = ("weights", "epochs", "head_epochs", "batch_size", "lr", "size", "unfreeze", "augment")  # as the recipe has them
SOURCE = {knob.name for knob in knobs_of("data")} - {"fraction", "per_class"}
LIVE = ("network_", "_folded")  # Keras objects, which are built again from the saved bytes


class FineTuner(ClassifierMixin, BaseEstimator):
    """A network fine-tuned on pictures: its new head, then what `unfreeze` says, as `tk.finetune` does.

    A share of the pictures given to `fit` is held out in it, copies and near copies on one side; it measures the
    training, which is then done again on all pictures (the knob `refit`). What is left at None is chosen by rules from
    the pictures and the hardware.

    Args:
        base: a network of `transferkit models`, `keras:NAME`, a run folder, or the file of a Keras model.
        weights: "imagenet", a tag of `transferkit models`, "none" (fresh), or the path of a weights file.
        epochs: of the head's phase and the released one together, at least 1.
        head_epochs: of these, those in which the head alone learns, 0 to `epochs`.
        batch_size: pictures in a step.
        lr: highest learning rate of the released phase.
        size: side of the pictures that the network sees, in pixels, or "192x320", height x width.
        unfreeze: "all", "head", "last-stage", "last-2", or a layer: it and all after it are trained.
        augment: training views: "none", "light", "medium", "heavy", a paper's, or steps as "crop(0.5) | flip".
        validation: share of each class that is held out in `fit`, between 0 and 1.
        random_state: seed of the held-out share, order, augmentation and fresh weights: a whole number of at least 0,
            a `RandomState`, or None for another one in each `fit`.
        knobs: others of the recipe by name, as {"optimizer": "sgd"}; `transferkit finetune --help` lists them.
        out: folder that is to hold the run, which must be free; None keeps none. A search, which fits many times,
            wants None.
        verbose: 0 shows nothing, and what training warns of are warnings of Python's; 1 shows lines and bars.

    Attributes:
        classes_: (k,) sorted labels, of the dtype of `y`; the columns of `predict_proba`.
        network_: the `Network` that was kept, its classes the labels as text; `network_.model` is a Keras model.
        metrics_: figures on the held-out share, as in the `metrics.json` of a run.

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
        """Fine-tune on labelled pictures. An earlier `fit` is forgotten.

        Pictures that cannot be read are left out with a warning; more than one in five are an error.

        Args:
            X: n paths; n uint8 pictures, RGB, 0..255, as an array (n, h, w) or (n, h, w, c) or a list of arrays; or a
                `Listing`, which brings labels and groups of its own where none are given.
            y: n labels, names or whole numbers; at least two pictures of each.
            groups: n names or numbers: the pictures of one group, a patient's perhaps, are all held out or all learnt.

        Raises:
            UnknownName: there is no such network, knob, layer or augmentation.
            ValueError: pictures, labels, groups or a parameter cannot be used.
            KeyboardInterrupt: training was interrupted; the best epoch so far is in `out`, where that is given.
        """
        knobs, pictures = self._knobs(), pictures_of(X)
        if isinstance(X, Listing):
            y = [X.classes[label] for label in X.labels] if y is None else y
            groups = X.groups or None if groups is None else groups
        groups = () if groups is None else groups_of(groups, len(pictures))
        classes, rows = np.unique(labels_of(y, len(pictures)), return_inverse=True)
        if len(classes) < 2:
            holds = f"one class, {classes[0].item()!r}" if len(classes) else "no labels"
            raise ValueError(f"y holds {holds}: two or more classes are needed to tell apart.")
        names, rows = tuple(str(label) for label in classes.tolist()), rows.tolist()
        with self._talk(), chance_kept(), self._place() as folder, self._lasting(pictures) as paths:
            listing = Listing(tuple(map(os.path.abspath, paths)), tuple(rows), names, groups=groups)
            run = finetune(os.fspath(self.base), listing, out=folder, validation=self.validation, **knobs)
            saved, metrics = (run.folder / "model.keras").read_bytes(), run.metrics
        if metrics["interrupted"]:  # a search would go on with its next fit
            raise KeyboardInterrupt
        for name in LIVE:
            self.__dict__.pop(name, None)
        self.classes_, self.metrics_, self._saved = classes, metrics, saved
        return self

    def predict(self, X):
        """The likeliest label of each picture of X, (n,), of the dtype of `classes_`; see `predict_proba`."""
        chances = self.predict_proba(X)
        return self.classes_[chances.argmax(1)]

    def predict_proba(self, X):
        """Probabilities (n, k) of `classes_`, float64, rows in the order of X.

        Args:
            X: as in `fit`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: X is none of that, or a picture cannot be read.
        """
        check_is_fitted(self)
        with self._talk(), _files(pictures_of(X)) as paths:
            logits, rows = outputs_of(self._folded, paths, self.network_.pixels)
            if lost := before_training.explain_missing_rows(paths, rows):
                path, reason = lost[0]
                raise ValueError(f"{len(lost)} of {len(paths)} pictures cannot be read, the first: {path}: {reason}.")
        columns = [self.network_.classes.index(str(label)) for label in self.classes_.tolist()]  # a base's own order
        return softmax(logits.astype("float64"), axis=1)[:, columns]

    @cached_property
    def network_(self) -> Network:
        check_is_fitted(self)
        with TemporaryDirectory(prefix="transferkit-") as folder:
            path = Path(folder) / "model.keras"
            path.write_bytes(self._saved)
            return models.read(path)

    @cached_property
    def _folded(self):
        """Compiled once, not in every `predict`."""
        return folded(self.network_.model)

    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name not in LIVE}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.one_d_array, tags.input_tags.string = True, True  # paths
        tags.input_tags.two_d_array = False
        return tags

    def _knobs(self) -> dict:
        """The knobs of the recipe, all but `base`, each checked."""
        if not isinstance(self.base, (str, os.PathLike)):
            raise ValueError(
                f"base is of type {type(self.base).__name__}: expected a name or a path, of the .keras file perhaps to "
                "which a Keras model is saved."
            )
        further = {} if self.knobs is None else self.knobs
        if not isinstance(further, dict):
            raise ValueError(f"knobs must be a dict, as {{'optimizer': 'sgd'}}, not {further!r}.")
        for name in further:
            if name == "seed" or name in self.get_params(deep=False):
                own = "random_state" if name == "seed" else name
                raise ValueError(f"knobs holds {name!r}, which is a parameter of FineTuner: give it as {own}.")
            if name in SOURCE:
                raise ValueError(f"knobs holds {name!r}, but the pictures are those that fit is given: leave it out.")
        if further.get("folds"):
            raise ValueError("FineTuner is one network: leave folds out of knobs, and take cross_val_score for them.")
        seed = self.random_state
        if not isinstance(seed, Integral):
            seed = check_random_state(seed).randint(2**31 - 1)
        knobs = further | {name: getattr(self, name) for name in OWN} | {"seed": seed}
        # a grid of NumPy's has numbers of NumPy's
        knobs = {name: value.item() if isinstance(value, np.generic) else value for name, value in knobs.items()}
        Recipe().override(**knobs)
        return knobs

    def _talk(self):
        return nullcontext() if self.verbose else quiet()

    def _place(self):
        """A context of the run's folder."""
        if self.out is None:
            return TemporaryDirectory(prefix="transferkit-")
        check_free(self.out, overwrite=False)
        return nullcontext(self.out)

    def _lasting(self, pictures):
        """A context of files of the pictures, that last as long as the run."""
        if self.out is None or _are_paths(pictures):
            return _files(pictures)
        return nullcontext(list_arrays(pictures, [0] * len(pictures)).paths)


def _are_paths(pictures) -> bool:
    return all(isinstance(picture, str) for picture in pictures)


def _files(pictures):
    """A context of files of the pictures."""
    return nullcontext(pictures) if _are_paths(pictures) else write_arrays(pictures)
