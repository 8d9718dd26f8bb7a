"""transferkit evaluate"""

import functools
import os
from dataclasses import dataclass

import click

from transferkit import trust
from transferkit.commands import (
    completion,
    evaluation_output,
    help_pages,
    options,
    result_folder,
    result_output,
    shift_output,
)
from transferkit.lookup import count_noun
from transferkit.pixels import CONVENTIONS

CROPS = ("1", "5", "10", "144", "150")  # the keys of multi_view.CROPS, which is slow to import; a test compares them
MARK = "metrics.json"
of_network = functools.partial(click.option, cls=help_pages.Option, group="model")


class Scales(click.ParamType):
    """Sizes in pixels, separated by commas."""

    name = "pixels"

    def convert(self, value, param, ctx):
        try:
            scales = tuple(map(int, value.split(",")))
        except ValueError:
            self.fail(f"expected sizes in pixels separated by commas, as 224,256, not {value!r}.", param, ctx)
        if min(scales) < 1 or max(scales) > 4096:
            self.fail(f"{value} is not in the range of 1 to 4096 pixels.", param, ctx)
        return scales


class Fraction(options.FiniteNumber):
    """A fraction; a percentage is answered with it."""

    def convert(self, value, param, ctx):
        number = click.FLOAT.convert(str(value).removesuffix("%"), param, ctx)  # type: ignore[arg-type]
        if str(value).endswith("%") or 1 < number <= 100:
            self.fail(f"expected a fraction, not {value}: did you mean {number / 100:g}?", param, ctx)
        return super().convert(value, param, ctx)


@click.command(cls=help_pages.Command, short_help="Measure a run or a network on labelled pictures.")
@click.argument("networks", metavar="NETWORK...", nargs=-1, required=True, shell_complete=completion.complete_base)
@options.knob_options("data", *options.SOURCE_KNOBS, "classes", "class_order")
@evaluation_output.group_by_option
@click.option(
    "--slice",
    "slices",
    metavar="NAME",
    multiple=True,
    help="Accuracy by a column of a list, or by size, brightness or blur of the pictures; may be repeated.",
    cls=help_pages.Option,
    group="data",
)
@click.option(
    "--corrupt",
    metavar="KINDS",
    help="Also measure corrupted pictures: noise,blur,jpeg,brightness, each at five strengths.",
    cls=help_pages.Option,
    group="data",
)
@click.option(
    "--shift",
    type=options.WholeNumber(1),
    help="Also measure pictures shifted by up to so many pixels of the network's input.",
    cls=help_pages.Option,
    group="data",
)
@click.option(
    "--turn",
    metavar="DEGREES",
    type=options.WholeNumber(1, 180),
    help="Also measure pictures turned by up to so many degrees.",
    cls=help_pages.Option,
    group="data",
)
@of_network("--crops", type=click.Choice(CROPS), default="1", help="Average over crops.  [default: 1, the centre]")
@of_network("--dense", is_flag=True, help="Run the network over whole pictures, and average its map of scores.")
@of_network(
    "--scales", type=Scales(), help="For --dense, shorter sides of the pictures.  [default: the network's resize]"
)
@of_network("--weights", default="imagenet", show_default=True, help="Weights, if NETWORK is the name of a network.")
@of_network(
    "--pixels", type=click.Choice(tuple(CONVENTIONS)), basic=False, help="What a foreign Keras model expects of pixels."
)
@options.fit_option
@options.trust_option
@click.option(
    "--min-accuracy",
    metavar="FRACTION",
    type=Fraction(0, 1),
    help="Exit with status 1 if the accuracy is below this.",
)
@click.option("--out", type=click.Path(file_okay=False), help="Write figures, predictions and plots to this folder.")
@click.option("--overwrite", is_flag=True, help="Replace such a folder.")
@options.json_option
def command(
    networks, data, crops, dense, scales, slices, corrupt, shift, turn, weights, pixels, fit, trusted, min_accuracy,
    out, overwrite, as_json, **knobs
):  # fmt: skip
    """Measure a run folder or a network on labelled pictures; classes are matched by name.

    \b
    Example: transferkit evaluate runs/finetune-resnet34-pets-1 --data more-pets/
    Example: transferkit evaluate runs/a runs/b --data more-pets/ --out figures

    Of several networks, the probabilities are averaged. Without --data, the
    pictures that the run held out are used; from a source with splits, test, else
    val. Pictures that the run was not trained on are measured apart, first; slices,
    --corrupt, --shift, --turn and --min-accuracy are of these.

    --crops 10 averages over centre, corners and their mirror images, as AlexNet's
    paper; 144 are GoogLeNet's crops, 150 VGG's; --dense is VGG's other test.
    """
    if trusted:
        for network in networks:
            trust.allow(network)
    result_folder.check(out, MARK, overwrite=overwrite)
    request = _parse_request(networks, crops, dense, scales, slices, corrupt, {"shift": shift or 0, "turn": turn or 0})
    chosen = [options.NetworkOptions(network, weights, pixels or "", fit) for network in networks]
    runs = [_open_run(network) for network in networks]
    if not data and not all(runs):
        raise click.UsageError("Missing option '--data': the labelled pictures.")
    recipe = options.build_recipe(None, knobs | {"data": data})
    result, document = _measure(chosen, runs, recipe, request)
    figures = {"unseen": result.unseen} if result.unseen else {}
    figures |= result.figures | document
    if out:
        from transferkit import run_evaluation
        from transferkit.report.evaluation_page import write_evaluation_page

        with result_folder.create(out, MARK, overwrite=overwrite) as folder:
            run_evaluation.write_evaluation(folder, result, figures)
            write_evaluation_page(folder)
    if as_json:
        result_output.print_json(figures if out else _drop_confusion(figures))
    else:
        evaluation_output.print_evaluation(result, document["split"], out)
        shift_output.print_shift(document)
    evaluation_output.check_accuracy(result.unseen or result.figures, min_accuracy)


