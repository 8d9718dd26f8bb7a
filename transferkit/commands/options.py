"""What commands share: a flag for every knob of a recipe, and the ways to answer."""

import functools
import importlib
import json
import math
import os
import sys

import click

from transferkit import recipe
from transferkit.pixels import FITS, sides, spelled

FOLDER = click.Path(exists=True, file_okay=False)
FILE = click.Path(exists=True, dir_okay=False)
fit = click.option(
    "--fit", type=click.Choice(tuple(FITS)), help="How pictures fill its input.  [default: the network's]"
)

trusted = click.option(
    "--trust", "trusted", is_flag=True, help="Run the program in the SavedModel that is named: it may do anything."
)


def check_source(value: str) -> str:
    """The type of `--data`: what is not on the disk, or closed, is said before TensorFlow is loaded."""
    if value.startswith("tfds:"):
        return value
    if not os.path.exists(value):
        raise click.BadParameter(f"There is no folder or file {value!r}.")
    if not os.access(value, os.R_OK | (os.X_OK if os.path.isdir(value) else 0)):
        raise click.BadParameter(f"{value!r} may not be read: its permissions are closed to you.")
    return value


class Number(click.FloatRange):
    """A number within limits; nan, which no comparison refuses, and inf are none."""

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value!r} is no finite number.", param, ctx)


