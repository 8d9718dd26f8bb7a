"""Batches: every picture in every epoch, reproducible with a seed, and in order in evaluation."""

import os
import shutil
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from pictures import encoded, photo
from PIL import Image

from transferkit.data import file_ranges, pipeline
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.geometry import FIVE_CROPS
from transferkit.data.listing import Listing
from transferkit.data.view_cache import CacheSpace
from transferkit.pixels import Pixels
from transferkit.training.fitting.callbacks import FindUnreadable
from transferkit.training.job_records import TrainingJob

PIXELS = Pixels(crop=16, resize=16)
MIXED = f"{augmentation.LEVELS['heavy']} | mixup | cutmix"
COUNT, BATCH = 10, 4  # three batches, with two pictures twice


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Ten pictures of one colour each: 0, 20, 40, ... of red."""
    root, paths = tmp_path_factory.mktemp("plain"), []
    for number in range(COUNT):
        paths.append(str(root / f"{number}.png"))
        Image.new("RGB", (20, 24), (20 * number, 0, 0)).save(paths[-1])
    return Listing(tuple(paths), tuple(number % 3 for number in range(COUNT)), ("a", "b", "c"))


@pytest.fixture(scope="module")
def equal(tmp_path_factory):
    """Eight files with one and the same picture."""
    root, data = tmp_path_factory.mktemp("equal"), encoded(photo(64, 48, seed=5))
    for number in range(8):
        (root / f"{number}.jpg").write_bytes(data)
    return Listing(tuple(str(root / f"{number}.jpg") for number in range(8)), (0, 1) * 4, ("a", "b"))


def ordered(listing, *, epochs=range(1), batch_size=BATCH, seed=0, **more):
    return EpochOrder(listing.labels, batch_size, seed, epochs, **more)


def source(listing, line):
    return pipeline.ViewSource(listing, PIXELS, augmentation.parse_augmentation(line))


def batches(listing, level="none", *, seed=0, epochs=range(1), batch_size=BATCH, views=0, **more):
    order = ordered(listing, epochs=epochs, batch_size=batch_size, seed=seed, **more)
    dataset = pipeline.training_dataset(source(listing, level), order, views=views)
    return [(pictures.numpy(), labels.numpy()) for pictures, labels in dataset]


def numbers(found):
    """Which plain picture each of the batches' is."""
    return [int(picture[0, 0, 0]) // 20 for pictures, _ in found for picture in pictures]


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)
    )


def test_an_epoch_is_every_picture_in_full_batches(plain):
    found = batches(plain, "light", epochs=range(3))
    assert len(found) == 3 * pipeline.steps_per_epoch(plain, BATCH) == 9
    assert {pictures.shape for pictures, _ in found} == {(BATCH, 16, 16, 3)}
    orders = [numbers(found[start : start + 3]) for start in (0, 3, 6)]
    for order in orders:
        assert sorted(order[:COUNT]) == list(range(COUNT))
        assert max(Counter(order).values()) == 2 and len(order) == 12
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_labels_match_their_pictures(plain):
    found = batches(plain, "crop(0.08) | flip")
    labels = np.concatenate([labels for _, labels in found])
    assert labels.shape == (12, 3) and labels.sum() == 12
    assert list(labels.argmax(1)) == [plain.labels[number] for number in numbers(found)]


def test_a_batch_larger_than_the_listing_is_filled(plain):
    order = numbers(batches(plain, batch_size=25))
    assert len(order) == 25 and set(Counter(order).values()) == {2, 3}


def test_equal_pictures_get_different_crops_and_others_in_the_next_epoch(equal):
    found = [picture.tobytes() for pictures, _ in batches(equal, "heavy", epochs=range(2)) for picture in pictures]
    assert len(set(found)) == len(found) == 16


def test_without_augmentation_training_views_are_evaluation_views(equal):
    (pictures, _), *_ = batches(equal)
    (evaluated, _), *_ = pipeline.evaluation_dataset(equal.paths, PIXELS, batch_size=4)
    assert np.array_equal(pictures, evaluated)


def test_the_seed_makes_training_reproducible(equal):
    first = batches(equal, MIXED, seed=3)
    assert same(first, batches(equal, MIXED, seed=3))
    assert not same(first, batches(equal, MIXED, seed=4))


