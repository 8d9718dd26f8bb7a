"""transferkit probe"""

import re
from pathlib import Path

import click

from transferkit.commands import options
from transferkit.recipe import AUTO


@click.command(short_help="Compare networks by a classifier on their features.")
@options.feature_options
@options.knob_options("group_by", "fraction", "per_class", "seed")
@click.option("--classifier", default="logreg", show_default=True, help="logreg, svm, knn or ridge.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Of the cross-validation.")
@click.option("--rank", is_flag=True, help="Score the features without training: LogME, and the nearest neighbours.")
@click.option("--out", type=click.Path(dir_okay=False), help="Save the best base with its classifier: F.skops.")
@click.option("--overwrite", is_flag=True, help="Replace the file that is there.")
@options.as_json
def command(classifier, folds, rank, out, overwrite, as_json, no_cache, **knobs):
    """Cross-validate a classifier on the features of each base, computed once, and order them by accuracy.

    \b
    Example: transferkit probe --base resnet18,resnet34,vgg16 --data pets/ --out pets.skops
             transferkit predict pets.skops cat.jpg
    Without --base, the networks whose weights are here. Features of several
    depths stand side by side, as those that finetune starts from.
    logreg is logistic regression, its strength chosen by log-loss within each
    fold. Pictures of test/ are kept for the end.
    """
    if out and (rank or Path(out).suffix != ".skops"):
        raise click.UsageError(
            "--out is a file .skops of the best classifier" + ("; --rank has none." if rank else ".")
        )
    if out and Path(out).exists() and not overwrite:
        raise ValueError(f"{out} exists: give another --out, or --overwrite to replace it.")
    from transferkit.features.base_selection import candidates
    from transferkit.features.spec import probed_layers

    bases = list(dict.fromkeys(filter(None, re.split(r"\s*,\s*(?![^(]*\))", knobs["base"] or AUTO))))
    bases = candidates() if bases == [AUTO] else bases
    settled = [options.source_and_spec(knobs | {"base": base}, probed_layers(base)) for base in bases]
    specs = [spec for _, spec in settled]

    from transferkit.console import say, silenced
    from transferkit.data.sources.resolve import find_probe_listing
    from transferkit.features import leaderboard

    seed, cache = knobs["seed"] or 0, not no_cache
    listing, test = find_probe_listing(settled[0][0], seed=seed)
    if rank:
        return show_ranks(leaderboard.rank(specs, listing, cache=cache), as_json)
    rows = leaderboard.compare(specs, listing, classifier=classifier, folds=folds, seed=seed, cache=cache)
    best = next(spec for spec in specs if spec.base == rows[0]["base"])
    if out or test:
        pipeline = leaderboard.fit_pipeline(best, listing, classifier=classifier, seed=seed, cache=cache)
        if test:
            rows[0]["test"] = leaderboard.check_on(pipeline, test)
        if out:
            with silenced():  # importing skops loads Keras
                from transferkit.features import skops_file
            skops_file.save_pipeline(pipeline, out)
    if as_json:
        return options.answer(rows)
    show(rows, f"{classifier}, {folds} folds of {len(listing):,} pictures in {len(listing.classes)} classes")
    if out:
        say(f"{out}: {best.base} and its {classifier}; transferkit predict {out} PICTURES")


def show(rows: list[dict], title: str):
    """The leaderboard, best first."""
    from transferkit.console import answers, say, table

    cells = [
        (
            row["base"],
            options.percent(row["accuracy"]),
            _interval(row["ci95"]),
            row["features"],
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    table(title, ("base", "accuracy", "95%", "features", "seconds"), cells, answers())
    if "test" in rows[0]:
        say(f"{rows[0]['base']}: {options.accuracy_line(rows[0]['test'], 'test pictures')}", answers())


def show_ranks(rows: list[dict], as_json: bool):
    """The scores, best first."""
    if as_json:
        return options.answer(rows)
    from transferkit.console import answers, table

    cells = [
        (
            row["base"],
            f"{row['logme']:.4f}",
            options.percent(row["neighbours"]),
            row["features"],
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    table(None, ("base", "LogME", "neighbours", "features", "seconds"), cells, answers())


def _interval(ends) -> str:
    return " to ".join(map(options.percent, ends))
