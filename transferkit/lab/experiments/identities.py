"""Identity blocks, response normalisation and dropout."""

import itertools

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, spell_difference, spell_interval
from transferkit.lab.small_data import Split, load_digits


def insert_blocks(model, blocks: int, kernel=None):
    """A chain of layers with further blocks, of a 3x3 convolution and a ReLU, after each stage.

    Args:
        model: a network of the zoo without branches, whose cut points are `stage1`, `stage2`, ...; the new one shares
            its layers.
        blocks: how many after each stage.
        kernel: function of the number of maps that gives the kernels, (3, 3, maps, maps); by default they are random,
            by He et al. 2015.
    """
    import keras

    x = model.input
    for layer in model.layers[1:]:
        x = layer(x)
        if not layer.name.startswith("stage"):
            continue
        for number in range(blocks):
            maps = x.shape[-1]
            added = keras.layers.Conv2D(
                maps, 3, padding="same", kernel_initializer="he_normal", name=f"{layer.name}.new{number}"
            )
            x = keras.layers.ReLU(name=f"{layer.name}.relu{number}")(added(x))
            if kernel is not None:
                added.set_weights([kernel(maps), np.zeros(maps)])
    return keras.Model(model.input, x)


def identity_kernel(maps: int) -> np.ndarray:
    """The kernel (3, 3, maps, maps) of a convolution that returns its input."""
    kernel = np.zeros((3, 3, maps, maps), "float32")
    kernel[1, 1] = np.eye(maps)
    return kernel


def _predict(model, pictures: np.ndarray, *, training: bool = False) -> np.ndarray:
    """Probabilities, with dropout or without. `model.predict` would compile each of many models for one call."""
    import keras

    return np.asarray(keras.ops.softmax(model(pictures, training=training)))


