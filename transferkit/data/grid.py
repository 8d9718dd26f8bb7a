"""Rows of pictures with a line of text below each, drawn with Pillow."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, LINE = 6, 16  # pixels: between cells, and of a line of text


def draw(rows: Sequence[Sequence[tuple[Image.Image, str]]], cell: int, headings: Sequence[str] = ()) -> Image.Image:
    """A white sheet of pictures of at most `cell` pixels a side, and what is written below each.

    Args:
        headings: of the columns, the first ones of them.
    """
    font, width, height = ImageFont.load_default(11), cell + GAP, cell + LINE + GAP
    columns = max(map(len, rows), default=0)
    sheet = Image.new("RGB", (columns * width + GAP, len(rows) * height + LINE + GAP), "white")
    brush = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        brush.text((GAP + column * width, 2), heading, "black", font)
    for row, cells in enumerate(rows):
        for column, (image, text) in enumerate(cells):
            left, top = GAP + column * width, LINE + row * height
            sheet.paste(image, (left, top), image if image.mode == "RGBA" else None)
            brush.text((left, top + cell), _cut(text, cell, font), "black", font)
    return sheet


def _cut(text: str, width: int, font) -> str:
    """As much of a text as fits on one line, without what a font may not have."""
    text = " ".join(text.split())
    text = text.encode("ascii", "replace").decode() if not isinstance(font, ImageFont.FreeTypeFont) else text
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text
