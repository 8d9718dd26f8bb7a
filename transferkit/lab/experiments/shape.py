"""Pools, strides, and convolutions without dense layers."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, spell_difference, spell_interval

RATES = (0.01, 0.03, 0.1)
POOLS = {
    "max 2x2": "pool_size=2",
    "average 2x2": "pool=average, pool_size=2",
    "max 3x3, overlapping": "pool_size=3",
    "average 3x3, overlapping": "pool=average, pool_size=3",
    "convolution, stride 2": "pool=stride, pool_size=2",
    "none": None,
}


def compare_pools(seeds: int, *, width=8, pools=tuple(POOLS), pictures=600, epochs=8, rates=RATES) -> Finding:
    """What halves the maps: maxima, averages, overlapping windows, a convolution with a stride, or nothing."""
    from transferkit.explain.geometry import measure_layers, sum_costs
    from transferkit.lab import fitting, small_data

    splits = [small_data.load_digits(seed).first(pictures) for seed in range(seeds)]
    scores, rows = {}, []
    for pool in pools:
        model = build_pooled(pool, width)
        rate, scores[pool] = fitting.measure_seeds(splits, rates, _fitter(model, epochs))
        layers = measure_layers(model, small_data.SIDE)
        parameters, work = sum_costs(layers)
        rows.append((pool, parameters, layers[-1].params, work, rate, spell_interval(scores[pool])))
    first, *others = pools
    apart = [f"{spell_difference(scores[pool], scores[first])} with {pool}" for pool in others]
    return Finding(
        f"Against the accuracy {spell_interval(scores[first])} of {first}: {'; '.join(apart)}.",
        ("halved by", "parameters", "of these in the classifier", "multiply-adds", "rate", "test accuracy"),
        rows,
        _draw_scores(scores, f"simple_cnn(width={width}) on {pictures} digits"),
    )


def build_pooled(pool: str, width: int):
    """The network of a row of `POOLS`."""
    import keras

    from transferkit.lab import fitting

    knobs = POOLS[pool]
    if knobs:
        return fitting.build(f"simple_cnn(width={width}, {knobs})")
    pools = keras.layers.MaxPooling2D

    def copy(layer):
        return keras.layers.Identity(name=layer.name) if isinstance(layer, pools) else _copy(layer)

    return keras.models.clone_model(fitting.build(f"simple_cnn(width={width})"), clone_function=copy)


def _copy(layer):
    return layer.__class__.from_config(layer.get_config())


def _fitter(model, epochs):
    """fit(split, rate, seed) as `choose_rate` takes it."""
    from transferkit.lab import fitting

    return lambda split, rate, seed: fitting.train_fresh(model, split, epochs=epochs, rate=rate, seed=seed)


def _draw_scores(scores, title) -> Figure:
    from transferkit.lab.figures import plot_points

    figure = Figure((7, 0.5 * len(scores) + 1), layout="constrained")
    place = figure.subplots()
    plot_points(place, scores)
    place.set(xlabel="test accuracy, with 95% interval", title=title)
    return figure


ALLCNN = {
    "base, with max pools": "base",
    "strided, without pools": "strided",
    "convpool, one more convolution": "convpool",
    "all convolutional": "all",
}


def compare_allcnn(seeds: int, *, width=16, side=16, pictures=600, epochs=20) -> Finding:
    """The four variants of All-CNN-C: pools, strides in their place, and the convolutions that these add."""
    from transferkit.explain.geometry import measure_layers, sum_costs
    from transferkit.lab import fitting, small_data

    splits = [small_data.load_digits(seed, side=side).first(pictures) for seed in range(seeds)]
    scores, rows = {}, []
    for title, variant in ALLCNN.items():
        name = f"allcnn_c(width={width}, variant={variant}, dropout=0, input_dropout=0)"
        model = fitting.build(name, side=side)
        rate, scores[title] = fitting.measure_seeds(splits, (0.02, 0.05), _fitter(model, epochs))
        layers = measure_layers(model, side)
        rows.append((title, *sum_costs(layers), rate, spell_interval(scores[title])))
    base, strided, convpool, everywhere = scores.values()
    return Finding(
        f"Accuracy of a stride in place of a pool against the pool ({spell_interval(base)}):"
        f" {spell_difference(strided, base)}; of a convolution with a stride in its place, against the pool:"
        f" {spell_difference(everywhere, base)}, and against a pool after as many convolutions:"
        f" {spell_difference(everywhere, convpool)}.",
        ("variant", "parameters", "multiply-adds", "rate", "test accuracy"),
        rows,
        _draw_scores(scores, f"All-CNN-C with {width} and {2 * width} maps, {pictures} digits of {side} pixels"),
    )


SALTED = ("max 2x2", "average 2x2", "max 3x3, overlapping")
FRACTIONS = (0.0, 0.02, 0.05, 0.1, 0.2)
WINDOW_POOLS = {
    "max": lambda windows: windows.max(-1),
    "average": lambda windows: windows.mean(-1),
    "L2": lambda windows: np.sqrt((windows**2).sum(-1)),
}


def compare_salted(seeds: int, *, width=8, pictures=600, epochs=8, fractions=FRACTIONS) -> Finding:
    """White pixels at random places: what they change in pooled values, and in the accuracy of trained networks."""
    from transferkit.lab import fitting, small_data
    from transferkit.lab.figures import plot_curve

    splits = [small_data.load_digits(seed).first(pictures) for seed in range(seeds)]
    noisy = [[add_salt(split.test, fraction, seed) for fraction in fractions] for seed, split in enumerate(splits)]
    changes = {
        name: [[_change(pool, split.test, part) for part in parts] for split, parts in zip(splits, noisy, strict=True)]
        for name, pool in WINDOW_POOLS.items()
    }

    def read_noisy(model, seed):
        return [fitting.accuracy(model, part, splits[seed].test_labels) for part in noisy[seed]]

    scores, rates = {}, {}
    for pool in SALTED:
        fit = _fitter(build_pooled(pool, width), epochs)
        rates[pool], found = fitting.measure_seeds(splits, RATES, fit, read_noisy)
        scores[pool] = np.array(found)
    figure = Figure((9, 3.6), layout="constrained")
    pairs: list[tuple] = list(zip(figure.subplots(1, 2), (changes, scores), strict=True))
    for place, curves in pairs:
        for name, runs in curves.items():
            plot_curve(place, fractions, runs, label=name)
        place.set(xlabel="fraction of white pixels")
        place.locator_params(axis="x", nbins=5)
        place.legend(fontsize=8)
    figure.axes[0].set(ylabel="relative change of the pooled values", title="The pools alone: 2x2 of the pictures")
    figure.axes[1].set(ylabel="test accuracy", ylim=(0, 1.02), title="Networks trained without noise")
    worst, lost = -1, {pool: values[:, 0] - values[:, -1] for pool, values in scores.items()}
    change = {name: np.array(values)[:, worst] for name, values in changes.items()}
    return Finding(
        f"With {fractions[worst]:.0%} white pixels, the maxima of 2x2 pixels change by"
        f" {spell_interval(change['max'], '.2f')} of their length (against the averages:"
        f" {spell_difference(change['max'], change['average'], '.2f')}); the network with max pools loses"
        f" {spell_interval(lost['max 2x2'])} accuracy (against the one with average pools:"
        f" {spell_difference(lost['max 2x2'], lost['average 2x2'])}).",
        ("of", "pool", "rate", *(f"{fraction:.0%} white" for fraction in fractions)),
        [
            *(("change", name, "", *map(spell_interval, np.transpose(runs))) for name, runs in changes.items()),
            *(("accuracy", pool, rates[pool], *map(spell_interval, runs.T)) for pool, runs in scores.items()),
        ],
        figure,
    )


def add_salt(pictures: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Pictures (n, h, w, c) with this fraction of their pixels white, in all channels."""
    white = np.random.default_rng(seed).random(pictures.shape[:3]) < fraction
    return np.where(white[..., None], np.float32(255), pictures)


