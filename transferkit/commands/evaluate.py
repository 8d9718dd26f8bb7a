"""transferkit evaluate"""

import os

import click

from transferkit import trust
from transferkit.commands import options
from transferkit.pixels import CONVENTIONS


@click.command(short_help="Check a run or a network on labelled pictures.")
@click.argument("network")
@options.knob_options("data", *options.SOURCE, "classes", "class_order")
@click.option("--weights", default="imagenet", help="Weights, where NETWORK is a network's name.  [default: imagenet]")
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.fit
@options.trusted
@options.as_json
@options.with_tensorflow
def command(network, data, weights, pixels, fit, trusted, as_json, **knobs):
    """Compare a run folder or a network with labelled pictures, matched by the names of the classes.

    \b
    Example: transferkit evaluate runs/finetune-resnet34-pets-1 --data more-pets/
    Without --data: on the pictures the run held out. Of sources with splits: on test, else val, else all.
    """
    from pathlib import Path

    from transferkit import models, runs, zoo
    from transferkit.console import say, warn
    from transferkit.data.sources.resolve import find_labelled
    from transferkit.evaluation.predict import classified, evaluate
    from transferkit.network import with_fit

    if trusted:
        trust.allow(network)
    is_program = (Path(network) / "saved_model.pb").is_file()
    is_run = Path(network).is_dir() and not is_program and not zoo.is_network(network)
    run = runs.load_run(network) if is_run else None
    if not data and not run:
        raise click.UsageError("Missing option '--data': the labelled pictures.")
    wanted = options.build_recipe(None, knobs | {"data": data})
    loaded = _named(classified(models.load(network, weights, pixels=pixels or "")), wanted)
    loaded = with_fit(loaded, fit) if fit else loaded
    for change in loaded.loaded[1:]:
        say(change)
    if data:
        listing, split = find_labelled(wanted.data, loaded.classes)
    else:
        listing, split = (run.splits.test, "test") if run.splits.test else (run.splits.val, "val")
    seen = set(map(os.path.realpath, run.learned)) if run else set()
    trained = sum(os.path.realpath(path) in seen for path in listing.paths)
    if trained:
        warn(
            f"{trained:,} of the {len(listing):,} pictures are ones the run was trained on: these figures are better "
            f"than the network is; what it measured on others is in {Path(network) / 'metrics.json'}."
        )
    figures, _ = evaluate(loaded, listing)
    if as_json:
        options.answer({name: value for name, value in figures.items() if name != "confusion"} | {"split": split})
    else:
        show(figures, {"all": "pictures", "val": "validation pictures", "test": "test pictures"}[split])


def _named(network, wanted):
    """The network with names for its classes, which are what it is compared by."""
    from transferkit.data import class_names
    from transferkit.data.sources.resolve import find_classes
    from transferkit.lookup import UnknownName

    classes = () if network.named else find_classes(wanted.data)
    network = class_names.name_outputs(network, wanted.model, classes)
    if not network.named:
        raise UnknownName(class_names.missing_names_message(network, classes))
    return network


def show(figures: dict, what: str):
    from transferkit.console import answers, table

    scores = [
        (name, *(f"{score[key]:.3f}" for key in ("precision", "recall", "f1")), score["n"])
        for name, score in figures["per_class"].items()
        if score["n"]
    ]
    table(None, ("class", "precision", "recall", "f1", "pictures"), scores, answers())
    options.tell(options.accuracy_line(figures, what))
    top5 = f"top-5 {options.percent(figures['top5'])}, " if figures["top5"] is not None else ""
    options.tell(f"{top5}loss {figures['loss']:.3f}, expected calibration error {figures['ece']:.3f}")
    if balanced := options.balanced_line(figures):
        options.tell(balanced)
    options.tell(options.confused_line(figures))
    if figures["unreadable"]:
        options.tell(f"{figures['unreadable']} pictures could not be read and were left out")
