"""Accuracy of parts of the pictures, and the facts of pictures that make such parts."""

import numpy as np
import pytest
from pictures import photo
from PIL import Image, ImageFilter
from scipy import ndimage
from scipy.stats import binomtest

from transferkit.data.picture_facts import measure_facts
from transferkit.evaluation.slices import MAX_VALUES, score_slices


def values(rows):
    return [row["value"] for row in rows]


def test_names_come_with_the_least_accurate_first_and_wilsons_interval():
    names, hits = ["day"] * 6 + ["night"] * 4 + [" "], np.array([True] * 6 + [True, False] * 2 + [True])
    rows = score_slices(names, hits)
    assert values(rows) == ["night", "(empty)", "day"] and [row["n"] for row in rows] == [4, 1, 6]
    for row, right in zip(rows, (2, 1, 6), strict=True):
        ends = binomtest(right, row["n"]).proportion_ci(method="wilson")
        assert row["accuracy"] == right / row["n"] and row["ci95"] == pytest.approx([ends.low, ends.high], abs=1e-5)


def test_quarters_are_in_order_and_together_all_pictures():
    numbers = np.random.default_rng(0).permutation(np.arange(100.0))
    rows = score_slices(numbers, numbers < 25)
    assert values(rows) == ["0 to 24", "25 to 49", "50 to 74", "75 to 99"]
    assert [row["accuracy"] for row in rows] == [1, 0, 0, 0] and [row["n"] for row in rows] == [25] * 4


def test_equal_numbers_are_one_slice_and_nan_another():
    rows = score_slices(np.array([64.0] * 8 + [np.nan] * 2), np.arange(10) < 4)
    assert values(rows) == ["64", "(none)"] and [row["accuracy"] for row in rows] == [0.5, 0]


def test_many_values_of_a_column():
    ages = score_slices([str(age) for age in range(40)], np.ones(40, bool))
    assert values(ages) == ["0 to 9", "10 to 19", "20 to 29", "30 to 39"]
    few = score_slices(["10", "9", "10"], np.array([True, False, True]))
    assert values(few) == ["9", "10"]
    cities = [f"city {number}" for number in range(30)] + ["city 7"] * 3
    rows = score_slices(cities, np.ones(33, bool))
    assert len(rows) == MAX_VALUES and "11 others" in values(rows)
    assert sum(row["n"] for row in rows) == 33 and {"city 7": 4}.items() <= {r["value"]: r["n"] for r in rows}.items()


def test_facts_of_pictures(tmp_path):
    picture = photo(200, 120)
    blurred = picture.filter(ImageFilter.GaussianBlur(3))
    for name, each in (("sharp", picture), ("blurred", blurred), ("dark", Image.new("RGB", (30, 40), (9, 9, 9)))):
        each.save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"none")
    facts = measure_facts([str(tmp_path / f"{name}.png") for name in ("sharp", "blurred", "dark", "broken")])
    assert facts["size"][:3].tolist() == [120, 120, 30] and facts["brightness"][2] == pytest.approx(9)
    grey = np.asarray(picture.convert("L"), "float64")
    assert facts["brightness"][0] == pytest.approx(grey.mean(), abs=0.01)
    assert facts["blur"][0] == pytest.approx(ndimage.laplace(grey)[1:-1, 1:-1].var(), rel=1e-6)
    assert facts["blur"][1] < 0.2 * facts["blur"][0] and facts["blur"][2] == 0
    assert all(np.isnan(each[3]) for each in facts.values())
