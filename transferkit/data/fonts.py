"""Find fonts on this machine for a text: matplotlib's own font lacks Chinese, Japanese and Korean."""

from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

DEFAULT_FONT = "DejaVu Sans"  # comes with matplotlib
MISSING_CHARACTER = "\N{WHITE SQUARE}"  # in place of a character that no font has
PLACEHOLDER_FONTS = ("Last Resort", ".Last")  # have a box for every character


def find_fonts(text: str) -> list[font_manager.FontEntry]:
    """Matplotlib's default font, and other fonts that have the characters it lacks, if there are any."""
    found: list[font_manager.FontEntry] = []
    missing = set(map(ord, text)) - {10, 32}
    for font in _sorted_fonts():
        has = _characters(font.fname)
        if not found or missing & has:
            found.append(font)
            missing -= has
        if not missing:
            break
    return found


def make_drawable(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Replace characters that no font has, so that matplotlib draws the texts without a warning.

    Returns:
        The texts, and the font families to draw them with.
    """
    texts = list(texts)
    fonts = find_fonts("".join(texts))
    known = frozenset({10, 32}).union(*(_characters(font.fname) for font in fonts))
    return ["".join(c if ord(c) in known else MISSING_CHARACTER for c in text) for text in texts], [
        font.name for font in fonts
    ]


def find_best_font(text: str) -> str:
    """The path of the font that has most of a text's characters."""
    return max(find_fonts(text), key=lambda font: len(set(map(ord, text)) & _characters(font.fname))).fname


def _sorted_fonts() -> list[font_manager.FontEntry]:
    """All fonts: matplotlib's default, then upright ones of usual weight, then the others."""
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith(PLACEHOLDER_FONTS)]

    def order(font):
        return (
            font.name != DEFAULT_FONT,
            font.style != "normal",
            font.weight not in (400, "normal", "regular"),
            font.name,
        )

    return sorted(fonts, key=order)


@cache
def _characters(path: str) -> frozenset[int]:
    """The characters that a font has; none for a font that cannot be read, or is not scalable."""
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()
