"""transferkit probe"""

import functools
import re
from pathlib import Path

import click

from transferkit.commands import help_pages, options, result_output
from transferkit.lookup import count_noun
from transferkit.recipe import AUTO

of_training = functools.partial(click.option, cls=help_pages.Option, group="train")


@click.command(cls=help_pages.Command, short_help="Compare networks by a classifier on their features.")
@options.feature_options
@options.knob_options("group_by", "fraction", "per_class", "seed")
@of_training("--classifier", default="logreg", show_default=True, help="logreg, svm, knn or ridge.")
@of_training(
    "--folds",
    type=options.WholeNumber(2),
    default=5,
    show_default=True,
    help="Number of folds of the cross-validation.",
)
@of_training("--rank", is_flag=True, help="Score the features without training: LogME and nearest neighbours.")
@click.option("--out", type=click.Path(dir_okay=False), help="Save the best network and its classifier: FILE.skops.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@options.json_option
def command(classifier, folds, rank, out, overwrite, as_json, no_cache, **knobs):
    """Cross-validate a classifier on the features of each network, and order the networks by accuracy.

    \b
    Example: transferkit probe --base resnet18,vgg16 --data pets/ --out pets.skops
             transferkit predict pets.skops cat.jpg

    Without --base, all networks whose weights are on this machine are compared.
    Features of several depths are concatenated, as finetune does. logreg is
    logistic regression; its strength is chosen by log-loss within each fold.
    Pictures of test/ measure the best network at the end.
    """
    if out and rank:
        raise click.UsageError("--rank fits no classifier to save: omit --out.")
    if out and Path(out).suffix != ".skops":
        raise click.UsageError(f"--out must be a .skops file, not {out}.")
    if out and Path(out).exists() and not overwrite:
        raise ValueError(f"{out} exists: give another --out, or --overwrite to replace it.")
    from transferkit.features.feature_spec import probe_layers

    bases = list(dict.fromkeys(filter(None, re.split(r"\s*,\s*(?![^(]*\))", knobs["base"] or AUTO))))
    if bases == [AUTO]:
        from transferkit.features.base_selection import find_candidates

        bases = find_candidates()
    parsed = [options.parse_feature_options(knobs | {"base": base}, probe_layers(base)) for base in bases]
    specs = [spec for _, spec in parsed]

    from transferkit.console import say, say_looking
    from transferkit.data import lazy_tensorflow
    from transferkit.data.sources.resolve import find_probe_listing

    seed, cache = knobs["seed"] or 0, not no_cache
    listing, test = find_probe_listing(parsed[0][0], seed=seed)
    say_looking(len(listing) + (len(test) if test else 0), parsed[0][0].data)

    from transferkit.features import leaderboard  # scikit-learn is slow to import

    if rank:
        return print_ranks(leaderboard.rank(specs, listing, cache=cache), as_json)
    rows = leaderboard.compare(specs, listing, classifier=classifier, folds=folds, seed=seed, cache=cache)
    best = next(spec for spec in specs if spec.base == rows[0]["base"])
    if out or test:
        pipeline = leaderboard.fit_pipeline(best, listing, classifier=classifier, seed=seed, cache=cache)
        if test:
            rows[0]["test"] = leaderboard.evaluate_pipeline(pipeline, test)
        if out:
            lazy_tensorflow.load()  # skops loads Keras
            from transferkit.features import skops_file

            skops_file.save_pipeline(pipeline, out)
    if as_json:
        return result_output.print_json(rows)
    print_leaderboard(
        rows,
        f"{classifier}, {count_noun(folds, 'fold')} of {count_noun(len(listing), 'picture')} in "
        f"{count_noun(len(listing.classes), 'class')}",
    )
    if out:
        say(f"{out}: {best.base} with {classifier}; use it with transferkit predict {out} PICTURES")


def print_leaderboard(rows: list[dict], title: str):
    """Print the accuracies, best first."""
    from transferkit.console import say, stdout_console, table

    cells = [
        (
            row["base"],
            result_output.format_percent(row["accuracy"]),
            _format_interval(row["ci95"]),
            row["features"],
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    table(title, ("base", "accuracy", "95%", "features", "seconds"), cells, stdout_console())
    if "test" in rows[0]:
        say(f"{rows[0]['base']}: {result_output.accuracy_line(rows[0]['test'], 'test pictures')}", stdout_console())


def print_ranks(rows: list[dict], as_json: bool):
    """Print the scores, best first."""
    if as_json:
        return result_output.print_json(rows)
    from transferkit.console import stdout_console, table

    cells = [
        (
            row["base"],
            f"{row['logme']:.4f}",
            result_output.format_percent(row["neighbours"]),
            row["features"],
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    table(None, ("base", "LogME", "neighbours", "features", "seconds"), cells, stdout_console())


def _format_interval(ends) -> str:
    return " to ".join(map(result_output.format_percent, ends))
