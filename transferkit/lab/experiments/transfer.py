"""What a network learns on some classes that serves for others."""

import functools
from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, spell_difference, spell_interval

SIDE = 16  # of the pictures, so that there is time for many trainings
STAGES = 4
NETWORK = f"simple_cnn(depth={STAGES}, width=8)"
STEPS = 150  # of each training: with few pictures, more epochs
RATES = (0.02, 0.06)


def load_classes(classes, seed: int):
    """The digits of some classes, at random places, as a `Split`; a label is the position in `classes`."""
    from transferkit.lab.small_data import Split, load_moved_digits

    split, classes = load_moved_digits(seed, size=12, side=SIDE), np.asarray(classes)
    parts = []
    for pictures, labels in ((split.train, split.train_labels), (split.test, split.test_labels)):
        chosen = np.isin(labels, classes)
        parts += [pictures[chosen], np.searchsorted(classes, labels[chosen])]
    return Split(*parts)


def load_patches(seed: int, *, tiles=(2, 3), test=0.35):
    """Squares of 16 pixels of two photographs, no two overlapping; the class is the part of the photograph.

    Args:
        seed: of the division.
        tiles: rows and columns that each photograph is cut into.
        test: fraction of the squares that are test pictures.
    """
    from sklearn.model_selection import train_test_split

    from transferkit.lab.small_data import Split, load_photograph

    pictures: list[np.ndarray] = []
    labels: list[int] = []
    for name in ("china", "flower"):
        rows = np.array_split(load_photograph(name), tiles[0])
        for part in (part for row in rows for part in np.array_split(row, tiles[1], axis=1)):
            down, across = part.shape[0] // SIDE, part.shape[1] // SIDE
            squares = part[: down * SIDE, : across * SIDE].reshape(down, SIDE, across, SIDE, 3)
            squares = squares.transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)
            labels += [max(labels, default=-1) + 1] * len(squares)
            pictures.append(squares)
    found = train_test_split(
        np.concatenate(pictures), np.array(labels), test_size=test, stratify=labels, random_state=seed
    )
    return Split(found[0], found[2], found[1], found[3])


@functools.cache
def _network(classes: int, frozen: int):
    """The network that is trained again and again, as to compile it takes longer than a training."""
    from transferkit.lab import fitting

    model = fitting.build(NETWORK, classes=classes, side=SIDE)
    for stage in range(1, frozen + 1):
        model.get_layer(f"conv{stage}").trainable = False
    return model


def adapt(source, split, rate: float, seed: int, *, copied: int, frozen: int, steps: int = STEPS):
    """Train a network for the classes of a split, from another one.

    Args:
        source: a trained network of this module, or None.
        copied: so many first stages begin with its weights.
        frozen: so many first stages are not trained.

    Returns:
        The network, until the next call with as many classes and frozen stages.
    """
    import keras

    from transferkit.lab import fitting

    model = _network(int(split.train_labels.max()) + 1, frozen)
    keras.utils.set_random_seed(seed)
    model.set_weights(keras.models.clone_model(model).get_weights())
    for stage in range(1, copied + 1):
        model.get_layer(f"conv{stage}").set_weights(source.get_layer(f"conv{stage}").get_weights())
    epochs = -(-steps * fitting.BATCH // len(split.train))
    fitting.retrain(model, split.train, split.train_labels, epochs=epochs, rate=rate, seed=seed)
    return model


def train_source(split, seed: int, steps: int = STEPS):
    """A network trained on the split from fresh weights in 2 * `steps`, to keep."""
    import keras

    trained = adapt(None, split, 0.05, seed, copied=0, frozen=0, steps=2 * steps)
    kept = keras.models.clone_model(trained)
    kept.set_weights(trained.get_weights())
    return kept


def read_stages(model, pictures: np.ndarray, *, average=False) -> dict[str, np.ndarray]:
    """The features of each stage, (n, d): all values of the maps, or their averages; first the pixels themselves."""
    import keras

    names = [f"stage{stage}" for stage in range(1, STAGES + 1)]
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in names])
    maps = {"pixels": pictures, **dict(zip(names, outputs.predict(pictures, verbose=0), strict=True))}
    return {name: values.mean((1, 2)) if average else values.reshape(len(values), -1) for name, values in maps.items()}


