"""A job settled before anything is trained or written: pictures read once, network loaded, every knob chosen."""

import dataclasses
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from transferkit import models, rules, zoo
from transferkit.console import say, warn
from transferkit.data import class_names, folds
from transferkit.data.audit import before_training, duplicate_groups
from transferkit.data.augment import augmentation, pca_axes
from transferkit.data.class_matching import match_classes
from transferkit.data.listing import Listing, Splits, complete_splits
from transferkit.data.sources import resolve
from transferkit.features import base_selection
from transferkit.lookup import UnknownName
from transferkit.network import Network, at_size, cut_at, head_source, takes_dense, with_channels, with_fit, with_head
from transferkit.recipe import AUTO, Model, Recipe, Train
from transferkit.training.distributed import devices, workers
from transferkit.training.fitting import schedules
from transferkit.training.fitting.freezing import release
from transferkit.training.planning import contradictions, distillation, half_precision
from transferkit.training.planning.phases import check_kept, check_time, phases, words_of
from transferkit.weights.assign import GROWN
from transferkit.weights.catalogue import is_file

UNEQUAL = 3  # times the smallest class, from where the largest one is too large to go unsaid


@dataclass(frozen=True)
class Plan:
    """All that is settled before training: nothing of it is written yet.

    `unreadable` is (path, reason) of pictures left out, `started` the clock when planning began, `teacher` a model
    whose logits are learned too, which looks at pictures of `teacher_shape`, (height, width), by default the network's.
    """

    recipe: Recipe
    choices: list[rules.Choice]
    splits: Splits
    unreadable: tuple[tuple[str, str], ...]
    network: Network
    device: devices.Device
    started: float
    teacher: keras.Model | None = None
    teacher_shape: tuple[int, int] | None = None

    def elapsed(self) -> float:
        """Seconds since planning began."""
        return time.perf_counter() - self.started


def plan(wanted: Recipe, splits: Splits | None = None) -> Plan:
    """Settle a job: read the listing and every picture once, load the network, choose the open knobs.

    Args:
        splits: the listings; by default those of `wanted.data`.
    """
    started = time.perf_counter()
    if wanted.augment.augment is not None:
        augmentation.parse_augmentation(wanted.augment.augment, pca_axes.load_or_imagenet(wanted.augment.pca))
    check_time(wanted.train)
    if wanted.model.base == AUTO:
        _check_auto(wanted.model)
    wanted = _anchored(wanted)
    device = devices.choose(wanted.train.devices, wanted.train.precision, workers.joined(wanted.train.workers))
    keras.utils.set_random_seed(wanted.train.seed)
    if wanted.train.determinism == "on":
        devices.deterministic()
    parts = dict(splits.items()) if splits else resolve.find_parts(wanted.data)
    _check_names(parts["train"].classes)
    network = None if wanted.model.base == AUTO else _loaded(wanted.model, parts["train"].classes)
    if network:
        parts = _matched(parts, network)
    audits = {name: before_training.audit_listing(part, what=name) for name, part in parts.items()}
    unreadable = tuple(pair for found in audits.values() for pair in found.unreadable)
    for path, reason in unreadable:
        warn(f"{path} cannot be read and is left out: {reason}.")
    fewer = () if splits else (wanted.data.fraction, wanted.data.per_class, wanted.train.seed)  # those given are final
    drawn = splits.val_from_train if splits else False
    splits = _split(wanted, audits, fewer)
    splits = dataclasses.replace(splits, val_from_train=splits.val_from_train or drawn)
    for suggestion in suggestions(splits.train.counts(), wanted.train):
        say(suggestion)
    chosen = []
    if network is None:
        fit = wanted.model.fit or ("squash" if rules.squashed(audits["train"].aspect_quartiles) else None)
        base, why = base_selection.choose(splits.train, wanted.model.size, fit, wanted.train.seed)
        chosen, wanted = [rules.Choice("base", base, why)], wanted.override(base=base)
        network = _loaded(wanted.model, splits.train.classes)
    counts = [count for count in splits.train.counts().values() if count]
    facts = rules.Facts(
        len(splits.train),
        min(counts),
        audits["train"].median_side,
        network.pixels,
        network.minimum,
        device.gpu,
        _probes(network) and not _keeps_head(network, splits.train.classes),
        _layers(network, wanted.model),
        device.replicas,
        splits.val_from_train,
        audits["train"].aspect_quartiles,
    )
    settled, choices = _chosen(wanted, facts, network, device)
    network = _fitted(network, splits.train.classes, settled)
    job = _in_precision(Plan(settled, chosen + choices, splits, unreadable, network, device, started))
    teacher = _taught(settled.train.teacher, job)
    return dataclasses.replace(job, **teacher)


