"""Errors in the pipeline: unreadable pictures are skipped, errors of later steps end the job and blame no picture."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import transferkit as tk
from transferkit.data import deferred_errors, geometry, pillow_reader, pipeline, view_cache
from transferkit.data.augment import augmentation
from transferkit.data.epoch_order import EpochOrder
from transferkit.data.listing import list_images
from transferkit.features.extraction import extract
from transferkit.features.feature_spec import FeatureSpec
from transferkit.pixels import Pixels

PIXELS = Pixels(crop=24, resize=28)


def broken(picture, stream):
    with tf.control_dependencies([tf.debugging.assert_less(tf.reduce_max(tf.cast(picture, tf.int32)), -1)]):
        return tf.identity(picture)


def nan(shape, stream):
    return tf.concat((shape + 3, shape), 0)  # beside the picture


def given(listing, steps, **more):
    order = EpochOrder(listing.labels, 4, seed=0, epochs=range(1))
    return list(pipeline.training_dataset(pipeline.ViewSource(listing, PIXELS, steps), order, **more))


@pytest.mark.parametrize("line", ["none", "crop(0.5)"])
def test_an_error_of_a_step_ends_the_job(pets, line):
    listing = list_images(pets)
    plain = augmentation.parse_augmentation(line)
    assert len(given(listing, plain)) == 6
    with pytest.raises(tf.errors.InvalidArgumentError, match="assertion failed"):
        given(listing, dataclasses.replace(plain, ops=(broken,)))


def test_a_window_outside_the_picture_ends_the_job(pets):
    with pytest.raises(tf.errors.InvalidArgumentError, match="A window is outside its picture"):
        given(list_images(pets), dataclasses.replace(augmentation.parse_augmentation("none"), window=nan))


def test_a_damaged_picture_does_not_end_the_job(data):
    root = data({"cat/broken.jpg": b"\xff\xd8\xff\xe0broken", "dog/empty.png": b"", "dog/text.png": b"text"})
    listing = list_images(root)
    for line in ("none", "crop(0.5)"):
        assert given(listing, augmentation.parse_augmentation(line))


def test_an_error_in_the_view_is_not_blamed_on_the_picture(cli, finished, pets, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(geometry, "cut_crops", deferred_errors.record_errors(fail))
    with pytest.raises(RuntimeError, match="its view failed: ZeroDivisionError: of ours"):
        finished.predict([str(pets / "cat" / "000.jpg")])
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        tk.extract_to("features", FeatureSpec("tiny", "none", size=33), list_images(pets))
    status, _, error = cli("predict", finished.folder, pets / "dog" / "000.jpg")
    assert status == 1 and "RuntimeError: A picture was read, but its view failed: ZeroDivisionError" in error


def test_an_error_in_the_view_cache_is_not_blamed_on_the_picture(pets, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the disk has gone")

    monkeypatch.setattr(view_cache.DiskArray, "__setitem__", fail)
    given(list_images(pets), augmentation.parse_augmentation("none"), space=view_cache.CacheSpace(0, tmp_path))
    with pytest.raises(RuntimeError, match="its view failed: OSError: the disk has gone"):
        deferred_errors.raise_recorded()


def test_read_errors_are_not_cached(data, monkeypatch):
    root = data({"cat/broken.jpg": b"\xff\xd8\xff\xe0broken"})
    spec, listing = FeatureSpec("tiny", "none", size=32), list_images(root)
    reads = []

    def gone(data, *_):
        reads.append(data)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:  # it goes between its digest and its pixels
        patch.setattr(pillow_reader, "read_shrunk", gone)
        first = extract(listing.paths, spec)
    assert reads and len(first.rows) == 0
    again = extract(listing.paths, spec)
    assert len(again.rows) == 6 and np.isfinite(again.features).all()
