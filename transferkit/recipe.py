"""Every knob of a job, with its default and its help, once. Flags, TOML files and saved runs follow from here."""

import json
import math
import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from transferkit import atomic
from transferkit.lookup import UnknownName, pick, suggest_nearest
from transferkit.pixels import CONVENTIONS, FITS, parse_size

AUTO = "auto"  # as base: the best by a probe of those whose weights are here
BY_RULE = None  # a knob left at this is chosen by `rules.choose`, which says why
MOST_BYTES = 100_000  # of a recipe's file: ours have 20,000 at the most
MOST_OF_LINE = 5_000  # characters: of `a.a.a...` tomllib's time grows with the square


def knob(default, help, *, choices=None, low=None, high=None, like=None, numbers=None):
    """A field of a part: its default, one line of help, and what values it takes.

    Args:
        low, high: limits of a number, or of each of `numbers`.
        like: of text, an example and the pattern of the whole, as `re.fullmatch` has it.
        numbers: of a value that is written in a way of its own, the function that reads its numbers, or refuses it.
    """
    facts = {"help": help, "choices": choices, "low": low, "high": high, "like": like, "numbers": numbers}
    return field(default=default, metadata=facts)


@dataclass(frozen=True)
class Data:
    """Which pictures."""

    data: str = knob("", "Folder of class folders or of train/, val/, test/; list.csv; tfds:NAME; packed shards.")
    image_col: str = knob("", "Column of a CSV list with the paths; by its usual names if not given.")
    label_col: str = knob("", "Column with the classes, or with commas between the columns of 0 and 1 of one each.")
    split_col: str = knob("", "Column with train, val or test; none, if no column says that.")
    image_dir: str = knob("", "Folder of the pictures of a list, if they are not below the list's own.")
    image_suffix: str = knob("", "Suffix that the names in a list lack, as .jpg; by default it is looked for.")
    data_dir: str = knob("", "Folder of prepared TFDS data; by default TFDS's own.")
    group_by: str = knob("", "Column, or pattern on paths, of what stays on one side of the split: patients, bursts.")
    validation: float = knob(
        0.2, "Share of the pictures held out where there is no val/ folder, copies on one side.", low=0.01, high=0.9
    )
    fraction: float = knob(1.0, "Share of the training pictures that is used, of each class.", low=0.0001, high=1.0)
    per_class: int = knob(0, "Most training pictures of a class; 0 is all.", low=0)


@dataclass(frozen=True)
class Augment:
    """What training does to them."""

    augment: str | None = knob(
        BY_RULE,
        "Training views: none, light, medium, heavy, a paper's (alexnet, vgg, inception, resnet, cifar), "
        'or steps as in "crop(0.5) | flip" or "heavy | mixup".',
    )
    pca: str = knob("", "Axes of colour for pca_jitter(_std), as `transferkit data pca` writes them; ImageNet's else.")


@dataclass(frozen=True)
class Model:
    """Which network."""

    base: str = knob(
        "resnet34",
        "Network, run folder, Keras model's file, or keras:NAME to start from; auto, the best by a probe.",
    )
    weights: str = knob("imagenet", "imagenet, a tag of `transferkit models`, none, or a weights file.")
    pixels: str = knob(
        "", "What a Keras model brought in expects of pixels, where it does not show.", choices=tuple(CONVENTIONS)
    )
    cut: str = knob(
        "", "Last layer of the base to keep, where a new head is put; by default the last before its classifier."
    )
    classes: str = knob(
        "", "Text file of the names of a foreign model's outputs, one a line in their order; its classifier is kept."
    )
    class_order: str = knob(
        "",
        "Which classes a foreign model's outputs are, where it does not say: those of the pictures in the alphabetical "
        "order of Keras' directory loader (0, 1, 10, 2), or in natural order (0, 1, 2, 10); its classifier is kept.",
        choices=("keras", "natural"),
    )
    channels: int | None = knob(BY_RULE, "Channels of the pictures: 1 grey, 3 RGB, 4 with alpha.", low=1, high=4)
    size: int | str | None = knob(
        BY_RULE,
        "Side of the pictures the network sees, in pixels, or height x width where they are no squares: 192x320.",
        low=16,
        high=2048,
        numbers=parse_size,
    )
    fit: str | None = knob(
        BY_RULE,
        "How a picture of another shape fills the network's input: crop (its centre), squash (all of it, the aspect "
        "ratio is lost), pad (all of it, on a background of the mean colour).",
        choices=tuple(FITS),
    )