@pytest.mark.slow
def test_parallelism_does_not_change_the_batches(equal, monkeypatch):
    monkeypatch.setattr(pipeline, "CALLS", 1)
    serial = batches(equal, MIXED, epochs=range(2))
    monkeypatch.setattr(pipeline, "CALLS", 7)
    assert same(serial, batches(equal, MIXED, epochs=range(2)))


@pytest.mark.slow
def test_a_later_start_gives_the_remaining_batches(plain, equal):
    for listing in (plain, equal):
        steps = pipeline.steps_per_epoch(listing, BATCH)
        whole = batches(listing, MIXED, epochs=range(4))
        assert same(whole[2 * steps :], batches(listing, MIXED, epochs=range(2, 4)))


@pytest.mark.parametrize("seed", [0, -1, 2**31 - 1])
def test_any_seed_is_valid(plain, seed):
    assert len(batches(plain, "light", seed=seed)) == 3


@pytest.mark.slow
def test_finished_steps_are_skipped(plain, equal):
    for listing in (plain, equal):
        steps = pipeline.steps_per_epoch(listing, BATCH)
        whole = batches(listing, MIXED, epochs=range(1, 3))
        assert same(whole[steps - 1 :], batches(listing, MIXED, epochs=range(1, 3), skip_steps=steps - 1))


def test_micro_batches_make_up_the_batch(plain):
    whole, parts = batches(plain, "light"), batches(plain, "light", micro_batches=2)
    assert [len(pictures) for pictures, _ in parts] == [2] * 6
    together = [tuple(map(np.concatenate, zip(*parts[at : at + 2], strict=True))) for at in (0, 2, 4)]
    assert same(whole, together)
    with pytest.raises(ValueError, match="cannot be shared by 1 workers in 3 parts"):
        ordered(plain, micro_batches=3)


