"""Every knob of a job, with its default and its help, once. Flags, TOML files and saved runs follow from here."""

import json
import math
import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from transferkit.lookup import UnknownName, pick
from transferkit.pixels import CONVENTIONS

BY_RULE = None  # a knob left at this is chosen by `rules.choose`, which says why


def knob(default, help, *, choices=None, low=None, high=None):
    """A field of a part: its default, one line of help, and what values it takes."""
    return field(default=default, metadata={"help": help, "choices": choices, "low": low, "high": high})


@dataclass(frozen=True)
class Data:
    """Which pictures."""

    data: str = knob("", "Folder of class folders or of train/, val/, test/; list.csv; tfds:NAME; packed shards.")
    image_col: str = knob("", "Column of a CSV list with the paths; by its usual names if not given.")
    label_col: str = knob("", "Column with the classes.")
    split_col: str = knob("", "Column with train, val or test.")
    data_dir: str = knob("", "Folder of prepared TFDS data; by default TFDS's own.")
    group_by: str = knob("", "Column, or pattern on paths, of what stays on one side of the split: patients, bursts.")
    validation: float = knob(0.2, "Share of the pictures held out where there is no val/ folder.", low=0.01, high=0.9)
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

    base: str = knob("resnet34", "Network, run folder, Keras model's file, or keras:NAME to start from.")
    weights: str = knob("imagenet", "imagenet, a tag of `transferkit models`, none, or a weights file.")
    pixels: str = knob(
        "", "What a Keras model brought in expects of pixels, where it does not show.", choices=tuple(CONVENTIONS)
    )
    channels: int | None = knob(BY_RULE, "Channels of the pictures: 1 grey, 3 RGB, 4 with alpha.", low=1, high=4)
    size: int | None = knob(BY_RULE, "Side of the pictures the network sees, in pixels.", low=16, high=2048)


@dataclass(frozen=True)
class Train:
    """How it learns."""

    unfreeze: str = knob("all", "What is trained: head, last-stage, last-2, all, or a layer and all after it.")
    epochs: int | None = knob(BY_RULE, "Epochs of all phases together.", low=1)
    head_epochs: int | None = knob(BY_RULE, "Epochs in which only the new head learns.", low=0)
    batch_size: int | None = knob(BY_RULE, "Pictures in a step.", low=1)
    optimizer: str = knob("adamw", "Optimizer.", choices=("adamw", "sgd"))
    lr: float | None = knob(BY_RULE, "Highest learning rate once the network is released.", low=0.0)
    head_lr: float | None = knob(BY_RULE, "Highest learning rate of the head's own phase.", low=0.0)
    warmup: float = knob(0.1, "Share of a phase's steps in which the rate rises.", low=0.0, high=0.9)
    weight_decay: float | None = knob(BY_RULE, "Decoupled weight decay, of kernels alone.", low=0.0)
    label_smoothing: float | None = knob(BY_RULE, "Share of a label spread over all classes.", low=0.0, high=0.9)
    bn: str | None = knob(
        BY_RULE,
        "Batch norm of the released layers: frozen statistics, or trained.",
        choices=("frozen", "train"),
    )
    memory: float = knob(1.0, "GB of decoded pictures kept in memory, of each split; more go to disk.", low=0.0)
    seed: int = knob(0, "Seed of split, order, augmentation and fresh weights.", low=0)
    precision: str = knob(
        "auto",
        "Arithmetic of the network; auto is float32 on CPUs, bfloat16 on GPUs that have it.",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    devices: str = knob("auto", "auto (the first GPU, else the CPU), cpu, or the number of a GPU.")


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
    if not isinstance(value, (int, float) if wanted is float else wanted) or isinstance(value, bool):
        raise ValueError(f"{name} must be a {wanted.__name__}, not {value!r}.")
    if wanted is float and not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {value!r}.")
    if facts["choices"] and value not in (*facts["choices"], knob.default):
        raise UnknownName(f"{name} must be one of {', '.join(facts['choices'])}, not {value!r}.")
    low, high = facts["low"], facts["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be {bounds}, not {value!r}.")


def load(path: str | os.PathLike) -> Recipe:
    """Read a TOML file that names the knobs that differ, under their parts.

    Raises:
        ValueError: the file is no TOML, or a part, knob or value is not known.
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a recipe: {error}.") from None
    recipe, parts = Recipe(), {part.name: part.type for part in fields(Recipe)}
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
                # a JSON string is a TOML string too
                lines.append(f"{knob.name} = {json.dumps(value, ensure_ascii=False)}  # {knob.metadata['help']}")
        lines.append("")
    return "\n".join(lines)
