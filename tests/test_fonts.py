"""Class names in any script are drawn if a font has them, without warnings if none has."""

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from PIL import Image

from transferkit.data import contact_sheet, fonts
from transferkit.evaluation import plots

NAMES = ("cat", "chien é", "собака", "夢", "犬")  # the last one is in no font of these tests


@pytest.fixture
def dream(tmp_path, monkeypatch):
    """A font that has one character, a full square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(point)
    pen.closePath()
    glyphs = {".notdef": TTGlyphPen(None).glyph(), "dream": pen.glyph()}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(list(glyphs))
    font.setupCharacterMap({ord("夢"): "dream"})
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (900, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Dream", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "dream.ttf")
    bundled = [one for one in font_manager.fontManager.ttflist if "mpl-data" in one.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", bundled)
    without = fonts.make_drawable(NAMES)
    font_manager.fontManager.addfont(tmp_path / "dream.ttf")
    return without


def test_each_character_has_a_font_or_is_a_box(dream):
    texts, families = dream
    assert texts == ["cat", "chien é", "собака", fonts.MISSING_CHARACTER, fonts.MISSING_CHARACTER] and families == [
        fonts.DEFAULT_FONT
    ]
    texts, families = fonts.make_drawable(NAMES)
    assert texts == ["cat", "chien é", "собака", "夢", fonts.MISSING_CHARACTER] and families == [
        fonts.DEFAULT_FONT,
        "Dream",
    ]
    assert (
        fonts.find_best_font("夢").endswith("dream.ttf")
        and "DejaVu" in fonts.find_best_font("собака")
        and "DejaVu" in fonts.find_best_font("犬")
    )


def test_confusion_of_any_names(dream, tmp_path, capfd):
    counts = np.eye(len(NAMES), dtype=int)
    plots.plot_confusion(counts, NAMES, tmp_path / "some.png")
    plots.plot_confusion(counts, (*NAMES[:3], "犬", "犬"), tmp_path / "none.png")
    pixels = [np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")) for name in ("some", "none")]
    assert capfd.readouterr().err == ""
    assert pixels[0].shape != pixels[1].shape or (pixels[0] != pixels[1]).any()


def test_contact_sheets_of_any_names(dream):
    def ink(text):
        return (
            255 - np.asarray(contact_sheet.draw_grid([[(Image.new("RGB", (20, 20), "white"), text)]], 96).convert("L"))
        ).sum()

    assert ink("") == 0 < ink("cat")
    assert ink("夢") > 2 * ink("犬")  # a full square against an empty one


def test_long_names_leave_room_for_the_plot(tmp_path):
    names = ["a" * 200, "b" * 100 + "first", "b" * 100 + "second"]
    plots.plot_confusion(np.eye(3, dtype=int), names, tmp_path / "long.png")
    assert len({plots.shorten_name(name) for name in names}) == 3
    assert all(len(plots.shorten_name(name)) <= plots.MAX_NAME for name in names) and plots.shorten_name("cat") == "cat"
