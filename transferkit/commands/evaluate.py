"""transferkit evaluate"""

import os

import click

from transferkit import trust
from transferkit.commands import options, result_output, shift_output
from transferkit.pixels import CONVENTIONS

UNSEEN = "pictures that the run was not trained on"


@click.command(short_help="Measure a run or a network on labelled pictures.")
@options.network_argument
@options.knob_options("data", *options.SOURCE_KNOBS, "classes", "class_order")
@options.weights_option
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.fit_option
@options.trust_option
@click.option("--corrupt", metavar="KINDS", help="Also measure corrupted pictures: noise,blur,jpeg,brightness.")
@options.json_option
def command(network, data, weights, pixels, fit, trusted, corrupt, as_json, **knobs):
    """Measure a run folder or a network on labelled pictures; classes are matched by name.

    \b
    Example: transferkit evaluate runs/finetune-resnet34-pets-1 --data more-pets/

    Without --data, the pictures that the run held out are used; from a source with splits, test, else val. Pictures
    that the run was not trained on are measured apart, first.
    """
    from transferkit import bases
    from transferkit.console import say, warn
    from transferkit.data import lazy_tensorflow

    if trusted:
        trust.allow(network)
    chosen = options.NetworkOptions(network, weights, pixels or "", fit)
    run = _open_run(network)
    if run is None:
        if not data:
            raise click.UsageError("Missing option '--data': the labelled pictures.")
        bases.check_base(network, weights, chosen.pixels)  # a wrong name is answered before the slow imports
    recipe = options.build_recipe(None, knobs | {"data": data})
    kinds = () if corrupt is None else shift_output.parse_corruptions(corrupt)
    say(f"Looking at the pictures in {data} ..." if data else f"Looking at the pictures that {network} held out ...")
    bases.fetch_missing(network, weights)
    lazy_tensorflow.load()

    from transferkit.data.sources.resolve import find_labelled
    from transferkit.evaluation import corruptions
    from transferkit.evaluation.predict import evaluate_unseen

    loaded = _load_network(chosen, recipe)
    if run is None or data:
        listing, split = find_labelled(recipe.data, loaded.classes)
    else:
        listing, split = (run.splits.test, "test") if run.splits.test else (run.splits.val, "val")
    learned = set(map(os.path.realpath, run.learned)) if run else set()
    trained = [row for row, path in enumerate(listing.paths) if os.path.realpath(path) in learned]
    if trained:
        warn(
            f"The run was trained on {len(trained):,} of the {len(listing):,} pictures, so figures on all of them are "
            f"too good; those of held-out pictures are in {os.path.join(network, 'metrics.json')}."
        )
    unseen, figures = evaluate_unseen(loaded, listing, trained)
    further = {"unlike": shift_output.measure_unlike(run, loaded, listing)}
    if kinds:
        further["corrupted"] = corruptions.measure_robustness(loaded, listing, kinds)
    apart = {"unseen": {name: unseen[name] for name in ("accuracy", "ci95", "n")}} if trained and unseen else {}
    if as_json:
        document = {name: value for name, value in figures.items() if name != "confusion"}
        result_output.print_json(apart | document | {"split": split} | further)
    else:
        if apart:
            result_output.print_line(result_output.accuracy_line(apart["unseen"], UNSEEN))
        print_figures(figures, {"all": "pictures", "val": "validation pictures", "test": "test pictures"}[split])
        if further["unlike"]:
            shift_output.print_unlike(further["unlike"])
        if kinds:
            shift_output.print_robustness(further["corrupted"])


def _open_run(network: str):
    """The run, if the network is one; else None."""
    from transferkit import runs, zoo

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


def print_figures(figures: dict, pictures: str):
    """Print the figures; `pictures` says of which, as "test pictures"."""
    from transferkit.console import stdout_console, table

    scores = [
        (name, *(f"{score[key]:.3f}" for key in ("precision", "recall", "f1")), score["n"])
        for name, score in figures["per_class"].items()
        if score["n"]
    ]
    table(None, ("class", "precision", "recall", "f1", "pictures"), scores, stdout_console())
    result_output.print_line(result_output.accuracy_line(figures, pictures))
    top5 = f"top-5 {result_output.format_percent(figures['top5'])}, " if figures["top5"] is not None else ""
    result_output.print_line(f"{top5}loss {figures['loss']:.3f}, expected calibration error {figures['ece']:.3f}")
    if balanced := result_output.balanced_line(figures):
        result_output.print_line(balanced)
    result_output.print_line(result_output.confusion_line(figures))
    if figures["unreadable"]:
        result_output.print_line(result_output.unreadable_line(figures["unreadable"]))
