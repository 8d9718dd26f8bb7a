"""Parsing of augmentation strings; distributions of windows and flips."""

import math
import re
from functools import lru_cache

import numpy as np
import pytest
import tensorflow as tf

from transferkit.data.augment import augmentation, crops, geometric
from transferkit.lookup import UnknownName

BOX = tf.TensorSpec((4,), tf.int32)
SEEDS = tf.stack((tf.range(400), tf.zeros(400, tf.int32)), 1)


def drawn(shape, seeds=SEEDS, **arguments) -> np.ndarray:
    """Windows drawn for many seeds, one a row."""
    return _windows(tuple(arguments.items()))(tf.constant(shape), seeds).numpy()


@lru_cache
def _windows(arguments):
    @tf.function(reduce_retracing=True)
    def draw(shape, seeds):
        return tf.map_fn(lambda seed: crops.crop(shape, seed, **dict(arguments)), seeds, fn_output_signature=BOX)

    return draw


@pytest.mark.parametrize("level", augmentation.LEVELS)
def test_every_level_can_be_parsed(level):
    steps = augmentation.parse_augmentation(level)
    assert (steps.window is None) == (level in ("none", "cifar")) and len(steps.ops) == max(
        0, augmentation.LEVELS[level].count("|") + (level == "cifar")
    )


@pytest.mark.parametrize(
    "text, window, ops", [("", 0, 0), (" light ", 1, 1), ("flip|flip(0.1)", 0, 2), ("crop(1, 1)", 1, 0), ("none", 0, 0)]
)
def test_a_string_of_steps_is_parsed(text, window, ops):
    steps = augmentation.parse_augmentation(text)
    assert (steps.window is not None, len(steps.ops)) == (window, ops)


@pytest.mark.parametrize("level", augmentation.LEVELS)
@pytest.mark.parametrize(
    "form", ["{} | flip(0.3) | mixup(0.5)", "{}|flip(0.3)|mixup(0.5)", " {}  | flip(0.3) | mixup(0.5)"]
)
def test_a_level_in_a_string_means_its_steps(level, form):
    """The same functions with the same numbers, as those of the steps written out."""

    def told(steps):
        return [(step.func, step.keywords) for step in (*filter(None, [steps.window]), *steps.ops, *steps.batch_steps)]

    wanted = " | ".join(filter(None, [augmentation.LEVELS[level], "flip(0.3) | mixup(0.5)"]))
    assert told(augmentation.parse_augmentation(form.format(level))) == told(augmentation.parse_augmentation(wanted))
    assert augmentation.expand_levels(form.format(level)) == wanted


def test_a_level_may_follow_other_steps():
    steps = augmentation.parse_augmentation("crop(0.7) | cifar | none | cutmix")
    assert [step.func.__name__ for step in (steps.window, *steps.ops, *steps.batch_steps)] == [
        "crop", "pad_crop", "flip", "cutmix"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("hevy", "No augmentation is called 'hevy'. Did you mean 'heavy'?"),
        ("crp(0.5)", "No augmentation is called 'crp'. Did you mean 'crop'?"),
        (
            "crop | flop",
            "No augmentation is called 'flop'. Did you mean 'flip'? `transferkit data augmentations` lists all",
        ),
        ("hevy | flip", "No augmentation is called 'hevy'. Did you mean 'heavy'?"),
        ("light(1)", "'light(1)': light takes no numbers; write light, or its steps: 'crop(0.5) | flip'."),
        (
            "flip | light",
            "a line has one such step, its first, but in 'flip | crop(0.5) | flip' crop is step 2.",
        ),
        ("light | crop", "a line has one such step, its first, but in 'crop(0.5) | flip | crop' crop is step 3."),
        ("crop|crop", "crop picks what is decoded: a line has one such step, its first, but in 'crop | crop' crop is"),
        ("none |", "'' is not an augmentation step"),
        (
            "mixup | cifar",
            "pad_crop changes single pictures, so it must come before what mixes batches in 'mixup | pad_",
        ),
        ("light |", "'' is not an augmentation step"),
        (
            "flip | crop",
            "crop picks what is decoded: a line has one such step, its first, but in 'flip | crop' crop is",
        ),
        ("crop(0.5, 1, 3)", "'crop(0.5, 1, 3)': 3 numbers are too many; expected crop(area=0.08, aspect=1.33)."),
        (
            "crop(224) | flip",
            "'crop(224)': area must be from 0.01 to 1, not 224: a fraction of the picture's, as in crop(0.08); the "
            "side in pixels is --size.",
        ),
        ("crop(0.5, 0.5)", "aspect must be from 1 to 10, not 0.5."),
        ("flip(-1)", "probability must be from 0 to 1, not -1."),
        ("crop(1e999)", "area must be from 0.01 to 1, not inf:"),
        *(
            (f"crop({number})", "plain numbers in their order")
            for number in ("True", "nan", "'1'", "1_0", "(1)", "1,,1")
        ),
        ("crop(0.5)#x", "'crop(0.5)#x' is not an augmentation step"),
        ("crop(1" + "0" * 400 + ")", "area must be from 0.01 to 1, not inf:"),
        ("crop(area=0.5)", "'crop(area=0.5)' is not an augmentation step: expected a name and plain numbers"),
        ("crop(x)", "is not an augmentation step"),
        ("crop(0.5", "is not an augmentation step"),
        ("crop |", "'' is not an augmentation step"),
        ("os.system('ls')", "is not an augmentation step"),
    ],
)
def test_invalid_strings_are_refused(text, sentence):
    with pytest.raises(UnknownName, match=re.escape(sentence)):
        augmentation.parse_augmentation(text)


