"""Contact sheets: rows of pictures with a line of text below each, and one of what a network sees in training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transferkit.data import formats, pillow_reader
from transferkit.data.file_ranges import read_bytes
from transferkit.data.listing import Listing
from transferkit.lookup import none_can
from transferkit.pixels import Pixels

if TYPE_CHECKING:  # it loads TensorFlow
    from transferkit.data.augment.augmentation import Augmentation

GAP, LINE_HEIGHT, FONT_SIZE = 6, 16, 11  # pixels: between cells, of a line of text, and of its font
MAX_PIXELS = 50_000_000  # of a picture with a thumbnail; larger ones would take too much memory
MIN_CELL = 96  # pixels: longer side of a cell of training views
LATIN = 0x180  # Pillow's own font has the characters below


def draw_grid(
    rows: Sequence[Sequence[tuple[Image.Image, str]]], cell: int, headings: Sequence[str] = ()
) -> Image.Image:
    """Draw a white sheet of pictures.

    Args:
        rows: (picture, the text below it, of one or several lines) of each cell; the sides of a picture are at most
            `cell` pixels.
        cell: side of a cell, in pixels.
        headings: of the first columns.
    """
    lines = max((text.count("\n") + 1 for cells in rows for _, text in cells), default=1)
    font, width, height = ImageFont.load_default(FONT_SIZE), cell + GAP, cell + lines * LINE_HEIGHT + GAP
    columns = max(map(len, rows), default=0)
    sheet = Image.new("RGB", (columns * width + GAP, len(rows) * height + LINE_HEIGHT + GAP), "white")
    brush = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        brush.text((GAP + column * width, 2), heading, "black", font)
    for row, cells in enumerate(rows):
        for column, (image, text) in enumerate(cells):
            left, top = GAP + column * width, LINE_HEIGHT + row * height
            sheet.paste(image, (left, top), image if image.mode == "RGBA" else None)
            for number, line in enumerate(text.split("\n")):
                line_font = _choose_font(line, font)
                place = left, top + cell + number * LINE_HEIGHT
                brush.text(place, _shorten(line, cell, line_font), "black", line_font)
    return sheet


def load_thumbnail(path: str, side: int) -> Image.Image | None:
    """A picture of at most `side` pixels on its longer side; None if it cannot be read, or is very large."""
    try:
        data = read_bytes(path)
        with formats.open_image(data) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
        return pillow_reader.make_thumbnail(data, side)
    except Exception:  # Pillow's readers raise nearly anything on damaged files
        return None


def _choose_font(text: str, default):
    """A font that has the characters of a text."""
    if max(map(ord, text), default=0) < LATIN or not isinstance(default, ImageFont.FreeTypeFont):
        return default
    from transferkit.data import fonts  # it loads matplotlib

    return ImageFont.truetype(fonts.find_best_font(text), FONT_SIZE)


def _shorten(text: str, width: int, font) -> str:
    """Cut a text to one line of a width in pixels, without characters that a bitmap font cannot draw."""
    text = " ".join(text.split())
    text = text.encode("ascii", "replace").decode() if not isinstance(font, ImageFont.FreeTypeFont) else text
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text


def sample_per_class(listing: Listing, count: int, *, seed: int = 0) -> Listing:
    """Draw up to `count` pictures of every class."""
    rows = np.random.default_rng(seed).permutation(len(listing))
    labels = np.array(listing.labels)[rows]
    return listing.take(sorted(row for label in range(len(listing.classes)) for row in rows[labels == label][:count]))


def draw_views(
    listing: Listing, pixels: Pixels, augmentation: "Augmentation", *, views: int, seed: int = 0
) -> Image.Image:
    """Draw one row a picture: its evaluation view, then its training views of `views` epochs.

    Grey pictures are drawn grey; where a picture is transparent, the white sheet shows.

    Raises:
        ValueError: none of the pictures can be read.
    """
    from transferkit.data import pipeline  # it loads TensorFlow

    readable = [int(row) for row, _ in pipeline.find_readable(listing.paths, pixels.channels)]
    if not readable:
        raise ValueError(f"{none_can(len(listing), 'picture')} be read.")
    listing = listing.take(readable)
    batches = pipeline.evaluation_dataset(listing.paths, pixels, batch_size=len(listing))
    ((pictures, _),) = batches.as_numpy_iterator()
    columns = [(pictures, np.eye(len(listing.classes), dtype="float32")[list(listing.labels)])]
    source = pipeline.ViewSource(listing, pixels, augmentation)
    columns += pipeline.preview_dataset(source, seed=seed, epochs=range(views)).as_numpy_iterator()
    return _draw_columns(columns, [listing.classes[label] for label in listing.labels], listing.classes)


def _draw_columns(columns, names, classes) -> Image.Image:
    """Draw columns of (pictures, labels) side by side; a class is written below if it is not the row's."""
    height, width = columns[0][0].shape[1:3]
    scale = -(-MIN_CELL // max(height, width))  # a whole number, so that the pixels of small pictures show

    def draw_cell(column: int, row: int):
        picture, text = columns[column][0][row], _describe_label(columns[column][1][row], classes)
        image = Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)
        image = image.resize((scale * width, scale * height), Image.Resampling.NEAREST)
        return image, text if column == 0 or text != names[row] else ""

    rows = [[draw_cell(column, row) for column in range(len(columns))] for row in range(len(names))]
    return draw_grid(rows, scale * max(height, width), ("evaluation", "training")[: len(columns)])


def _describe_label(label, classes) -> str:
    """'cat 70% dog 30%' of a soft label, or 'cat' if one class has all."""
    if label.max() > 0.995:
        return classes[label.argmax()]
    return " ".join(f"{classes[i]} {label[i]:.0%}" for i in np.argsort(-label)[:3] if label[i] > 0.005)