class Size(click.ParamType):
    """224, or 192x320, within limits."""

    name = "size"

    def __init__(self, low: int, high: int):
        self.low, self.high = low, high

    def convert(self, value, param, ctx):
        try:
            shape = sides(int(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if min(shape) < self.low or max(shape) > self.high:
            self.fail(f"{value} is not in the range of {self.low} to {self.high} pixels.", param, ctx)
        return spelled(shape)


SOURCE = ("image_col", "label_col", "split_col", "image_dir", "image_suffix", "data_dir")  # how a source is to be read
# knobs that are more than text or a number
TYPES = {"data": check_source, "data_dir": FOLDER, "pca": FILE, "classes": FILE, "size": Size(16, 2048)}


def recipe_options(*parts: str):
    """One flag for each knob of these parts. They arrive as keywords, None where not given."""
    return knob_options(*(knob.name for knob in recipe.knobs_of(*parts)))


def knob_options(*names: str):
    """One flag for each of these knobs."""
    knobs = {knob.name: knob for knob in recipe.knobs_of("data", "augment", "model", "train")}

    def decorate(function):
        for knob in reversed([knobs[name] for name in names]):
            known = "" if knob.default in (None, "") else f"  [default: {knob.default}]"
            chosen = "  [default: by rule]" if knob.default is recipe.BY_RULE else known
            option = click.option(
                f"--{knob.name.replace('_', '-')}",
                knob.name,
                type=_type(knob),
                help=knob.metadata["help"] + chosen,
            )
            function = option(function)
        return function

    return decorate


def feature_options(function):
    """The flags that say which features of what network and pictures; `source_and_spec` takes them."""
    flags = (
        knob_options("data", *SOURCE, "base", "weights"),
        click.option("--layer", help="Layers or cut points; commas between.  [default: pooled; of probe, several]"),
        click.option("--pool", default="avg", show_default=True, help="Of maps: avg, max, gem, flatten or none."),
        click.option("--crops", type=click.Choice(("1", "5")), default="1", help="5: average over the corners too."),
        click.option("--flip", is_flag=True, help="Average over the mirrored views too."),
        click.option("--l2", is_flag=True, help="Divide the features of each layer by their length."),
        knob_options("size", "channels", "fit", "pixels"),
        click.option("--no-cache", is_flag=True, help="Compute all features anew, and keep none in the cache folder."),
    )
    for flag in reversed(flags):
        function = flag(function)
    return function


def source_and_spec(knobs: dict, layers: tuple[str, ...] = ("pooled",)):
    """The recipe's `Data`, and the `FeatureSpec` of features, of the flags of `feature_options`.

    Args:
        layers: where none are given.
    """
    from transferkit.features.spec import FeatureSpec

    own = {name: knobs.pop(name) for name in ("layer", "pool", "crops", "flip", "l2")}
    named = layers if own["layer"] is None else tuple(filter(None, map(str.strip, own["layer"].split(","))))
    own |= {"layer": named, "crops": int(own["crops"])}
    wanted = build_recipe(None, knobs)
    if not wanted.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")
    own |= {name: getattr(wanted.model, name) for name in ("base", "weights", "size", "channels", "fit", "pixels")}
    return wanted.data, FeatureSpec(**own).with_absolute_paths()


def _type(knob):
    facts, kind = knob.metadata, recipe.kind(knob)
    if facts["choices"]:
        return click.Choice(facts["choices"])
    if knob.name in TYPES:
        return TYPES[knob.name]
    if kind in (int, float):
        number = click.IntRange if kind is int else Number
        return number(facts["low"], facts["high"])
    return click.STRING


def build_recipe(name: str | None, knobs: dict, defaults: dict | None = None) -> recipe.Recipe:
    """Defaults, those of the command too, then the recipe of that name or path, then the flags that were given."""
    start = recipe.Recipe().override(**defaults or {})
    wanted = recipe.load(recipe.find(name), start) if name else start
    # a flag from which others follow goes before what the recipe says of those
    follow = {"time": ("epochs", "head_epochs"), "lr_per": ("lr",)}
    opened = [knob for flag, knobs_of_it in follow.items() if knobs.get(flag) for knob in knobs_of_it]
    wanted = wanted.override(**dict.fromkeys(opened, recipe.BY_RULE))
    return wanted.override(**{name: value for name, value in knobs.items() if value is not None})


def with_tensorflow(function):
    """Import TensorFlow before the command runs."""

    @functools.wraps(function)
    def command(*args, **kwargs):
        from transferkit.console import silenced

        with silenced():
            importlib.import_module("tensorflow")
        return function(*args, **kwargs)

    return command


as_json = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on standard output.")


def print_json(document):
    """The one JSON document."""
    json.dump(document, sys.stdout, indent=1)  # ASCII alone: it is right in any terminal and file
    sys.stdout.write("\n")


def tell(text: str):
    """A line of an answer that people read; escape sequences and line breaks in names are shown as codes."""
    from transferkit.console import printable

    sys.stdout.write(f"{printable(text)}\n")


def format_percent(share: float) -> str:
    return f"{share:.1%}"


def accuracy_line(figures: dict, what: str) -> str:
    accuracy, low, high = map(format_percent, (figures["accuracy"], *figures["ci95"]))
    return f"accuracy {accuracy} (95%: {low} to {high}) on {figures['n']:,} {what}"


def balanced_line(figures: dict) -> str:
    """The balanced accuracy, where the largest class is three times the smallest or more; else ""."""
    counts = [one["n"] for one in figures["per_class"].values() if one["n"]]
    if max(counts) < 3 * min(counts):
        return ""
    return f"balanced accuracy, the mean over the classes: {format_percent(figures['balanced_accuracy'])}"


def confused_line(figures: dict) -> str:
    pairs = "; ".join(f"{label} taken for {guess} ({count})" for label, guess, count in figures["confused"])
    return f"most confused: {pairs or 'none'}"


def soup_line(soup: dict) -> str:
    """What `--soup` came to."""
    more = [f"{epoch['epoch']} of {epoch['phase']!r}" for epoch in soup["epochs"][1:]]
    if not more:
        return "soup: no average with another epoch was better"
    return f"soup: averaged with the weights of epoch {', '.join(more)}, as that is no worse on the validation pictures"


def mix_line(mix: dict) -> str:
    """Which interpolation of weights is kept."""
    if mix["share"] in (0, 1):
        return f"kept: the weights of the {'end of training' if mix['share'] else 'start, the logistic regression'}"
    return f"kept: {mix['share']:.0%} of the trained weights, {1 - mix['share']:.0%} of those that training began with"


def show_folds(figures: dict, folder):
    """The closing lines of `--folds`."""
    tell(accuracy_line(figures, "pictures, each held out once"))
    tell(confused_line(figures))
    each = ", ".join(format_percent(one["accuracy"]) for one in figures["folds"])
    spread = f", standard deviation {format_percent(figures['deviation'])}" if figures["deviation"] is not None else ""
    tell(f"the folds: {each}; mean {format_percent(figures['mean'])}{spread}")
    if figures["unreadable"]:
        tell(f"{figures['unreadable']} pictures could not be read and were left out")
    tell(f"{figures['seconds']:.0f} seconds; the runs are in {folder}")
