"""Rows of pictures with a line of text below each, drawn with Pillow."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP, LINE, SIZE = 6, 16, 11  # pixels: between cells, of a line of text, and of its font


def draw(rows: Sequence[Sequence[tuple[Image.Image, str]]], cell: int, headings: Sequence[str] = ()) -> Image.Image:
    """A white sheet of pictures of at most `cell` pixels a side, and what is written below each.

    Args:
        headings: of the columns, the first ones of them.
    """
    font, width, height = ImageFont.load_default(SIZE), cell + GAP, cell + LINE + GAP
    columns = max(map(len, rows), default=0)
    sheet = Image.new("RGB", (columns * width + GAP, len(rows) * height + LINE + GAP), "white")
    brush = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        brush.text((GAP + column * width, 2), heading, "black", font)
    for row, cells in enumerate(rows):
        for column, (image, text) in enumerate(cells):
            left, top = GAP + column * width, LINE + row * height
            sheet.paste(image, (left, top), image if image.mode == "RGBA" else None)
            written = _font(text, font)
            brush.text((left, top + cell), _cut(text, cell, written), "black", written)
    return sheet


def _font(text: str, default):
    """Pillow's own font has Latin letters alone."""
    if max(map(ord, text), default=0) < 0x180 or not isinstance(default, ImageFont.FreeTypeFont):
        return default
    from transferkit.data import fonts  # it loads matplotlib

    return ImageFont.truetype(fonts.best(text), SIZE)


def _cut(text: str, width: int, font) -> str:
    """As much of a text as fits on one line, without what a font may not have."""
    text = " ".join(text.split())
    text = text.encode("ascii", "replace").decode() if not isinstance(font, ImageFont.FreeTypeFont) else text
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text
