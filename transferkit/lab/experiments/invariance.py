"""Shifted, turned and scaled pictures."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from transferkit.data.parallel import without_autotuning
from transferkit.lab.experiment import Experiment, Finding, spell_difference, spell_interval

SIDE = 96  # of the pictures of `measure_equivariance`
CENTRE = 32  # where they begin in the part of the photograph that they are cut from, of SIDE + 2 * CENTRE pixels
SHIFTS, ANGLES, FACTORS = (*range(9), 12, 16), (0, 5, 10, 20, 45, 90, 135, 180), (1.0, 1.1, 1.25, 1.5, 2.0)


def measure_equivariance(seeds: int) -> Finding:
    """f(g(x)) against g(f(x)), as a relative difference, for layers and a network with random weights."""
    from transferkit.lab.figures import plot_curve

    changes = {"shift": SHIFTS, "turn": ANGLES, "scale": FACTORS}
    runs: dict[tuple, list] = {}
    for seed in range(seeds):
        for name, (compute, stride) in make_subjects(seed).items():
            for change, amounts in changes.items():
                if change != "shift" and name == "layer, stride 2":
                    continue  # its places are not symmetric about the centre
                values = [measure_commutation(compute, stride, change, amount) for amount in amounts]
                runs.setdefault((change, name), []).append(values)
    figure = Figure((11, 4), layout="constrained")
    labels = ("shift, in pixels", "turn, in degrees", "enlargement, a factor")
    for place, (change, amounts), label in zip(figure.subplots(1, 3), changes.items(), labels, strict=True):
        for number, name in enumerate(make_subjects(0)):
            if (change, name) in runs:
                shown = np.maximum(runs[change, name], 1e-8)
                plot_curve(place, amounts, shown, label=name, color=f"C{number}")
        place.set(xlabel=label, yscale="log", ylim=(1e-8, 5))
    figure.axes[0].set_ylabel("relative difference of f(g(x)) and g(f(x))")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle("Does it matter whether the picture is changed, or the map?")
    between = np.array(runs["shift", "network, stride 8"])[:, [shift % 8 != 0 for shift in SHIFTS]]
    exact = np.array(runs["shift", "network, stride 8"])[:, [shift % 8 == 0 for shift in SHIFTS]]
    at = {change: partial(_at, runs, change, amounts) for change, amounts in changes.items()}
    return Finding(
        "Away from borders, f(g(x)) and g(f(x)) differ, relative to their size, for a 3x3 layer and shifts by whole"
        f" pixels by at most {np.max(runs['shift', 'layer']):.1g}, for a network of stride 8 and multiples of 8 pixels"
        f" by at most {exact.max():.1g}, between them by {spell_interval(between.mean(1), '.2f')}; for a turn by 90"
        f" degrees by {spell_interval(at['turn']('layer', 90), '.2f')} (layer) and"
        f" {spell_interval(at['turn']('network, stride 8', 90), '.2f')} (network), for an enlargement by 1.5 by"
        f" {spell_interval(at['scale']('layer', 1.5), '.2f')} and"
        f" {spell_interval(at['scale']('network, stride 8', 1.5), '.2f')}.",
        ("change", "of", "amount", "relative difference"),
        [
            (change, name, amount, f"{value:.2g}")
            for (change, name), values in runs.items()
            for amount, value in zip(changes[change], np.mean(values, 0), strict=True)
        ],
        figure,
    )


def _at(runs, change, amounts, name, amount):
    return [values[amounts.index(amount)] for values in runs[change, name]]


def make_subjects(seed: int) -> dict:
    """Functions from a picture to maps, with their strides: layers of random kernels, a Gaussian, a network."""
    import keras

    from transferkit.lab import fitting

    keras.utils.set_random_seed(seed)
    distance = np.arange(-4, 5)[:, None] ** 2 + np.arange(-4, 5) ** 2
    gaussian = np.repeat(np.exp(-distance / 4.0)[..., None], 3, -1)[..., None].astype("float32")
    kernels = np.random.default_rng(seed).normal(size=(3, 3, 3, 8)).astype("float32")
    network = fitting.build("simple_cnn(top=average)")
    maps = keras.Model(network.input, network.get_layer("stage3").output)

    def convolve(picture, kernel=kernels, stride=1):
        return np.asarray(keras.ops.conv(picture[None], kernel, stride, padding="same"))[0]

    return {
        "layer": (convolve, 1),
        "layer, stride 2": (partial(convolve, stride=2), 2),
        "network, stride 8": (lambda picture: maps.predict(picture[None], verbose=0)[0], 8),
        "round kernel": (partial(convolve, kernel=gaussian / gaussian.sum()), 1),
    }


def measure_commutation(compute, stride: int, change: str, amount: float) -> float:
    """The distance of compute(change(picture)) from change(compute(picture)), divided by the latter's length.

    Args:
        compute: from a picture (h, w, 3) to maps (h / stride, w / stride, c).
        change: "shift" down by `amount` pixels; "turn" by degrees; "scale" by a factor. Maps are interpolated linearly.
            Pictures come from the middle of a larger one, so that what is moved in is true.
    """
    from scipy.ndimage import affine_transform, rotate, shift

    from transferkit.lab import small_data

    whole = small_data.load_photograph()[150 : 150 + SIDE + 2 * CENTRE, 250 : 250 + SIDE + 2 * CENTRE]
    whole = whole - whole.mean()  # else the mean of the picture makes maps alike

    def transform(values, step):
        if change == "shift":
            return shift(values, (amount / step, 0, 0), order=1, mode="nearest")
        if change == "turn":
            return rotate(values, amount, order=1, reshape=False, mode="nearest")
        middle = (np.array(values.shape[:2]) - 1) / 2
        offset = (*(middle - middle / amount), 0)
        return affine_transform(values, (1 / amount, 1 / amount, 1), offset=offset, order=1, mode="nearest")

    def cut(values):
        return values[CENTRE:-CENTRE, CENTRE:-CENTRE] + 127.5

    after, before = compute(cut(transform(whole, 1))), transform(compute(cut(whole)), stride)
    places = np.arange(after.shape[0]) - (after.shape[0] - 1) / 2
    # what borders and their neighbours have not changed: a disc, so that it stays within the map when turned
    inside = np.hypot(places[:, None], places) * stride <= SIDE / 2 - 26
    return float(np.linalg.norm((after - before)[inside]) / np.linalg.norm(before[inside]))


def compare_pooled_shifts(seeds: int, *, network="simple_cnn", pictures=600, epochs=4, rate=0.03, most=8) -> Finding:
    """How much features change if a picture moves: with windows of 4 pooled, thinned out, or as they are."""
    from transferkit.lab import fitting, small_data
    from transferkit.lab.figures import plot_curve

    shifts, model = tuple(range(most + 1)), fitting.build(network)
    maps = fitting.keras.Model(model.input, model.get_layer("act1").output)
    runs: dict[str, list] = {name: [] for name in POOLS}
    same: dict[str, list] = {name: [] for name in POOLS}
    for seed in range(seeds):
        split = small_data.load_digits(seed, side=16).first(pictures)
        fitting.train_fresh(model, pad(split, 8), epochs=epochs, rate=rate, seed=seed)
        shown = pad(split, 8).test[:100]
        features = [maps.predict(np.roll(shown, shift, axis=2), verbose=0) for shift in shifts]
        empty = maps.predict(np.zeros_like(shown[:1]), verbose=0)  # biases alone give it features
        for name, pool in POOLS.items():
            pooled = [pool(values) - pool(empty) for values in features]
            still = pooled[0]
            runs[name].append([np.linalg.norm(values - still) / np.linalg.norm(still) for values in pooled])
            same[name].append([_unchanged(values, still) for values in pooled])
    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in POOLS:
        plot_curve(left, shifts, runs[name], label=name)
        plot_curve(right, shifts, same[name], label=name)
    left.set(xlabel="shift, in pixels", ylabel="relative change of the features", title="Change of the first stage")
    right.set(
        xlabel="shift, in pixels",
        ylabel="unchanged fraction of what sees the digit",
        title="Features that stay the same",
    )
    left.legend(fontsize=8)
    one = {name: [values[1] for values in runs[name]] for name in POOLS}
    kept = [values[1] for values in same["max of 4x4"]]
    return Finding(
        f"A shift by 1 pixel changes the maxima of 4x4 windows by {spell_interval(one['max of 4x4'], '.2f')} of their"
        f" length; against one value of each window: {spell_difference(one['max of 4x4'], one['one of 4x4'], '.2f')},"
        f" against the maps themselves: {spell_difference(one['max of 4x4'], one['no pool'], '.2f')}; only"
        f" {spell_interval(kept, '.2f')} of those maxima that see the digit stay the same.",
        ("features", "shift", "relative change", "unchanged fraction"),
        [
            (
                name,
                shift,
                spell_interval(np.array(runs[name])[:, shift]),
                spell_interval(np.array(same[name])[:, shift]),
            )
            for name in POOLS
            for shift in shifts[1:]
        ],
        figure,
    )


def _unchanged(values: np.ndarray, others: np.ndarray) -> float:
    """The fraction of features that are the same, to float32's rounding, among those that are not 0 in both."""
    active = (abs(values) > 1e-5) | (abs(others) > 1e-5)
    return float(np.isclose(values, others, atol=1e-5)[active].mean())