def test_views_come_in_turn(plain):
    shown = batches(plain, "light", epochs=range(5), views=2)
    steps = pipeline.steps_per_epoch(plain, BATCH)
    for number, row in enumerate(numbers(shown)):
        same_view = [n for n, other in enumerate(numbers(shown)) if other == row and n // 12 % 2 == number // 12 % 2]
        pictures = [shown[n // BATCH][0][n % BATCH] for n in same_view]
        assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    each = pipeline.fixed_views(source(plain, "light"), views=2, seed=0, batch_size=BATCH)
    places = {int(place): picture for pictures, places in each for picture, place in zip(pictures, places, strict=True)}
    assert sorted(places) == list(range(2 * COUNT))
    for at, (pictures, _) in enumerate(shown):
        for picture in pictures:
            assert np.array_equal(picture, places[at // steps % 2 * COUNT + int(picture[0, 0, 0]) // 20])


def test_no_dataset_is_tuned(plain, tmp_path):
    """tf.data's tuning thread makes the end of a pass wait."""
    (tmp_path / "cache").mkdir()
    for memory in (1.0, 0.0):
        pixels, space = {"pixels": PIXELS, "batch_size": BATCH}, CacheSpace(memory, tmp_path / "cache")
        features, labels = [np.zeros((COUNT, 3), "float32")], np.zeros((COUNT, 2), "float32")
        datasets = [
            pipeline.training_dataset(source(plain, MIXED), ordered(plain)),
            pipeline.training_dataset(source(plain, "none"), ordered(plain), space=space),
            pipeline.fixed_views(source(plain, MIXED), views=2, seed=0, batch_size=BATCH),
            pipeline.preview_dataset(source(plain, MIXED), seed=0, epochs=range(1)),
            pipeline.training_from_features(features, np.arange(COUNT), labels, ordered(plain)),
            pipeline.validation_from_features(features, np.arange(COUNT), labels, batch_size=BATCH),
            pipeline.evaluation_dataset(plain.paths, **pixels),
            pipeline.multi_crop_dataset(plain.paths, crops=FIVE_CROPS, **pixels),
            pipeline.validation_dataset(plain, space=space, **pixels),
            pipeline.measure_wait(pipeline.evaluation_dataset(plain.paths, **pixels))[0],
        ]
        assert [dataset.options().autotune.enabled for dataset in datasets] == [False] * len(datasets)


def test_evaluation_keeps_the_order_and_drops_no_remainder(plain):
    found = list(pipeline.evaluation_dataset(plain.paths, PIXELS, batch_size=BATCH))
    assert [len(pictures) for pictures, _ in found] == [4, 4, 2]
    assert (
        [int(row) for _, rows in found for row in rows] == numbers((p.numpy(), r) for p, r in found) == [*range(COUNT)]
    )


def test_evaluation_skips_unreadable_pictures(plain, tmp_path):
    (tmp_path / "text.jpg").write_text("text")
    paths = [str(tmp_path / "gone.jpg"), *plain.paths[:3], str(tmp_path / "text.jpg"), *plain.paths[3:5]]
    found = list(pipeline.evaluation_dataset(paths, PIXELS, batch_size=BATCH))
    assert [int(row) for _, rows in found for row in rows] == [1, 2, 3, 5, 6]
    assert numbers((p.numpy(), r) for p, r in found) == [0, 1, 2, 3, 4]
    assert list(pipeline.find_readable(paths, 3)) == [(row, 20) for row in (1, 2, 3, 5, 6)]


@pytest.mark.parametrize("paths", [(), ("gone.jpg",)])
def test_evaluation_of_nothing(paths):
    assert (
        list(pipeline.evaluation_dataset(paths, PIXELS, batch_size=BATCH))
        == list(pipeline.find_readable(paths, 3))
        == []
    )


def test_any_file_name_is_valid(plain, tmp_path):
    paths, data = [], Path(plain.paths[4]).read_bytes()
    for name in (b"new\nline.png", "ünï ☃.png".encode(), b"latin \xe9.png", b"a,b;'\"$(ls)*?.png"):
        paths.append(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
        Path(paths[-1]).write_bytes(data)
    assert list(pipeline.find_readable(paths, 3)) == [(row, 20) for row in range(4)]
    assert numbers(batches(Listing(tuple(paths), (0, 1, 0, 1), ("a", "b")))) == [4] * 4


def test_a_picture_that_goes_missing_is_skipped(plain):
    listing = Listing((*plain.paths, "gone.png"), (*plain.labels, 0), plain.classes)
    order = numbers(batches(listing, "light", epochs=range(2)))
    assert set(order) == set(range(COUNT)) and len(order) % BATCH == 0


def test_validation_repeats_with_labels(plain, tmp_path):
    found = list(pipeline.validation_dataset(plain, PIXELS, batch_size=BATCH, space=CacheSpace(1.0, tmp_path)).take(6))
    passed = [
        (int(p[0, 0, 0]) // 20, int(label))
        for pictures, labels, weights in found
        for p, label, weight in zip(pictures, tf.argmax(labels, 1), weights, strict=True)
        if weight
    ]
    assert passed == 2 * list(zip(range(COUNT), plain.labels, strict=True))
    assert {len(weights) for _, _, weights in found} == {BATCH}


@pytest.mark.parametrize("memory", [1.0, 0.0])
def test_validation_pictures_are_decoded_once(tmp_path, memory):
    Image.new("RGB", (20, 20), (200, 10, 10)).save(tmp_path / "a.png")
    listing = Listing((str(tmp_path / "a.png"),), (0,), ("a",))
    (tmp_path / "kept").mkdir()
    space = CacheSpace(memory, tmp_path / "kept")
    passes = iter(pipeline.validation_dataset(listing, PIXELS, batch_size=1, space=space))
    first = next(passes)[0].numpy()
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    for _ in range(3):
        np.testing.assert_array_equal(next(passes)[0], first)
    assert bool(list((tmp_path / "kept").iterdir())) == (memory == 0)


def test_validation_pictures_are_decoded_once_by_fit(plain, tmp_path, monkeypatch):
    """Keras takes the batches of a pass from a new iterator in each epoch, and does not ask for the end."""
    reads = Counter()
    monkeypatch.setattr(pipeline, "read_bytes", lambda path: reads.update([path]) or file_ranges.read_bytes(path))
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    data = pipeline.validation_dataset(plain, PIXELS, batch_size=BATCH, space=CacheSpace(1.0, tmp_path))
    steps = pipeline.steps_per_epoch(plain, BATCH)
    model.fit(
        data, epochs=3, steps_per_epoch=steps, validation_data=data, validation_steps=steps, shuffle=False, verbose=0
    )
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("memory", [1.0, 0.0])
@pytest.mark.parametrize("line", ["none", "pad_crop(2) | flip | pca_jitter(0.5)"])
def test_the_cache_stores_views_before_random_steps(plain, tmp_path, line, memory):
    def views(space):
        order = ordered(plain, seed=3, epochs=range(3))
        return pipeline.training_dataset(source(plain, line), order, space=space).as_numpy_iterator()

    for kept, decoded in zip(views(CacheSpace(memory, tmp_path)), views(None), strict=True):
        np.testing.assert_array_equal(kept[0], decoded[0])
        np.testing.assert_array_equal(kept[1], decoded[1])
    assert bool(list(tmp_path.glob("views-*"))) == (memory == 0)


def test_random_windows_use_no_cache(plain, tmp_path, capsys):
    """What a window shows is another part in every epoch: nothing is kept for it, on the disk neither."""
    batches = pipeline.training_dataset(source(plain, "crop(0.5)"), ordered(plain), space=CacheSpace(0.0, tmp_path))
    assert len(list(batches)) and not list(tmp_path.iterdir()) and capsys.readouterr().err == ""


def test_views_are_not_cached_on_a_full_disk(plain, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9 - 100, 100))
    batches = pipeline.training_dataset(source(plain, "none"), ordered(plain), space=CacheSpace(0.0, tmp_path))
    assert len(list(batches)) == 3 and not list(tmp_path.iterdir())
    assert "has no room" in capsys.readouterr().err


def test_cached_views_are_decoded_once(tmp_path):
    Image.new("RGB", (20, 20), (200, 10, 10)).save(tmp_path / "a.png")
    listing = Listing((str(tmp_path / "a.png"),), (0,), ("a",))
    (tmp_path / "kept").mkdir()
    order = ordered(listing, batch_size=1, epochs=range(50))
    passes = pipeline.training_dataset(source(listing, "none"), order, space=CacheSpace(0.0, tmp_path / "kept"))
    passes = passes.as_numpy_iterator()
    first = next(passes)[0]
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    for pictures, _ in passes:
        np.testing.assert_array_equal(pictures, first)


def test_workers_share_every_batch(plain):
    def read(shard):
        return [pictures for pictures, _ in batches(plain, "light", seed=3, epochs=range(2), shard=shard)]

    whole, first, second = read((0, 1)), read((0, 2)), read((1, 2))
    assert len(whole) == len(first) == len(second)
    for batch, left, right in zip(whole, first, second, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate((left, right)))
    with pytest.raises(ValueError, match="cannot be shared by 3 workers"):
        read((0, 3))


def test_pictures_that_become_unreadable_are_named_once(plain, tmp_path, capsys):
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for path in paths:
        Image.new("RGB", (40, 40), (9, 99, 199)).save(path)
    listing, lost, delivered = Listing(tuple(map(str, paths)), (0, 1) * 5, ("a", "b")), {}, tf.Variable([0] * 10)
    order, epochs = ordered(listing, batch_size=2, epochs=range(40)), iter(range(40))
    dataset = pipeline.training_dataset(source(listing, "none"), order, delivered=delivered)
    batches = dataset.as_numpy_iterator()
    watch = FindUnreadable(TrainingJob(None, tmp_path, lost), listing.paths, delivered, order)

    def train():
        for _ in range(5):
            next(batches)
        watch.on_epoch_end(next(epochs))

    train()
    assert not lost and capsys.readouterr().err == ""
    paths[1].write_bytes(bytes(paths[1].stat().st_size))  # of the same size and time
    paths[2].unlink()
    for _ in range(8):  # some batches are ready before they are asked for
        train()
    assert lost == {str(paths[1]): "not a known picture format", str(paths[2]): "No such file or directory"}
    assert capsys.readouterr().err.count("is skipped from here on") == 2
    paths[3].unlink()
    with pytest.raises(ValueError, match="3 of 10 pictures can no longer be read.*--resume"):
        for _ in range(12):
            train()
