"""Fonts of this machine that have the characters of a text: matplotlib's own has no Chinese, Japanese or Korean."""

from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

FIRST = "DejaVu Sans"  # comes with matplotlib
BOX = "\N{WHITE SQUARE}"  # in place of a character that no font has
PLACEHOLDERS = ("Last Resort", ".Last")  # have a box for every character


def find_fonts(text: str) -> list[font_manager.FontEntry]:
    """Matplotlib's first font, and of the others as many as have what it lacks, where there are any."""
    found, missing = [], set(map(ord, text)) - {10, 32}
    for font in _fonts():
        has = _characters(font.fname)
        if not found or missing & has:
            found.append(font)
            missing -= has
        if not missing:
            break
    return found


def make_drawable(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Texts as matplotlib can draw them, and the families to draw them with, without a warning."""
    texts = list(texts)
    fonts = find_fonts("".join(texts))
    known = frozenset({10, 32}).union(*(_characters(font.fname) for font in fonts))
    return ["".join(c if ord(c) in known else BOX for c in text) for text in texts], [font.name for font in fonts]


def find_best_font(text: str) -> str:
    """The file of the font that has most of a text's characters."""
    return max(find_fonts(text), key=lambda font: len(set(map(ord, text)) & _characters(font.fname))).fname


def _fonts() -> list[font_manager.FontEntry]:
    """Upright ones of usual weight first, and matplotlib's before all."""
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith(PLACEHOLDERS)]

    def order(font):
        return font.name != FIRST, font.style != "normal", font.weight not in (400, "normal", "regular"), font.name

    return sorted(fonts, key=order)


@cache
def _characters(path: str) -> frozenset[int]:
    """The characters that a font has; none of one that cannot be read, or has fixed sizes alone."""
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