def _windows(maps: np.ndarray) -> np.ndarray:
    """(n, h / 4, w / 4, 16, c): the values of each window of 4x4."""
    n, height, width, channels = maps.shape
    parts = maps.reshape(n, height // 4, 4, width // 4, 4, channels).transpose(0, 1, 3, 2, 4, 5)
    return parts.reshape(n, height // 4, width // 4, 16, channels)


POOLS = {
    "no pool": lambda maps: maps,
    "one of 4x4": lambda maps: maps[:, ::4, ::4],
    "max of 4x4": lambda maps: _windows(maps).max(3),
    "average of 4x4": lambda maps: _windows(maps).mean(3),
}


def pad(split, pixels: int, value: float = 0.0):
    """The pictures of a `Split` with a border."""
    from transferkit.lab.small_data import Split

    border = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    parts = [np.pad(part, border, constant_values=value) for part in (split.train, split.test)]
    return Split(parts[0], split.train_labels, parts[1], split.test_labels)


AUGMENTATIONS = {"none": "none", "shifts": "pad_crop(6)", "turns": "rotate(45)", "both": "pad_crop(6) | rotate(45)"}
TEST_SHIFTS, TEST_ANGLES = (0, 1, 2, 3, 4, 5, 6), (0, 10, 20, 30, 45, 60, 90)


def compare_augmented(
    seeds: int,
    *,
    network="simple_cnn(width=8)",
    pictures=400,
    tested=200,
    epochs=20,
    rate=0.03,
    shifts=TEST_SHIFTS,
    angles=TEST_ANGLES,
) -> Finding:
    """Networks trained with shifted and turned views, and the accuracy on shifted and turned test pictures."""
    from transferkit.lab import fitting
    from transferkit.lab.figures import plot_curve
    from transferkit.lab.small_data import Split

    model = fitting.build(network)
    runs: dict[str, list] = {name: [] for name in AUGMENTATIONS}
    for seed in range(seeds):
        split = load_on_grey(seed).first(pictures)
        test, labels = split.test[:tested], split.test_labels[:tested]
        versions = [move(test, pixels) for pixels in shifts] + [turn(test, angle) for angle in angles]
        for name, line in AUGMENTATIONS.items():
            views = augment(split.train, line, epochs, seed)
            fitting.train_fresh(
                model, Split(views, np.tile(split.train_labels, epochs), test, labels), epochs=1, rate=rate, seed=seed
            )
            runs[name].append([_score(model, sides, labels) for sides in versions])
    curves = {name: np.array(values) for name, values in runs.items()}
    parts = {"shift": (slice(0, len(shifts)), shifts), "turn": (slice(len(shifts), None), angles)}
    figure = Figure((9, 3.6), layout="constrained")
    for place, (change, (where, amounts)) in zip(figure.subplots(1, 2), parts.items(), strict=True):
        for name in AUGMENTATIONS:
            plot_curve(place, amounts, curves[name][:, where], label=f"trained with {name}")
        unit = "pixels" if change == "shift" else "degrees"
        place.set(xlabel=f"{change} of the test pictures, in {unit}", ylabel="test accuracy", ylim=(0, 1.02))
    figure.axes[0].legend(fontsize=8, loc="lower left")
    figure.suptitle("Accuracy on shifted and turned pictures, by the views of the training")
    shift, angle = 4 if 4 in shifts else shifts[-1], 30 if 30 in angles else angles[-1]
    at_shift, at_angle = shifts.index(shift), len(shifts) + angles.index(angle)
    plain = curves["none"]
    return Finding(
        f"Without augmentation accuracy falls from {spell_interval(plain[:, 0])} to"
        f" {spell_interval(plain[:, at_shift])} by a shift of {shift} pixels and to"
        f" {spell_interval(plain[:, at_angle])} by a turn of {angle} degrees; against that, after training with shifted"
        f" views: {spell_difference(curves['shifts'][:, at_shift], plain[:, at_shift])}, with turned views:"
        f" {spell_difference(curves['turns'][:, at_angle], plain[:, at_angle])}.",
        ("trained with", "change", "amount", "test accuracy"),
        [
            (name, change, amount, spell_interval(values))
            for name in AUGMENTATIONS
            for change, (where, amounts) in parts.items()
            for amount, values in zip(amounts, curves[name][:, where].T, strict=True)
        ],
        figure,
    )


def load_on_grey(seed: int):
    """Digits of 20 pixels in 32, whose background is the grey that the augmentation steps fill with."""
    from transferkit.data.augment.image_ops import GREY
    from transferkit.lab import small_data

    split = small_data.load_digits(seed, side=20)
    parts = [np.round(GREY + part * ((255 - GREY) / 255)).astype("uint8") for part in (split.train, split.test)]
    return pad(small_data.Split(parts[0], split.train_labels, parts[1], split.test_labels), 6, GREY)


def augment(pictures: np.ndarray, line: str, views: int, seed: int) -> np.ndarray:
    """Views of all pictures, one after the other, by a line of steps as `--augment` takes it: (views * n, h, w, c)."""
    from transferkit.data import lazy_tensorflow as tf
    from transferkit.data.augment.augmentation import expand_levels, parse_augmentation

    steps = parse_augmentation(expand_levels(line)).ops

    @tf.function
    def draw(picture, number):
        for index, step in enumerate(steps):
            picture = step(picture, (number, seed * 10 + index))
        return picture

    data = without_autotuning(tf.data.Dataset.from_tensor_slices(np.tile(pictures, (views, 1, 1, 1))))
    numbered = tf.data.Dataset.zip(data, tf.data.Dataset.range(len(pictures) * views, output_type=tf.int32))
    return np.concatenate([batch.numpy() for batch in numbered.map(draw).batch(256)])


def move(pictures: np.ndarray, pixels: int) -> list[np.ndarray]:
    """The pictures shifted up, down, left and right; their borders are of one colour, which is what is moved in."""
    if not pixels:
        return [pictures]
    return [np.roll(pictures, by, axis) for axis in (1, 2) for by in (-pixels, pixels)]


def turn(pictures: np.ndarray, degrees: float) -> list[np.ndarray]:
    """The pictures turned about their centre to both sides."""
    from transferkit.data import lazy_tensorflow as tf
    from transferkit.data.augment.geometric import rotate_by

    @tf.function  # operation by operation it takes ten times as long
    def turned(values, angle):
        return tf.map_fn(lambda picture: rotate_by(picture, angle), values)

    sides = (-degrees, degrees) if degrees else (0,)
    return [turned(tf.constant(pictures), tf.constant(float(angle))).numpy() for angle in sides]


def _score(model, versions: list[np.ndarray], labels: np.ndarray) -> float:
    """The mean accuracy over versions of the same pictures."""
    from transferkit.lab import fitting

    return fitting.accuracy(model, np.concatenate(versions), np.tile(labels, len(versions)))


EXPERIMENTS = {
    "equivariance": Experiment(measure_equivariance, "Can a layer and a shift, turn or scaling change places?", 5),
    "pool-shifts": Experiment(compare_pooled_shifts, "Does a pool make features indifferent to small shifts?", 5),
    "augmentation-shifts": Experiment(compare_augmented, "What makes a network indifferent to shifts and turns?", 3),
}
