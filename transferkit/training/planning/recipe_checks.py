"""What is wrong with a recipe before any picture is read; nothing here loads Keras, so the answer comes at once."""

from transferkit import bases
from transferkit.lookup import UnknownName
from transferkit.recipe import AUTO, BY_RULE, Model, Recipe
from transferkit.training import trackers
from transferkit.training.planning import phases


def check_recipe(recipe: Recipe):
    """Check the names in a recipe, and that its knobs do not contradict each other.

    Raises:
        UnknownName: a name is not known, or knobs contradict each other.
        FileNotFoundError, ValueError: as `bases.check_base`.
    """
    if recipe.augment.augment is not BY_RULE:
        from transferkit.data.augment import augmentation, pca_axes  # NumPy is slow to import

        augmentation.parse_augmentation(recipe.augment.augment, pca_axes.load_or_imagenet(recipe.augment.pca))
    phases.check_time(recipe.train)
    phases.parse_unfreeze(recipe.train.unfreeze)
    phases.parse_milestones(recipe.train.milestones)
    phases.check_averaging(recipe.train)
    trackers.parse_log(recipe.train.log)
    if recipe.train.folds:
        _check_folds(recipe)
    if recipe.model.base == AUTO:
        _check_auto(recipe.model)
    else:
        bases.check_base(recipe.model.base, recipe.model.weights, recipe.model.pixels)
    if recipe.train.teacher:
        bases.check_base(recipe.train.teacher)


def _check_folds(recipe: Recipe):
    if recipe.train.folds == 1:
        raise UnknownName("folds must be 2 or more, or 0 for a single run, not 1.")
    if recipe.data.fraction < 1 or recipe.data.per_class:
        raise UnknownName("--folds uses all pictures: omit --fraction and --per-class.")
    if recipe.train.workers:
        raise UnknownName(f"Several workers train a single run: omit folds {recipe.train.folds}, or workers.")


def _check_auto(knobs: Model):
    """Raise `UnknownName` if knobs say more about a base that is yet to be chosen."""
    if knobs.weights != "imagenet":
        raise UnknownName(
            f"base {AUTO} compares networks with ImageNet weights, and weights is {knobs.weights}: name a base."
        )
    if name := next((name for name in ("cut", "classes", "class_order") if getattr(knobs, name)), None):
        raise UnknownName(f"{name} needs a base that is known, and base is {AUTO}: name one.")