def _measure(model, pictures: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy."""
    return float((_predict(model, pictures).argmax(-1) == labels).mean())


RATES = (0.001, 0.003, 0.01, 0.03)
NETWORK = "simple_cnn(width=8)"


def _train_network(blocks: int, data: Split, rate: float, seed: int, epochs: int):
    import keras

    from transferkit.lab import fitting

    keras.utils.set_random_seed(seed)
    model = insert_blocks(fitting.build(NETWORK), blocks)
    fitting.train(model, data.train, data.train_labels, epochs=epochs, rate=rate, seed=seed)
    return model


def extend_network(seeds: int, blocks: int = 6, pictures: int = 600, epochs: int = 10, rates=RATES) -> Finding:
    """A trained network with identity blocks in it, and the same deep network trained from scratch.

    Args:
        seeds: number of networks, each with its own digits and weights.
        blocks: how many are added after each of the three stages.
        pictures: number of digits for training.
        epochs: of a training.
        rates: learning rates; each network gets the one that is best on 150 other training digits.
    """
    everything = load_digits(0)
    data = everything.first(pictures)
    held_out = everything.train[-150:], everything.train_labels[-150:]
    chosen = {}
    for depth in (0, blocks):
        scores = {rate: _measure(_train_network(depth, data, rate, 100, epochs), *held_out) for rate in rates}
        chosen[depth] = max(rates, key=scores.__getitem__)
    names = ("shallow", "with identity blocks", "deep, from scratch")
    train: dict[str, list[float]] = {name: [] for name in names}
    test: dict[str, list[float]] = {name: [] for name in names}
    apart = []
    for seed in range(seeds):
        data = load_digits(seed).first(pictures)
        shallow = _train_network(0, data, chosen[0], seed, epochs)
        extended = insert_blocks(shallow, blocks, identity_kernel)
        deep = _train_network(blocks, data, chosen[blocks], seed, epochs)
        for name, model in zip(names, (shallow, extended, deep), strict=True):
            train[name].append(_measure(model, data.train, data.train_labels))
            test[name].append(_measure(model, data.test, data.test_labels))
        logits = [np.asarray(model(data.test[:64])) for model in (shallow, extended)]
        apart.append(float(np.abs(logits[0] - logits[1]).max()))
    layers = {name: 4 + (3 * blocks if name != "shallow" else 0) for name in names}
    rows = [(name, layers[name], spell_interval(train[name]), spell_interval(test[name])) for name in names]
    figure = Figure((6, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, (part, found) in enumerate((("training", train), ("test", test))):
        for place, name in enumerate(names):
            spots = np.full(seeds, place + 0.15 * (2 * number - 1))
            axes.plot(spots, found[name], f"C{number}o", alpha=0.7, label=None if place else part)
    axes.set_xticks(range(3), [f"{name}\n{layers[name]} layers" for name in names])
    axes.set(ylabel="accuracy", title="Digits: a network and more layers in it")
    axes.legend(title="digits of")
    residual = compare_residual_blocks(data.train[:8])
    change = spell_difference(train["deep, from scratch"], train["shallow"])
    return Finding(
        f"{3 * blocks} identity blocks in a trained network change its logits by at most {max(apart):.1g}. Training "
        f"accuracy of the same {layers[names[2]]} layers from scratch (rate {chosen[blocks]}), against the shallow "
        f"network (rate {chosen[0]}): {change}. A residual block whose last scale begins at 0 changes its input by "
        f"{residual[0]:.1g}, an ordinary one by up to {residual[1]:.2g}.",
        ("network", "layers", "training accuracy", "test accuracy"),
        rows,
        figure,
    )


def compare_residual_blocks(pictures: np.ndarray) -> list[float]:
    """How far the blocks of a new ResNet-18 that keep the shape change their input: with zero_init, without."""
    import keras

    from transferkit.lab.fitting import build

    found = []
    for zero in ("true", "false"):
        model = build(f"resnet18(stem=small, widen=0.25, zero_init={zero})")
        places = [model.get_layer(f"layer{stage}.{block}.relu").output for stage in range(1, 5) for block in (0, 1)]
        values = keras.Model(model.input, places)(pictures, training=False)
        pairs = zip(values[::2], values[1::2], strict=True)
        found.append(max(float(np.abs(np.asarray(after) - np.asarray(before)).max()) for before, after in pairs))
    return found


def normalise_maps(values: np.ndarray, alpha: float, k: float = 1.0) -> np.ndarray:
    """Response normalisation of (places, maps), by the layer of the zoo."""
    from transferkit.zoo.layers import local_response_norm

    return np.asarray(local_response_norm(values[:, None, None].astype("float32"), alpha=alpha, k=k))[:, 0, 0]


def normalise_responses(alpha: float = 0.2, maps: int = 15, k: float = 1.0) -> Finding:
    """What response normalisation does to a uniform region, and to the neighbours of one excited unit.

    Args:
        alpha: far larger than AlexNet's 0.0001, so that the effect is seen with values of about 1.
        maps: in which the middle one is excited.
        k: constant of the divisor; AlexNet's is 2.
    """
    levels = np.array([1.0, 2, 4, 8, 16, 32])
    uniform = normalise_maps(np.repeat(levels[:, None], maps, axis=1), alpha, k)[:, maps // 2]
    excited = np.ones((len(levels), maps))
    excited[:, maps // 2] = levels
    after = normalise_maps(excited, alpha, k)
    middle, near, far = maps // 2, maps // 2 + 1, maps // 2 + 5
    rows = [
        (int(level), float(even), *(float(row[place]) for place in (middle, near, far)), float(row[middle] / row[far]))
        for level, even, row in zip(levels, uniform, after, strict=True)
    ]
    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(levels, uniform, "o-")
    left.set(xscale="log", xlabel="value of all units", ylabel="value after", title="A uniform region")
    left.set_xticks(levels, [f"{level:g}" for level in levels])
    left.set_xticks([], minor=True)
    for number in (0, 2, 5):
        right.plot(np.arange(maps) - middle, after[number], "o-", label=f"{levels[number]:g}")
    right.set(
        xlabel="map, from the excited one", ylabel="value after", title="One excited unit, the others 1", yscale="log"
    )
    right.legend(title="its value")
    first, last = rows[0], rows[-1]
    return Finding(
        f"All units at {last[0]} instead of {first[0]} come out at {last[1]:.2f} instead of {first[1]:.2f}. If one "
        f"unit alone rises so, the next map goes from {first[3]:.2f} to {last[3]:.2f} and a map five away from "
        f"{first[4]:.2f} to {last[4]:.2f}; the excited unit, {last[0]} times the others before, is {last[5]:.1f} "
        "times the far one after.",
        ("value", "uniform: after", "excited: itself after", "next map", "five maps away", "itself / five away"),
        [(row[0], *(f"{value:.3f}" for value in row[1:])) for row in rows],
        figure,
    )


def average_masks(inputs: int = 10, units: int = 6, dropout: float = 0.5, draws: int = 4000) -> Finding:
    """All masks of a small layer one by one: the mean output, and the layer with scaled values instead.

    Args:
        inputs: units that dropout may switch off: 2 to this power masks.
        units: of the layer behind.
        dropout: fraction that is switched off.
        draws: of Keras' layer, as a check of its scale.
    """
    import keras

    random = np.random.default_rng(0)
    values, weights = random.normal(size=inputs), random.normal(size=(inputs, units))
    masks = np.array(list(itertools.product((0, 1), repeat=inputs)))
    chances = np.prod(np.where(masks, 1 - dropout, dropout), axis=1)
    outputs = (masks * values / (1 - dropout)) @ weights
    scaled = values @ weights
    means = {"linear": chances @ outputs, "ReLU": chances @ np.maximum(outputs, 0)}
    targets = {"linear": scaled, "ReLU": np.maximum(scaled, 0)}
    apart = {name: float(np.abs(means[name] - targets[name]).max()) for name in means}
    layer = keras.layers.Dropout(dropout, seed=0)
    drawn = np.asarray(layer(np.tile(values, (draws, 1)).astype("float32"), training=True))
    error = drawn.std(0).max() / np.sqrt(draws)
    off = float(np.abs(drawn.mean(0) - values).max())
    inferred = np.asarray(layer(values[None].astype("float32"), training=False))[0]
    kept = float(np.abs(inferred - values.astype("float32")).max())
    figure = Figure((5, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, marker in (("linear", "o"), ("ReLU", "s")):
        axes.plot(targets[name], means[name], marker, label=name)
    edge = [min(scaled.min(), 0), max(np.max(means["ReLU"]), scaled.max())]
    axes.plot(edge, edge, "k--", lw=1, label="equal")
    axes.set(
        xlabel="output without dropout",
        ylabel=f"mean output over all {len(masks):,} masks",
        title="One dot for each unit",
    )
    axes.legend()
    return Finding(
        f"Over all {len(masks):,} masks, the mean of a linear layer differs from the layer without dropout by "
        f"{apart['linear']:.1g}, and that of a layer with ReLU by up to {apart['ReLU']:.2f}. Keras scales in "
        f"training: the mean of {draws:,} draws is off by {off:.3f} (standard error {error:.3f}), and inference "
        f"changes the values by {kept:.1g}.",
        ("layer", "largest difference of the mean over masks"),
        [(name, f"{value:.2g}") for name, value in apart.items()],
        figure,
    )


def average_networks(seeds: int, pictures: int = 600, epochs: int = 15, draws=(1, 2, 5, 10, 20, 50)) -> Finding:
    """Predictions averaged over thinned networks, and the one network without dropout.

    Args:
        seeds: number of trained networks.
        pictures: number of digits for training.
        epochs: of a training.
        draws: numbers of thinned networks.
    """
    import keras

    from transferkit.lab import fitting

    losses: dict[str, list[float]] = {}
    accuracies: dict[str, list[float]] = {}
    for seed in range(seeds):
        data = load_digits(seed).first(pictures)
        keras.utils.set_random_seed(seed)
        model = fitting.build("mlp(hidden=256-256, dropout=0.5)")
        fitting.train(model, data.train, data.train_labels, epochs=epochs, rate=0.01, seed=seed)
        thinned = np.stack([_predict(model, data.test, training=True) for _ in range(max(draws))])
        found = {"whole": _predict(model, data.test, training=False)} | {str(n): thinned[:n].mean(0) for n in draws}
        for name, chances in found.items():
            right = chances[np.arange(len(data.test)), data.test_labels]
            losses.setdefault(name, []).append(float(-np.log(np.maximum(right, 1e-12)).mean()))
            accuracies.setdefault(name, []).append(float((chances.argmax(-1) == data.test_labels).mean()))
    figure = Figure((6, 3.8), layout="constrained")
    axes = figure.subplots()
    for seed in range(seeds):
        axes.plot(draws, [losses[str(n)][seed] for n in draws], f"C{seed % 10}o-", label=f"seed {seed}")
        axes.axhline(losses["whole"][seed], color=f"C{seed % 10}", ls="--")
    axes.set(
        xscale="log",
        xlabel="thinned networks that are averaged",
        ylabel="test loss",
        title="Averages, and (dashed) the whole network",
    )
    axes.set_xticks(draws, map(str, draws))
    axes.set_xticks([], minor=True)
    axes.legend()
    most = str(max(draws))
    one, many = (spell_difference(losses[count], losses["whole"]) for count in ("1", most))
    right = spell_difference(accuracies[most], accuracies["whole"])
    return Finding(
        f"Against the whole network, one thinned network has as its test loss: {one}; the average of {most}: {many}. "
        f"Accuracy of that average: {right}.",
        ("networks", "test loss", "test accuracy"),
        [(name, spell_interval(losses[name]), spell_interval(accuracies[name])) for name in losses],
        figure,
    )


EXPERIMENTS = {
    "identity-blocks": Experiment(
        extend_network, "Does a network with identity blocks compute the same, and does training find it?", seeds=3
    ),
    "response-norm": Experiment(normalise_responses, "What does response normalisation do to neighbouring maps?"),
    "dropout-masks": Experiment(average_masks, "Is the layer without dropout the mean over all masks?"),
    "dropout-ensemble": Experiment(average_networks, "Is the whole network as good as many thinned ones?", seeds=3),
}