def renewed(job: Plan) -> Plan:
    """A settled job with its network as it was before training."""
    keras.utils.set_random_seed(job.recipe.train.seed)
    classes = job.splits.train.classes
    network = _fitted(_loaded(job.recipe.model, classes), classes, job.recipe)
    return _in_precision(dataclasses.replace(job, network=network))


def _check_auto(which: Model):
    """Raise `UnknownName` if more is said of the base that is yet to be chosen."""
    if which.weights != "imagenet":
        raise UnknownName(
            f"base {AUTO} compares networks by ImageNet weights, and weights is {which.weights}: name a base."
        )
    if knob := next((knob for knob in ("cut", "classes", "class_order") if getattr(which, knob)), None):
        raise UnknownName(f"{knob} is said of a base that is known, and base is {AUTO}: name one.")


def _loaded(which: Model, classes: tuple[str, ...]) -> Network:
    """The base, for pictures of the channels that are asked for, cut and named as is asked for.

    Args:
        classes: of the pictures.
    """
    network = models.to_train(which.base, which.weights, pixels=which.pixels, size=which.size)
    network = class_names.name_outputs(cut_at(network, which.cut) if which.cut else network, which, classes)
    if network.doubt:
        with_head(network, classes)  # words the sentence, before the pictures are read
    return with_channels(network, which.channels) if which.channels else network


def _matched(parts: dict[str, Listing], network: Network) -> dict[str, Listing]:
    """The listings in the order of the network's classes, where these are the same: its head goes on. Where they may be
    the same, that is said."""
    classes = parts["train"].classes
    if network.loaded and not network.named and len(network.classes) == len(classes):
        question = class_names.missing_names_message(network, classes)
        say(f"{question} Without that, its classifier is replaced by a new one.")
    if len(classes) != len(network.classes) or match_classes(classes, network.classes).keys() != set(classes):
        return parts
    return parts | {"train": parts["train"].relabel(network.classes, "train")}  # whose order the others take


def _keeps_head(network: Network, classes: tuple[str, ...]) -> bool:
    """Whether the network's own classifier goes on, with a score for each of these classes."""
    if not network.head or network.classes != classes:
        return False
    return network.model.get_layer(network.head).output.shape[-1] == len(classes)


def _in_precision(job: Plan) -> Plan:
    """The job with its network in the device's policy, or both in float32 where the features would differ."""
    network = half_precision.in_policy(job.network, job.device.policy, job.splits.train.paths)
    same = network is job.network
    device = dataclasses.replace(job.device, policy="float32") if same else job.device
    return dataclasses.replace(job, network=network, device=device)


def _chosen(wanted: Recipe, facts: rules.Facts, network: Network, device: devices.Device):
    """The recipe with every knob chosen, and the choices. Contradictions are errors now, not after the first phase."""
    settled, choices = rules.choose(wanted, facts)
    if settled.train.start == "probe" and not _probes(network):
        raise UnknownName(f"The head of {network.base} cannot start from a regression: take start 'fresh'.")
    # of a saved recipe it was said once
    for concern in contradictions.concerns(wanted.train, settled.train) if choices else ():
        warn(concern)
    devices.check(device, settled.train)
    schedules.milestones(settled.train.milestones)
    phases(settled)
    check_kept(settled.train)
    return settled, choices


def suggestions(counts: dict[str, int], knobs: Train) -> Iterator[str]:
    """Knobs worth a thought, a sentence each.

    Args:
        counts: training pictures of each class.
    """
    sizes = {name: count for name, count in counts.items() if count}
    least, most = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
    if knobs.balance == "none" and sizes[most] >= UNEQUAL * sizes[least]:
        yield (
            f"Class {most} has {sizes[most]:,} pictures and class {least} {sizes[least]:,}: with --balance weights, "
            "all classes count as much in the loss."
        )


