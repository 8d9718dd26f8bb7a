"""ImageNet's own lists of labels (ILSVRC2012): class numbers, ids with boxes behind them, or no names of pictures."""

import os
import re
from collections import Counter

from transferkit.console import say
from transferkit.data.sources.csv_paths import find_picture_folder
from transferkit.data.sources.csv_text import Table
from transferkit.data.sources.folder_walk import find_pictures
from transferkit.lookup import count_noun
from transferkit.weights.imagenet import challenge_numbers, synsets

PICTURE_NAME = re.compile(r"ILSVRC2012_\w*?(\d{8})(?!\d)")
BOXES = re.compile(r"(n\d{8})(?: -?\d+){4}(?: \1(?: -?\d+){4})*\s*")  # Kaggle's PredictionString
IMAGE, LABEL = "picture", "label"


def add_pictures(table: Table, folder: str) -> Table:
    """Add the pictures to a ground truth, line n of which is the class of `ILSVRC2012_val_0000000n.JPEG`.

    Args:
        table: any other table is returned as it is.
        folder: of the pictures, as `--image-dir` gives it.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: a number is not from 1 to 1000, or no picture has such a name.
    """
    if len(table.header) != 1 or not all(re.fullmatch(r"\d+|n\d{8}", cell) for cell in table.cells(table.header[0])):
        return table
    base = find_picture_folder(table.path.parent, folder)
    pictures = [(int(match[1]), path) for path in find_pictures(base, Counter())
                if (match := PICTURE_NAME.match(os.path.basename(path)))]  # fmt: skip
    if not pictures:
        raise ValueError(
            f"{table.path} holds only numbers or ids of classes: as ILSVRC2012's ground truth it needs its pictures, "
            f"ILSVRC2012_val_00000001.JPEG and so on, and {base} has none: give their folder as --image-dir."
        )
    labels = {line: row[table.header[0]].strip() for line, row in table.rows}
    ids = {str(number): synset for number, synset in challenge_numbers().items()}
    ids |= {synset: synset for synset in synsets()}
    wrong = next(((line, label) for line, label in labels.items() if label not in ids), None)
    if wrong:
        raise ValueError(
            f"{table.path}, line {wrong[0]}: {wrong[1]!r} is not a class of ILSVRC2012: expected 1 to 1000."
        )
    rows = [(number, {IMAGE: path, LABEL: ids[labels[number]]}) for number, path in pictures if number in labels]
    say(f"{table.path.name}: ILSVRC2012's ground truth, for {count_noun(len(rows), 'picture')} in {base}.")
    return Table(table.path, [IMAGE, LABEL], rows)


def replace_labels(table: Table, image: str, label: str) -> Table:
    """Replace numbers, or ids with boxes, by ids in a list of ILSVRC2012; any other table is returned as it is.

    Args:
        image, label: the columns.

    Raises:
        ValueError: the numbers count the classes from 1, in one of two orders.
    """
    cells = table.cells(label)
    boxes = [match for match in map(BOXES.fullmatch, cells) if match]
    if len(boxes) == len(cells):
        return table.with_column(label, [match[1] for match in boxes])
    if not all(cell.isdecimal() for cell in cells) or not all(map(PICTURE_NAME.search, table.cells(image))):
        return table
    ids = tuple(synsets())
    if max(map(int, cells)) >= len(ids):
        raise ValueError(
            f"{table.path}: its labels are numbers up to {max(map(int, cells))}, which count ImageNet's classes in one "
            "of several orders: expected ids as n01440764, or numbers from 0 to 999 in the order of the ids."
        )
    first = int(cells[0])
    say(f"{table.path.name}: labels are numbers from 0 to 999 in the order of ImageNet's ids; {first} is {ids[first]}, "
        f"{synsets()[ids[first]]}.")  # fmt: skip
    return table.with_column(label, [ids[int(cell)] for cell in cells])
