"""Mixup and CutMix: labels are weighted by the visible area of each picture."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from transferkit.data.augment import mixing

SEEDS = tf.stack((tf.range(40), tf.zeros(40, tf.int32)), 1)


def batch(count=64, side=20):
    """Pictures of one level each, another for each, and their one-hot labels."""
    levels = tf.range(count, dtype=tf.float32) * (255 // count)
    pictures = tf.cast(tf.tile(levels[:, None, None, None], (1, side, side, 3)), tf.uint8)
    return pictures, tf.one_hot(tf.range(count), count)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 10.0])
def test_mixup_weighs_labels_as_pictures(alpha):
    pictures, labels = mixing.mixup(batch(), SEEDS[7], alpha)
    assert pictures.dtype == tf.uint8 and np.allclose(labels.numpy().sum(1), 1)
    wanted = labels.numpy() @ (np.arange(64) * 3)  # levels are numbers times 3
    assert np.abs(pictures.numpy()[:, 0, 0, 0] - wanted).max() <= 0.501
    assert (np.count_nonzero(labels, 1) <= 2).all()


def test_mixup_fractions_have_a_beta_distribution():
    own = [mixing.mixup(batch(), seed, 0.4)[1].numpy().diagonal() for seed in SEEDS[:30]]
    own = np.concatenate(own)
    own = own[own < 1]  # those that met themselves
    assert stats.kstest(own, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_cutmix_weighs_labels_by_visible_area(alpha):
    for seed in SEEDS[:10]:
        pictures, labels = mixing.cutmix(batch(), seed, alpha)
        numbers = pictures.numpy()[..., 0] // 3
        for number in range(64):
            areas = np.bincount(numbers[number].ravel(), minlength=64) / 400
            assert np.allclose(areas, labels[number], atol=1e-5)
            other = np.argwhere(numbers[number] != number)
            if len(other):
                assert len(other) == np.prod(np.ptp(other, 0) + 1)  # one box


def test_label_smoothing_of_a_mixture_is_the_mixture_of_smoothed_losses():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction=None)
    logits = tf.random.stateless_normal((1, 5), (1, 2))
    one, other = tf.one_hot([1], 5), tf.one_hot([3], 5)
    mixture = loss(0.7 * one + 0.3 * other, logits)
    assert np.allclose(mixture, 0.7 * loss(one, logits) + 0.3 * loss(other, logits), atol=1e-6)


def test_training_accuracy_of_soft_labels_uses_the_larger_fraction():
    metric = keras.metrics.CategoricalAccuracy()
    metric.update_state([[0.7, 0.3], [0.2, 0.8]], [[3.0, 1.0], [2.0, 0.5]])
    assert float(metric.result()) == 0.5