def _change(pool, clean: np.ndarray, noisy: np.ndarray) -> float:
    """The change of pooled values, divided by their length: windows of 2x2 of the pictures' first channel."""
    before, after = (pool(_windows(pictures[..., 0])) for pictures in (clean, noisy))
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


def _windows(maps: np.ndarray) -> np.ndarray:
    """(n, h, w) to (n, h / 2, w / 2, 4)."""
    return np.stack([maps[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)


def read_larger(
    seeds: int, *, network="simple_cnn(padding=valid, width=8)", pictures=600, epochs=8, shown=100
) -> Finding:
    """The dense classifier as a convolution: one pass over a larger picture answers for every window of it."""
    from transferkit.explain.geometry import measure_layers, sum_costs
    from transferkit.lab import fitting, small_data

    side, stride, model = 3 * small_data.SIDE, 8, fitting.build(network)
    known, apart = [], []
    for seed in range(seeds):
        split = small_data.load_digits(seed).first(pictures)
        fitting.train_fresh(model, split, epochs=epochs, rate=0.03, seed=seed)
        wide = make_convolutional(model)
        canvases, corners = small_data.place_digits(split.test[:shown], seed, side=side, step=stride)
        maps = wide.predict(canvases, verbose=0)
        answers = maps[np.arange(shown), corners[:, 0] // stride, corners[:, 1] // stride].argmax(-1)
        known.append(float(np.mean(answers == split.test_labels[:shown])))
        windows = _cut_windows(canvases[0], small_data.SIDE, stride)
        one_by_one = model.predict(windows.reshape(-1, *windows.shape[2:]), verbose=0)
        apart.append(np.abs(one_by_one.reshape(maps[0].shape) - maps[0]).max())
    at_once = sum_costs(measure_layers(wide, side))[1]
    each = sum_costs(measure_layers(model, small_data.SIDE))[1] * maps.shape[1] * maps.shape[2]
    count = f"{maps.shape[1]}x{maps.shape[2]}"
    return Finding(
        f"One pass over {side}x{side} pixels gives a map of {count} answers that differ by at most {max(apart):.1g}"
        f" from those for each window of {small_data.SIDE} pixels, for {at_once / each:.0%} of the multiply-adds; where"
        f" the digit is, {spell_interval(known)} of the answers are right.",
        ("computed", "answers", "multiply-adds"),
        [("each window", count, each), ("one pass", count, at_once)],
        _draw_answers(canvases[:3], maps[:3], split.test_labels[:3]),
    )


def make_convolutional(model):
    """The network for pictures of any size, whose dense classifier is a convolution with the same weights."""
    import keras

    dense, maps = model.get_layer("classifier"), model.get_layer("stage3").output
    _, height, width, channels = maps.shape
    body = keras.Model(model.input, maps)
    pictures = keras.Input((None, None, 3))
    x = pictures
    for layer in body.layers[1:]:
        x = layer(x)
    convolution = keras.layers.Conv2D(dense.units, (height, width), name="classifier")
    wide = keras.Model(pictures, convolution(x))
    kernel, bias = dense.get_weights()
    convolution.set_weights([kernel.reshape(height, width, channels, dense.units), bias])
    return wide


def _cut_windows(canvas: np.ndarray, size: int, step: int) -> np.ndarray:
    """All windows of a picture, (rows, columns, size, size, 3)."""
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (size, size), (0, 1))[::step, ::step]
    return np.ascontiguousarray(windows.transpose(0, 1, 3, 4, 2))


def _draw_answers(canvases, maps, labels) -> Figure:
    figure = Figure((9, 6), layout="constrained")
    for column, (canvas, values, label) in enumerate(zip(canvases, maps, labels, strict=True)):
        chances = np.exp(values - values.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        above = figure.add_subplot(2, len(maps), column + 1)
        above.imshow(canvas.astype("uint8"))
        above.set_title(f"a picture with a {label}")
        below = figure.add_subplot(2, len(maps), len(maps) + column + 1)
        drawn = below.imshow(chances[..., label], vmin=0, vmax=1)
        below.set_title(f"probability of {label}, window by window", fontsize=9)
        below.set(xlabel="window", ylabel="window")
    figure.colorbar(drawn, ax=figure.axes[1::2], shrink=0.7, label="probability")
    return figure


EXPERIMENTS = {
    "pools": Experiment(compare_pools, "Is a pool needed, and which?", 5),
    "all-convolutional": Experiment(compare_allcnn, "Can convolutions with strides replace pools?", 5),
    "salt-noise": Experiment(compare_salted, "Does a max pool suffer more from noise than an average pool?", 5),
    "larger-pictures": Experiment(read_larger, "Can a network with a dense classifier read larger pictures?", 3),
}
