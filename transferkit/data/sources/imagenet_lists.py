"""ImageNet's own lists of labels (ILSVRC2012): numbers, ids with boxes behind them, or no names of pictures."""

import os
import re
from collections import Counter
from pathlib import Path

from transferkit.console import say
from transferkit.data.sources.csv_paths import find_picture_folder
from transferkit.data.sources.csv_text import Rows
from transferkit.data.sources.folder_walk import find_pictures
from transferkit.weights.imagenet import challenge_numbers, synsets

NAMED = re.compile(r"ILSVRC2012_\w*?(\d{8})(?!\d)")
BOXES = re.compile(r"(n\d{8})(?: -?\d+){4}(?: \1(?: -?\d+){4})*\s*")  # Kaggle's PredictionString
IMAGE, LABEL = "picture", "label"


def add_pictures(path: Path, header: list[str], rows: Rows, folder: str) -> tuple[list[str], Rows] | None:
    """The table of a ground truth, line n of which is the class of `ILSVRC2012_val_0000000n.JPEG`; None for others.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: a number is not from 1 to 1000, or no picture called so is there.
    """
    if len(header) != 1 or not all(re.fullmatch(r"\d+|n\d{8}", row[header[0]].strip()) for _, row in rows):
        return None
    base = find_picture_folder(path.parent, folder)
    found = [(int(match[1]), place) for place in find_pictures(base, Counter())
             if (match := NAMED.match(os.path.basename(place)))]  # fmt: skip
    if not found:
        raise ValueError(
            f"{path} holds numbers or ids of classes alone: as ILSVRC2012's ground truth it needs its pictures, "
            f"ILSVRC2012_val_00000001.JPEG and so on, and {base} has none: give their folder as --image-dir."
        )
    labels = {line: row[header[0]].strip() for line, row in rows}
    numbers = challenge_numbers()
    known = {str(number): synset for number, synset in numbers.items()} | {synset: synset for synset in synsets()}
    wrong = next(((line, label) for line, label in labels.items() if label not in known), None)
    if wrong:
        raise ValueError(f"{path}, line {wrong[0]}: {wrong[1]!r} is no class of ILSVRC2012: expected 1 to 1000.")
    table = [(number, {IMAGE: place, LABEL: known[labels[number]]}) for number, place in found if number in labels]
    say(f"{path.name}: ILSVRC2012's ground truth, for {len(table):,} pictures in {base}.")
    return [IMAGE, LABEL], table


def replace_labels(path: Path, rows: Rows, image: str, label: str) -> Rows:
    """The rows with ids of classes where ILSVRC2012's pictures have numbers, or ids with boxes; others as they are.

    Raises:
        ValueError: the numbers are counted from 1, in one of two orders.
    """
    boxes = [BOXES.fullmatch(row[label].strip()) for _, row in rows]
    if all(boxes):
        return [(line, row | {label: match[1]}) for (line, row), match in zip(rows, boxes, strict=True)]
    cells = [row[label].strip() for _, row in rows]
    if not all(cell.isdecimal() for cell in cells) or not all(NAMED.search(row[image]) for _, row in rows):
        return rows
    ids = tuple(synsets())
    if max(map(int, cells)) >= len(ids):
        raise ValueError(
            f"{path}: its labels are numbers up to {max(map(int, cells))}, which count ImageNet's classes in one of "
            "several orders: expected ids as n01440764, or numbers from 0 to 999 in the order of the ids."
        )
    first = int(cells[0])
    say(f"{path.name}: labels are numbers from 0 to 999 in the order of ImageNet's ids; {first} is {ids[first]}, "
        f"{synsets()[ids[first]]}.")  # fmt: skip
    return [(line, row | {label: ids[int(row[label])]}) for line, row in rows]