@dataclass(frozen=True)
class Train:
    """How it learns."""

    unfreeze: str = knob(
        "all",
        "What is trained: head, last-stage, last-2, all, or a layer and all after it. Several, with commas between, "
        "are phases of equal length, one after the other.",
    )
    start: str | None = knob(
        BY_RULE,
        "What a new head starts from: probe, the logistic regression on the frozen network's features, or fresh.",
        choices=("probe", "fresh"),
    )
    head_layers: str | None = knob(
        BY_RULE, "Layers whose pooled features the new head sees side by side, with commas between."
    )
    epochs: int | None = knob(BY_RULE, "Epochs of all phases together.", low=1)
    head_epochs: int | None = knob(BY_RULE, "Epochs in which only the new head learns.", low=0)
    time: str = knob("", "How long training may take, as 90s, 10m or 1.5h: epochs are planned from the measured step.")
    batch_size: int | None = knob(BY_RULE, "Pictures in a step, of all devices together.", low=1)
    accumulate: int = knob(1, "Parts of a batch that are run one after the other, to save memory.", low=1, high=1024)
    views: int | None = knob(
        BY_RULE,
        "Views of each picture that a frozen part is run on once, in turn: 1 is the plain one, more are augmented; "
        "0 draws new ones in each epoch and runs it on each.",
        low=0,
    )
    frozen: str = knob(
        "once", "The frozen part is run once for each view, or in every epoch.", choices=("once", "anew")
    )
    optimizer: str = knob(
        "adamw",
        "Optimizer: sgd decays weights apart from momentum, sgd_l2 and lars inside it, as the papers had it.",
        choices=("adamw", "sgd", "sgd_l2", "lars", "lamb"),
    )
    momentum: float = knob(0.9, "Momentum of sgd, sgd_l2 and lars.", low=0.0, high=0.9999)
    nesterov: str = knob("on", "Nesterov's form of momentum.", choices=("on", "off"))
    lr: float | None = knob(BY_RULE, "Highest learning rate once the network is released.", low=0.0)
    lr_per: str = knob(
        "",
        "The rate for a batch of so many pictures, as 0.1/256, from which lr follows for yours where it is not given: "
        "in proportion, with adamw and lamb to the square root.",
        like=("0.1/256", r"\d*\.?\d+(e-?\d+)?/[1-9]\d*"),
    )
    head_lr: float | None = knob(BY_RULE, "Highest learning rate of the head's own phase.", low=0.0)
    layer_decay: float = knob(1.0, "Factor on the rate from each stage to the one before it.", low=0.01, high=1.0)
    schedule: str = knob(
        "cosine",
        "How the rate falls after the warm-up.",
        choices=("cosine", "one_cycle", "step", "plateau", "polynomial", "constant"),
    )
    warmup: float = knob(0.1, "Share of a phase's steps in which the rate rises.", low=0.0, high=0.9)
    milestones: str = knob("0.33,0.67,0.89", "Shares of a phase after which the rate of `step` drops.")
    drop: float = knob(0.1, "Factor of each drop of `step` and `plateau`.", low=0.0001, high=0.9999)
    patience: int = knob(5, "Epochs without a gain after which the rate of `plateau` drops.", low=1)
    power: float = knob(1.0, "Exponent of `polynomial`.", low=0.1, high=10.0)
    stop_after: int = knob(0, "Epochs without a gain after which a phase ends; 0 is never.", low=0)
    weight_decay: float | None = knob(BY_RULE, "Weight decay.", low=0.0)
    decay_on: str = knob("kernels", "What decays: kernels, or all that learns.", choices=("kernels", "all"))
    clip: float = knob(0.0, "Greatest norm of all gradients together; 0 is none.", low=0.0)
    label_smoothing: float | None = knob(BY_RULE, "Share of a label spread over all classes.", low=0.0, high=0.9)
    balance: str = knob(
        "none",
        "Where classes differ in size: weights in the loss, sampling of as many of each, or focal loss.",
        choices=("none", "weights", "sampling", "focal"),
    )
    bn: str | None = knob(
        BY_RULE,
        "Batch norm of the released layers: frozen, trained, or stats, which fits its statistics alone.",
        choices=("frozen", "train", "stats"),
    )
    ema: float = knob(
        0.0, "Decay of a moving average of the weights, which is then what is kept; 0 is none.", low=0.0, high=0.9999
    )
    keep: str | None = knob(
        BY_RULE,
        "Which weights are kept: best, of the epoch with the best validation accuracy; last; or mix, the last ones "
        "averaged with those at the start, half of each unless validation clearly prefers another share.",
        choices=("best", "last", "mix"),
    )
    refit: str | None = knob(
        BY_RULE,
        "on: once the network is measured, train again on all pictures, the validation ones among them, and save that.",
        choices=("on", "off"),
    )
    soup: int = knob(0, "So many of the best epochs are averaged where that helps.", low=0, high=20)
    teacher: str = knob("", "Run or network of the same classes whose answers are learned too.")
    teacher_share: float = knob(0.5, "Share of the loss that the teacher's answers are.", low=0.0, high=1.0)
    temperature: float = knob(
        4.0, "By which both logits are divided before they are compared with the teacher's.", low=0.1
    )
    folds: int = knob(0, "Cross-validate: so many runs, each held-out part once; 0 is one run.", low=0, high=100)
    memory: float = knob(1.0, "GB of pictures or features kept in memory, of each split; more go to disk.", low=0.0)
    seed: int = knob(0, "Seed of split, order, augmentation and fresh weights.", low=0, high=2**31 - 1)
    determinism: str = knob("off", "on: the same run to the last bit, some steps slower.", choices=("off", "on"))
    checkpoint_minutes: float = knob(
        10.0, "Minutes between checkpoints within an epoch; each epoch ends with one.", low=0.0
    )
    precision: str = knob(
        "auto",
        "Arithmetic of the network; auto is float32 on CPUs, bfloat16 on GPUs that have it.",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    devices: str = knob(
        "auto", "auto (the first GPU, else the CPU), all, cpu, cpu:N (N parts of it), or numbers of GPUs: 0,1."
    )
    workers: str = knob(
        "", 'Processes that train together: host:port of each, or auto, from TF_CONFIG or Slurm; "" is this one alone.'
    )


@dataclass(frozen=True)
class Recipe:
    """A whole job. `Recipe().override(base="resnet18", epochs=5)` sets knobs wherever they live."""

    data: Data = Data()
    augment: Augment = Augment()
    model: Model = Model()
    train: Train = Train()

    def override(self, **knobs) -> "Recipe":
        """A copy with some knobs set.

        Raises:
            UnknownName: no knob is called so.
            ValueError: a value is out of its range or choices.
        """
        recipe = self
        for name, value in knobs.items():
            part = pick(parts_of_knobs(), name, "knob")
            value = value.item() if hasattr(value, "item") else value  # NumPy's numbers
            check(name, value)
            recipe = replace(recipe, **{part: replace(getattr(recipe, part), **{name: value})})
        return recipe


def parts_of_knobs() -> dict[str, str]:
    """`{knob: the part it lives in}`."""
    return {knob.name: part.name for part in fields(Recipe) for knob in fields(part.type)}


def knobs_of(*parts: str) -> tuple:
    """The dataclass fields of some parts, in order."""
    types = {part.name: part.type for part in fields(Recipe)}
    return tuple(knob for part in parts for knob in fields(types[part]))


def kind(knob) -> type:
    """The Python type of a knob's value: str, int or float."""
    return next(kind for kind in (str, int, float) if kind is knob.type or kind in getattr(knob.type, "__args__", ()))


def check(name: str, value):
    """Raise `ValueError` unless the knob may have this value."""
    knob = next(knob for knob in knobs_of("data", "augment", "model", "train") if knob.name == name)
    if value is BY_RULE and knob.default is BY_RULE:
        return
    wanted, facts = kind(knob), knob.metadata
    if facts["numbers"]:
        return _check_limits(name, value, facts["numbers"](value), facts)
    if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
        raise ValueError(f"{name} must be of type {wanted.__name__}, not {value!r}.")
    if wanted is float and not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {value!r}.")
    if facts["choices"] and value not in (*facts["choices"], knob.default):
        meant = suggest_nearest(facts["choices"], value)
        raise UnknownName(f"{name} must be one of {', '.join(facts['choices'])}, not {value!r}.{meant}")
    if facts["like"] and value != knob.default and not re.fullmatch(facts["like"][1], value):
        raise UnknownName(f"{name} must be like {facts['like'][0]}, not {value!r}.")
    _check_limits(name, value, (value,), facts)


def _check_limits(name: str, value, numbers, facts):
    low, high = facts["low"], facts["high"]
    if (low is not None and min(numbers) < low) or (high is not None and max(numbers) > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {bounds}, not {value!r}.")


def named() -> dict[str, Path]:
    """The recipes that come with the package, by name: in it where it is installed, beside it where it is edited."""
    package = Path(__file__).parent
    place = package if (package / "recipes").is_dir() else package.parent
    return {path.stem: path for path in sorted(place.glob("recipes/*.toml"))}


def find(recipe: str) -> Path:
    """The file of a recipe, by its name or its path.

    Raises:
        UnknownName: there is none.
    """
    path = Path(recipe)
    return path if path.is_file() else pick(named(), recipe, "recipe")


def load(path: str | os.PathLike, start: Recipe | None = None) -> Recipe:
    """Read a TOML file that names the knobs that differ, under their parts.

    Args:
        start: what they differ from; by default the defaults.

    Raises:
        ValueError: the file is no TOML, or a part, knob or value is not known.
    """
    text = atomic.read(path, MOST_BYTES).removeprefix("\ufeff")
    longest = max(map(len, text.split("\n")))
    if longest > MOST_OF_LINE:
        raise ValueError(f"{path} is not a recipe: it has a line of {longest:,} characters.")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not a recipe: {error}.") from None
    except RecursionError:
        raise ValueError(f"{path} is not a recipe: it is nested too deeply.") from None
    recipe, parts = start or Recipe(), {part.name: part.type for part in fields(Recipe)}
    for part, knobs in content.items():
        pick(parts, part, f"part of the recipe {path}")
        if not isinstance(knobs, dict):
            raise ValueError(f"{path}: [{part}] must be a table of knobs.")
        for name in knobs:
            pick({knob.name: knob for knob in knobs_of(part)}, name, f"knob in [{part}] of {path}")
        recipe = recipe.override(**knobs)
    return recipe


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML, every knob that has a value, with its help beside it."""
    lines = []
    for part in fields(Recipe):
        lines.append(f"[{part.name}]")
        for knob in knobs_of(part.name):
            value = getattr(getattr(recipe, part.name), knob.name)
            if value is not BY_RULE:
                # a JSON string is a TOML string too, where DEL is escaped
                spelling = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
                lines.append(f"{knob.name} = {spelling}  # {knob.metadata['help']}")
        lines.append("")
    return "\n".join(lines)
