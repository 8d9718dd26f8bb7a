"""transferkit predict"""

import itertools
import os
import re
import sys

import click

from transferkit import bounded, trust
from transferkit.commands import options, prediction_output
from transferkit.pixels import CONVENTIONS


@click.command(short_help="Classify pictures with a run or a network.")
@click.argument("network")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@options.knob_options("image_col", "image_dir", "image_suffix", "data_dir", "classes")
@click.option("--weights", default="imagenet", help="Weights, where NETWORK is a network's name.  [default: imagenet]")
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.fit
@options.trusted
@click.option("--top", type=click.IntRange(1), help="Labels of each picture.  [default: 5; table: 3; csv, parquet: 1]")
@click.option(
    "--format",
    "form",
    type=click.Choice(prediction_output.FORMATS),
    help="Of the answer.  [default: by --out; else table]",
)
@click.option("--out", type=click.Path(dir_okay=False), help="A file for the answer, in place of standard output.")
@click.option("--spreadsheet", is_flag=True, help="In CSV, put ' before cells that a spreadsheet takes for a formula.")
@click.option("--strict", is_flag=True, help="Exit status 1 where a picture could not be read.")
@options.as_json
def command(network, sources, weights, pixels, fit, trusted, top, form, out, spreadsheet, strict, as_json, **knobs):
    """Classify pictures with a run folder, a classifier of probe, a network's name, or a Keras model's file.

    \b
    Example: transferkit predict runs/finetune-resnet34-pets-1 cat.jpg holiday/
    Example: transferkit predict pets.skops list.csv
    Example: find photos -name '*.jpg' -print0 | transferkit predict runs/pets - --out answers.csv
    SOURCE: a picture, a folder, or what finetune --data takes, of all splits; a list needs no labels.
    For a classifier of probe also features that `transferkit extract` wrote. `-` is paths on standard input, one a
    line, or each ended by a zero byte. What is not there, or cannot be read, is a row with its error.
    """
    if trusted:
        trust.allow(network)
    form, sources = prediction_output.format_of(form, out, as_json), _sources(sources)
    if spreadsheet and form != "csv":
        raise click.UsageError("--spreadsheet is for CSV: give --format csv, or --out with the suffix .csv.")
    top = top or prediction_output.TOP[form]
    if network.endswith(".skops"):
        if weights != "imagenet" or pixels or fit or knobs["classes"]:
            flags = "--weights, --pixels, --fit and --classes"
            raise click.UsageError(f"{network} has a network of its own: leave out {flags}.")
        rows = _by_pipeline(network, sources, top, knobs)
    else:
        rows = _by_network(network, sources, weights, pixels, fit, top, knobs)
    prediction_output.give(rows, form, top, out, spreadsheet=spreadsheet)
    return int(strict and any(row["error"] for row in rows))


def _sources(words: tuple[str, ...]) -> list[str]:
    """What was named, `-` being the paths on standard input; `UsageError` where nothing of it is there."""
    sources = []
    for word in words:
        sources += _from_stdin() if word == "-" else [word]
    if not sources:
        raise click.UsageError("Standard input named no pictures: expected a path on each line.")
    if not any(map(_is_there, sources)):
        options.source(sources[0])
    return sources


def _from_stdin() -> list[str]:
    try:
        given = bounded.read_stream(sys.stdin.buffer)
    except OSError as error:
        raise OSError(f"Standard input cannot be read: {error}.") from None
    ends = rb"[^\0]+" if b"\0" in given else rb"[^\r\n]+"
    return [os.fsdecode(line[0]) for line in re.finditer(ends, given)]


def _is_there(source: str) -> bool:
    return source.startswith("tfds:") or os.path.exists(source)


@options.with_tensorflow
def _by_network(network, sources, weights, pixels, fit, top, knobs) -> list[dict]:
    from transferkit import models
    from transferkit.console import say
    from transferkit.data import class_names
    from transferkit.evaluation.predict import predict
    from transferkit.network import with_fit

    pictures, wanted = _pictures(sources, knobs), options.build_recipe(None, knobs)
    loaded = class_names.name_outputs(models.load(network, weights, pixels=pixels or ""), wanted.model)
    loaded = with_fit(loaded, fit) if fit else loaded
    for change in loaded.loaded[1:]:
        say(change)
    return predict(loaded, pictures, top=top)


def _by_pipeline(path, sources, top, knobs) -> list[dict]:
    """TensorFlow is loaded only where the cache does not have a picture's features."""
    from transferkit.console import silenced

    with silenced():
        from transferkit.features import feature_files, skops_file
    pipeline, rows = skops_file.load_pipeline(path), []
    for are_features, some in itertools.groupby(sources, feature_files.is_features):
        if are_features:
            for source in some:
                rows += skops_file.classify_file(pipeline, feature_files.load_features(source), top=top)
        else:
            rows += skops_file.classify(pipeline, _pictures(list(some), knobs), top=top)
    return rows


def _pictures(sources, knobs) -> list[str]:
    from transferkit.data.sources.resolve import find_paths

    wanted = options.build_recipe(None, knobs)
    found = [find_paths(wanted.override(data=one).data) if _is_there(one) else [one] for one in sources]
    pictures = list(itertools.chain(*found))
    if not pictures:
        raise ValueError(f"{', '.join(sources)}: no pictures are there.")
    return pictures
