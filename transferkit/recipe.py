"""The recipe: every knob of a training, its default and its help. Flags, TOML files and saved runs follow from it."""

import math
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

from transferkit.lookup import UnknownName, look_up, show, suggest_nearest
from transferkit.pixels import CONVENTIONS, FITS, parse_size

AUTO = "auto"  # as base: the best by a probe of the networks whose weights are downloaded
# value of an open knob, which `rules.choose_knobs` chooses; it may stand in a field of any type, which is that of the
# resolved recipe
BY_RULE: Any = None


def knob(default, help, *, basic=False, choices=None, low=None, high=None, like=None, numbers=None, effect=None):
    """A field of a section.

    Args:
        default: its value if it is not set.
        help: one line.
        basic: whether `--help` shows it; `--help-all` shows all.
        choices: the values of a name.
        low, high: limits of a number, or of each of `numbers`.
        like: of text, an example and a regular expression for all of it.
        numbers: of a value with a spelling of its own, the function that parses its numbers or raises.
        effect: of a knob that not every training uses, whether a resolved `Train` does, and the reason if it does not.
    """
    facts = {"help": help, "choices": choices, "low": low, "high": high, "like": like, "numbers": numbers}
    return field(default=default, metadata=facts | {"effect": effect, "basic": basic})


PARTS = {
    "head": "the head",
    "last-stage": "the last stage",
    "last-2": "the last two stages",
    "all": "the whole network",
}  # what `unfreeze` names, in words


def describe_part(name: str) -> str:
    """A part of `unfreeze` in words, as people read it in plans, progress and plots.

    Example:
        >>> describe_part("layer3")
        'layer3 and after'
    """
    return PARTS.get(name, f"{name} and after")


BODY = (lambda train: train.epochs > train.head_epochs, "only the head is trained, at head_lr")
HEAD = (lambda train: train.head_epochs, "the head has no epochs of its own; set head_epochs for some")
TEACHER = (lambda train: train.teacher, "there is no teacher")


def _used_by(knob: str, *values: str) -> tuple:
    """The `effect` of a knob that only some values of another one use."""
    names = f"{', '.join(values[:-1])} and {values[-1]} use" if len(values) > 1 else f"{values[0]} uses"
    return (lambda train: getattr(train, knob) in values, f"only {knob} {names} it")


def _several(one: str) -> str:
    """A regular expression for values of this one, separated by commas."""
    return f"({one})(,({one}))*"


@dataclass(frozen=True)
class Data:
    """The pictures."""

    data: str = knob(
        "", "Folder of class folders or of train/, val/, test/; list.csv; tfds:NAME; packed shards.", basic=True
    )
    image_col: str = knob("", "Column of a CSV list with the paths; default: found by its usual names.")
    label_col: str = knob("", "Column with the classes; or several 0/1 columns, one per class, separated by commas.")
    split_col: str = knob("", "Column with train, val or test, if there is one.")
    image_dir: str = knob("", "Folder of the pictures of a list; default: the list's own folder.")
    image_suffix: str = knob("", "Suffix that the names in a list lack, as .jpg; default: found by looking.")
    data_dir: str = knob("", "Folder of prepared TFDS data; default: TFDS's own.")
    group_by: str = knob(
        "",
        "Column, or pattern on paths, of groups that stay on one side of the split, as patients or bursts.",
        basic=True,
    )
    validation: float = knob(
        0.2,
        "Fraction of the pictures held out if there is no val/ folder; duplicates stay on one side.",
        low=0.01,
        high=0.9,
        basic=True,
    )
    fraction: float = knob(1.0, "Fraction of the training pictures of each class to use.", low=0.0001, high=1.0)
    per_class: int = knob(0, "Maximum number of training pictures per class; 0: no limit.", low=0)


