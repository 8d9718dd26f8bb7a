"""Cross-entropy and calibration error on test pictures, with the temperature of some validation pictures and without.

Heads are logistic regressions on features, of four strengths of regularisation, so that some are too sure and some too
unsure. Twelve pictures of each class are drawn; a quarter of them are the validation pictures.

    python benchmarks/bench_calibration.py [FOLDER_OF_SETS SET,SET... [SEEDS]]

Without a folder of data sets, the set is scikit-learn's digits.
"""

import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bench_accuracy import BASE, SIZE, SIZES, draw_pictures
from figures import Figure, report
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from transferkit.data.example_digits import write_digits
from transferkit.evaluation.calibration import fit_temperature, to_probabilities
from transferkit.evaluation.weighted_scores import score_probabilities
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec

PER_CLASS, MOST_TEST = 12, 500
STRENGTHS = (0.03, 0.3, 3.0, 30.0)  # C of LogisticRegression


def measure_draw(folder: Path, seed: int) -> dict[float, list[float]]:
    """Of each strength: the temperature, and loss and ece of the test pictures without it and with it."""
    train, test, groups = draw_pictures(folder, PER_CLASS, seed)
    test = test.take(np.random.default_rng(seed).permutation(len(test))[:MOST_TEST])
    spec = FeatureSpec(BASE, size=SIZES.get(folder.name, SIZE))
    features, test_features = (extract(listing.paths, spec).features for listing in (train, test))
    labels, test_labels = np.array(train.labels), np.array(test.labels)
    kept, held_out = next(StratifiedGroupKFold(4, shuffle=True, random_state=seed).split(labels, labels, groups))
    found = {}
    for strength in STRENGTHS:
        head = LogisticRegression(C=strength, max_iter=300).fit(features[kept], labels[kept])
        temperature = fit_temperature(head.decision_function(features[held_out]), labels[held_out])
        scores = []
        for value in (1.0, temperature):
            probabilities = to_probabilities(head.decision_function(test_features), value)
            scored = score_probabilities(probabilities, test_labels, np.ones((1, len(test_labels))))
            scores += [float(scored[name][0]) for name in ("loss", "ece")]
        found[strength] = [temperature, *scores]
    return found


def main(sets: str = "", names: str = "digits", seeds: str = "6"):
    with TemporaryDirectory() as temporary:
        if not sets:
            write_digits(Path(temporary) / names)
        print_sets(Path(sets or temporary), names.split(","), int(seeds))


def print_sets(sets: Path, names: list[str], seeds: int):
    """Print a Markdown table with a row for each set and strength: medians over the seeds."""
    print("| set | C | temperature | cross-entropy | worst draw | calibration error |\n|---|---|---|---|---|---|")
    for name in names:
        draws = [measure_draw(sets / name, seed) for seed in range(seeds)]
        for strength in STRENGTHS:
            rows = np.array([draw[strength] for draw in draws])
            temperature, loss, ece, loss_with, ece_with = np.median(rows, 0)
            worst = (rows[:, 3] - rows[:, 1]).max()
            print(
                f"| {name} | {strength} | {temperature:.2f} | {loss:.3f} to {loss_with:.3f} | {worst:+.3f} "
                f"| {ece:.3f} to {ece_with:.3f} |"
            )
        report_errors(name, draws)


def report_errors(name: str, draws: list[dict]):
    """Report the calibration errors of all strengths together, a round for each draw."""
    without, tempered = (
        [statistics.mean(found[place] for found in draw.values()) for draw in draws] for place in (2, 4)
    )
    peer, unit = "without a temperature", "calibration error"
    figures = [Figure(peer, without, unit), Figure("with the temperature", tempered, unit, peer)]
    report(f"calibration on {name}, {len(STRENGTHS)} heads", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
