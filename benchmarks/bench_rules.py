"""What the rules choose against a small grid around it, and against a logistic regression on the frozen features.

From each set come 300 pictures, a fifth of which is held out as always, and 600 others that decide; a seed is another
draw, the same for all settings. Without a folder of sets: one draw of scikit-learn's digits.

    python benchmarks/bench_rules.py [OUT [FOLDER_OF_SETS [SEED ...]]]

A result is a line of OUT/rules.jsonl, and what is there is not run again: start it as often as you like.
"""

import json
import math
import os
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import transferkit as tk
from transferkit.console import say
from transferkit.data.digits import write_digits
from transferkit.data.sources import find_all
from transferkit.features import classifiers
from transferkit.recipe import Data

BASE, SIZE = "efficientnet_lite0", 96
GIVEN, DECIDING = 300, 600  # pictures
GRID = {
    f"{part}, lr {rate:g}": {"unfreeze": part, "lr": rate}
    for part in ("all", "last-2")
    for rate in (1.7e-4, 4.2e-4, 1e-3)
}
FEWER, REGRESSION = "regression on the training part", "regression on all 300"


def draw(folder: Path, seed: int):
    """Pictures to learn from, to hold out, and to decide by; the first two are those given."""
    pool, _ = find_all(Data(str(folder)))
    others, given = pool.split(GIVEN / len(pool), seed=seed)
    _, test = others.split(DECIDING / len(others), seed=seed)
    return *given.split(Data().validation, seed=seed), test


def fine_tuned(folder: Path, seed: int, knobs: dict) -> dict:
    train, val, test = draw(folder, seed)
    with TemporaryDirectory() as place:
        run = tk.finetune(BASE, train, val, test=test, out=Path(place) / "run", size=SIZE, seed=seed, **knobs)
        chosen = run.recipe.train
        found = {name: run.metrics[name] for name in ("accuracy", "n", "kept", "baseline", "seconds")}
    return found | {"chosen": {name: getattr(chosen, name) for name in ("unfreeze", "lr", "epochs", "start")}}


def regressed(folder: Path, seed: int) -> dict:
    """Of all that is given: it needs nothing held out, for it chooses its strength by itself."""
    train, val, test = draw(folder, seed)
    extractor = tk.FeatureExtractor(BASE, size=SIZE).fit()
    features, labels = extractor.transform([*train.paths, *val.paths]), [*train.labels, *val.labels]
    model = classifiers.fitted("logreg", features, labels, seed=seed)
    return {"accuracy": float((model.predict(extractor.transform(test.paths)) == test.labels).mean()), "n": len(test)}


def fill(results: Path, folder: Path, seed: int):
    """Run what is not in the file yet."""
    known = {row["setting"]: row for row in read(results) if (row["set"], row["seed"]) == (folder.name, seed)}

    def note(setting: str, row: dict):
        known[setting] = row | {"set": folder.name, "seed": seed, "setting": setting}
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(known[setting]) + "\n")
        say(f"{folder.name}, seed {seed}, {setting}: {row['accuracy']:.3f}")

    if "rule" not in known:
        note("rule", fine_tuned(folder, seed, {}))
    rule = known["rule"]
    if FEWER not in known:
        note(FEWER, rule["baseline"] | {"n": rule["n"]})
    if REGRESSION not in known:
        note(REGRESSION, regressed(folder, seed))
    for setting, knobs in GRID.items():
        if setting not in known:
            chosen = rule["chosen"]
            same = chosen["unfreeze"] == knobs["unfreeze"] and math.isclose(chosen["lr"], knobs["lr"], rel_tol=0.02)
            note(setting, rule if same else fine_tuned(folder, seed, knobs))


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []


def show(rows: list[dict]):
    """Markdown: a line a setting, a column a set, in percent the mean of the seeds."""
    draws, names = {}, ("rule", *GRID, FEWER, REGRESSION)
    for row in rows:
        draws.setdefault((row["set"], row["seed"]), {})[row["setting"]] = 100 * row["accuracy"]
    whole = {key: draw for key, draw in draws.items() if len(draw) == len(names)}
    if not whole:
        return say("No draw is complete yet.")
    sets = list(dict.fromkeys(one for one, _ in whole))
    lines = {
        name: [statistics.mean(whole[key][name] for key in whole if key[0] == one) for one in sets] for name in names
    }
    best = [max(column) for column in zip(*(lines[name] for name in GRID), strict=True)]
    lines["rule - best of the grid"] = [one - other for one, other in zip(lines["rule"], best, strict=True)]
    for name in (FEWER, REGRESSION):
        lines[f"rule - {name}"] = [one - other for one, other in zip(lines["rule"], lines[name], strict=True)]
    seeds = [str(sum(key[0] == one for key in whole)) for one in sets]
    print(f"\n| {' | '.join(('%', *sets, 'mean'))} |\n|---|{'---|' * (len(sets) + 1)}")
    print(f"| {' | '.join(('seeds', *seeds, ''))} |")
    for name, line in lines.items():
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in (*line, statistics.mean(line)))} |")


def main(out: str = "", folder: str = "", *seeds: str):
    with TemporaryDirectory() as place:
        out = Path(out or place)
        out.mkdir(parents=True, exist_ok=True)
        seeds = seeds or ((0, 1, 2) if folder else (0,))
        if not folder:
            folder = out / "sets"
            write_digits(folder / "digits")
        for seed in map(int, seeds):  # each ends before the next one begins: a table of fewer can be had early
            for one in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
                fill(out / "rules.jsonl", one, seed)
        show(read(out / "rules.jsonl"))


if __name__ == "__main__":
    main(*sys.argv[1:])