def probe_stages(model, split, *, average=False) -> list[float]:
    """The test accuracy of a linear classifier on the pixels and on each stage."""
    from transferkit.features.classifiers import fit_classifier

    train, test = (read_stages(model, part, average=average) for part in (split.train, split.test))
    return [
        float(
            np.mean(fit_classifier("ridge", train[name], split.train_labels).predict(test[name]) == split.test_labels)
        )
        for name in train
    ]


def probe_new_classes(seeds: int, *, pictures=50, steps=STEPS) -> Finding:
    """Linear classifiers for the digits 5 to 9 on each stage of a network trained on 0 to 4."""
    from transferkit.lab import fitting

    runs: dict[str, list] = {"5-9, trained on 0-4": [], "5-9, not trained": [], "0-4, trained on 0-4": []}
    for seed in range(seeds):
        old, new = (load_classes(classes, seed) for classes in (range(5), range(5, 10)))
        fitting.keras.utils.set_random_seed(seed)
        fresh = fitting.build(NETWORK, classes=5, side=SIDE)
        source = train_source(old, seed, steps)
        values = (
            probe_stages(source, new.first(pictures)),
            probe_stages(fresh, new.first(pictures)),
            probe_stages(source, old.first(pictures)),
        )
        for name, accuracies in zip(runs, values, strict=True):
            runs[name].append(accuracies)
    layers = ["pixels", *(f"stage{stage}" for stage in range(1, STAGES + 1))]
    new = np.array(runs["5-9, trained on 0-4"])
    best = int(new.mean(0).argmax())
    untrained = np.array(runs["5-9, not trained"])
    return Finding(
        f"For the digits 5 to 9, {layers[best]} of a network trained on 0 to 4 serves best"
        f" ({spell_interval(new[:, best])} with {pictures} pictures); against its last stage:"
        f" {spell_difference(new[:, best], new[:, -1])}, against the pixels:"
        f" {spell_difference(new[:, best], new[:, 0])}, against the same stage without training:"
        f" {spell_difference(new[:, best], untrained[:, best])}.",
        ("classes and network", *layers),
        [(name, *map(spell_interval, np.transpose(values))) for name, values in runs.items()],
        _draw_layers(runs, layers, "Which stage serves new classes?"),
    )


def _draw_layers(runs, names, title, **labels) -> Figure:
    from transferkit.lab.figures import plot_curve

    figure = Figure((7, 4), layout="constrained")
    place = figure.subplots()
    for name, values in runs.items():
        plot_curve(place, range(len(names)), values, label=name)
    place.set_xticks(range(len(names)), names)
    place.set(**{"title": title, "ylabel": "test accuracy of a linear classifier", "ylim": (0, 1.02)} | labels)
    place.legend(fontsize=8)
    return figure


def compare_frozen(seeds: int, *, pictures=100, steps=STEPS, stages=tuple(range(1, STAGES + 1))) -> Finding:
    """The first n stages copied and frozen, from a network of the same classes (BnB) or of others (AnB).

    Yosinski et al. 2014, "How transferable are features in deep neural networks?", figure 1.
    """
    kinds = ("BnB", "AnB")
    runs: dict[str, list] = {kind: [] for kind in kinds}
    for seed in range(seeds):
        old, new = (load_classes(classes, seed) for classes in (range(5), range(5, 10)))
        new = new.first(pictures)
        sources = {"A": train_source(old.first(pictures), seed, steps), "B": train_source(new, seed, steps)}
        whole = _score(sources["B"], new)
        for kind in kinds:
            fit = partial(adapt, sources[kind[0]], new, 0.03, seed + 100, steps=steps)
            runs[kind].append([whole, *(_score(fit(copied=n, frozen=n), new) for n in stages)])
    curves = {kind: np.array(values) for kind, values in runs.items()}
    deepest, labels = stages[-1], {"xlabel": "first stages copied and frozen", "ylabel": "test accuracy"}
    names = ["none", *map(str, stages)]
    return Finding(
        "Accuracy with frozen stages of a network for other classes (AnB) against the same classes (BnB): with the"
        f" first {deepest} {spell_difference(curves['AnB'][:, -1], curves['BnB'][:, -1])}, with the first alone"
        f" {spell_difference(curves['AnB'][:, 1], curves['BnB'][:, 1])}; without any it is"
        f" {spell_interval(curves['AnB'][:, 0])}.",
        ("network", *(f"{name} copied" for name in names)),
        [(kind, *map(spell_interval, values.T)) for kind, values in curves.items()],
        _draw_layers(runs, names, f"{pictures} pictures of each half of the classes", **labels),
    )


