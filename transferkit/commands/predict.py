"""transferkit predict"""

import csv
import itertools
import json
import sys

import click

from transferkit.commands import options
from transferkit.pixels import CONVENTIONS


@click.command(short_help="Classify pictures with a run or a network.")
@click.argument("network")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=options.source)
@options.knob_options("image_col", "image_dir", "image_suffix", "data_dir", "classes")
@click.option("--weights", default="imagenet", help="Weights, where NETWORK is a network's name.  [default: imagenet]")
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.fit
@click.option("--top", default=5, type=click.IntRange(1), help="How many labels of each picture.  [default: 5]")
@click.option("--format", "form", type=click.Choice(("table", "csv", "jsonl")), default="table", help="Of the answer.")
@options.as_json
def command(network, sources, weights, pixels, fit, top, form, as_json, **knobs):
    """Classify pictures with a run folder, a classifier of probe, a network's name, or a Keras model's file.

    \b
    Example: transferkit predict runs/finetune-resnet34-pets-1 cat.jpg holiday/
    Example: transferkit predict pets.skops list.csv
    SOURCE: a picture, a folder, or what finetune --data takes, of all splits; a list needs no labels.
    For a classifier of probe also features that `transferkit extract` wrote.
    """
    if network.endswith(".skops"):
        if weights != "imagenet" or pixels or fit or knobs["classes"]:
            flags = "--weights, --pixels, --fit and --classes"
            raise click.UsageError(f"{network} has a network of its own: leave out {flags}.")
        rows = _by_pipeline(network, sources, top, knobs)
    else:
        rows = _by_network(network, sources, weights, pixels, fit, top, knobs)
    if as_json:
        options.answer(rows)
    elif form == "jsonl":
        click.echo("\n".join(json.dumps(row) for row in rows))
    elif form == "csv":
        columns = ("path", "label", "probability", "error")
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[column] for column in columns] for row in rows)
    else:
        show(rows)


@options.with_tensorflow
def _by_network(network, sources, weights, pixels, fit, top, knobs) -> list[dict]:
    from transferkit import models
    from transferkit.console import say
    from transferkit.data import naming
    from transferkit.evaluation.predict import predict
    from transferkit.network import with_fit

    pictures, wanted = _pictures(sources, knobs), options.build_recipe(None, knobs)
    loaded = naming.named(models.load(network, weights, pixels=pixels or ""), wanted.model)
    loaded = with_fit(loaded, fit) if fit else loaded
    for change in loaded.loaded[1:]:
        say(change)
    return predict(loaded, pictures, top=top)


def _by_pipeline(path, sources, top, knobs) -> list[dict]:
    """TensorFlow is loaded only where the cache does not have a picture's features."""
    from transferkit.console import silenced

    with silenced():
        from transferkit.features import files, saved
    pipeline, rows = saved.load_pipeline(path), []
    for are_features, some in itertools.groupby(sources, files.is_features):
        if are_features:
            for source in some:
                rows += saved.classify_file(pipeline, files.load_features(source), top=top)
        else:
            rows += saved.classify(pipeline, _pictures(list(some), knobs), top=top)
    return rows


def _pictures(sources, knobs) -> list[str]:
    from transferkit.data.sources import find_paths

    wanted = options.build_recipe(None, knobs)
    pictures = [path for source in sources for path in find_paths(wanted.override(data=source).data)]
    if not pictures:
        raise ValueError(f"{', '.join(sources)}: no pictures are there.")
    return pictures


def show(rows: list[dict]):
    """A table of the answers: the label, and the next two."""
    from transferkit.console import answers, table

    def cell(row):
        if row["error"]:
            return f"cannot be read: {row['error']}"
        return ", ".join(f"{label} {percent(chance)}".rstrip() for label, chance in row["top"][1:3])

    def percent(chance):
        return "" if chance is None else options.percent(chance)

    cells = [(row["path"], row["label"], percent(row["probability"]), cell(row)) for row in rows]
    table(None, ("picture", "label", "probability", "next"), cells, answers())
