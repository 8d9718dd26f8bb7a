"""Corrupted pictures: their formulas, that they are the same each time, and the table of `evaluate --corrupt`."""

import colorsys
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from transferkit.commands import shift_output
from transferkit.evaluation import corruptions
from transferkit.evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype="uint8")


def test_the_command_knows_each():
    assert tuple(CORRUPTIONS) == shift_output.KINDS


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_stronger_is_further_from_the_picture_and_alpha_stays(name, channels):
    ramp = np.linspace(0, 200, 64 * 64 * channels).reshape(64, 64, channels).astype("uint8")
    changed = [corrupt(ramp, name, strength, 5) for strength in STRENGTHS]
    assert all(one.shape == ramp.shape and one.dtype == np.uint8 for one in changed)
    colors = min(channels, 3)
    means = [np.abs(one[..., :colors].astype(int) - ramp[..., :colors]).mean() for one in changed]
    assert means == sorted(means) and means[0] < means[-1]
    if channels == 4:
        assert all((one[..., 3] == ramp[..., 3]).all() for one in changed)


def test_noise_has_the_published_deviation_and_follows_the_seed():
    grey = np.full((224, 224, 3), 128, "uint8")
    noisy = corrupt(grey, "noise", 1, 7)
    assert noisy.std() == pytest.approx(0.08 * 255, rel=0.02)
    assert (noisy == corrupt(grey, "noise", 1, 7)).all()
    assert (noisy != corrupt(grey, "noise", 1, 8)).any()


def test_blur_is_pillows_and_in_proportion_to_the_size(picture):
    expected = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(3))
    assert (corrupt(picture, "blur", 3, 0) == np.asarray(expected)).all()
    half = picture[:112, :112]
    expected = Image.fromarray(half).filter(ImageFilter.GaussianBlur(1.5))
    assert (corrupt(half, "blur", 3, 0) == np.asarray(expected)).all()


def test_brightness_raises_the_value_of_hsv(picture):
    bright = corrupt(picture, "brightness", 2, 0)
    for before, after in zip(picture[0, :50], bright[0, :50], strict=True):
        h, s, v = colorsys.rgb_to_hsv(*(before / 255))
        expected = np.array(colorsys.hsv_to_rgb(h, s, min(1, v + 0.2))) * 255
        assert np.abs(after - expected).max() <= 0.51


def test_evaluate_measures_pictures_that_the_run_has_not_seen(finished, pets, cli):
    status, out, err = cli("evaluate", finished.folder, "--data", pets, "--corrupt", "noise,brightness", "--json")
    assert status == 0, err
    found = json.loads(out)["corrupted"]
    assert list(found["by_kind"]) == ["noise", "brightness"]
    rows = [row for rows in found["by_kind"].values() for row in rows]
    assert [row["strength"] for row in rows] == [*STRENGTHS, *STRENGTHS]
    assert found["mean"] == pytest.approx(np.mean([row["accuracy"] for row in rows]))
    assert all(
        row["ci95"][0] <= row["accuracy"] <= row["ci95"][1] and row["n"] == len(finished.splits.val) for row in rows
    )
    lines = cli("evaluate", finished.folder, "--corrupt", "noise")[1].splitlines()
    assert lines[-2].split()[0] == "noise" and len(lines[-2].split()) == 7  # five strengths and their mean
    assert lines[-1].startswith("mean accuracy on corrupted pictures ")


def test_accuracy_is_of_the_corrupted_pictures(finished, monkeypatch):
    monkeypatch.setitem(CORRUPTIONS, "noise", lambda picture, strength, generator: picture)
    monkeypatch.setitem(CORRUPTIONS, "blur", lambda picture, strength, generator: picture[..., ::-1])
    listing = finished.splits.train
    found = corruptions.measure_robustness(finished.network, listing, ("noise", "blur"))
    assert [row["accuracy"] for row in found["by_kind"]["noise"]] == [finished.evaluate(listing)["accuracy"]] * 5
    assert found["by_kind"]["blur"][0]["accuracy"] < found["by_kind"]["noise"][0]["accuracy"]


@pytest.mark.parametrize(("given", "said"), [("nois", "'nois'"), ("", "--corrupt takes noise, blur")])
def test_unknown_kinds_are_refused(finished, cli, given, said):
    status, out, err = cli("evaluate", finished.folder, "--corrupt", given)
    assert status == 2 and not out and said in err