def _drop_confusion(figures: dict) -> dict:
    """The figures, and those of the unseen pictures in them, without the long matrices."""
    kept = {name: value for name, value in figures.items() if name != "confusion"}
    return kept | ({"unseen": _drop_confusion(kept["unseen"])} if "unseen" in kept else {})


@dataclass(frozen=True)
class Request:
    """What is measured of the pictures, as the options say."""

    crops: str
    dense: bool
    scales: tuple[int, ...]
    slices: tuple[str, ...]
    corruptions: tuple[str, ...]
    movements: dict[str, int]


def _parse_request(networks, crops: str, dense: bool, scales, slices, corrupt: str | None, movements) -> Request:
    if dense and crops != "1":
        raise click.UsageError(f"--dense runs the network over whole pictures: omit --crops {crops}.")
    if scales and not dense:
        raise click.UsageError("--scales are for dense evaluation: add --dense.")
    changed = [flag for flag, value in {"corrupt": corrupt, **movements}.items() if value not in (None, 0)]
    if changed and (len(networks) > 1 or dense or crops != "1"):
        raise click.UsageError(
            f"--{changed[0]} measures one network on one crop: omit --crops, --dense and other networks."
        )
    kinds = () if corrupt is None else shift_output.parse_corruptions(corrupt)
    return Request(crops, dense, scales or (), slices, kinds, movements)


def _measure(chosen: list[options.NetworkOptions], runs: list, recipe, request: Request):
    """The evaluation, and what was measured: of which networks and views, on which split."""
    from transferkit import bases
    from transferkit.console import say
    from transferkit.data import lazy_tensorflow

    for each, run in zip(chosen, runs, strict=True):
        if run is None:
            bases.check_base(each.name, each.weights, each.pixels)  # a wrong name is answered before the slow imports
    data, names, known = recipe.data, [each.name for each in chosen], list(filter(None, runs))
    where = f"in {data.data}" if data.data else f"that {' and '.join(names)} held out"
    say(f"Looking at the pictures {where} ...")

    from transferkit import run_evaluation  # slow to import

    columns = run_evaluation.read_columns(data if data.data else known[0].recipe.data, request.slices)
    held_out = None if data.data else run_evaluation.find_held_out(known, data.group_by)
    for each in chosen:
        bases.fetch_missing(each.name, each.weights)
    lazy_tensorflow.load()

    from transferkit.data.sources.resolve import find_labelled
    from transferkit.evaluation import corruptions, movements
    from transferkit.evaluation.ensemble import Views

    loaded = [_load_network(each, recipe) for each in chosen]
    listing, split = held_out or find_labelled(data, loaded[0].classes)
    learned = run_evaluation.find_learned(listing, known)
    if learned:
        _warn_learned(learned, listing, names)
    scales = (request.scales or (loaded[0].pixels.resize,)) if request.dense else ()
    result = run_evaluation.evaluate_networks(
        loaded,
        listing,
        views=Views(request.crops, scales),
        learned=learned,
        slices=request.slices,
        columns=columns,
    )
    document: dict = {"networks": names, "data": data.data, "split": split, "learned": len(learned)}
    document |= {"crops": request.crops, "scales": list(scales)}
    if len(loaded) == 1 and (unlike := shift_output.measure_unlike(runs[0], loaded[0], listing)):
        document["unlike"] = unlike
    if request.corruptions:
        document["corrupted"] = corruptions.measure_robustness(loaded[0], result.judged, request.corruptions)
    if any(request.movements.values()):
        document["moved"] = movements.measure_movements(loaded[0], result.judged, **request.movements)
    return result, document


def _warn_learned(learned: list[int], listing, names: list[str]):
    from transferkit.console import warn

    which = "The run was" if len(names) == 1 else "One or more of the runs were"
    where = f"; those of held-out pictures are in {os.path.join(names[0], 'metrics.json')}" * (len(names) == 1)
    warn(
        f"{which} trained on {len(learned):,} of the {count_noun(len(listing), 'picture')}, so figures on all "
        f"of them are too good{where}."
    )


def _open_run(network: str):
    """The run, if the network is one; else None."""
    from transferkit import bases, runs, zoo

    network = bases.find_local(network)
    is_folder = os.path.isdir(network) and not zoo.is_network(network)
    is_program = os.path.isfile(os.path.join(network, "saved_model.pb"))
    return runs.load_run(network) if is_folder and not is_program else None


def _load_network(network: options.NetworkOptions, recipe):
    """The network as it is evaluated, with the names of its classes."""
    from transferkit import models
    from transferkit.console import say
    from transferkit.evaluation.predict import require_classifier
    from transferkit.network import with_fit

    loaded = models.load(network.name, network.weights, pixels=network.pixels)
    loaded = _name_classes(require_classifier(loaded), recipe)
    for line in result_output.notable(loaded.loaded):
        say(line)
    return with_fit(loaded, network.fit) if network.fit else loaded


def _name_classes(network, recipe):
    """The network with names for its outputs, which are needed to match the classes of the pictures."""
    from transferkit.data import class_names
    from transferkit.data.sources.resolve import find_classes
    from transferkit.lookup import UnknownName

    classes = () if network.has_class_names else find_classes(recipe.data)
    network = class_names.name_outputs(network, recipe.model, classes)
    if not network.has_class_names:
        raise UnknownName(class_names.missing_names_message(network, classes))
    return network
