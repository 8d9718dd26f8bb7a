"""transferkit predict"""

import itertools
import os

import click

from transferkit import trust
from transferkit.commands import options, picture_sources, prediction_output, result_output
from transferkit.lookup import count_noun
from transferkit.pixels import CONVENTIONS

FRACTION = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(short_help="Classify pictures with a run or a network.")
@options.network_argument
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@options.knob_options("image_col", "image_dir", "image_suffix", "data_dir", "classes")
@options.weights_option
@click.option("--pixels", type=click.Choice(tuple(CONVENTIONS)), help="What a foreign Keras model expects of pixels.")
@options.fit_option
@options.trust_option
@click.option(
    "--top", type=options.WholeNumber(1), help="Classes for each picture.  [default: table 3; csv, parquet 1; json 5]"
)
@click.option(
    "--all", "every", is_flag=True, help="The probability of every class, in CSV and Parquet a column for each."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(prediction_output.FORMATS),
    help="Format of the predictions; --json is --format json.  [default: by the suffix of --out; else table]",
)
@click.option(
    "--reject",
    metavar="PRECISION",
    type=FRACTION,
    help="Leave the label empty where a run is too unsure for this precision, as 0.95, by its validation pictures.",
)
@click.option(
    "--sets",
    metavar="COVERAGE",
    type=FRACTION,
    help="Add the set of classes that holds the right one for this fraction of pictures like a run's, as 0.9.",
)
@click.option("--out", type=click.Path(dir_okay=False), help="Write the predictions to a file.")
@click.option(
    "--spreadsheet", is_flag=True, help="In CSV, put ' before cells that a spreadsheet would compute as a formula."
)
@click.option("--strict", is_flag=True, help="Exit with status 1 if a picture could not be read.")
@options.json_option
def command(network, sources, trusted, top, every, reject, sets, form, out, spreadsheet, strict, as_json, **knobs):
    """Classify pictures with NETWORK: a run folder, hf://USER/NAME, a .skops file of probe, a network's name or a
    Keras model's file.

    \b
    Example: transferkit predict runs/finetune-resnet34-pets-1 cat.jpg holiday/
    Example: transferkit predict pets.skops list.csv
    Example: find . -name '*.jpg' | transferkit predict runs/pets - --out a.csv

    SOURCE is a picture, a folder, or what finetune --data takes (all splits; a list needs no labels). With a .skops
    file it may also be features that `transferkit extract` wrote. `-` reads paths from standard input, one on each line
    or each ended by a zero byte. A picture that is missing or cannot be read gets a row with its error.
    """
    if trusted:
        trust.allow(network)
    form, sources = prediction_output.choose_format(form, out, as_json), picture_sources.check_sources(sources)
    if spreadsheet and form != "csv":
        raise click.UsageError("--spreadsheet is for CSV: give --format csv, or --out with the suffix .csv.")
    if every and top:
        raise click.UsageError(f"--all gives every class: omit --top {top}.")
    top = None if every else top or prediction_output.TOP[form]
    weights, pixels, fit = (knobs.pop(name) for name in ("weights", "pixels", "fit"))
    thresholds = _choose_thresholds(network, reject=reject, sets=sets)
    most = None if sets else top
    if network.endswith(".skops"):
        if weights != "imagenet" or pixels or fit or knobs["classes"]:
            flags = "--weights, --pixels, --fit and --classes"
            raise click.UsageError(f"{network} names its network: omit {flags}.")
        rows, classes = _predict_with_pipeline(network, sources, most, knobs)
    else:
        chosen = options.NetworkOptions(network, weights, pixels or "", fit)
        rows, classes = _predict_with_network(chosen, sources, most, knobs)
    if thresholds:
        rows = _apply_thresholds(rows, thresholds, top)
    shown = prediction_output.Shown(top or 1, classes if every else ())
    prediction_output.write_predictions(rows, form, shown, out, spreadsheet=spreadsheet)
    return int(strict and any(row["error"] for row in rows))


def _choose_thresholds(network: str, *, reject: float | None, sets: float | None):
    """The thresholds of a run for --reject and --sets, None without them; raise `UsageError` for what is no run."""
    if not (reject or sets):
        return None
    from transferkit import bases

    place = bases.find_local(network)
    if not os.path.isfile(os.path.join(place, "recipe.toml")):
        raise click.UsageError(
            f"--reject and --sets need the validation pictures of a run: give a run folder, not {network}."
        )
    from transferkit import runs
    from transferkit.console import say
    from transferkit.evaluation import thresholds

    chosen = thresholds.choose_thresholds(runs.load_run(place).calibration, reject=reject, sets=sets)
    for line in chosen.lines:
        say(f"--{line}")
    return chosen


def _apply_thresholds(rows: list[dict], chosen, top: int | None) -> list[dict]:
    """The predictions with `rejected` and `set`; say how many are rejected and how large the sets are."""
    from transferkit.console import say
    from transferkit.evaluation import thresholds

    rows = thresholds.apply_thresholds(rows, chosen, top)
    read = [row for row in rows if not row["error"]]
    if read and chosen.reject is not None:
        say(f"rejected: {sum(row['rejected'] for row in read):,} of {count_noun(len(read), 'picture')}")
    if read and chosen.sets is not None:
        say(f"sets have {sum(len(row['set']) for row in read) / len(read):.1f} classes on average")
    return rows


def _predict_with_network(network: options.NetworkOptions, sources: list[str], top: int | None, knobs: dict):
    """The predictions, and the classes of the network."""
    from transferkit import bases
    from transferkit.console import say
    from transferkit.data import lazy_tensorflow

    bases.check_base(network.name, network.weights, network.pixels)
    pictures, recipe = picture_sources.find_pictures(sources, knobs), options.build_recipe(None, knobs)
    bases.fetch_missing(network.name, network.weights)
    lazy_tensorflow.load()

    from transferkit import models
    from transferkit.data import class_names
    from transferkit.evaluation import shift
    from transferkit.evaluation.predict import predict
    from transferkit.network import with_fit

    loaded = models.load(network.name, network.weights, pixels=network.pixels)
    loaded = class_names.name_outputs(loaded, recipe.model)
    loaded = with_fit(loaded, network.fit) if network.fit else loaded
    for line in result_output.notable(loaded.loaded):
        say(line)
    model = shift.find_shift_model(network.name, loaded)
    rows = predict(loaded, pictures, top=top, shift_model=model)
    if model:
        prediction_output.say_unlike(rows, model.shift)
    return rows, loaded.classes


def _predict_with_pipeline(path, sources, top, knobs):
    """The predictions, and the classes of the pipeline.

    TensorFlow is loaded only if the cache does not have the features of a picture.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no {path}: expected a file that transferkit probe --out writes.")
    from transferkit.data import lazy_tensorflow

    lazy_tensorflow.load()  # skops loads Keras
    from transferkit.features import feature_files, skops_file

    pipeline, rows = skops_file.load_pipeline(path), []
    for are_features, group in itertools.groupby(sources, feature_files.is_feature_file):
        if are_features:
            for source in group:
                rows += skops_file.classify_feature_file(pipeline, feature_files.load_features(source), top=top)
        else:
            rows += skops_file.classify_pictures(pipeline, picture_sources.find_pictures(list(group), knobs), top=top)
    return rows, skops_file.list_classes(pipeline)
