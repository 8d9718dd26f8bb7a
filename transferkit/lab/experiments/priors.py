"""What a convolutional network assumes of pictures."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, mean_interval, spell_difference, spell_interval

RATES = (0.01, 0.03, 0.1)


def compare_weight_sharing(
    seeds: int,
    *,
    networks=("simple_cnn(width=8)", "local_cnn(width=8)", "mlp(hidden=256)"),
    pictures=600,
    epochs=12,
    rates=RATES,
) -> Finding:
    """Shared weights against a kernel for each place against dense layers: accuracy, parameters and their uses."""
    from transferkit.explain.geometry import measure_layers, sum_costs
    from transferkit.lab import fitting, small_data

    accuracies, costs, chosen = {}, {}, {}
    splits = [small_data.load_moved_digits(seed).first(pictures) for seed in range(seeds)]
    for name in networks:
        chosen[name], accuracies[name] = _measure(name, splits, epochs, rates)
        costs[name] = sum_costs(measure_layers(fitting.build(name), small_data.SIDE))
    uses = {name: work / parameters for name, (parameters, work) in costs.items()}
    first, *others = networks
    apart = [
        f"{name} has {costs[name][0] / costs[first][0]:.0f} times the parameters, and in accuracy"
        f" {spell_difference(accuracies[name], accuracies[first])}"
        for name in others
    ]
    return Finding(
        f"{first} uses each of its {costs[first][0]:,} parameters {uses[first]:.0f} times for a picture and has"
        f" accuracy {spell_interval(accuracies[first])} on digits at random places; {'; '.join(apart)}.",
        ("network", "parameters", "multiply-adds", "uses per parameter", "rate", "test accuracy"),
        [
            (name, *costs[name], f"{uses[name]:.1f}", chosen[name], spell_interval(accuracies[name]))
            for name in networks
        ],
        _draw_costs(accuracies, costs, uses),
    )


def _measure(name: str, splits, epochs: int, rates) -> tuple[float, list[float]]:
    """The rate of a network and its test accuracies."""
    from transferkit.lab import fitting

    fit = partial(fitting.train_fresh, fitting.build(name), epochs=epochs)
    return fitting.measure_seeds(splits, rates, lambda split, rate, seed: fit(split, rate=rate, seed=seed))


def _draw_costs(accuracies, costs, uses) -> Figure:
    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in accuracies.items():
        mean, half = mean_interval(values)
        left.errorbar(costs[name][0], mean, yerr=half, fmt="o", capsize=3, label=name)
    left.set(xscale="log", xlabel="parameters", ylabel="test accuracy, 95% interval", title="Accuracy and parameters")
    left.legend(fontsize=8)
    bars = right.bar([name.partition("(")[0] for name in uses], list(uses.values()), color=["C0", "C1", "C2"])
    right.bar_label(bars, fmt="%.1f")
    right.set(
        yscale="log",
        ylim=(0.5, 3 * max(uses.values())),
        ylabel="multiply-adds per parameter",
        title="How often a picture uses a parameter",
    )
    return figure


def compare_permuted(
    seeds: int, *, networks=("simple_cnn(width=8)", "mlp(hidden=256)"), pictures=600, epochs=12, rates=RATES
) -> Finding:
    """The same pixels in another order, one order for all pictures: what a network knows of neighbours is lost."""
    from transferkit.lab import small_data
    from transferkit.lab.figures import plot_points

    splits = [small_data.load_moved_digits(seed).first(pictures) for seed in range(seeds)]
    data = {"in order": splits, "permuted": [permute_pixels(split, seed) for seed, split in enumerate(splits)]}
    found = {(name, order): _measure(name, data[order], epochs, rates) for name in networks for order in data}
    accuracies = {key: values for key, (_, values) in found.items()}
    changes = [
        f"{name} {spell_difference(accuracies[name, 'permuted'], accuracies[name, 'in order'])}" for name in networks
    ]
    figure = Figure((7, 3), layout="constrained")
    place = figure.subplots()
    plot_points(place, {f"{name}, {order}": values for (name, order), values in accuracies.items()})
    place.set(xlabel="test accuracy, with 95% interval", title="Digits with their pixels in order, and permuted")
    return Finding(
        "Accuracy with the pixels of all pictures in another, fixed order, against their own order:"
        f" {'; '.join(changes)}.",
        ("network", "pixels", "rate", "test accuracy"),
        [(*key, rate, spell_interval(values)) for key, (rate, values) in found.items()],
        figure,
    )


def permute_pixels(split, seed: int):
    """The same pictures with their pixels in another order, which is the same for all."""
    from transferkit.lab.small_data import Split

    order = np.random.default_rng(seed).permutation(split.train.shape[1] * split.train.shape[2])

    def permute(pictures):
        return pictures.reshape(len(pictures), -1, 3)[:, order].reshape(pictures.shape)

    return Split(permute(split.train), split.train_labels, permute(split.test), split.test_labels)


def compare_random(
    seeds: int, *, network="simple_cnn(width=16)", pictures=300, epochs=60, rate=0.02, kinds=None
) -> Finding:
    """The same network on digits, on digits with random labels and on random pictures, in training and on new ones."""
    from transferkit.lab import fitting, small_data
    from transferkit.lab.figures import plot_curve

    kinds = kinds or ("digits", "random labels", "random pixels")
    curves: dict[str, list] = {kind: [] for kind in kinds}
    tests: dict[str, list] = {kind: [] for kind in kinds}
    for seed in range(seeds):
        for kind in kinds:
            split = randomise(small_data.load_digits(seed).first(pictures), kind, seed)
            fitting.keras.utils.set_random_seed(seed)
            model = fitting.build(network)
            history = fitting.train(model, split.train, split.train_labels, epochs=epochs, rate=rate, seed=seed)
            curves[kind].append(history["accuracy"])
            tests[kind].append(fitting.accuracy(model, split.test, split.test_labels))
    figure = Figure((7.5, 3.6), layout="constrained")
    place = figure.subplots()
    for kind in kinds:
        plot_curve(
            place, range(1, epochs + 1), curves[kind], marker="", label=f"{kind}, test {np.mean(tests[kind]):.2f}"
        )
    place.axhline(0.1, color="0.5", linestyle=":", label="chance")
    place.set(xlabel="epoch", ylabel="training accuracy", ylim=(0, 1.02), title=f"{network}, {pictures} pictures")
    place.legend(fontsize=8)
    last = {kind: [curve[-1] for curve in curves[kind]] for kind in kinds}
    said = [f"{spell_interval(last[kind])} on {kind} (test {spell_interval(tests[kind])})" for kind in kinds]
    return Finding(
        f"After {epochs} epochs on {pictures} pictures, training accuracy is {'; '.join(said)}; chance is 0.1.",
        ("pictures", "training accuracy", "test accuracy"),
        [(kind, spell_interval(last[kind]), spell_interval(tests[kind])) for kind in kinds],
        figure,
    )


def randomise(split, kind: str, seed: int):
    """A `Split` with "random labels" or "random pixels", or as it is.

    Random labels are a permutation of the labels. Random pixels are uniform noise, each picture with its label.
    """
    from transferkit.lab.small_data import Split

    random = np.random.default_rng(seed)
    if kind == "random labels":
        labels = random.permutation(split.train_labels), random.permutation(split.test_labels)
        return Split(split.train, labels[0], split.test, labels[1])
    if kind == "random pixels":
        noise = [random.uniform(0, 255, part.shape).astype("float32") for part in (split.train, split.test)]
        return Split(noise[0], split.train_labels, noise[1], split.test_labels)
    return split


EXPERIMENTS = {
    "weight-sharing": Experiment(compare_weight_sharing, "What do shared weights save, and what do they gain?", 3),
    "pixel-permutation": Experiment(compare_permuted, "Does a network need to know which pixels are neighbours?", 3),
    "random-labels": Experiment(compare_random, "What does a network learn if there is nothing to learn?", 3),
}
