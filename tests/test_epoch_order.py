"""The order of pictures in each epoch, the frozen features in that order, and the measured waiting time."""

import time

import numpy as np
import tensorflow as tf

from transferkit.data import pipeline
from transferkit.data.epoch_order import EpochOrder

COUNT, BATCH = 10, 4


def test_classes_are_sampled_alike():
    labels = (0,) * 9 + (1,) * 2 + (3,) * 4
    order = EpochOrder(labels, 6, 0, range(3), sampling="balanced")
    epochs = [order.epoch_rows(epoch).numpy() for epoch in order.epochs]
    for rows in epochs:
        assert np.bincount(np.array(labels)[rows.ravel()], minlength=4).tolist() == [6, 6, 0, 6]
        assert all(len(set(np.array(labels)[batch])) == 3 for batch in rows)
        assert len(set(rows[np.array(labels)[rows] == 0])) == 6  # none twice while others have not come
    assert not np.array_equal(epochs[0], epochs[1])


def test_frozen_features_follow_the_order_of_pictures():
    rows, labels = np.array([0, 1, 3, 4, 6, 9]), np.eye(3, dtype="float32")[[0, 1, 0, 1, 0, 0]]
    maps = [np.arange(2 * COUNT, dtype="float32")[:, None], np.ones((2 * COUNT, 2, 2, 1), "float32")]
    order = EpochOrder(tuple(labels.argmax(1).tolist()), BATCH, 7, range(3))
    found = list(pipeline.training_from_features(maps, rows, labels, order, views=2))
    for (vectors, squares), targets in found:
        assert vectors.shape == (BATCH, 1) and squares.shape == (BATCH, 2, 2, 1) and targets.shape == (BATCH, 3)
    for epoch in range(3):
        values = np.concatenate([vectors[:, 0] for (vectors, _), _ in found[2 * epoch : 2 * epoch + 2]])
        wanted = rows[order.epoch_rows(epoch).numpy().ravel()] + epoch % 2 * COUNT
        assert values.tolist() == wanted.tolist()
    (values, _), targets, weights = next(iter(pipeline.validation_from_features(maps, rows, labels, batch_size=8)))
    assert values[:6, 0].numpy().tolist() == rows.tolist() and weights.numpy().tolist() == [1.0] * 6 + [0.0] * 2
    np.testing.assert_array_equal(targets[:6], labels)


def test_the_waiting_time_for_a_slow_dataset_is_measured():
    def slow(number):
        time.sleep(0.03)
        return number

    source = tf.data.Dataset.range(10).map(lambda n: tf.numpy_function(slow, (n,), tf.int64))
    dataset, waited = pipeline.measure_wait(source)
    assert [int(number) for number in dataset] == list(range(10))
    assert 0.28 < float(waited) < 1.5


def test_a_fast_dataset_has_no_waiting_time():
    dataset, waited = pipeline.measure_wait(tf.data.Dataset.range(10))
    for _ in dataset:
        time.sleep(0.02)
    assert float(waited) < 0.1