@dataclass(frozen=True)
class Augment:
    """The augmentation of training pictures."""

    augment: str = knob(
        BY_RULE,
        "Augmentation: none, light, medium, heavy, a paper's (alexnet, vgg, inception, resnet, cifar), "
        'or steps as in "crop(0.5) | flip" or "heavy | mixup".',
        basic=True,
    )
    pca: str = knob(
        "", "File of colour axes for pca_jitter(_std), written by `transferkit data pca`; default: ImageNet's."
    )


@dataclass(frozen=True)
class Model:
    """The network."""

    base: str = knob(
        "resnet34",
        "Network, run folder, Keras model's file, keras:NAME or hf://USER/NAME to start from; "
        "auto: the best by a probe.",
        basic=True,
    )
    weights: str = knob("imagenet", "imagenet, a tag of `transferkit models`, none, or a weights file.", basic=True)
    pixels: str = knob(
        "", "Pixel convention that a Keras model expects, if it cannot be recognised.", choices=tuple(CONVENTIONS)
    )
    cut: str = knob("", "Last layer of the base to keep below a new head; default: the last before its classifier.")
    classes: str = knob(
        "", "Text file with the class names of a foreign model's outputs, one per line; its classifier is kept."
    )
    class_order: str = knob(
        "",
        "Order of a foreign model's outputs, if it does not name them: the pictures' classes sorted as by Keras' "
        "directory loader (0, 1, 10, 2), or in natural order (0, 1, 2, 10); its classifier is kept.",
        choices=("keras", "natural"),
    )
    channels: int = knob(BY_RULE, "Channels of the pictures: 1 grey, 3 RGB, 4 with alpha.", low=1, high=4)
    size: int | str = knob(
        BY_RULE,
        "Size of the network's input in pixels; height x width if it is not square: 192x320.",
        low=16,
        high=2048,
        numbers=parse_size,
        basic=True,
    )
    fit: str = knob(
        BY_RULE,
        "How a picture of another aspect ratio fills the network's input: crop (its centre), squash (all of it, "
        "distorted), pad (all of it, on a background of the mean colour).",
        choices=tuple(FITS),
    )


