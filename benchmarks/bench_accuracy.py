"""How accurate the defaults are on pictures that nothing has seen, beside other settings; and whether they say so.

From each set comes a third that no run sees (whole groups of it, where a set has variants of one photograph), and of
the rest so many pictures of each class. Each setting gets the same ones, holds out its own validation part, announces
an accuracy, and is then judged by the unseen third. Without a folder of sets: one small draw of scikit-learn's digits.

    python benchmarks/bench_accuracy.py [OUT [FOLDER_OF_SETS [SET,SET... [DRAW,DRAW... [SEED,SEED... [SETTING;...]]]]]]

A draw is a number of pictures of a class, 0 all of them. A result is a line of OUT/accuracy.jsonl, and what is there is
not run again: start it as often as you like.
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
from sklearn.model_selection import StratifiedGroupKFold

from transferkit.console import say
from transferkit.data.listing import listing_from_names
from transferkit.data.sources.digits import write_digits
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
SIZES = {"digits": 64, "mnist": 64}  # pixels; others at SIZE, half the base's own, for time
SIZE = 128
GROUPS = {"materials": r"([^/]*?-[^/]*?(?:\d+|\.))[^/]*$"}  # what the variants of one photograph have in common
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


def draw(folder: Path, per_class: int, seed: int):
    """The listing to learn from and the one to judge by."""
    pool, _ = find_all_pictures(Data(str(folder)))
    pattern = GROUPS.get(folder.name)
    groups = np.array([re.search(pattern, path)[1] for path in pool.paths] if pattern else pool.paths)
    labels = np.array(pool.labels)
    given, test = next(StratifiedGroupKFold(3, shuffle=True, random_state=seed).split(labels, labels, groups))
    rng, kept = np.random.default_rng(seed), []
    for label in range(len(pool.classes)):
        rows = rng.permutation(given[labels[given] == label])
        kept.extend(rows[: per_class or len(rows)])
    return pool.take(sorted(kept)), pool.take(test), groups[sorted(kept)]


def fine_tuned(folder: Path, given, test, groups, seed: int, knobs: dict) -> dict:
    with TemporaryDirectory() as place:
        listed = Path(place) / "list.csv"
        with listed.open("w", newline="", encoding="utf-8") as file:
            rows = zip(given.paths, given.labels, groups, strict=True)
            csv.writer(file).writerows(
                [("path", "label", "group"), *((path, given.classes[label], group) for path, label, group in rows)]
            )
        source = {"data": str(listed)} | ({"group_by": "group"} if folder.name in GROUPS else {})
        wanted = Recipe().override(base=BASE, size=SIZES.get(folder.name, SIZE), seed=seed, **source, **knobs)
        run = run_job.train_plan(
            planner.make_plan(wanted), run_job.runs.make_run_folder(Path(place) / "run", overwrite=False, name="")
        )
        told = run.metrics
        judged = evaluate(run.network, listing_from_names(test.paths, [test.classes[one] for one in test.labels]))[0]
    return {
        "accuracy": judged["accuracy"],
        "balanced": statistics.mean(one["recall"] for one in judged["per_class"].values() if one["n"]),
        "loss": judged["loss"],
        "n": judged["n"],
        "announced": told["accuracy"],
        "ci95": told["ci95"],
        "judges": told["n"],
        "share": told["mix"] and told["mix"]["share"],
        "seconds": told["seconds"],
    }


def regressed(folder: Path, given, test, seed: int, fit: str, layers: tuple[str, ...]) -> dict:
    """A regression on all that is given: it needs nothing held out, for it chooses its strength by itself."""
    spec = FeatureSpec(BASE, layer=layers, fit=fit, size=SIZES.get(folder.name, SIZE))
    learnt, judged = extract(given.paths, spec), extract(test.paths, spec)
    model = classifiers.fit_classifier("logreg", learnt.features, given.labels, widths=learnt.widths, seed=seed)
    hits = int((model.predict(judged.features) == np.array(test.labels)).sum())
    return {"accuracy": hits / len(test), "n": len(test)}


def fill(results: Path, folder: Path, per_class: int, seed: int, settings: list[str]):
    """Run what is not in the file yet."""
    place = {"set": folder.name, "draw": per_class, "seed": seed}
    known = [row["setting"] for row in read(results) if place.items() <= row.items()]
    given, test, groups = draw(folder, per_class, seed)
    for setting in settings:
        if setting in known:
            continue
        if setting in REGRESSIONS:
            row = regressed(folder, given, test, seed, *REGRESSIONS[setting])
        else:
            row = fine_tuned(folder, given, test, groups, seed, SETTINGS[setting])
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(place | {"given": len(given), "setting": setting} | row) + "\n")
        say(f"{folder.name}, {per_class} a class, seed {seed}, {setting}: {row['accuracy']:.3f}")


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []


def show(rows: list[dict]):
    """Markdown: a line a draw of a set, a column a setting, the mean of the seeds in percent; then the gaps."""
    settings = [name for name in (*REGRESSIONS, *SETTINGS) if any(row["setting"] == name for row in rows)]
    draws = list(dict.fromkeys((row["set"], row["draw"]) for row in rows))
    print(f"\n| set, pictures a class | seeds | {' | '.join(settings)} |\n|---|---|{'---|' * len(settings)}")
    gains = {name: [] for name in settings}
    for one in draws:
        here = [row for row in rows if (row["set"], row["draw"]) == one]
        found = {name: [row["accuracy"] for row in here if row["setting"] == name] for name in settings}
        cells = [f"{100 * statistics.mean(values):.1f}" if values else "" for values in found.values()]
        seeds = len({row["seed"] for row in here})
        print(f"| {one[0]}, {one[1] or 'all'} | {seeds} | {' | '.join(cells)} |")
        plain = {row["seed"]: row["accuracy"] for row in here if row["setting"] == PLAIN}
        for row in here:
            if row["seed"] in plain:
                gains[row["setting"]].append(100 * (row["accuracy"] - plain[row["seed"]]))
    print("| above the plain regression | | " + " | ".join(_with_error(values) for values in gains.values()) + " |")
    for name in settings:
        told = [row for row in rows if row["setting"] == name and "announced" in row]
        if told:
            gaps = [100 * (row["announced"] - row["accuracy"]) for row in told]
            covered = sum(_covers(row) for row in told)
            seconds = statistics.median(row["seconds"] for row in told)
            print(
                f"\n{name}: {len(told)} runs, announced - unseen {_with_error(gaps)} points; 95% intervals agree in "
                f"{covered}; median {seconds:.0f} seconds"
            )


def _covers(row: dict) -> bool:
    """Whether the announced interval holds the accuracy on new pictures, of which the unseen part is a sample too: by
    the error of the difference of both."""
    low, high = wilson_interval(row["accuracy"] * row["n"], row["n"])
    reach = np.hypot((row["ci95"][1] - row["ci95"][0]) / 2, (high - low) / 2)
    return abs(sum(row["ci95"]) / 2 - (low + high) / 2) <= reach


def _with_error(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:+.1f}" for value in values)
    return f"{statistics.mean(values):+.1f} ± {1.96 * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def main(out: str = "", folder: str = "", sets: str = "", draws: str = "", seeds: str = "", settings: str = ""):
    with TemporaryDirectory() as place:
        out = Path(out or place)
        out.mkdir(parents=True, exist_ok=True)
        numbers = [
            list(map(int, text.split(","))) if text else list(usual) for text, usual in ((draws, DRAWS), (seeds, SEEDS))
        ]
        chosen = settings.split(";") if settings else [*REGRESSIONS, *SETTINGS]
        if not folder:
            folder, numbers = out / "sets", [[10], [0]]
            write_digits(folder / "digits")
        names = sets.split(",") if sets else sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
        for seed in numbers[1]:  # each ends before the next one begins: a table of fewer can be had early
            for name in names:
                for per_class in numbers[0]:
                    fill(out / "accuracy.jsonl", Path(folder) / name, per_class, seed, chosen)
        show(read(out / "accuracy.jsonl"))


if __name__ == "__main__":
    main(*sys.argv[1:])
