"""What is said of a single picture, row, class or run: "1 picture" and never "1 pictures"."""

import re
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import transferkit as tk
from transferkit import lookup
from transferkit.data.listing import listing_from_names
from transferkit.data.sources.folder_walk import find_pictures
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec

NOUNS = "pictures files rows classes runs labels columns outputs steps epochs folds groups views units channels queries"
WRONG = re.compile(rf"(?<![\d.,])1 (?:[a-z-]+ )?(?:{NOUNS.replace(' ', '|')})\b(?!/s)")


@pytest.fixture
def single(pets, tmp_path):
    """A folder of one class with one picture."""
    picture, *_ = find_pictures(pets, Counter())
    (tmp_path / "one" / "cat").mkdir(parents=True)
    Image.open(picture).save(tmp_path / "one" / "cat" / "a.png")
    return tmp_path / "one"


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff no picture")
    return path


def test_the_pattern_finds_what_is_wrong():
    assert WRONG.search("features of 1 pictures") and WRONG.search("1 training pictures")
    assert not WRONG.search("21 pictures, 0.1 steps, 1 picture of 2 classes, 1,001 rows, 1 pictures/s")


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "{run}", "{picture}"),
        ("predict", "{run}", "{picture}", "--reject", "0.999"),
        ("predict", "{run}", "{broken}"),
        ("evaluate", "{run}", "--data", "{folder}"),
        ("evaluate", "{run}", "--data", "{folder}", "--slice", "size"),
        ("check", "{folder}"),
        ("check", "{folder}", "--html", "{out}.html"),
        ("extract", "--base", "{run}", "--data", "{folder}", "--out", "{out}.npz"),
        ("extract", "--base", "{run}", "--data", "{broken}", "--out", "{out}.npz"),
        ("probe", "--base", "{run}", "--data", "{folder}"),
        ("explain", "{run}", "{picture}", "--out", "{out}.png"),
        ("explain", "{run}", "{broken}", "--out", "{out}.png"),
        ("inspect", "{run}", "--data", "{folder}"),
        ("finetune", "--base", "tiny", "--data", "{folder}", "--dry-run"),
        ("data", "preview", "{folder}", "--out", "{out}.png"),
        ("report", "{run}"),
    ],
    ids=" ".join,
)
def test_commands(cli, finished, single, broken, tmp_path, words):
    run = tmp_path / "run"
    shutil.copytree(finished.folder, run)
    picture, out = single / "cat" / "a.png", tmp_path / "out"
    names = {"run": run, "picture": picture, "broken": broken, "folder": single, "out": out}
    _, *told = cli(*(word.format(**names) for word in words))
    text = " ".join(" ".join(map(str, told)).split())
    assert text and "Usage" not in text and not WRONG.search(text), text


def test_functions(tiny, single):
    listing = listing_from_names([str(single / "cat" / "a.png")], ["cat"])
    features = extract(listing.paths, FeatureSpec(tiny, "none"), cache=False)
    texts = [repr(listing), repr(features), repr(tk.check(single))]
    failures = [
        lambda: listing.take([5]),
        lambda: tk.finetune(tiny, [np.zeros((8, 8, 3), "uint8")], ["a", "b"]),
        lambda: tk.finetune(tiny, [Image.new("RGB", (8, 8))], ["a"]),
    ]
    for call in failures:
        with pytest.raises((ValueError, IndexError)) as caught:
            call()
        texts.append(str(caught.value))
    for text in texts:
        assert not WRONG.search(text), text


def test_nouns():
    assert lookup.count_noun(1, "class") == "1 class" and lookup.count_noun(3, "class") == "3 classes"
    assert lookup.none_can(1, "picture") == "The picture cannot"
    assert lookup.none_can(1200, "picture") == "None of the 1,200 pictures can"
