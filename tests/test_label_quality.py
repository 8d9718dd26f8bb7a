"""`transferkit check --labels`: planted wrong labels are among the first suspects, without duplicates' help."""

import shutil

import numpy as np
import pytest

from transferkit.data.listing import Listing
from transferkit.features import label_quality
from transferkit.features.extraction import Extraction


@pytest.fixture
def planted(monkeypatch):
    """120 rows of three classes, 6 of them with a wrong label; the listing, and the rows."""
    random = np.random.default_rng(0)
    true = np.repeat(np.arange(3), 40)
    features = (random.normal(size=(120, 8)) + 4 * np.eye(8)[true]).astype("float32")
    wrong = random.choice(120, 6, replace=False)
    labels = true.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    listing = Listing(tuple(f"{n}.jpg" for n in range(120)), tuple(labels.tolist()), ("cat", "dog", "fox"))
    found = Extraction(features, np.arange(120), {}, 0, (8,))
    monkeypatch.setattr(label_quality, "extract", lambda *_, **__: found)
    monkeypatch.setattr(label_quality.duplicate_groups, "mark_duplicates", lambda listing: listing)
    return listing, true, set(wrong.tolist())


def test_planted_errors_are_found(planted):
    listing, true, wrong = planted
    suspects = label_quality.find_suspects(listing, "resnet18")
    rows = [int(one.path.removesuffix(".jpg")) for one in suspects]
    assert len(wrong & set(rows[:6])) >= 5 and len(suspects) < 20
    first = suspects[0]
    assert first.likely == listing.classes[true[rows[0]]] != first.label == listing.classes[listing.labels[rows[0]]]
    qualities = [one.quality for one in suspects]
    assert qualities == sorted(qualities) and 0 <= qualities[0] < 0.1 < first.probability <= 1


def test_the_missing_extra_is_named(cli, pets, monkeypatch):
    monkeypatch.setattr(label_quality, "find_spec", lambda _: None)
    status, _, said = cli("check", pets, "--labels")
    assert status == 1 and 'pip install "transferkit[labels]"' in said


def test_an_edited_list_is_not_overwritten(cli, pets, tmp_path):
    (tmp_path / "suspects.csv").write_text("path,label\n")
    status, _, said = cli("check", pets, "--labels", "--out", tmp_path)
    assert status == 1 and "you may have edited it" in said
    assert cli("check", pets, "--out", tmp_path)[0] == 2


def test_one_class_has_nothing_to_be_compared_with(pets, tmp_path):
    """The sentence comes before any network is loaded; a class of one picture is no second class."""
    shutil.copytree(pets / "cat", tmp_path / "cat")
    for _ in range(2):
        with pytest.raises(ValueError, match="needs two classes of two pictures or more, and there is 1."):
            label_quality.find_suspects(str(tmp_path), "resnet18")
        (tmp_path / "dog").mkdir(exist_ok=True)
        shutil.copy(next((pets / "dog").iterdir()), tmp_path / "dog")
