"""The part of planning that needs Keras: device, network, splits, knobs and phases."""

import dataclasses
import math

import keras

from transferkit import bases, rules
from transferkit.console import say, warn
from transferkit.data import folds
from transferkit.data.audit import before_training, duplicate_groups
from transferkit.data.audit.before_training import Audit
from transferkit.data.listing import Listing, Splits, complete_splits
from transferkit.features import base_selection
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.recipe import AUTO, Recipe, Train
from transferkit.training.distributed import devices, workers
from transferkit.training.distributed.devices import Device
from transferkit.training.fitting import distillation
from transferkit.training.fitting.freezing import unfreeze
from transferkit.training.job_records import Plan
from transferkit.training.planning import advice, network_setup
from transferkit.training.planning.phases import check_averaging, make_phases


def complete_plan(
    recipe: Recipe,
    given: Splits | None,
    listings: dict[str, Listing],
    audits: dict[str, Audit] | None,
    *,
    started: float,
    download: bool,
) -> Plan:
    """The plan of a checked recipe.

    Args:
        recipe: with absolute paths.
        given: final splits, if there are any.
        listings: the pictures.
        audits: what was read of them; None to read them once the network is loaded.
        started: `time.perf_counter()` when planning began.
        download: as of `planner.make_plan`.
    """
    device = _prepare_device(recipe.train)
    network = None
    if recipe.model.base != AUTO:
        network = network_setup.load_base(recipe.model, listings["train"].classes, download=download)
    audits = audits or before_training.audit_listings(listings)
    if network:
        audits = _match_classes(audits, network)
    splits = _make_splits(recipe, audits, given)
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
    teacher = resolved.train.teacher
    if not teacher or (not download and bases.find_absent_set(teacher, "imagenet")):
        return plan
    loaded = distillation.load_teacher(teacher, plan.network, plan.device.policy)
    return dataclasses.replace(plan, teacher=loaded)


def _match_classes(audits: dict[str, Audit], network: Network) -> dict[str, Audit]:
    listings = network_setup.match_classes({name: audit.listing for name, audit in audits.items()}, network)
    return {name: dataclasses.replace(audit, listing=listings[name]) for name, audit in audits.items()}


def renew_plan(plan: Plan) -> Plan:
    """The plan with its network as it was before training, and the phases of its recipe."""
    keras.utils.set_random_seed(plan.recipe.train.seed)
    classes = plan.splits.train.classes
    network = network_setup.load_base(plan.recipe.model, classes)
    return _complete(dataclasses.replace(plan, network=network_setup.adapt_network(network, classes, plan.recipe)))


def _prepare_device(knobs: Train) -> Device:
    """Choose the device, and seed everything that draws random numbers."""
    device = devices.choose_device(knobs.devices, knobs.precision, workers.find_cluster(knobs.workers))
    keras.utils.set_random_seed(knobs.seed)
    if knobs.determinism == "on":
        devices.enable_determinism()
    return device


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
