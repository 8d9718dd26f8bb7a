"""The sheet of the surest mistakes."""

import numpy as np
import pytest
from PIL import Image

from transferkit.data import contact_sheet
from transferkit.evaluation import mistakes
from transferkit.evaluation.mistakes import CELL, MAX_BYTES, MOST


def wrong(path, probability, label="cat", predicted="dog"):
    return {"path": str(path), "label": label, "predicted": predicted, "probability": probability}


@pytest.fixture
def pictures(tmp_path):
    """Thirty pictures of grey noise, which no PNG compresses."""
    rng = np.random.default_rng(0)
    for number in range(30):
        Image.fromarray(rng.integers(0, 256, (200, 200), "uint8")).save(tmp_path / f"{number}.png")
    return [tmp_path / f"{number}.png" for number in range(30)]


@pytest.fixture
def drawn(monkeypatch):
    """The cells of each sheet, row by row."""
    sheets, draw = [], contact_sheet.draw_grid

    def record(rows, *args):
        sheets.append([cell for row in rows for cell in row])
        return draw(rows, *args)

    monkeypatch.setattr(contact_sheet, "draw_grid", record)
    return sheets


def test_the_surest_mistakes_come_first_and_right_answers_not_at_all():
    rows = [wrong("a", 0.6), wrong("b", 0.9), wrong("c", 1.0, "dog"), wrong("d", 0.7)]
    assert [row["path"] for row in mistakes.rank_mistakes(rows)] == ["b", "d", "a"]


def test_a_sheet_shows_classes_probability_and_name(pictures, drawn):
    rows = [wrong(path, number / 100) for number, path in enumerate(pictures)]
    mistakes.draw_mistakes(rows)
    texts = [text for _, text in drawn[0]]
    assert len(texts) == MOST and texts[0] == "true: cat\npredicted (29%): dog\n29.png"


def test_pictures_that_are_gone_are_skipped(pictures, drawn, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"none")
    rows = [wrong(tmp_path / "gone.png", 0.9), wrong(tmp_path / "broken.png", 0.8), wrong(pictures[0], 0.7)]
    assert mistakes.draw_mistakes(rows).width < 2 * CELL and len(drawn[0]) == 1
    assert mistakes.draw_mistakes(rows[:2]) is None
    assert mistakes.draw_mistakes([]) is None


def test_small_pictures_are_enlarged_without_blur(tmp_path, drawn):
    Image.fromarray(np.eye(28, dtype="uint8") * 255).save(tmp_path / "digit.png")
    mistakes.draw_mistakes([wrong(tmp_path / "digit.png", 0.9)])
    picture = drawn[0][0][0]
    assert picture.size == (140, 140) and len(picture.getcolors()) == 2


def test_lines_below_a_picture_do_not_overlap_the_next_row():
    cell = (Image.new("RGB", (CELL, CELL), "white"), "\n\nÅg")
    empty = (Image.new("RGB", (CELL, CELL), "white"), "\n\n")
    ink = [np.asarray(contact_sheet.draw_grid([[one], [empty]], CELL).convert("L")) < 128 for one in (cell, empty)]
    rows = np.flatnonzero(ink[0].any(1))
    assert len(rows) and not ink[1].any()
    assert rows.min() > CELL + 2 * contact_sheet.LINE_HEIGHT
    assert rows.max() < CELL + 4 * contact_sheet.LINE_HEIGHT + contact_sheet.GAP  # where the next row begins


def test_the_file_is_small(pictures, tmp_path):
    sheet = mistakes.draw_mistakes([wrong(path, 0.5) for path in pictures])
    mistakes.save_sheet(sheet, tmp_path / "mistakes.png")
    assert (tmp_path / "mistakes.png").stat().st_size <= MAX_BYTES
    with Image.open(tmp_path / "mistakes.png") as saved:
        assert saved.size == sheet.size


def test_a_run_gets_its_mistakes_and_loses_old_ones(pictures, tmp_path):
    from transferkit import run_writing, runs

    run_writing.write_predictions(tmp_path, [wrong(pictures[0], 0.5)], None, ("cat", "dog"))
    assert (tmp_path / runs.MISTAKES).is_file() and not (tmp_path / "confusion.png").exists()
    run_writing.write_predictions(tmp_path, [wrong(pictures[0], 0.5, "dog")], [[0, 0], [0, 1]], ("cat", "dog"))
    assert not (tmp_path / runs.MISTAKES).exists() and (tmp_path / "confusion.png").is_file()
