"""Planning: names and knobs are checked, then pictures are read once, then the rest is decided with the network.

Nothing here loads TensorFlow before it is needed: wrong names are answered at once, and most pictures are read before.
"""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transferkit import bases, zoo
from transferkit.console import say_looking
from transferkit.data import lazy_tensorflow
from transferkit.data.audit import before_training, duplicate_groups
from transferkit.data.listing import Splits
from transferkit.data.sources import resolve
from transferkit.lookup import UnknownName, as_text
from transferkit.recipe import AUTO, Model, Recipe
from transferkit.training.planning import recipe_checks
from transferkit.weights.catalogue import is_path

if TYPE_CHECKING:
    from transferkit.training.job_records import Plan


def plan_pictures(base: str | os.PathLike, train, val, test, knobs: Mapping) -> "Plan":
    """Plan a training on what `run_job.finetune` takes; a path alone is planned as `--data`.

    Raises:
        UnknownName: a knob says where pictures are, which the listings do, or a split is given twice.
        ValueError: as `make_plan`.
    """
    is_source = isinstance(train, (str, os.PathLike)) and val is None and test is None
    if name := next(
        (name for name in resolve.SOURCE_KNOBS if name in knobs and (name == "data" or not is_source)), None
    ):
        raise UnknownName(f"{name} is a knob of find_splits: here the pictures are given as train and val.")
    recipe = Recipe().override(base=as_text(base, "base"), **knobs)
    if is_source:
        return make_plan(recipe.override(data=as_text(train, "train")))
    splits = _collect_splits(train, val, test, recipe)
    return make_plan(recipe, splits.subsample(recipe.data.fraction, recipe.data.per_class, recipe.train.seed))


def _collect_splits(train, val, test, recipe: Recipe) -> Splits:
    """The splits of pictures that are given as listings, lists or paths; val is held out of train if it is missing."""
    if isinstance(train, Splits) and val is None and test is None:
        return train
    listings = resolve.as_listings(train, "train")
    if "train" not in listings:
        raise ValueError(f"train holds {' and '.join(listings)} but no train: give the pictures to train on.")
    for name, given in {"val": val, "test": test}.items():
        if given is not None and name in listings:
            raise UnknownName(
                f"train holds {name} pictures too, and {name} is given: omit {name}, or give train alone."
            )
        if given is not None:
            listings[name] = resolve.as_listing(given, name)
    if "val" in listings:
        return Splits(listings["train"], listings["val"], listings.get("test"))
    return duplicate_groups.make_splits(listings, validation=recipe.data.validation, seed=recipe.train.seed)


def make_plan(recipe: Recipe, splits: Splits | None = None, *, download: bool = True) -> "Plan":
    """Plan a training: read every picture once, load the network and choose the open knobs.

    Args:
        recipe: knobs at None are chosen by `rules`.
        splits: final listings, which are not reduced any more; by default those of `recipe.data`.
        download: whether public weights may be downloaded; else fresh ones stand in for them, in a plan that is only
            shown.

    Raises:
        UnknownName: a name in the recipe is not known, or knobs contradict each other.
        ValueError: pictures, weights or devices cannot be used.
        OSError: the weights could not be downloaded.
    """
    started = time.perf_counter()
    recipe_checks.check_recipe(recipe)
    where, recipe = recipe.data.data, _make_paths_absolute(recipe)
    if splits:
        listings = dict(splits.items())
    else:
        listings = resolve.list_given_splits(recipe.data)
        say_looking(sum(map(len, listings.values())), where)
    _check_class_names(listings["train"].classes)
    if download:
        bases.fetch_missing(recipe.model.base, recipe.model.weights)
    audits = before_training.audit_listings(listings) if _loads_surely(recipe.model) else None
    lazy_tensorflow.load()
    from transferkit.training.planning import plan_completion

    return plan_completion.complete_plan(recipe, splits, listings, audits, started=started, download=download)


def _loads_surely(knobs: Model) -> bool:
    """Whether the base is sure to load, so that the pictures are read before it: nobody knows what is in a file."""
    return knobs.base == AUTO or (zoo.is_network(knobs.base) and not is_path(knobs.weights) and not knobs.cut)


def _make_paths_absolute(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, so that a saved one can be used from any folder."""
    paths = {
        "data": recipe.data.data,
        "data_dir": recipe.data.data_dir,
        "image_dir": recipe.data.image_dir,
        "pca": recipe.augment.pca,
        "classes": recipe.model.classes,
        "base": "" if zoo.is_network(recipe.model.base) else recipe.model.base,
        "teacher": "" if zoo.is_network(recipe.train.teacher) else recipe.train.teacher,
        "weights": recipe.model.weights if is_path(recipe.model.weights) else "",
    }
    return recipe.override(**{knob: os.path.abspath(path) for knob, path in paths.items() if os.path.exists(path)})


def _check_class_names(classes: tuple[str, ...]):
    """Raise `ValueError` if a class name fits in no text file: now, not when the run is written."""
    for name in classes:
        if len(name.splitlines()) != 1 or name.encode("utf-8", "replace").decode() != name:
            raise ValueError(
                f"Class {name!r} cannot be used: its name is empty, has line breaks or is not UTF-8; rename it."
            )
