"""Each augmentation step against Pillow, NumPy or its formula."""

import colorsys
import json

import numpy as np
import pytest
import record_augmentations
import tensorflow as tf
from pictures import photo
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.ndimage import gaussian_filter

from transferkit.data.augment import augmentation, color, crops, geometric, mixing, policies, step_list
from transferkit.data.augment.image_ops import GREY

PHOTO = photo(48, 48, seed=2)
PICTURE = tf.constant(np.asarray(PHOTO))
SEEDS = tf.stack((tf.range(400), tf.zeros(400, tf.int32)), 1)
OTHERS = [name for name in augmentation.OPS if "flip" not in name]


def drawn(function, seeds=SEEDS) -> np.ndarray:
    """What a function of a seed gives for many."""
    return np.stack(list(tf.data.Dataset.from_tensor_slices(seeds).map(function).as_numpy_iterator()))


def off(found, wanted) -> np.ndarray:
    return np.abs(np.asarray(found, "int32") - np.asarray(wanted, "int32"))


@pytest.mark.parametrize("name", augmentation.OPS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_step_is_the_same_eagerly_and_in_a_pipeline(name, channels):
    (step,) = augmentation.parse_augmentation(name).ops
    picture = tf.concat((PICTURE, PICTURE[..., :1]), -1)[..., :channels] if channels != 3 else PICTURE
    found = drawn(lambda seed: step(picture, seed), SEEDS[:30])
    assert found.dtype == np.uint8 and found.shape[1:] == picture.shape
    for seed, each in zip(SEEDS, found[:12], strict=False):
        assert off(each, step(picture, seed)).max() <= 1  # compiled, floats may be fused
    if channels == 4 and name in color.OPS:
        assert (found[..., 3] == picture[..., 3].numpy()).all()
    assert len({each.tobytes() for each in found}) > 1 or (name, channels) == ("hue", 1)


@pytest.mark.parametrize("name", augmentation.OPS)
@pytest.mark.parametrize("value", [0.0, 255.0])
def test_half_precision_does_not_overflow(name, value):
    """The brightest and the darkest picture, in float16, through the strongest form of each step."""
    parameters = augmentation.step_parameters(augmentation.OPS[name])
    limits = [augmentation.parameter_limits(parameter)[-1] for parameter in parameters]
    limits = {"erase": [1, 0.5, 0.5], "rand_augment": [2, 30]}.get(name, limits)
    (step,) = augmentation.parse_augmentation(f"{name}({', '.join(map(str, limits))})").ops
    picture = tf.fill((16, 16, 3), tf.constant(value, tf.float16))
    found = drawn(lambda seed: step(picture, seed), SEEDS[:40])
    assert found.dtype == np.float16 and np.isfinite(found).all() and found.min() >= 0 and found.max() <= 255
    if name not in policies.OPS:  # which invert or cut what is above a level, so that roundings show
        rounded = drawn(lambda seed: step(tf.cast(picture, tf.uint8), seed), SEEDS[:40])
        assert np.abs(found.astype("float32") - rounded).max() <= 1


@pytest.mark.parametrize(
    "step, power, levels, correlation", [(color.pca_jitter, 1, 3.2, 0.97), (color.pca_jitter_std, 0.5, 7.2, 0.76)]
)
def test_pca_jitter_has_the_covariance_of_its_formula(step, power, levels, correlation):
    picture = tf.fill((1, 1, 3), 127.5)
    shifts = drawn(lambda seed: step(picture, seed, 0.1)[0, 0] - 127.5, tf.stack([tf.range(6000)] * 2, 1))
    axes = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    wanted = axes @ np.diag((25.5 * np.array([0.2175, 0.0188, 0.0045]) ** power) ** 2) @ axes.T
    found = np.cov(shifts.T)
    assert np.abs(found / wanted - 1).max() < 0.06 and np.abs(shifts.mean(0)).max() < 0.05 * levels
    assert np.abs(shifts.std(0) / levels - 1).max() < 0.05
    assert abs(np.corrcoef(shifts.T).min() - correlation) < 0.02
    largest = np.linalg.eigh(found)[1][:, -1]
    assert abs(largest @ np.ones(3)) / np.sqrt(3) > 0.999


def test_pca_jitter_adds_one_shift_and_stops_at_0_and_255():
    sigma = 2.0
    for seed in SEEDS[:20]:
        shift = color.pca_jitter(tf.fill((1, 1, 3), 127.5), seed, sigma)[0, 0] - 127.5
        if np.abs(shift).max() < 127:
            wanted = np.clip(np.round(np.asarray(PHOTO) + shift.numpy()), 0, 255)
            assert off(color.pca_jitter(PICTURE, seed, sigma), wanted).max() <= 1


def test_pca_jitter_of_grey_is_the_grey_of_pca_jitter():
    grey = np.asarray(PHOTO.convert("L"))[..., None]
    for seed in SEEDS[:10]:
        coloured = color.pca_jitter(tf.constant(np.repeat(grey, 3, 2)), seed, 0.3).numpy()
        wanted = np.asarray(Image.fromarray(coloured).convert("L"))
        inside = (coloured.min(-1) > 0) & (coloured.max(-1) < 255)
        assert off(color.pca_jitter(tf.constant(grey), seed, 0.3)[..., 0], wanted)[inside].max() <= 1


@pytest.mark.parametrize("factor", [0.3, 0.8, 1.5])
@pytest.mark.parametrize(
    "place, enhancer", [*enumerate((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color))]
)
def test_enhancement_is_pillows(place, enhancer, factor):
    factors = [1.0, 1.0, 1.0]
    factors[place] = factor
    assert off(color.adjust_color(PICTURE, *factors), enhancer(PHOTO).enhance(factor)).max() <= 1


def test_jitter_is_pillows_in_any_order():
    """Where nothing is cut at 0 or 255 on the way."""
    soft = Image.fromarray((np.asarray(PHOTO) // 3 + 80).astype("uint8"))
    steps = {ImageEnhance.Brightness: 1.2, ImageEnhance.Contrast: 0.7, ImageEnhance.Color: 1.3}
    found = color.adjust_color(tf.constant(np.asarray(soft)), 1.2, 0.7, 1.3)
    for order in (list(steps.items()), list(steps.items())[::-1]):
        image = soft
        for enhancer, factor in order:
            image = enhancer(image).enhance(factor)
        assert off(found, image).max() <= 3  # Pillow rounds three times


def test_jitter_draws_factors_evenly():
    picture = tf.fill((1, 1, 1), 100.0)
    found = drawn(lambda seed: color.jitter(picture, seed, 0.4, 0, 0)[0, 0, 0])
    assert 60 <= found.min() < 63 and 137 < found.max() <= 140 and abs(found.mean() - 100) < 4


def test_hue_is_that_of_colorsys():
    turn = 0.2
    for seed in SEEDS[:4]:
        drawn_turn = float(tf.random.stateless_uniform((), seed, -1.0, 1.0)) * turn
        found = color.hue(PICTURE[:8, :8], seed, turn).numpy()
        for pixel, each in zip(np.asarray(PHOTO)[:8, :8].reshape(-1, 3), found.reshape(-1, 3), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
            assert off(each, np.round(255 * np.array(colorsys.hsv_to_rgb((h + drawn_turn) % 1, s, v)))).max() <= 1


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_scipys(sigma):
    """Away from the border, which is treated in another way."""
    wanted = gaussian_filter(np.asarray(PHOTO, "float64"), (sigma, sigma, 0), truncate=6)
    assert off(color.blur_by(PICTURE, sigma), np.round(wanted))[12:-12, 12:-12].max() <= 1
    assert sigma < 0.5 or off(PICTURE, np.round(wanted)).max() > 10


def test_blur_draws_its_deviation_and_whether():
    picture = tf.scatter_nd([[6, 6, 0]], [255.0], (13, 13, 1))
    found = drawn(lambda seed: color.blur(picture, seed, 0.3, 0.8, 1.6))
    same = (found == picture.numpy()).all((1, 2, 3))
    assert abs(same.mean() - 0.7) < 0.1
    peaks = found[~same, 6, 6, 0]
    ends = [color.blur_by(picture, sigma)[6, 6, 0] for sigma in (0.8, 1.6)]
    assert ends[1] - 0.01 <= peaks.min() < peaks.max() <= ends[0] + 0.01 and len(set(peaks.tolist())) > 50


@pytest.mark.parametrize("degrees", [0, 90, -90, 180, 17, -33.5])
def test_rotations_are_pillows(degrees):
    wanted = PHOTO.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=(GREY,) * 3)
    found = geometric.rotate_by(PICTURE, tf.constant(float(degrees)))
    covered = Image.new("L", PHOTO.size, 255).rotate(degrees, Image.Resampling.BILINEAR)
    inside = np.asarray(covered.filter(ImageFilter.MinFilter(5))) == 255  # the seam of the border differs
    outside = np.asarray(covered.filter(ImageFilter.MaxFilter(5))) == 0
    assert off(found, wanted)[inside].max() <= 2 and inside.mean() > 0.6
    assert (found.numpy()[outside] == GREY).all()


def test_a_rotation_stays_within_its_degrees():
    line = np.zeros((41, 41, 1), "uint8")
    line[20, 21:] = 255
    found = drawn(lambda seed: geometric.rotate(tf.constant(line), seed, 30), SEEDS[:100])
    y, x = np.mgrid[-20:21, -20:21]
    bright = found[..., 0] > 128
    angles = [np.degrees(np.arctan2(-y[each & (x > 10)].mean(), x[each & (x > 10)].mean())) for each in bright]
    assert 25 < max(angles) <= 31 and -31 <= min(angles) < -25


@pytest.mark.parametrize("pixels", [1, 4])
def test_pad_crop_is_a_shift(pixels):
    padded = np.pad(np.asarray(PHOTO), ((pixels,) * 2, (pixels,) * 2, (0, 0)), constant_values=GREY)
    places = {}
    for y in range(2 * pixels + 1):
        for x in range(2 * pixels + 1):
            places[padded[y : y + 48, x : x + 48].tobytes()] = (y, x)
    found = {places[each.tobytes()] for each in drawn(lambda seed: geometric.pad_crop(PICTURE, seed, pixels))}
    assert len(found) > 0.95 * len(places)


def test_a_vertical_flip_is_pillows():
    assert np.array_equal(geometric.flip_vertical(PICTURE, SEEDS[0], 1.0), ImageOps.flip(PHOTO))


def test_erased_boxes_have_the_given_area():
    picture = tf.zeros((100, 100, 1))  # noise is 0 in one pixel of 256
    found = drawn(lambda seed: geometric.erase(picture, seed, 0.5, 0.1, 0.4)[..., 0])
    areas, shares = [], []
    for each in found[found.any((1, 2))] > 0:
        rows, columns = np.flatnonzero(each.any(1)), np.flatnonzero(each.any(0))
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        areas.append(tall * wide / 1e4)
        shares.append(tall / wide)
        assert each.sum() > 0.97 * tall * wide
    assert 0.42 < len(areas) / 400 < 0.58
    assert 0.095 < min(areas) < 0.13 and 0.37 < max(areas) < 0.41 and abs(np.mean(areas) - 0.25) < 0.02
    assert 0.28 < min(shares) < 0.5 and 2 < max(shares) < 3.5 and abs(np.log(shares).mean()) < 0.15


@pytest.mark.parametrize("level", [0.5, -0.6])
def test_sharpness_is_pillows(level):
    wanted = ImageEnhance.Sharpness(PHOTO).enhance(1 + level)
    assert off(policies.sharpness(PICTURE, level), wanted)[1:-1, 1:-1].max() <= 2  # Pillow rounds twice


@pytest.mark.parametrize("bits", [0, 1, 4, 6])
def test_posterize_is_pillows(bits):
    assert off(policies.posterize(PICTURE, -float(bits)), ImageOps.posterize(PHOTO, 8 - bits)).max() == 0


@pytest.mark.parametrize("level", [0.0, 0.3, -1.0])
def test_solarize_is_pillows(level):
    threshold = 255 * (1 - abs(level))
    assert off(policies.solarize(PICTURE, tf.constant(level)), ImageOps.solarize(PHOTO, threshold)).max() == 0


@pytest.mark.parametrize("seed", range(3))
def test_equalize_and_autocontrast_are_pillows(seed):
    image = Image.fromarray((np.asarray(photo(40, 40, seed=seed)) // 2 + 30).astype("uint8"))
    picture = tf.constant(np.asarray(image))
    assert off(policies.equalize(picture), ImageOps.equalize(image)).max() == 0
    assert off(policies.autocontrast(picture), ImageOps.autocontrast(image)).max() <= 1  # Pillow truncates


def test_equalize_and_autocontrast_keep_a_single_colour():
    plain = tf.fill((8, 8, 3), tf.constant(77, tf.uint8))
    assert np.array_equal(policies.equalize(plain), plain) and np.array_equal(policies.autocontrast(plain), plain)


@pytest.mark.parametrize("level", [0.25, -0.25])
def test_shears_and_shifts_are_pillows(level):
    middle = (PHOTO.width - 1) / 2 + 0.5
    for change, rows in (
        (policies.shear_across, (1, level, -level * middle, 0, 1, 0)),
        (policies.shear_down, (1, 0, 0, level, 1, -level * middle)),
        (policies.shift_across, (1, 0, level * 48, 0, 1, 0)),
        (policies.shift_down, (1, 0, 0, 0, 1, level * 48)),
    ):
        wanted = PHOTO.transform(
            PHOTO.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR, fillcolor=(GREY,) * 3
        )
        assert np.percentile(off(change(PICTURE, level), wanted), 95) <= 2  # the seam of the border differs


@pytest.mark.slow
def test_rand_augment_draws_all_operations_and_the_identity():
    found = drawn(lambda seed: policies.rand_augment(PICTURE, seed, 1, 9))
    kinds = {each.tobytes() for each in found}
    same = np.mean([np.array_equal(each, PICTURE) for each in found])
    assert 18 <= len(kinds) <= 25  # 14 changes; nine of them to two sides; some are alike on this picture
    assert 0.03 < same < 0.2
    still = drawn(lambda seed: policies.rand_augment(PICTURE, seed, 3, 0), SEEDS[:100])
    assert np.mean([off(each, PICTURE).max() <= 1 for each in still]) > 0.3  # some know no level


def test_trivial_augment_draws_any_strength():
    found = drawn(lambda seed: policies.trivial_augment(PICTURE, seed))
    assert len({each.tobytes() for each in found}) > 200


@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (300, 500), (500, 301)])
def test_alexnet_crops_lie_in_the_central_square(shape):
    y, x, height, width = drawn(lambda seed: crops.alexnet_crop(tf.constant(shape), seed)).T
    side = min(shape)
    assert set(height) == set(width) == {max(1, round(side * 224 / 256))}
    assert y.min() >= (shape[0] - side) // 2 and (y + height).max() <= (shape[0] - side) // 2 + side
    assert x.min() >= (shape[1] - side) // 2 and (x + width).max() <= (shape[1] - side) // 2 + side
    if side == 256:
        assert (y.min(), y.max(), x.min(), x.max()) == (0, 32, 0, 32)  # 33 places, the paper's 32


def test_scale_crops_show_224_of_the_drawn_side():
    y, x, height, width = drawn(lambda seed: crops.scale_crop(tf.constant((512, 700)), seed, 256, 512)).T
    sides = 512 * 224 / height
    assert (height == width).all() and 255 < sides.min() < 262 and 500 < sides.max() < 513.5
    assert abs(sides.mean() - 384) < 15
    assert min(y.min(), x.min()) >= 0 and (y + height).max() <= 512 and 680 < (x + width).max() <= 700


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("scale_crop(480, 256)", "low must not exceed high, 480 is more than 256."),
        ("rand_augment(1.5)", "n must be a whole number from 1 to 10, not 1.5."),
        ("mixup | flip", "flip changes single pictures, so it must come before what mixes batches in 'mixup | flip'."),
        ("mixup(0)", "alpha must be from 0.05 to 10, not 0."),
        ("pca_jiter", "Did you mean 'pca_jitter'?"),
        ("flip(nan)", "is not an augmentation step"),
    ],
)
def test_invalid_parameters_are_refused(line, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(").replace("?", r"\?").replace("|", r"\|")):
        augmentation.parse_augmentation(line)


def test_the_list_of_steps_and_its_page(cli):
    """Every step is listed with the numbers that it takes, and the page in docs is up to date."""
    listed = {step["step"]: step for step in step_list.list_steps()}
    assert set(listed) == set(augmentation.OPS | crops.WINDOWS | mixing.BATCH_STEPS)
    assert all(step["effect"].endswith(".") and "(" not in step["paper"] for step in listed.values())
    assert step_list.spell_defaults(listed["hue"]) == "hue(0.1)"
    assert step_list.spell_ranges(listed["pad_crop"]) == "pixels 1 to 512"
    for step in listed.values():
        augmentation.parse_augmentation(step_list.spell_defaults(step))
    document = json.loads(cli("data", "augmentations", "--json")[1])
    assert document == {"steps": list(listed.values()), "sets": augmentation.LEVELS}
    assert record_augmentations.PATH.read_text("utf-8") == record_augmentations.source(), (
        "run python tests/record_augmentations.py"
    )