def _split(wanted: Recipe, audits: dict[str, before_training.Audit], fewer: tuple) -> Splits:
    """The splits of what can be read, of their training pictures a share if `fewer` says so; copies stay together where
    splits or folds are drawn here. What would spoil figures is said."""
    parts, looks = {name: found.listing for name, found in audits.items()}, before_training.scans_by_path(audits)
    ways = {"validation": wanted.data.validation, "seed": wanted.train.seed}
    if not wanted.train.folds:
        splits = duplicate_groups.make_splits(parts, audits["train"].scans, **ways)
        splits = splits.subsample(*fewer) if fewer else splits
        apart = dict(splits.items())
    else:
        splits = folds.mark_duplicates(complete_splits(parts, **ways), looks)
        _check_folds(wanted, splits)
        apart = {"train": folds.pool_train_and_val(splits)} | ({"test": splits.test} if splits.test else {})
    for concern in before_training.find_concerns(apart, looks):
        warn(concern)
    for role, run in (("base", wanted.model.base), ("teacher", wanted.train.teacher)):
        for concern in distillation.concerns(run, splits, role):
            warn(concern)
    return splits


def _check_folds(wanted: Recipe, splits: Splits):
    """Raise `ValueError` if the pictures cannot be shared out to so many folds."""
    count, data = wanted.train.folds, wanted.data
    if count == 1:
        raise UnknownName("folds must be 2 or more, or 0 for one run, not 1.")
    if data.fraction < 1 or data.per_class:
        raise UnknownName("folds share out all pictures: leave out fraction and per_class.")
    if wanted.train.workers:
        raise UnknownName(f"Several workers train one run: leave out folds {count}, or workers.")
    pool = folds.pool_train_and_val(splits)
    held = folds.hold_out_folds(pool, count, wanted.train.seed)
    for rows in held:  # what would end a later fold ends all of them now
        folds.fold_splits(pool, rows, data.validation, wanted.train.seed)
    apart = "; those of test are not touched" if splits.test else ""
    say(f"{count} folds: the {len(pool):,} pictures of train and val are shared out{apart}.")
    duplicate_groups.report_kept_together([pool.take(rows) for rows in held], "together in the folds")


def _check_names(classes: tuple[str, ...]):
    """Raise `ValueError` if a class name fits in no text file: now, not when the run is written."""
    for name in classes:
        if len(name.splitlines()) != 1 or name.encode("utf-8", "replace").decode() != name:
            raise ValueError(
                f"Class {name!r} cannot be used: its name is empty, has line breaks or is no UTF-8; rename it."
            )


def _anchored(recipe: Recipe) -> Recipe:
    """Paths made absolute, so that the saved recipe runs from anywhere."""
    paths = {
        "data": recipe.data.data,
        "data_dir": recipe.data.data_dir,
        "image_dir": recipe.data.image_dir,
        "pca": recipe.augment.pca,
        "classes": recipe.model.classes,
        "base": "" if zoo.is_network(recipe.model.base) else recipe.model.base,
        "teacher": "" if zoo.is_network(recipe.train.teacher) else recipe.train.teacher,
        "weights": recipe.model.weights if is_file(recipe.model.weights) else "",
    }
    return recipe.override(**{knob: os.path.abspath(path) for knob, path in paths.items() if os.path.exists(path)})


def _fitted(network: Network, classes: tuple[str, ...], recipe: Recipe) -> Network:
    """The network with the job's classes, size and fit."""
    layers = layers_of(recipe.train.head_layers)
    if not _keeps_head(network, classes):
        network = with_head(network, classes, layers)
    elif layers != (head_source(network),):
        raise UnknownName(f"{network.base} has a head for these classes, which is kept: leave out head_layers.")
    network = with_fit(at_size(network, recipe.model.size), recipe.model.fit)
    for word in words_of(recipe.train.unfreeze):
        release(network, word)  # so is an unknown layer
    return network


def layers_of(words: str) -> tuple[str, ...]:
    """The layers between the commas of `head_layers`."""
    return tuple(filter(None, map(str.strip, words.split(","))))


def _layers(network: Network, which: Model) -> tuple[str, ...]:
    """The layers whose features a new head may see side by side, the head's own source last."""
    own = head_source(network) if network.head else ""
    several = zoo.is_network(which.base) and not which.cut and not isinstance(network.model.output, dict)
    return (*zoo.variant(which.base).head_layers, own) if several else (own,)


def _taught(base: str, job: Plan) -> dict:
    """The plan's `teacher` and `teacher_shape`, where it has one."""
    if not base:
        return {}
    teacher, shape = distillation.teacher(base, job.network, job.device.policy)
    return {"teacher": teacher, "teacher_shape": shape}


def _probes(network: Network) -> bool:
    """Whether a head can start from a logistic regression: it is a dense one, on weights that were all trained."""
    return bool(
        network.loaded and takes_dense(network) and not any(words.startswith(GROWN) for words in network.loaded)
    )
