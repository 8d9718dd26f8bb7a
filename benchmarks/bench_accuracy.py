"""Test accuracy of the defaults against other settings, and against the validation accuracy that the runs report.

A third of each data set is the test set (whole groups, where a data set has variants of one photograph). A draw is a
number of pictures of each class from the other two thirds. Each setting gets the same draw, holds out validation
pictures of its own, reports an accuracy, and is evaluated on the test set. Without a folder of data sets, the script
uses one small draw of scikit-learn's digits.

    python benchmarks/bench_accuracy.py [OUT [FOLDER_OF_SETS [SET,SET... [DRAW,DRAW... [SEED,SEED... [SETTING;...]]]]]]

A draw of 0 takes all pictures. Each result is a line of OUT/accuracy.jsonl; a result that is there is not computed
again, so an interrupted benchmark can be started again.
"""

import csv
import json
import os
import re
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from figures import Figure, report
from sklearn.model_selection import StratifiedGroupKFold

from transferkit import run_folder
from transferkit.console import say
from transferkit.data.example_digits import write_digits
from transferkit.data.listing import listing_from_names
from transferkit.data.sources.resolve import find_all_pictures
from transferkit.evaluation.metrics import wilson_interval
from transferkit.evaluation.predict import evaluate
from transferkit.features import classifiers
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec, probe_layers
from transferkit.recipe import Data, Recipe
from transferkit.training import run_job
from transferkit.training.planning import planner

BASE = "efficientnet_lite0"
SIZES = {"digits": 64, "mnist": 64}  # pixels; other sets at SIZE, which is about half the base's native size and faster
SIZE = 128
GROUPS = {"materials": r"([^/]*?-[^/]*?(?:\d+|\.))[^/]*$"}  # the part of the path that variants of one photograph share
DRAWS, SEEDS = (10, 25, 100, 0), (0, 1, 2)
BEFORE = {"fit": "crop", "head_layers": "pooled", "keep": "best", "refit": "off"}
SETTINGS = {
    "default": {},
    "as before": BEFORE,
    "lr 1e-4": {"lr": 1e-4},
    "last-2": {"unfreeze": "last-2"},
    "as fine_tune(5)": BEFORE
    | {"start": "fresh", "head_epochs": 1, "epochs": 6, "head_lr": 2e-3, "lr": 1e-3, "layer_decay": 0.6}
    | {"schedule": "one_cycle", "bn": "train", "keep": "last"},
}
PLAIN, PROBE = "plain regression", "probe"
DEPTHS = probe_layers(BASE)
REGRESSIONS = {
    PLAIN: ("crop", ("pooled",)),
    "squashed": ("squash", ("pooled",)),
    "depths": ("crop", DEPTHS),
    PROBE: ("squash", DEPTHS),
}


def draw_pictures(folder: Path, per_class: int, seed: int):
    """The training listing, the test listing, and the groups of the training pictures."""
    pool, _ = find_all_pictures(Data(str(folder)))
    pattern = GROUPS.get(folder.name)
    groups = np.array([re.search(pattern, path)[1] for path in pool.paths] if pattern else pool.paths)
    labels = np.array(pool.labels)
    pool_rows, test = next(StratifiedGroupKFold(3, shuffle=True, random_state=seed).split(labels, labels, groups))
    rng, chosen = np.random.default_rng(seed), []
    for label in range(len(pool.classes)):
        rows = rng.permutation(pool_rows[labels[pool_rows] == label])
        chosen.extend(rows[: per_class or len(rows)])
    return pool.take(sorted(chosen)), pool.take(test), groups[sorted(chosen)]


def evaluate_finetuning(folder: Path, train, test, groups, seed: int, knobs: dict) -> dict:
    """Fine-tune on the training pictures, and evaluate the run on the test pictures."""
    with TemporaryDirectory() as temporary:
        csv_path = Path(temporary) / "list.csv"
        with csv_path.open("w", newline="", encoding="utf-8") as file:
            rows = zip(train.paths, train.labels, groups, strict=True)
            csv.writer(file).writerows(
                [("path", "label", "group"), *((path, train.classes[label], group) for path, label, group in rows)]
            )
        source = {"data": str(csv_path)} | ({"group_by": "group"} if folder.name in GROUPS else {})
        recipe = Recipe().override(base=BASE, size=SIZES.get(folder.name, SIZE), seed=seed, **source, **knobs)
        run = run_job.train_plan(
            planner.make_plan(recipe), run_folder.make_run_folder(Path(temporary) / "run", overwrite=False, name="")
        )
        reported = run.metrics
        test_listing = listing_from_names(test.paths, [test.classes[label] for label in test.labels])
        measured = evaluate(run.network, test_listing)[0]
    return {
        "accuracy": measured["accuracy"],
        "balanced": statistics.mean(scores["recall"] for scores in measured["per_class"].values() if scores["n"]),
        "loss": measured["loss"],
        "n": measured["n"],
        "announced": reported["accuracy"],
        "ci95": reported["ci95"],
        "judges": reported["n"],
        "share": reported["mix"] and reported["mix"]["share"],
        "seconds": reported["seconds"],
    }


def evaluate_regression(folder: Path, train, test, seed: int, fit: str, layers: tuple[str, ...]) -> dict:
    """Fit a logistic regression to all training pictures: it needs no held-out ones to choose its regularisation."""
    spec = FeatureSpec(BASE, layer=layers, fit=fit, size=SIZES.get(folder.name, SIZE))
    train_features, test_features = extract(train.paths, spec), extract(test.paths, spec)
    model = classifiers.fit_classifier(
        "logreg", train_features.features, train.labels, widths=train_features.widths, seed=seed
    )
    correct = int((model.predict(test_features.features) == np.array(test.labels)).sum())
    return {"accuracy": correct / len(test), "n": len(test)}


