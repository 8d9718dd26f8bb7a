"""Planning: pictures are read once, the network is loaded, and every knob is chosen, before anything is trained."""

import dataclasses
import math
import os
import time
from collections.abc import Mapping

import keras

from transferkit import rules, zoo
from transferkit.console import say, warn
from transferkit.data import folds
from transferkit.data.audit import before_training, duplicate_groups
from transferkit.data.audit.before_training import Audit
from transferkit.data.augment import augmentation, pca_axes
from transferkit.data.listing import Listing, Splits, complete_splits
from transferkit.data.sources import resolve
from transferkit.features import base_selection
from transferkit.lookup import UnknownName, as_text
from transferkit.network import Network
from transferkit.recipe import AUTO, Model, Recipe, Train
from transferkit.training.distributed import devices, workers
from transferkit.training.distributed.devices import Device
from transferkit.training.fitting import distillation, schedules
from transferkit.training.fitting.freezing import unfreeze
from transferkit.training.job_records import Plan
from transferkit.training.planning import advice, network_setup
from transferkit.training.planning.phases import check_averaging, check_time, make_phases
from transferkit.weights.catalogue import is_path


def plan_pictures(base: str | os.PathLike, train, val, test, knobs: Mapping) -> Plan:
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


def make_plan(recipe: Recipe, splits: Splits | None = None) -> Plan:
    """Plan a training: read every picture once, load the network and choose the open knobs.

    Args:
        recipe: knobs at None are chosen by `rules`.
        splits: final listings, which are not reduced any more; by default those of `recipe.data`.

    Raises:
        UnknownName: a name in the recipe is not known, or knobs contradict each other.
        ValueError: pictures, weights or devices cannot be used.
    """
    started = time.perf_counter()
    _check_recipe(recipe)
    recipe = _make_paths_absolute(recipe)
    device = _prepare_device(recipe.train)
    listings = dict(splits.items()) if splits else resolve.list_given_splits(recipe.data)
    classes = listings["train"].classes
    _check_class_names(classes)
    network = None if recipe.model.base == AUTO else network_setup.load_base(recipe.model, classes)
    if network:
        listings = network_setup.match_classes(listings, network)
    audits = _audit(listings)
    splits = _make_splits(recipe, audits, splits)
    for sentence in advice.suggest_balance(splits.train.counts(), recipe.train):
        say(sentence)
    choices = []
    if network is None:
        choices = [_choose_base(recipe, splits, audits["train"])]
        recipe = recipe.override(base=choices[0].value)
        network = network_setup.load_base(recipe.model, splits.train.classes)
    resolved, more_choices = _choose_knobs(recipe, _collect_facts(recipe, splits, audits["train"], network, device))
    if resolved.train.start == "probe" and not network_setup.can_fit_head(network):
        raise UnknownName(f"The head of {network.base} cannot be initialised by a regression: use start fresh.")
    devices.check_knobs(device, resolved.train)
    unreadable = tuple(pair for audit in audits.values() for pair in audit.unreadable)
    network = network_setup.adapt_network(network, splits.train.classes, resolved)
    plan = _complete(Plan(resolved, choices + more_choices, splits, unreadable, network, device, (), started))
    if not resolved.train.teacher:
        return plan
    teacher = distillation.load_teacher(resolved.train.teacher, plan.network, plan.device.policy)
    return dataclasses.replace(plan, teacher=teacher)


def renew_plan(plan: Plan) -> Plan:
    """The plan with its network as it was before training, and the phases of its recipe."""
    keras.utils.set_random_seed(plan.recipe.train.seed)
    classes = plan.splits.train.classes
    network = network_setup.load_base(plan.recipe.model, classes)
    return _complete(dataclasses.replace(plan, network=network_setup.adapt_network(network, classes, plan.recipe)))


def _check_recipe(recipe: Recipe):
    """Raise `UnknownName` if knobs contradict each other, as far as that shows before the pictures are read."""
    if recipe.augment.augment is not None:
        augmentation.parse_augmentation(recipe.augment.augment, pca_axes.load_or_imagenet(recipe.augment.pca))
    check_time(recipe.train)
    if recipe.model.base == AUTO:
        _check_auto(recipe.model)


def _check_auto(knobs: Model):
    """Raise `UnknownName` if knobs say more about a base that is yet to be chosen."""
    if knobs.weights != "imagenet":
        raise UnknownName(
            f"base {AUTO} compares networks with ImageNet weights, and weights is {knobs.weights}: name a base."
        )
    if name := next((name for name in ("cut", "classes", "class_order") if getattr(knobs, name)), None):
        raise UnknownName(f"{name} needs a base that is known, and base is {AUTO}: name one.")


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


def _prepare_device(knobs: Train) -> Device:
    """Choose the device, and seed everything that draws random numbers."""
    device = devices.choose_device(knobs.devices, knobs.precision, workers.find_cluster(knobs.workers))
    keras.utils.set_random_seed(knobs.seed)
    if knobs.determinism == "on":
        devices.enable_determinism()
    return device


def _check_class_names(classes: tuple[str, ...]):
    """Raise `ValueError` if a class name fits in no text file: now, not when the run is written."""
    for name in classes:
        if len(name.splitlines()) != 1 or name.encode("utf-8", "replace").decode() != name:
            raise ValueError(
                f"Class {name!r} cannot be used: its name is empty, has line breaks or is not UTF-8; rename it."
            )


