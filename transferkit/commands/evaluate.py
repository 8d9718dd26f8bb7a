"""transferkit evaluate"""

import os

import click

from transferkit import trust
from transferkit.commands import options, result_output
from transferkit.pixels import CONVENTIONS


@click.command(short_help="Measure a run or a network on labelled pictures.")
@click.argument("network")
@options.knob_options("data", *options.SOURCE_KNOBS, "classes", "class_order")
@click.option(
    "--weights", default="imagenet", help="Weights, if NETWORK is the name of a network.  [default: imagenet]"
)
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.fit_option
@options.trust_option
@options.json_option
def command(network, data, weights, pixels, fit, trusted, as_json, **knobs):
    """Measure a run folder or a network on labelled pictures; classes are matched by name.

    \b
    Example: transferkit evaluate runs/finetune-resnet34-pets-1 --data more-pets/

    Without --data, the pictures that the run held out are used; from a source with splits, test, else val.
    """
    from pathlib import Path

    from transferkit import bases, zoo

    is_program = (Path(network) / "saved_model.pb").is_file()
    is_run = Path(network).is_dir() and not is_program and not zoo.is_network(network)
    if not is_run and not data:
        raise click.UsageError("Missing option '--data': the labelled pictures.")
    if not is_run:
        bases.check_base(network, weights, pixels or "")  # a wrong name is answered before the slow imports

    from transferkit import runs
    from transferkit.console import say, warn
    from transferkit.data import lazy_tensorflow
    from transferkit.data.sources.resolve import find_labelled

    if trusted:
        trust.allow(network)
    run = runs.load_run(network) if is_run else None
    say(f"Looking at the pictures in {data} ..." if data else f"Looking at the pictures that {network} held out ...")
    recipe = options.build_recipe(None, knobs | {"data": data})
    bases.fetch_missing(network, weights)
    lazy_tensorflow.load()

    from transferkit import models
    from transferkit.evaluation.predict import evaluate, require_classifier
    from transferkit.network import with_fit

    loaded = _name_classes(require_classifier(models.load(network, weights, pixels=pixels or "")), recipe)
    loaded = with_fit(loaded, fit) if fit else loaded
    for line in loaded.loaded[1:]:
        say(line)
    if run is None or data:
        listing, split = find_labelled(recipe.data, loaded.classes)
    else:
        listing, split = (run.splits.test, "test") if run.splits.test else (run.splits.val, "val")
    learned = set(map(os.path.realpath, run.learned)) if run else set()
    trained = sum(os.path.realpath(path) in learned for path in listing.paths)
    if trained:
        warn(
            f"The run was trained on {trained:,} of the {len(listing):,} pictures, so these figures are too good; "
            f"those of held-out pictures are in {Path(network) / 'metrics.json'}."
        )
    figures, _ = evaluate(loaded, listing)
    if as_json:
        result_output.print_json(
            {name: value for name, value in figures.items() if name != "confusion"} | {"split": split}
        )
    else:
        print_figures(figures, {"all": "pictures", "val": "validation pictures", "test": "test pictures"}[split])


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