@dataclass(frozen=True)
class Train:
    """The training."""

    unfreeze: str = knob(
        "all",
        "What is trained: head, last-stage, last-2, all, or a layer and all after it. Several, separated by commas, "
        "are phases of equal length.",
        basic=True,
    )
    start: str = knob(
        BY_RULE,
        "How a new head is initialised: probe (logistic regression on the frozen network's features) or fresh.",
        choices=("probe", "fresh"),
    )
    head_layers: str = knob(
        BY_RULE, "Layers whose pooled features the new head gets side by side, separated by commas."
    )
    epochs: int = knob(BY_RULE, "Epochs of all phases together.", low=1, basic=True)
    head_epochs: int = knob(BY_RULE, "Epochs in which only the new head is trained.", low=0)
    time: str = knob(
        "", "How long training may take, as 90s, 10m or 1.5h: epochs are planned from a measured step.", basic=True
    )
    batch_size: int = knob(BY_RULE, "Pictures per step, over all devices.", low=1, basic=True)
    accumulate: int = knob(
        1,
        "Parts in which a batch is run, to save memory; their gradients are added up.",
        low=1,
        high=1024,
    )
    views: int = knob(
        BY_RULE,
        "How often the frozen part runs per picture: 1, on the plain view; more, on as many augmented views; "
        "0, in every epoch on a new view.",
        low=0,
    )
    frozen: str = knob(
        "once", "Run the frozen part once for each view, or anew in every epoch.", choices=("once", "anew")
    )
    optimizer: str = knob(
        "adamw",
        "Optimizer. Weight decay is decoupled in adamw, sgd and lamb, and part of the gradient in sgd_l2 and lars.",
        choices=("adamw", "sgd", "sgd_l2", "lars", "lamb"),
    )
    momentum: float = knob(
        0.9,
        "Momentum of sgd, sgd_l2 and lars.",
        low=0.0,
        high=0.9999,
        effect=_used_by("optimizer", "sgd", "sgd_l2", "lars"),
    )
    nesterov: str = knob(
        "on", "Nesterov momentum.", choices=("on", "off"), effect=_used_by("optimizer", "sgd", "sgd_l2", "lars")
    )
    lr: float = knob(BY_RULE, "Highest learning rate after the head's own phase.", low=0.0, effect=BODY, basic=True)
    lr_per: str = knob(
        "",
        "Learning rate for a reference batch size, as 0.1/256; lr is scaled from it if it is not given: in proportion "
        "to the batch size, or to its square root with adamw, lamb and lars.",
        like=("0.1/256", r"\d*\.?\d+(e-?\d+)?/[1-9]\d*"),
        effect=BODY,
    )
    head_lr: float = knob(BY_RULE, "Highest learning rate of the head's own phase.", low=0.0, effect=HEAD)
    layer_decay: float = knob(
        1.0, "Factor on the rate from each stage to the one before it.", low=0.01, high=1.0, effect=BODY
    )
    schedule: str = knob(
        "cosine",
        "How the rate falls after the warm-up.",
        choices=("cosine", "one_cycle", "step", "plateau", "polynomial", "constant"),
    )
    warmup: float = knob(0.1, "Fraction of a phase's steps for the warm-up.", low=0.0, high=0.9)
    milestones: str = knob(
        "0.33,0.67,0.89",
        "Fractions of a phase after which the rate of `step` drops.",
        effect=_used_by("schedule", "step"),
    )
    drop: float = knob(
        0.1,
        "Factor of each drop of `step` and `plateau`.",
        low=0.0001,
        high=0.9999,
        effect=_used_by("schedule", "step", "plateau"),
    )
    patience: int = knob(
        5,
        "Epochs without improvement after which the rate of `plateau` drops.",
        low=1,
        effect=_used_by("schedule", "plateau"),
    )
    power: float = knob(1.0, "Exponent of `polynomial`.", low=0.1, high=10.0, effect=_used_by("schedule", "polynomial"))
    stop_after: int = knob(0, "Epochs without improvement after which a phase ends; 0: never.", low=0)
    weight_decay: float = knob(BY_RULE, "Weight decay.", low=0.0)
    decay_on: str = knob("kernels", "What decays: kernels, or all trainable weights.", choices=("kernels", "all"))
    clip: float = knob(0.0, "Maximum norm of all gradients together; 0: no clipping.", low=0.0)
    label_smoothing: float = knob(BY_RULE, "Fraction of a label spread over all classes.", low=0.0, high=0.9)
    balance: str = knob(
        "none",
        "For classes of different size: weights in the loss, sampling of equally many from each, or focal loss.",
        choices=("none", "weights", "sampling", "focal"),
    )
    bn: str = knob(
        BY_RULE,
        "Batch norm of the trainable layers: frozen; train; or stats: update the moving statistics only.",
        choices=("frozen", "train", "stats"),
    )
    ema: float = knob(
        0.0, "Decay of a moving average of the weights, which is then kept; 0: no average.", low=0.0, high=0.9999
    )
    keep: str = knob(
        BY_RULE,
        "Which weights are kept: best, of the epoch with the best validation accuracy; last; or mix, the last ones "
        "averaged with the initial ones, half of each unless validation clearly prefers another fraction.",
        choices=("best", "last", "mix"),
    )
    refit: str = knob(
        BY_RULE,
        "on: after the evaluation, train again on all pictures, including validation, and save that network.",
        choices=("on", "off"),
    )
    soup: int = knob(0, "Average up to N of the best epochs, if validation improves.", low=0, high=20)
    teacher: str = knob("", "Run or network of the same classes to distill from.")
    teacher_share: float = knob(
        0.5, "Weight of the distillation loss; the labels' loss gets the rest.", low=0.0, high=1.0, effect=TEACHER
    )
    temperature: float = knob(
        4.0, "Temperature of the softmax of student and teacher in distillation.", low=0.1, effect=TEACHER
    )
    folds: int = knob(
        0,
        "Number of runs of a cross-validation, each with another part held out; 0: a single run.",
        low=0,
        high=100,
        basic=True,
    )
    memory: float = knob(1.0, "GB of pictures or features to keep in memory per split; more go to disk.", low=0.0)
    seed: int = knob(0, "Seed of split, order, augmentation and fresh weights.", low=0, high=2**31 - 1)
    determinism: str = knob("off", "on: reproducible to the last bit, with slower steps.", choices=("off", "on"))
    log: str = knob(
        "",
        "Tracker of the figures: tensorboard, mlflow:URI, wandb:PROJECT, or several, separated by commas; each needs "
        "the extra of its name.",
        like=("tensorboard, mlflow:URI or wandb:PROJECT", _several("tensorboard|mlflow:[^,]+|wandb:[^,]+")),
    )
    checkpoint_minutes: float = knob(
        10.0, "Minutes between checkpoints within an epoch; each epoch ends with one.", low=0.0
    )
    precision: str = knob(
        "auto",
        "Precision of the network; auto: float32 on CPUs, bfloat16 on GPUs that have it.",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    devices: str = knob(
        "auto", "auto (the first GPU, else the CPU), all, cpu, cpu:N (the CPU as N devices), or numbers of GPUs: 0,1."
    )
    workers: str = knob(
        "",
        'Processes that train together: host:port of each, or auto, from TF_CONFIG or Slurm; "": this one alone.',
    )


@dataclass(frozen=True)
class Recipe:
    """All knobs of a training, in four sections.

    Example:
        >>> Recipe().override(base="resnet18", epochs=5).model.base
        'resnet18'
    """

    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    train: Train = Train()

    def override(self, **knobs) -> "Recipe":
        """A copy with some knobs set, in whichever section they are.

        Raises:
            UnknownName: there is no such knob.
            ValueError: a value is out of its range or choices.
        """
        recipe = self
        for name, value in knobs.items():
            section = look_up(map_knobs_to_sections(), name, "knob", "transferkit finetune --help")
            value = value.item() if getattr(value, "ndim", 1) == 0 else value  # NumPy's numbers
            check_value(name, value)
            recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{name: value})})
        return recipe