@pytest.mark.parametrize(
    "name, near",
    [
        ("horizontal_flip", "flip"),
        ("random_vertical_flip", "flip_vertical"),
        ("flip_verticl", "flip_vertical"),
        ("color_jitter", "jitter"),
        ("colour_jitter", "jitter"),
        ("pca_jiter", "pca_jitter"),
        ("random_resized_crop", "crop"),
        ("random_erasing", "erase"),
    ],
)
def test_names_of_other_libraries_suggest_ours(name, near):
    with pytest.raises(UnknownName, match=f"{name!r}. Did you mean {near!r}"):
        augmentation.parse_augmentation(f"{name}(0.5)")


@pytest.mark.parametrize(
    "text", ["a" * 10_000, "a" * 10_000 + "(", "crop(" + "1," * 10_000 + "1)", "flip|" * 9999 + "crop"]
)
def test_long_strings_are_shortened_in_messages(text):
    with pytest.raises(UnknownName) as told:
        augmentation.parse_augmentation(text)
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (37, 2), (64, 48), (33, 1000)])
@pytest.mark.parametrize("area", [0.01, 0.5, 1.0])
def test_windows_lie_within_the_picture(shape, area):
    found = drawn(shape, SEEDS[:100], area=area)
    y, x, height, width = found.T
    assert found.min() >= 0 and min(height.min(), width.min()) >= 1
    assert (y + height).max() <= shape[0] and (x + width).max() <= shape[1]


def test_distributions_of_area_and_aspect_ratio():
    """A small least area of a square, so that nothing is cut to the picture where the share is below a half."""
    _, _, height, width = drawn((1000, 1000), area=0.1).T.astype(float)
    share, ratio = height * width / 1e6, np.log(width / height) / math.log(4 / 3)
    free = share < 0.7
    # even between 0.1 and 1
    assert share.min() > 0.09 and abs(np.mean(share < 0.55) - 0.5) < 0.08 and abs(np.mean(share < 0.325) - 0.25) < 0.08
    assert np.abs(ratio).max() < 1.01
    assert abs(ratio[free].mean()) < 0.1 and abs(np.mean(np.abs(ratio[free]) < 0.5) - 0.5) < 0.1


def test_windows_are_placed_uniformly():
    found = drawn((100, 100), area=0.05)
    found = found[found[:, 2:].max(1) < 80]
    places = found[:, :2] / (100 - found[:, 2:])
    assert places.min() < 0.05 and places.max() > 0.95 and np.abs(places.mean(0) - 0.5).max() < 0.06
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.2


def test_half_of_the_pictures_are_flipped():
    picture = tf.constant(np.arange(24, dtype="uint8").reshape(2, 4, 3))
    flip = tf.function(lambda seed: geometric.flip(picture, seed))
    found = tf.map_fn(flip, SEEDS, fn_output_signature=tf.TensorSpec((2, 4, 3), tf.uint8)).numpy()
    flipped = (found == picture.numpy()[:, ::-1]).all((1, 2, 3))
    assert (flipped | (found == picture.numpy()).all((1, 2, 3))).all()
    assert 0.4 < flipped.mean() < 0.6


@pytest.mark.parametrize("probability, swapped", [(0.0, False), (1.0, True)])
def test_flip_probabilities_of_0_and_1(probability, swapped):
    picture = tf.constant(np.arange(24, dtype="uint8").reshape(2, 4, 3))
    (flip,) = augmentation.parse_augmentation(f"flip({probability})").ops
    found = [flip(picture, seed).numpy() for seed in SEEDS[:10]]
    assert all(np.array_equal(each, picture[:, ::-1] if swapped else picture) for each in found)


def test_a_step_is_the_same_eagerly_and_in_a_pipeline():
    steps = augmentation.parse_augmentation("crop(0.1) | flip")
    picture = tf.constant(np.arange(24, dtype="uint8").reshape(2, 4, 3))

    def both(seed):
        return steps.window(tf.constant((60, 80)), seed), steps.ops[0](picture, seed)

    dataset = tf.data.Dataset.from_tensor_slices(SEEDS[:20]).map(both, num_parallel_calls=2)
    draws = []
    for seed, (window, flipped) in zip(SEEDS, dataset, strict=False):
        assert np.array_equal(window, both(seed)[0]) and np.array_equal(flipped, both(seed)[1])
        draws.append(tuple(window.numpy()))
    assert len(set(draws)) == 20
