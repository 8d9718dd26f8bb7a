"""Options that commands share: a flag for each knob of a recipe, and those of features."""

import functools
import math
import os
from dataclasses import dataclass

import click

from transferkit import path_kinds, recipe, recipe_files
from transferkit.commands import completion, help_pages
from transferkit.pixels import FITS, format_size, parse_size

FOLDER = click.Path(exists=True, file_okay=False)
FILE = click.Path(exists=True, dir_okay=False)
fit_option = click.option(
    "--fit",
    type=click.Choice(tuple(FITS)),
    help="How pictures fill the network's input.  [default: the network's own]",
    cls=help_pages.Option,
    group="model",
)
recipe_option = click.option(
    "--recipe",
    "recipe_name",
    metavar="NAME|FILE",
    help=f"A paper's recipe, or a TOML file of knobs: {', '.join(recipe_files.list_recipes())}.",
    cls=help_pages.Option,
    group="train",
    shell_complete=completion.complete_recipe,
)
weights_option = click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="Weights, if NETWORK is the name of a network.",
    shell_complete=completion.complete_weights,
)
network_argument = click.argument("network", shell_complete=completion.complete_base)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
trust_option = click.option(
    "--trust",
    "trusted",
    is_flag=True,
    help="Run the program in the SavedModel that you name: it may do anything.",
    cls=help_pages.Option,
    group="model",
)


@dataclass(frozen=True)
class NetworkOptions:
    """A network as `predict` takes it: name or path, weights, and what replaces its own settings."""

    name: str
    weights: str
    pixels: str
    fit: str | None


def check_source(value: str) -> str:
    """Return the value of `--data`; raise `BadParameter` if it does not exist or may not be read."""
    if value.startswith("tfds:"):
        return value
    if not os.path.exists(value):
        raise click.BadParameter(f"There is no folder or file {value!r}.{path_kinds.suggest_path(value)}")
    if not os.access(value, os.R_OK | (os.X_OK if os.path.isdir(value) else 0)):
        raise click.BadParameter(f"{value!r} may not be read: you lack the permission.")
    return value


class Source(click.ParamType):
    """The type of `--data`, checked before TensorFlow is loaded, which takes seconds."""

    name = "source"

    def convert(self, value, param, ctx):
        return check_source(value)


class WholeNumber(click.IntRange):
    """A whole number within limits: "INTEGER" in help, and plain words in messages."""

    name = "whole number"

    def get_metavar(self, param, ctx):
        return "INTEGER"


class FiniteNumber(click.FloatRange):
    """A number within limits that is not NaN, which passes any comparison, and not infinite."""

    name = "number"

    def convert(self, value, param, ctx):
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value!r} is not a finite number.", param, ctx)


class Size(click.ParamType):
    """A size in pixels, 224 or 192x320, within limits."""

    name = "size"

    def __init__(self, low: int, high: int):
        self.low, self.high = low, high

    def convert(self, value, param, ctx):
        try:
            shape = parse_size(int(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if min(shape) < self.low or max(shape) > self.high:
            self.fail(f"{value} is not in the range of {self.low} to {self.high} pixels.", param, ctx)
        return format_size(shape)


SOURCE_KNOBS = ("image_col", "label_col", "split_col", "image_dir", "image_suffix", "data_dir")  # how to read a source
# types of the knobs that are not plain text or numbers
TYPES = {"data": Source(), "data_dir": FOLDER, "pca": FILE, "classes": FILE, "size": Size(16, 2048)}


def recipe_options(*parts: str):
    """Add an option for each knob of these parts of a recipe; the command gets None for those not given."""
    return knob_options(*(knob.name for knob in recipe.list_knobs(*parts)))


def knob_options(*names: str):
    """Add an option for each of these knobs."""
    knobs = {knob.name: knob for knob in recipe.list_knobs("data", "augment", "model", "train")}
    sections = recipe.map_knobs_to_sections()

    def decorate(function):
        for knob in reversed([knobs[name] for name in names]):
            default = "" if knob.default in (None, "") else f"  [default: {knob.default}]"
            default = "  [default: by rule]" if knob.default is recipe.BY_RULE else default
            option = click.option(
                f"--{knob.name.replace('_', '-')}",
                knob.name,
                type=_option_type(knob),
                help=knob.metadata["help"] + default,
                cls=help_pages.Option,
                group=sections[knob.name],
                basic=knob.metadata["basic"],
                shell_complete=completion.KNOBS.get(knob.name),
            )
            function = option(function)
        return function

    return decorate


def feature_options(function):
    """Add the options of features: of which pictures and network; `parse_feature_options` takes them."""
    of_network = functools.partial(click.option, cls=help_pages.Option, group="model")
    options = (
        knob_options("data", *SOURCE_KNOBS, "base", "weights"),
        of_network("--layer", help="Layers or cut points, separated by commas.  [default: pooled; for probe, several]"),
        of_network(
            "--pool", default="avg", show_default=True, help="How maps become vectors: avg, max, gem, flatten or none."
        ),
        of_network("--crops", type=click.Choice(("1", "5")), default="1", help="5: average over centre and corners."),
        of_network("--flip", is_flag=True, help="Average over the mirrored views too."),
        of_network("--l2", is_flag=True, help="Divide the features of each layer by their length."),
        knob_options("size", "channels", "fit", "pixels"),
        click.option("--no-cache", is_flag=True, help="Compute all features, without the cache folder."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def parse_feature_options(knobs: dict, layers: tuple[str, ...] = ("pooled",)):
    """Parse the options of `feature_options` to a `recipe.Data` and a `FeatureSpec`.

    Args:
        layers: used if --layer is not given.
    """
    from transferkit import bases
    from transferkit.features.feature_spec import FeatureSpec

    fields = {name: knobs.pop(name) for name in ("layer", "pool", "crops", "flip", "l2")}
    if fields["layer"] is not None:
        layers = tuple(filter(None, map(str.strip, fields["layer"].split(","))))
    fields |= {"layer": layers, "crops": int(fields["crops"])}
    parts = build_recipe(None, knobs)
    if not parts.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")
    fields |= {name: getattr(parts.model, name) for name in ("base", "weights", "size", "channels", "fit", "pixels")}
    bases.check_base(fields["base"], fields["weights"], fields["pixels"])
    return parts.data, FeatureSpec(**fields).with_absolute_paths()


def _option_type(knob):
    metadata, value_type = knob.metadata, recipe.value_type(knob)
    if metadata["choices"]:
        return click.Choice(metadata["choices"])
    if knob.name in TYPES:
        return TYPES[knob.name]
    if value_type in (int, float):
        number = WholeNumber if value_type is int else FiniteNumber
        return number(metadata["low"], metadata["high"])
    return click.STRING


def build_recipe(name: str | None, knobs: dict, defaults: dict | None = None) -> recipe.Recipe:
    """Build a recipe from defaults, then the recipe of that name or path, then the options that were given.

    Args:
        name: of a recipe, or the path of its file.
        knobs: {knob: value}; None means not given.
        defaults: knobs with another default for this command.
    """
    start = recipe.Recipe().override(**defaults or {})
    result = recipe_files.load(recipe_files.find_recipe(name), start) if name else start
    # an option that decides other knobs takes precedence over what the recipe says about those
    decides = {"time": ("epochs", "head_epochs"), "lr_per": ("lr",)}
    undecided = [knob for option, others in decides.items() if knobs.get(option) for knob in others]
    result = result.override(**dict.fromkeys(undecided, recipe.BY_RULE))
    return result.override(**{name: value for name, value in knobs.items() if value is not None})