def map_knobs_to_sections() -> dict[str, str]:
    """The name of the section of each knob."""
    return {knob.name: section.name for section in fields(Recipe) for knob in fields(getattr(Recipe, section.name))}


def list_knobs(*sections: str) -> tuple:
    """The dataclass fields of some sections, in order."""
    return tuple(knob for section in sections for knob in fields(getattr(Recipe, section)))


def value_type(knob) -> Any:
    """The Python type of a knob's value: str, int or float."""
    types = (knob.type, *getattr(knob.type, "__args__", ()))
    return next(kind for kind in (str, int, float) if kind in types)


def check_value(name: str, value: Any):
    """Raise `ValueError` unless the knob may have this value."""
    knob = next(knob for knob in list_knobs("data", "augment", "model", "train") if knob.name == name)
    if value is BY_RULE and knob.default is BY_RULE:
        return
    expected, facts = value_type(knob), knob.metadata
    if facts["numbers"]:
        return _check_limits(name, value, facts["numbers"](value), facts)
    if not isinstance(value, (int, float) if expected is float else expected) or isinstance(value, bool):
        raise ValueError(f"{name} must be of type {expected.__name__}, not {show(value)}.")
    if expected is float and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r}.")
    if facts["choices"] and value not in (*facts["choices"], knob.default):
        suggestion = suggest_nearest(facts["choices"], str(value))
        raise UnknownName(f"{name} must be one of {', '.join(facts['choices'])}, not {value!r}.{suggestion}")
    if facts["like"] and value != knob.default and not re.fullmatch(facts["like"][1], str(value)):
        raise UnknownName(f"{name} must be like {facts['like'][0]}, not {value!r}.")
    _check_limits(name, value, (value,), facts)


def _check_limits(name: str, value, numbers, facts):
    low, high = facts["low"], facts["high"]
    if (low is not None and min(numbers) < low) or (high is not None and max(numbers) > high):
        expected = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {expected}, not {value!r}.")
