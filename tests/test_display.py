"""How listings, runs and other results are shown: short texts, and HTML in notebooks."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import QUICK
from pictures import folder
from PIL import Image

import transferkit as tk
from transferkit import console
from transferkit.data import display
from transferkit.training.lr_find import RateSearch
from transferkit.training.planning.planner import plan_pictures

MAX_HTML = 150_000


class Reader(HTMLParser):
    """Collects the text and the attributes of pictures, and checks that every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.text, self.images, self.open = "", [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


# a listing as a sequence


def test_a_listing_is_indexed_as_an_array(listing):
    array = np.arange(24)
    mask = np.array(listing.labels) == 1
    for rows in (slice(2), slice(None, None, -5), [3, 1], [-1], (), [], np.array([5, 5]), mask, list(mask), range(3)):
        part, expected = listing[rows], array[list(rows) if isinstance(rows, (tuple, range)) else rows]
        assert isinstance(part, tk.Listing) and part.classes == listing.classes
        positions = np.asarray(expected, int)
        assert part.paths == tuple(listing.paths[row] for row in positions)
        assert part.labels == tuple(listing.labels[row] for row in positions)
    for row in (3, -1, np.int64(0)):
        assert listing[row] == (listing.paths[row], listing.labels[row])
    assert list(listing) == list(zip(listing.paths, listing.labels, strict=True))


def test_groups_and_duplicates_go_with_the_pictures(listing):
    grouped = replace(listing, groups=tuple(map(str, range(24))), duplicate_sets=("7",) * 24)
    assert grouped[[2, 0]].groups == ("2", "0") and grouped[:3].duplicate_sets == ("7",) * 3


@pytest.mark.parametrize("rows", [24, -25, [0, 24], [True, False], "cat", 1.5, None, [[1]], [[1], [1, 2]], {"a": 1}])
def test_wrong_positions(listing, rows):
    with pytest.raises(IndexError, match=r"24 (truth values, not|pictures: there is none at) .*\.$"):
        listing[rows]


def test_scikit_learn_takes_parts_of_a_listing(tiny, listing):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    pipe = make_pipeline(tk.FeatureExtractor(tiny, weights="none"), LogisticRegression())
    assert cross_val_score(pipe, listing, listing.labels, cv=2, error_score="raise").min() > 0.5


def test_a_listing_has_a_label_for_each_path():
    with pytest.raises(ValueError, match="^A listing has a label for each path, not 2 for 1.$"):
        tk.Listing(("a.jpg",), (0, 0), ("cat",))


# texts


def test_texts_are_short(finished, listing):
    assert repr(listing) == "<Listing: 24 pictures of 2 classes (cat 12, dog 12)>"
    assert repr(listing[:1]) == "<Listing: 1 picture of 2 classes (cat 1, dog 0)>"
    many = tk.Listing(("a",) * 9, tuple(range(9)), ("x" * 200, *map(str, range(8))))
    assert repr(many) == f"<Listing: 9 pictures of 9 classes ({'x' * 30}... 1, 0 1, 1 1, 2 1, 3 1, 4 1, ...)>"
    assert repr(finished.splits) == "<Splits: train 20, val 4 pictures of 2 classes>"
    assert repr(finished.network).startswith("<Network: ") and "2 classes, 32x32 pixels" in repr(finished.network)
    assert len(repr(finished.network)) < 150


def test_the_text_of_a_run_is_its_accuracy(finished, tmp_path):
    accuracy = f"{finished.metrics['accuracy']:.1%}"
    assert re.fullmatch(
        rf"<Run: \S+/run, accuracy {accuracy} \(95%: [\d.]+% to [\d.]+%\) on 4 validation pictures>", repr(finished)
    )
    assert repr(tk.Run(tmp_path)) == f"<Run: {tmp_path}, not finished>"
    (tmp_path / "metrics.json").write_text('{"accuracy": "high"}')
    assert repr(tk.Run(tmp_path)) == f"<Run: {tmp_path}, not finished>"


def test_texts_of_plans_features_and_searches(tiny, pets, tmp_path):
    plan = plan_pictures(tiny, pets, None, None, QUICK)
    assert repr(plan) == "<Plan: tiny (fresh); train 20, val 4 pictures; epochs: head 2, all 2; CPU>"
    tk.extract_to(tmp_path / "f.npz", tk.FeatureSpec(tiny, "none", layer=("stage1", "pooled")), pets)
    features = "<Features: 24 pictures of 2 classes, 24 features of tiny stage1, pooled>"
    assert repr(tk.load_features(tmp_path / "f.npz")) == features
    assert repr(tk.check(pets)).startswith("<CheckResult: 24 pictures; ")
    search = RateSearch([1e-3] * 90, [1.0] * 90, 1e-3, 1e-2, 1e-3, rule=5e-4)
    assert repr(search) == "<RateSearch: lr 0.001, rule 0.0005, 90 steps>"
    assert repr(replace(search, suggestion=None, rule=None)) == "<RateSearch: lr none, rule none, 90 steps>"
    assert repr(tk.inspect("lenet5")).startswith("<Inspection: lenet5, ") and len(repr(tk.inspect("lenet5"))) < 120


# HTML


def test_html_of_a_listing(tmp_path):
    name = '<b onclick="x">&amp'
    pictures = folder(tmp_path / "pets", {name: 8, "dog": 2})
    (pictures / "dog" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    shown = Reader(tk.list_images(pictures)._repr_html_())
    assert "11 pictures of 2 classes" in shown.text and name in shown.text
    assert [image["alt"] for image in shown.images] == [name] * display.PER_CLASS + ["dog"] * 2
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in shown.images)


def test_html_is_small(tmp_path):
    """Noise compresses least."""
    paths, rng = [], np.random.default_rng(0)
    for number in range(60):
        path = tmp_path / f"class{number}" / "a.png"
        path.parent.mkdir()
        Image.fromarray(rng.integers(0, 256, (300, 300, 3), "uint8")).save(path)
        paths.append(path)
    listing = tk.list_images(paths)
    html = listing._repr_html_()
    assert len(html) < MAX_HTML and "and 40 more classes" in Reader(html).text
    assert len(Reader(html).images) == display.MAX_CLASSES
    several = tk.list_images([path for path in paths[:20] for _ in range(9)])
    assert len(several._repr_html_()) < MAX_HTML


def test_html_of_splits(finished):
    shown = Reader(finished.splits._repr_html_())
    assert "train 20, val 4" in shown.text and re.search(r"cat +10 +2 +dog +10 +2 +all +20 +4", shown.text)


def test_html_of_a_run(finished, tmp_path):
    html = finished._repr_html_()
    shown = Reader(html)
    assert f"loss {finished.metrics['loss']:.4g}" in re.sub(" +", " ", shown.text) and len(html) < MAX_HTML
    assert f"accuracy {finished.metrics['accuracy']:.1%} (95%:" in shown.text
    assert [image["alt"] for image in shown.images] == ["curves of the run", "confusion of the run"]
    assert "not finished" in Reader(tk.Run(tmp_path)._repr_html_()).text


def test_a_figure_of_many_classes_stays_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), "uint8")
    Image.fromarray(noise).save(tmp_path / "confusion.png")
    (tmp_path / "curves.png").write_text("no picture")
    plots = {name: tmp_path / f"{name}.png" for name in ("confusion", "curves", "none")}
    html = display.run_html("run", "", {}, plots)
    assert len(html) < MAX_HTML and Reader(html).images == []


# progress


@pytest.mark.parametrize(
    ("jupyter", "terminal", "widgets", "bars"),
    [(True, False, None, False), (True, False, object(), True), (False, True, None, True), (False, False, None, False)],
)
def test_bars_in_notebooks_need_widgets(monkeypatch, jupyter, terminal, widgets, bars):
    monkeypatch.setattr(console, "find_spec", {"ipywidgets": widgets}.get)
    monkeypatch.setattr(console, "console", console.Console(force_jupyter=jupyter, force_terminal=terminal or None))
    assert console.shows_bars() == bars
