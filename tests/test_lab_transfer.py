"""Experiments on transfer: what is copied, frozen, probed and read."""

import numpy as np
import pytest

from transferkit import lab
from transferkit.lab.experiments import transfer
from transferkit.lab.small_data import Split, load_moved_digits, load_photograph


def test_the_halves_of_the_classes_have_no_picture_in_common():
    whole, low, high = (
        load_moved_digits(2, size=12, side=16),
        transfer.load_classes(range(5), 2),
        transfer.load_classes(range(5, 10), 2),
    )
    assert len(low.train) + len(high.train) == len(whole.train)
    assert set(low.train_labels) == set(high.train_labels) == set(range(5))
    assert np.array_equal(high.train, whole.train[whole.train_labels >= 5])
    assert np.array_equal(high.train_labels + 5, whole.train_labels[whole.train_labels >= 5])


def test_patches_do_not_overlap_and_lie_in_their_part_of_the_photograph():
    split = transfer.load_patches(0)
    everything = np.concatenate([split.train, split.test])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything)
    assert set(split.train_labels) == set(split.test_labels) == set(range(12))
    corner = load_photograph("china")[:16, :16]
    labels = np.concatenate([split.train_labels, split.test_labels])
    assert [labels[i] for i, patch in enumerate(everything) if np.array_equal(patch, corner)] == [0]


@pytest.fixture(scope="module")
def source():
    return transfer.train_source(transfer.load_classes(range(5), 0).first(64), 0, steps=2)


@pytest.mark.parametrize("copied, frozen, same", [(4, 4, 4), (4, 2, 2), (4, 0, 0), (0, 0, 0)])
def test_frozen_stages_stay_as_in_the_source(source, copied, frozen, same):
    new = transfer.load_classes(range(5, 10), 0).first(64)
    model = transfer.adapt(source, new, 0.03, 1, copied=copied, frozen=frozen, steps=2)
    equal = [
        np.array_equal(
            model.get_layer(f"conv{stage}").get_weights()[0], source.get_layer(f"conv{stage}").get_weights()[0]
        )
        for stage in range(1, 5)
    ]
    assert equal == [stage <= same for stage in range(1, 5)]


def test_copied_stages_begin_as_in_the_source(source):
    new = transfer.load_classes(range(5, 10), 0).first(64)
    model = transfer.adapt(source, new, 0.0, 1, copied=3, frozen=0, steps=1)
    equal = [
        np.array_equal(
            model.get_layer(f"conv{stage}").get_weights()[0], source.get_layer(f"conv{stage}").get_weights()[0]
        )
        for stage in range(1, 5)
    ]
    assert equal == [True, True, True, False]


def test_a_probe_reads_what_is_there_and_nothing_else(source):
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    noise = random.uniform(0, 100, (80, 16, 16, 3)).astype("float32")
    plain, bright = Split(noise[:40], labels[:40], noise[40:], labels[40:]), noise + 100 * labels[:, None, None, None]
    assert transfer.probe_stages(source, plain, average=True)[0] < 0.85
    bright = bright.astype("float32")
    assert (
        transfer.probe_stages(source, Split(bright[:40], labels[:40], bright[40:], labels[40:]), average=True)[0] == 1
    )


def test_the_label_of_a_grating_is_its_direction():
    split = transfer.make_gratings(60, 1, noise=5.0)
    for picture, label in zip(split.train[..., 0], split.train_labels, strict=True):
        spectrum = abs(np.fft.fft2(picture - picture.mean(), (256, 256)))
        row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
        down, across = np.fft.fftfreq(256)[[row, column]]
        apart = (np.arctan2(down, across) - label * np.pi / 8 + np.pi / 2) % np.pi - np.pi / 2
        assert abs(apart) < np.pi / 16


def test_a_rate_is_chosen_once_for_a_strategy_and_a_number(source, monkeypatch):
    asked = []
    monkeypatch.setattr("transferkit.lab.fitting.choose_rate", lambda *args: asked.append(args) or 0.01)
    rates = {("fixed features", 20): 0.03}
    new = transfer.load_classes(range(5, 10), 0)
    found = transfer.measure_strategies(source, new, (20, 30), 0, rates, ("fixed features",), steps=1)
    assert len(found["fixed features"]) == 2
    assert rates == {("fixed features", 20): 0.03, ("fixed features", 30): 0.01}
    assert [len(args[0].train) for args in asked] == [30]


def _first(text):
    return float(text.split()[0])


@pytest.mark.slow
def test_training_on_other_classes_makes_later_stages_serve():
    rows = {row[0]: list(map(_first, row[1:])) for row in lab.run("layer-transfer", seeds=3).rows}
    assert max(rows["5-9, trained on 0-4"]) > rows["5-9, trained on 0-4"][0]
    assert rows["0-4, trained on 0-4"][-1] > rows["5-9, trained on 0-4"][-1]


@pytest.mark.slow
def test_frozen_late_stages_of_other_classes_cost_accuracy():
    rows = {row[0]: list(map(_first, row[1:])) for row in lab.run("frozen-stages", seeds=3).rows}
    assert rows["AnB"][-1] < rows["BnB"][-1]
    assert rows["AnB"][-1] < rows["AnB"][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transfer-sizes", "four-quadrants"])
def test_more_pictures_help_from_scratch(name):
    rows = lab.run(name, seeds=3).rows
    scores = {row[:-2]: _first(row[-1]) for row in rows}
    if name == "transfer-sizes":
        assert scores["from scratch", 600] > scores["from scratch", 30]
    else:
        assert scores["near", 500, "from scratch"] > scores["near", 30, "from scratch"]
        assert scores["near", 30, "fixed features"] > scores["near", 30, "from scratch"] - 0.1


@pytest.mark.slow
def test_classes_are_read_late():
    rows = {row[0]: list(map(_first, row[1:])) for row in lab.run("feature-levels", seeds=3).rows}
    assert rows["class of a digit"][-1] > rows["class of a digit"][1] + 0.2
    assert rows["direction of a grating"][1] > rows["direction of a grating"][0]