def _audit(listings: dict[str, Listing]) -> dict[str, Audit]:
    """Read every picture, and warn of each that cannot be read."""
    audits = {name: before_training.audit_listing(listing, what=name) for name, listing in listings.items()}
    for audit in audits.values():
        for path, reason in audit.unreadable:
            warn(f"{path} cannot be read and is skipped: {reason}.")
    return audits


def _make_splits(recipe: Recipe, audits: dict[str, Audit], given: Splits | None) -> Splits:
    """The splits of the readable pictures, with a warning of whatever would spoil the figures on them.

    Duplicates stay together where splits or folds are drawn here. Splits that are given are not reduced by `fraction`
    and `per_class`.
    """
    scans = before_training.scans_by_path(audits)
    listings = {name: audit.listing for name, audit in audits.items()}
    if recipe.train.folds:
        splits = complete_splits(listings, validation=recipe.data.validation, seed=recipe.train.seed)
        splits = folds.mark_pool_duplicates(splits, scans)
        _check_folds(recipe, splits)
        evaluated = {"train": folds.pool_train_and_val(splits)} | ({"test": splits.test} if splits.test else {})
    else:
        splits = duplicate_groups.make_splits(
            listings, audits["train"].scans, validation=recipe.data.validation, seed=recipe.train.seed
        )
        if not given:
            splits = splits.subsample(recipe.data.fraction, recipe.data.per_class, recipe.train.seed)
        evaluated = dict(splits.items())
    warnings = [
        *before_training.find_concerns(evaluated, scans),
        *advice.find_leaks(recipe.model.base, splits, "base"),
        *advice.find_leaks(recipe.train.teacher, splits, "teacher"),
    ]
    for sentence in warnings:
        warn(sentence)
    return dataclasses.replace(splits, val_from_train=splits.val_from_train or bool(given and given.val_from_train))


def _check_folds(recipe: Recipe, splits: Splits):
    """Raise `ValueError` if the pictures cannot be divided into that many folds."""
    count, data = recipe.train.folds, recipe.data
    if count == 1:
        raise UnknownName("folds must be 2 or more, or 0 for a single run, not 1.")
    if data.fraction < 1 or data.per_class:
        raise UnknownName("--folds uses all pictures: omit --fraction and --per-class.")
    if recipe.train.workers:
        raise UnknownName(f"Several workers train a single run: omit folds {count}, or workers.")
    pool = folds.pool_train_and_val(splits)
    held_out = folds.hold_out_folds(pool, count, recipe.train.seed)
    for rows in held_out:  # what would stop a later fold stops all of them now
        folds.fold_splits(pool, rows, data.validation, recipe.train.seed)
    test = "; test is not touched" if splits.test else ""
    say(f"{count} folds: the {len(pool):,} pictures of train and val are divided among them{test}.")
    duplicate_groups.report_kept_together([pool.take(rows) for rows in held_out], "together in the folds")


def _choose_base(recipe: Recipe, splits: Splits, audit: Audit) -> rules.Choice:
    """The best base for `base` "auto"."""
    fit = recipe.model.fit or ("squash" if rules.should_squash(audit.aspect_quartiles) else None)
    base, reason = base_selection.choose_base(splits.train, recipe.model.size, fit, recipe.train.seed)
    return rules.Choice("base", base, reason)


def _collect_facts(recipe: Recipe, splits: Splits, audit: Audit, network: Network, device: Device) -> rules.RuleInputs:
    can_fit_head = network_setup.can_fit_head(network)
    return rules.RuleInputs(
        pictures=len(splits.train),
        smallest_class=min(count for count in splits.train.counts().values() if count),
        shorter_side=audit.median_side,
        aspect_ratios=audit.aspect_quartiles,
        pixels=network.pixels,
        minimum_size=network.minimum,
        can_fit_head=can_fit_head and not network_setup.can_keep_head(network, splits.train.classes),
        head_layers=network_setup.find_head_layers(network, recipe.model),
        has_gpu=device.gpu,
        replicas=device.replicas,
        validation_drawn=splits.val_from_train,
    )


def _choose_knobs(recipe: Recipe, facts: rules.RuleInputs) -> tuple[Recipe, list[rules.Choice]]:
    """The resolved recipe and the choices. Contradictions are errors now, not after the first phase."""
    resolved, choices = rules.choose_knobs(recipe, facts)
    # a saved recipe has no open knobs; its run warned when it was planned
    for sentence in advice.find_ineffective_knobs(recipe.train, resolved.train) if choices else ():
        warn(sentence)
    schedules.parse_milestones(resolved.train.milestones)
    make_phases(resolved)
    check_averaging(resolved.train)
    return resolved, choices


def _complete(plan: Plan) -> Plan:
    """The plan with its network in the device's precision, and with its phases and what is trainable in each.

    If half precision would change the network's features, network and device stay in float32.
    """
    network = network_setup.convert_precision(plan.network, plan.device.policy, plan.splits.train.paths)
    policy = "float32" if network is plan.network else plan.device.policy
    phases = []
    for phase in make_phases(plan.recipe):
        layers = unfreeze(network, phase.name, bn=plan.recipe.train.bn)
        phases.append(dataclasses.replace(phase, trainable=tuple(layers), parameters=_count_trainable(network.model)))
    device = dataclasses.replace(plan.device, policy=policy)
    return dataclasses.replace(plan, network=network, device=device, phases=tuple(phases))


def _count_trainable(model: keras.Model) -> int:
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
