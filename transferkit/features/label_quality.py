"""Find the likely wrong labels of pictures before any training, by confident learning (Northcutt et al. 2021).

A logistic regression on features is cross-validated, so each picture has probabilities of a classifier that has not
seen it. How many labels are wrong is estimated from them (section 3 of the paper); these are the pictures whose own
label has the lowest probability. Duplicates of a picture are in its fold, as they would give its label away.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from transferkit import atomic
from transferkit.console import printable, warn
from transferkit.data import contact_sheet
from transferkit.data.audit import duplicate_groups
from transferkit.data.audit.problems import Problem
from transferkit.data.file_ranges import original_name
from transferkit.data.listing import Listing
from transferkit.data.sources.resolve import as_listing
from transferkit.evaluation.mistakes import CELL, COLUMNS, MOST
from transferkit.features.base_selection import find_candidates
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec, probe_layers
from transferkit.features.probe_scores import LabelledFeatures, cross_validate

FOLDS = 5
CSV_FILE, SHEET_FILE = "suspects.csv", "suspects.png"
CSV_COLUMNS = ("path", "label", "likely", "quality")


@dataclass(frozen=True)
class Suspect:
    """A picture whose label is likely wrong.

    Attributes:
        path: of the picture.
        label: the class that it is given.
        likely: the most probable other class.
        probability: of `likely`, 0..1.
        quality: the probability of `label`, 0..1: the lower, the more likely the label is wrong.
    """

    path: str
    label: str
    likely: str
    probability: float
    quality: float


def check_installed():
    """Raise `ModuleNotFoundError` if cleanlab is not installed."""
    if not find_spec("cleanlab"):
        raise ModuleNotFoundError('Finding wrong labels needs the extra: pip install "transferkit[labels]".')


def find_suspects(data, base: str = "", *, seed: int = 0, cache: bool = True) -> list[Suspect]:
    """Find the pictures whose labels are likely wrong, the likeliest first.

    Pictures of a class that has one picture (or one group) are skipped, with a warning.

    Args:
        data: the pictures with their classes: a listing, a path or name as of `--data` (the pictures of train/ and
            val/), or a list of paths (the folder of each is its class).
        base: the network whose features are used, as of `--base`; by default the largest of those up to five billion
            multiply-adds whose weights are on this machine.
        seed: of the folds.
        cache: whether features are read from the cache folder and stored there.

    Raises:
        ModuleNotFoundError: cleanlab is not installed, the extra `labels`.
        UnknownName, FileNotFoundError, ValueError, OSError: the network is not found, or fewer than two classes have
            two pictures.

    Example:
        >>> find_suspects("pets/")[0]  # doctest: +SKIP
        Suspect(path='pets/cat/rex.jpg', label='cat', likely='dog', probability=0.98, quality=0.01)
    """
    check_installed()
    listing = as_listing(data, "data")
    base = base or choose_base()
    spec = FeatureSpec(base, layer=probe_layers(base))
    listing = listing.take(_find_rows_to_compare(listing))
    extraction = extract(listing.paths, spec, cache=cache, description=f"features of {base}")
    listing = duplicate_groups.mark_duplicates(listing.take(extraction.rows))
    rows = _find_rows_to_compare(listing)
    listing, features = listing.take(rows), extraction.features[rows]
    labels, groups = np.array(listing.labels), np.array(listing.groups) if listing.groups else None
    result = cross_validate(
        LabelledFeatures(features, labels, groups, listing.duplicate_sets, extraction.widths),
        folds=min(FOLDS, min(_count_units(listing).values())),
        seed=seed,
    )
    return _rank(listing, labels, result.probabilities)


def choose_base() -> str:
    """The largest network of `base_selection.find_candidates`, which is the most accurate one more often than not.

    Raises:
        FileNotFoundError: no network has its weights on this machine.
    """
    return find_candidates()[-1]


def _count_units(listing: Listing) -> Counter:
    """The number of pictures of each label, or of groups if there are any."""
    return Counter(label for label, _ in {*zip(listing.labels, listing.groups or listing.paths, strict=True)})


def _find_rows_to_compare(listing: Listing) -> list[int]:
    """The rows of the classes with two pictures or more, or groups; warns of the others."""
    counts, noun = _count_units(listing), "group" if listing.groups else "picture"
    for label, count in counts.items():
        if count == 1:
            warn(f"Class {listing.classes[label]} has 1 {noun}: its labels cannot be checked.")
    if (classes := sum(count > 1 for count in counts.values())) < 2:
        raise ValueError(f"Checking labels needs two classes of two {noun}s or more, and there is {classes}.")
    return [row for row, label in enumerate(listing.labels) if counts[label] > 1]


def _rank(listing: Listing, labels: np.ndarray, probabilities) -> list[Suspect]:
    """As many pictures as confident learning estimates to be wrong, the lowest probability of the label first.

    Args:
        labels: (n,), of which `probabilities` (n, classes) has a column for each that occurs.
    """
    from cleanlab.filter import find_label_issues  # slow to import

    present, columns = np.unique(labels, return_inverse=True)
    rows = find_label_issues(
        columns, probabilities, filter_by="low_self_confidence", return_indices_ranked_by="self_confidence", n_jobs=1
    )
    suspects = []
    for row in rows.tolist():
        others = probabilities[row].copy()
        others[columns[row]] = -1
        likely, label = listing.classes[present[others.argmax()]], listing.classes[labels[row]]
        quality = float(probabilities[row, columns[row]])
        suspects.append(Suspect(listing.paths[row], label, likely, float(others.max()), quality))
    return suspects


def as_problem(suspect: Suspect) -> Problem:
    """The suspect as a row of what `check` finds."""
    return Problem(
        suspect.path, "label", f"labelled {suspect.label}, likely {suspect.likely} ({suspect.probability:.0%})"
    )


def write_suspects(suspects: Sequence[Suspect], folder: str | os.PathLike):
    """Write `suspects.csv`, whose corrected labels `check --relabel` carries out, and the sheet `suspects.png`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{name: getattr(one, name) for name in CSV_COLUMNS} for one in suspects]
    atomic.write(folder / CSV_FILE, [row | {"quality": f"{row['quality']:.4f}"} for row in rows])
    atomic.write(folder / SHEET_FILE, lambda path: draw_suspects(suspects).save(path, "PNG"))


def draw_suspects(suspects: Sequence[Suspect]) -> Image.Image:
    """Draw the first suspects as a sheet, with the given and the likely label and the file's name below."""
    cells = []
    for one in suspects[:MOST]:
        picture = contact_sheet.load_thumbnail(one.path, CELL) or Image.new("RGB", (CELL, CELL), "lightgray")
        name = printable(os.path.basename(original_name(one.path)))
        cells.append((picture, f"label: {one.label}\nlikely ({one.probability:.0%}): {one.likely}\n{name}"))
    rows = [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    heading = f"Likely wrong labels: {len(cells)} of {len(suspects):,}"
    return contact_sheet.draw_grid(rows, CELL, [heading])