def _score(model, split) -> float:
    from transferkit.lab import fitting

    return fitting.accuracy(model, split.test, split.test_labels)


STRATEGIES = {  # how many stages are copied, how many are frozen
    "fixed features": {"copied": STAGES, "frozen": STAGES},
    "upper half tuned": {"copied": STAGES, "frozen": STAGES // 2},
    "all tuned": {"copied": STAGES, "frozen": 0},
    "from scratch": {"copied": 0, "frozen": 0},
}


def measure_strategies(source, split, sizes, seed: int, rates: dict, strategies, steps: int) -> dict[str, list[float]]:
    """The test accuracy of each strategy by number of training pictures.

    `rates` has the learning rates found so far, by strategy and number; what is missing is chosen on a part of these
    training pictures and added.
    """
    from transferkit.lab.fitting import choose_rate

    found: dict[str, list[float]] = {}
    for name in strategies:
        fit: Callable = partial(adapt, source, steps=steps, **STRATEGIES[name])
        for size in sizes:
            part = split.first(size)
            if (name, size) not in rates:
                rates[name, size] = choose_rate(part, RATES, fit)
            found.setdefault(name, []).append(_score(fit(part, rates[name, size], seed), part))
    return found


def compare_sizes(
    seeds: int, *, sizes=(30, 100, 600), strategies=("fixed features", "all tuned", "from scratch"), steps=STEPS
) -> Finding:
    """Fixed features against fine-tuning against training from scratch, by the number of pictures."""
    from transferkit.lab.figures import plot_curve

    rates: dict[tuple, float] = {}
    runs: dict[str, list] = {name: [] for name in strategies}
    for seed in range(seeds):
        old, new = (load_classes(classes, seed) for classes in (range(5), range(5, 10)))
        source = train_source(old, seed, steps)
        for name, values in measure_strategies(source, new, sizes, seed, rates, strategies, steps).items():
            runs[name].append(values)
    curves = {name: np.array(values) for name, values in runs.items()}
    figure = Figure((7, 4), layout="constrained")
    place = figure.subplots()
    for name in strategies:
        plot_curve(place, sizes, runs[name], label=name)
    place.set(xscale="log", xlabel="training pictures of the digits 5 to 9", ylabel="test accuracy", ylim=(0, 1.02))
    place.set_xticks(sizes, sizes)
    place.minorticks_off()
    place.set_title("Fixed features, fine-tuning and scratch; the network knows 0 to 4")
    place.legend(fontsize=8)
    first, *others = strategies
    said = [
        f"with {size} pictures {first} {spell_interval(curves[first][:, at])}, "
        + ", ".join(f"{name} {spell_difference(curves[name][:, at], curves[first][:, at])}" for name in others)
        for at, size in enumerate(sizes)
    ]
    return Finding(
        f"Accuracy on the digits 5 to 9: {'; '.join(said)}.",
        ("strategy", "pictures", "rate", "test accuracy"),
        [
            (name, size, rates[name, size], spell_interval(curves[name][:, at]))
            for name in strategies
            for at, size in enumerate(sizes)
        ],
        figure,
    )


TARGETS: dict[str, Callable] = {"near": partial(load_classes, range(5, 10)), "far": load_patches}


def compare_quadrants(seeds: int, *, sizes=(30, 500), strategies=tuple(STRATEGIES), steps=STEPS) -> Finding:
    """Near data (other digits) and far data (photographs), few pictures and many: what to tune."""
    scores: dict[tuple, list] = {}
    rates: dict[str, dict] = {kind: {} for kind in TARGETS}
    for seed in range(seeds):
        source = train_source(load_classes(range(5), seed), seed, steps)
        for kind, load in TARGETS.items():
            found = measure_strategies(source, load(seed=seed), sizes, seed, rates[kind], strategies, steps)
            for name, values in found.items():
                for size, value in zip(sizes, values, strict=True):
                    scores.setdefault((kind, size, name), []).append(value)
    figure, said = Figure((9, 5), layout="constrained"), []
    places = figure.subplots(2, len(sizes), squeeze=False)
    for row, (kind, what) in enumerate((("near", "other digits"), ("far", "photographs"))):
        for column, size in enumerate(sizes):
            cell = {name: scores[kind, size, name] for name in strategies}
            _draw_cell(places[row][column], cell, f"{kind} ({what}), {size} pictures")
            best, second, *_ = sorted(cell, key=lambda name: -np.mean(cell[name]))
            said.append(
                f"{kind} and {size} pictures: {best} ({spell_interval(cell[best])};"
                f" against {second}: {spell_difference(cell[best], cell[second])})"
            )
    return Finding(
        f"The best of a network that was trained on the digits 0 to 4: {'; '.join(said)}.",
        ("data", "pictures", "strategy", "rate", "test accuracy"),
        [
            (kind, size, name, rates[kind][name, size], spell_interval(values))
            for (kind, size, name), values in scores.items()
        ],
        figure,
    )


def _draw_cell(place, cell, title):
    from transferkit.lab.figures import plot_points

    plot_points(place, cell)
    place.set_title(title, fontsize=10)
    place.set(xlabel="test accuracy, 95% interval", xlim=(0, 1.02))


def compare_levels(seeds: int, *, pictures=200, steps=STEPS) -> Finding:
    """What a linear classifier reads from the averages of the maps of each stage: directions of lines, and classes."""
    runs: dict[str, list] = {"direction of a grating": [], "class of a digit": []}
    for seed in range(seeds):
        digits = load_classes(range(10), seed)
        model = train_source(digits, seed, steps)
        runs["direction of a grating"].append(probe_stages(model, make_gratings(pictures, seed), average=True))
        runs["class of a digit"].append(probe_stages(model, digits.first(pictures), average=True))
    layers = ["pixels", *(f"stage{stage}" for stage in range(1, STAGES + 1))]
    best = {name: int(np.mean(values, 0).argmax()) for name, values in runs.items()}
    curves = {name: np.array(values) for name, values in runs.items()}
    said = [
        f"the {name} {spell_interval(curves[name][:, 1])} at the first stage, best at {layers[best[name]]}"
        f" ({spell_interval(curves[name][:, best[name]])}; the last stage against it:"
        f" {spell_difference(curves[name][:, -1], curves[name][:, best[name]])})"
        for name in runs
    ]
    return Finding(
        f"What a linear classifier reads from the averages of the maps: {'; '.join(said)}.",
        ("what is read", *layers),
        [(name, *map(spell_interval, values.T)) for name, values in curves.items()],
        _draw_layers(runs, layers, "What is read from the average of each map, stage by stage"),
    )


def make_gratings(count: int, seed: int, *, directions=8, noise=25.0):
    """Waves of random length, phase and contrast with noise, as a `Split`; the label is the direction.

    Args:
        count: number of training pictures, and of test pictures.
        directions: number of classes, evenly over 180 degrees.
        noise: deviation of the noise, of 255.
    """
    from transferkit.lab.small_data import Split

    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(2 * count) % directions)
    angle, phase = labels * np.pi / directions, random.uniform(0, 2 * np.pi, 2 * count)
    frequency = random.uniform(0.08, 0.2, 2 * count) * 2 * np.pi
    y, x = np.mgrid[:SIDE, :SIDE]
    across = x * np.cos(angle)[:, None, None] + y * np.sin(angle)[:, None, None]
    waves = np.sin(across * frequency[:, None, None] + phase[:, None, None])
    waves = 127 + waves * random.uniform(40, 120, 2 * count)[:, None, None]
    waves = np.clip(waves + random.normal(0, noise, waves.shape), 0, 255).astype("float32")
    pictures = np.repeat(waves[..., None], 3, -1)
    return Split(pictures[:count], labels[:count], pictures[count:], labels[count:])


EXPERIMENTS = {
    "layer-transfer": Experiment(probe_new_classes, "Which stage of a network serves new classes best?", 5),
    "frozen-stages": Experiment(compare_frozen, "How many stages may be copied from other classes and frozen?", 5),
    "transfer-sizes": Experiment(compare_sizes, "Fixed features, fine-tuning or training from scratch?", 3),
    "four-quadrants": Experiment(compare_quadrants, "What to tune: near or far data, few or many pictures?", 3),
    "feature-levels": Experiment(compare_levels, "Do early stages see lines and late stages classes?", 5),
}
