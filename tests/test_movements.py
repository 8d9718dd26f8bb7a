"""Shifted and turned pictures: against slices and turns of NumPy, and the curve of `evaluate --shift --turn`."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from html_reader import Page

from transferkit.data import pipeline
from transferkit.evaluation import movements
from transferkit.evaluation.metrics import wilson_interval
from transferkit.lookup import UnknownName


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype="uint8")


def test_a_shift_moves_pixels_and_mirrors_what_enters(picture):
    down = movements.shift(picture, 2, 0)
    assert (down[2:] == picture[:-2]).all() and (down[1] == picture[1]).all() and (down[0] == picture[2]).all()
    left = movements.shift(picture, 0, -3)
    assert (left[:, :-3] == picture[:, 3:]).all() and (left[:, -1] == picture[:, -4]).all()
    assert (movements.shift(picture, 31, 0)[31] == picture[0]).all()


def test_a_turn_is_anticlockwise_about_the_centre(picture):
    for quarters in (1, 2, 3):
        assert (movements.turn(picture, 90 * quarters) == np.rot90(picture, quarters)).all()
    ramp = np.broadcast_to(np.arange(0, 64, 2, dtype="float32")[:, None, None] + 60, (32, 32, 1)).astype("uint8")
    turned = movements.turn(ramp, 30)[8:24, 8:24, 0].astype(float)
    y, x = np.mgrid[8:24, 8:24] - 15.5
    expected = 2 * (np.cos(np.pi / 6) * y + np.sin(np.pi / 6) * x + 15.5) + 60
    assert np.abs(turned - expected).max() <= 1


@pytest.mark.parametrize("most", [*range(1, 60), 180, 511, 2047])
def test_points_go_from_nothing_to_the_most_in_few_steps(most):
    points = movements.list_points(most)
    assert points[0] == 0 and points[-1] == most and points == sorted(set(points)) and len(points) <= 12


def test_figures_are_those_of_a_loop(finished, listing):
    """Of a network for which every place is another one."""
    pictures = keras.Input((32, 32, 3))
    scores = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255, -0.5)(pictures))
    scores = keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(seed=2))(scores)
    network = dataclasses.replace(finished.network, model=keras.Model(pictures, scores))
    views = np.concatenate(
        [np.asarray(batch) for batch, _ in pipeline.evaluation_dataset(listing.paths, network.pixels, batch_size=8)]
    )

    def answers(changed):
        return np.asarray(network.model(changed.astype("float32"))).argmax(1)

    padded = np.pad(views, [(0, 0), (9, 9), (9, 9), (0, 0)], mode="reflect")
    moved = [padded[:, 9 - y : 41 - y, 9 - x : 41 - x] for y, x in ((9, 0), (-9, 0), (0, 9), (0, -9))]
    turned = [np.rot90(views, quarters, axes=(1, 2)) for quarters in (1, 3)]
    labels, plain = np.array(listing.labels), answers(views)
    found = movements.measure_movements(network, listing, shift=9, turn=90)
    assert [row["pixels"] for row in found["shift"]] == list(range(10))
    assert [row["degrees"] for row in found["turn"]] == list(range(0, 91, 10))
    for row, changed in ((found["shift"][9], moved), (found["turn"][9], turned), (found["shift"][0], [views])):
        predicted = np.stack([answers(each) for each in changed])
        assert row["accuracy"] == pytest.approx((predicted == labels).mean())
        assert row["same"] == pytest.approx((predicted == plain).mean())
        assert len(changed) == 1 or len({(each == labels).sum() for each in predicted}) == len(changed), "all differ"
        assert row["ci95"] == pytest.approx(wilson_interval(row["accuracy"] * 24, 24)) and row["n"] == 24


def test_places_matter_to_a_network_that_looks_at_places(finished, listing):
    """A network that takes its class from the left half finds the other class where the picture is turned around."""
    pictures = keras.Input((32, 32, 3))
    left = keras.layers.GlobalAveragePooling2D()(keras.layers.Cropping2D(((0, 0), (0, 16)))(pictures))
    right = keras.layers.GlobalAveragePooling2D()(keras.layers.Cropping2D(((0, 0), (16, 0)))(pictures))
    red = keras.layers.Concatenate()([left[:, :1], right[:, :1]])
    network = dataclasses.replace(finished.network, model=keras.Model(pictures, red))
    found = movements.measure_movements(network, listing, turn=180)["turn"]
    assert found[0]["same"] == 1 and found[-1]["same"] == 0
    assert found[-1]["accuracy"] == pytest.approx(1 - found[0]["accuracy"])


def test_groups_widen_the_interval(finished, listing):
    groups = tuple("ab"[number % 2] for number in range(len(listing)))
    hits = np.array([1.0, 1, 0, 1] * 3)
    own = movements._score(hits[:, None], hits[:, None], np.ones((12, 1)), ())
    grouped = movements._score(hits[:, None], hits[:, None], np.ones((12, 1)), groups[:12])
    assert own["ci95"] == pytest.approx(wilson_interval(9, 12)) and grouped["ci95"] == pytest.approx([0.5, 1.0])


def test_the_command_measures_unseen_pictures_and_draws_them(finished, pets, cli, tmp_path):
    words = (finished.folder, "--data", pets, "--shift", 2, "--turn", 30)
    status, out, err = cli("evaluate", *words, "--json", "--out", "found")
    assert status == 0, err
    found = json.loads(out)["moved"]
    assert [row["n"] for row in found["shift"]] == [len(finished.splits.val)] * 3
    assert found["turn"][0]["accuracy"] == json.loads(out)["unseen"]["accuracy"]
    assert (tmp_path / "found" / "movements.png").is_file()
    page = Page((tmp_path / "found" / "report.html").read_text())
    assert "Shifted and turned pictures" in [text for _, text in page.all("h3")]
    lines = cli("evaluate", *words)[1].splitlines()
    assert any(line.split()[:2] == ["2", f"{found['shift'][2]['accuracy']:.1%}"] for line in lines)
    assert any(line.startswith("turn (degrees)") for line in lines)
    status, out, _ = cli("evaluate", finished.folder, "--turn", 9, "--json")
    assert status == 0 and list(json.loads(out)["moved"]) == ["turn"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shift", "0"], "0 is not in the range x>=1"),
        (["--shift", "32"], "Pictures of 32x32 pixels are shifted by less than their sides, not by 32"),
        (["--turn", "181"], "181 is not in the range 1<=x<=180"),
        (["--turn", "30", "--crops", "10"], "--turn measures one network on one crop"),
    ],
)
def test_wrong_usage_is_one_sentence(cli, finished, words, sentence):
    status, out, err = cli("evaluate", finished.folder, *words)
    assert (status, out) == (2, "") and sentence in " ".join(err.split())


def test_python_says_it_too(finished, listing):
    with pytest.raises(UnknownName, match="turned by 0 to 180 degrees, not by 200"):
        movements.measure_movements(finished.network, listing, turn=200)