def run_settings(results: Path, folder: Path, per_class: int, seed: int, settings: list[str]):
    """Run the settings whose results are not in the file yet."""
    key = {"set": folder.name, "draw": per_class, "seed": seed}
    done = [row["setting"] for row in read_results(results) if key.items() <= row.items()]
    train, test, groups = draw_pictures(folder, per_class, seed)
    for setting in settings:
        if setting in done:
            continue
        if setting in REGRESSIONS:
            row = evaluate_regression(folder, train, test, seed, *REGRESSIONS[setting])
        else:
            row = evaluate_finetuning(folder, train, test, groups, seed, SETTINGS[setting])
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(key | {"given": len(train), "setting": setting} | row) + "\n")
        say(f"{folder.name}, {per_class or 'all'} pictures per class, seed {seed}, {setting}: {row['accuracy']:.3f}")


def read_results(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []


def print_results(rows: list[dict]):
    """Print a Markdown table with a row for each set and draw and a column for each setting: the mean accuracy over
    the seeds in percent. Then print how the reported accuracies differ from those on the test set."""
    settings = [name for name in (*REGRESSIONS, *SETTINGS) if any(row["setting"] == name for row in rows)]
    draws = list(dict.fromkeys((row["set"], row["draw"]) for row in rows))
    print(f"\n| set, pictures per class | seeds | {' | '.join(settings)} |\n|---|---|{'---|' * len(settings)}")
    gains = {name: [] for name in settings}
    for data_set, per_class in draws:
        draw_rows = [row for row in rows if (row["set"], row["draw"]) == (data_set, per_class)]
        accuracies = {name: [row["accuracy"] for row in draw_rows if row["setting"] == name] for name in settings}
        cells = [f"{100 * statistics.mean(values):.1f}" if values else "" for values in accuracies.values()]
        seeds = len({row["seed"] for row in draw_rows})
        print(f"| {data_set}, {per_class or 'all'} | {seeds} | {' | '.join(cells)} |")
        plain = {row["seed"]: row["accuracy"] for row in draw_rows if row["setting"] == PLAIN}
        for row in draw_rows:
            if row["seed"] in plain:
                gains[row["setting"]].append(100 * (row["accuracy"] - plain[row["seed"]]))
    print(f"| difference to the plain regression | | {' | '.join(map(_with_error, gains.values()))} |")
    for name in settings:
        runs = [row for row in rows if row["setting"] == name and "announced" in row]
        if runs:
            gaps = [100 * (row["announced"] - row["accuracy"]) for row in runs]
            agreeing = sum(_intervals_agree(row) for row in runs)
            seconds = statistics.median(row["seconds"] for row in runs)
            print(
                f"\n{name}: {len(runs)} runs, reported - test accuracy {_with_error(gaps)} points; 95% intervals agree "
                f"in {agreeing}; median {seconds:.0f} seconds"
            )


def report_accuracies(rows: list[dict]):
    """Report the accuracies of each set and draw, a round for each seed that all settings have."""
    for data_set, per_class in dict.fromkeys((row["set"], row["draw"]) for row in rows):
        found: dict[str, dict] = {}
        for row in rows:
            if (row["set"], row["draw"]) == (data_set, per_class):
                found.setdefault(row["setting"], {})[row["seed"]] = 100 * row["accuracy"]
        seeds = sorted(set.intersection(*map(set, found.values())))
        peer = PLAIN if PLAIN in found else ""
        figures = [
            Figure(setting, [found[setting][seed] for seed in seeds], "% correct", "" if setting == peer else peer)
            for setting in found
        ]
        if seeds:
            report(f"test accuracy, {data_set}, {per_class or 'all'} pictures of a class", figures)


def _intervals_agree(row: dict) -> bool:
    """Whether the reported and the test accuracy agree, within the 95% interval of their difference: the test set is a
    sample too."""
    low, high = wilson_interval(row["accuracy"] * row["n"], row["n"])
    reach = np.hypot((row["ci95"][1] - row["ci95"][0]) / 2, (high - low) / 2)
    return abs(sum(row["ci95"]) / 2 - (low + high) / 2) <= reach


def _with_error(values: list[float]) -> str:
    """The mean and its 95% margin, `+1.5 ± 0.4`."""
    if len(values) < 2:
        return "".join(f"{value:+.1f}" for value in values)
    return f"{statistics.mean(values):+.1f} ± {1.96 * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def main(out: str = "", folder: str = "", sets: str = "", draws: str = "", seeds: str = "", settings: str = ""):
    with TemporaryDirectory() as temporary:
        out = Path(out or temporary)
        out.mkdir(parents=True, exist_ok=True)
        per_classes, seed_list = (
            list(map(int, text.split(","))) if text else list(default)
            for text, default in ((draws, DRAWS), (seeds, SEEDS))
        )
        chosen = settings.split(";") if settings else [*REGRESSIONS, *SETTINGS]
        if not folder:
            folder, per_classes, seed_list = out / "sets", [10], [0]
            write_digits(folder / "digits")
        names = sets.split(",") if sets else sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        for seed in seed_list:  # the outer loop, so that the tables are complete for the seeds that are done
            for name in names:
                for per_class in per_classes:
                    run_settings(out / "accuracy.jsonl", Path(folder) / name, per_class, seed, chosen)
        rows = read_results(out / "accuracy.jsonl")
        print_results(rows)
        report_accuracies(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
