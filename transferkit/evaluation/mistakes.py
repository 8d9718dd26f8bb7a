"""Sheets of the surest mistakes of a network, where wrong labels and unclear pictures are soon seen, and of the
pictures on which two networks differ."""

import os
from collections.abc import Callable, Iterable

from PIL import Image

from transferkit.console import printable
from transferkit.data import contact_sheet
from transferkit.data.file_ranges import original_name

MOST, COLUMNS, CELL = 24, 6, 144  # pictures on the sheet, of them in a row, and pixels of the longer side of each
MAX_BYTES = 300_000
COLORS = (256, 64, 16)  # of the PNG's palette; fewer take less space


def rank_mistakes(predictions: Iterable[dict]) -> list[dict]:
    """The wrong ones among rows of `predict.evaluate`, the surest first."""
    wrong = [row for row in predictions if row["label"] != row["predicted"]]
    return sorted(wrong, key=lambda row: -row["probability"])


def load_thumbnails(rows: list[dict], most: int, side: int = CELL) -> list[tuple[dict, Image.Image]]:
    """The first `most` rows whose pictures can be read, each with a thumbnail of at most `side` pixels."""
    found: list[tuple[dict, Image.Image]] = []
    for row in rows:
        if len(found) == most:
            break
        if picture := contact_sheet.load_thumbnail(row["path"], side):
            found.append((row, picture))
    return found


def describe_mistake(row: dict) -> str:
    """The true and the predicted class with its probability, in two lines."""
    return f"true: {row['label']}\npredicted ({row['probability']:.0%}): {row['predicted']}"


def draw_mistakes(predictions: Iterable[dict]) -> Image.Image | None:
    """Draw up to `MOST` mistakes, with the true and the predicted class, its probability and the file's name below.

    Args:
        predictions: rows of `predict.evaluate`. Pictures that cannot be read any more are skipped.

    Returns:
        The sheet, in RGB; None if there are no mistakes that can be drawn.
    """
    return _draw_sheet(rank_mistakes(predictions), describe_mistake, "Mistakes", ", the surest first")


def draw_differences(rows: list[dict]) -> Image.Image | None:
    """Draw up to `MOST` pictures that one of two networks alone predicts correctly, with what each predicts.

    Args:
        rows: with `path`, `label`, and pairs of `predicted` and `probability`.

    Returns:
        As `draw_mistakes`.
    """

    def describe(row):
        both = zip("AB", row["predicted"], row["probability"], strict=True)
        return "\n".join([f"true: {row['label']}", *(f"{name} ({p:.0%}): {label}" for name, label, p in both)])

    return _draw_sheet(rows, describe, "Pictures on which A and B differ")


def _draw_sheet(rows: list[dict], describe: Callable[[dict], str], heading: str, order="") -> Image.Image | None:
    cells = []
    for row, picture in load_thumbnails(rows, MOST):
        name = printable(os.path.basename(original_name(row["path"])))
        cells.append((_enlarge(picture), f"{describe(row)}\n{name}"))
    if not cells:
        return None
    heading = f"{heading}: {len(cells)} of {len(rows):,}" + order * (len(cells) > 1)
    return contact_sheet.draw_grid(
        [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)], CELL, [heading]
    )


def _enlarge(picture: Image.Image) -> Image.Image:
    """A small picture a whole number of times larger, so that its pixels show."""
    scale = CELL // max(picture.size)
    return picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.NEAREST)


def save_sheet(sheet: Image.Image, path):
    """Write a sheet as a PNG of at most `MAX_BYTES`, with as many colours as fit."""
    for colors in COLORS:
        sheet.quantize(colors, dither=Image.Dither.NONE).save(path, "PNG")
        if os.path.getsize(path) <= MAX_BYTES:
            return
