"""Units and their activations."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, mean_interval

ACTIVATIONS = ("relu", "tanh", "sigmoid")


def race_to_error(
    seeds: int,
    *,
    error: float = 0.25,
    limit: int = 20,
    pictures: int = 320,
    rates=(0.01, 0.03, 0.1),
    width: int = 16,
) -> Finding:
    """Epochs until a training error, of a four-layer network without regularisation: Krizhevsky et al. 2012, figure 1.

    Each activation has the rate with which it is the fastest in a training that does not count. An epoch's training
    error is the mean over the epoch; between epochs it is interpolated. A training that does not reach the error counts
    as `limit` epochs.
    """
    from transferkit.lab import fitting, trainings

    rows, epochs, curves = [], {}, {}
    for activation in ACTIVATIONS:
        model = fitting.build(f"simple_cnn(depth=4, width={width}, activation={activation})", side=trainings.SIDE)

        def errors(rate, seed, model=model):
            split, stop = trainings.draw_split(seed, pictures), _stop_below(error)
            how = {"epochs": limit, "rate": rate, "seed": seed, "callbacks": [stop]}
            return 1 - np.array(trainings.train_anew(model, split.train, split.train_labels, **how)["accuracy"])

        speeds = {rate: _fastness(errors(rate, trainings.CHOICE_SEED), error, limit) for rate in rates}
        rate = min(rates, key=speeds.__getitem__)
        curves[activation] = [errors(rate, seed) for seed in range(seeds)]
        epochs[activation] = np.array([epochs_until(each, error, limit) for each in curves[activation]])
        reached = int(np.sum([each[-1] <= error for each in curves[activation]]))
        mean, half = mean_interval(epochs[activation])
        rows.append((activation, rate, round(mean, 1), round(half, 1), f"{reached} of {seeds}"))
    return Finding(
        _race_sentence(rows, epochs, error, limit),
        ("activation", "learning rate", f"epochs to {error:.0%} training error", "± (95%)", "reached"),
        rows,
        _draw_race(curves, rows, error),
    )


def epochs_until(errors: np.ndarray, error: float, limit: int) -> float:
    """The epochs, a number with a fraction, after which the errors (epochs,) are first at or below an error."""
    below = np.flatnonzero(errors <= error)
    if not len(below):
        return float(limit)
    last = below[0]
    before = errors[last - 1] if last else 1.0
    return float(last + (before - error) / (before - errors[last]))


def _fastness(errors, error, limit):
    """To choose a rate: the epochs, and among those that do not get there the error that they reach."""
    return epochs_until(errors, error, limit), np.nan_to_num(errors.min(), nan=1.0)


def _stop_below(error: float):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = logs["accuracy"] >= 1 - error

    return Stop()


def _race_sentence(rows, epochs, error, limit) -> str:
    parts = []
    for name in ACTIVATIONS[1:]:
        mean, half = mean_interval(np.log(epochs[name] / epochs["relu"]))
        low, middle, high = np.exp([mean - half, mean, mean + half])
        at_least = "at least " if (epochs[name] == limit).any() else ""
        verdict = "" if low > 1 or high < 1 else " (no difference found)"
        parts.append(f"{name} needs {at_least}{middle:.1f} times ({low:.1f} to {high:.1f}) the epochs of relu{verdict}")
    used = ", ".join(f"{name} {rate:g}" for name, rate, *_ in rows)
    return (
        f"To {error:.0%} training error relu needs {rows[0][2]} epochs; {'; '.join(parts)}. "
        f"Each has its fastest learning rate: {used}."
    )


def _draw_race(curves, rows, error):
    figure = Figure((7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, rate, *_) in enumerate(rows):
        for seed, errors in enumerate(curves[name]):
            label = f"{name}, rate {rate:g}" if not seed else None
            axes.plot(np.arange(1, len(errors) + 1), errors, color=f"C{number}", marker="o", markersize=3, label=label)
    axes.axhline(error, color="black", linestyle="--", linewidth=1)
    axes.set(xlabel="epoch", ylabel="training error (fraction)", ylim=(0, 1))
    axes.set_title(f"Epochs to {error:.0%} training error, a line for each seed")
    axes.legend()
    return figure


def count_dead(
    seeds: int, *, rates=(0.01, 0.1, 0.3), epochs: int = 6, pictures: int = 320, depth: int = 4, width: int = 16
) -> Finding:
    """Sparsity of each activation, by layer, and how many ReLUs are dead after training at growing rates."""
    from transferkit.lab import fitting, measures, trainings

    layers = [f"act{stage}" for stage in range(1, depth + 1)]
    zeros, dead, rows = {}, {}, []
    for activation in ACTIVATIONS:
        model = fitting.build(f"simple_cnn(depth={depth}, width={width}, activation={activation})", side=trainings.SIDE)
        for rate in rates:
            found = []
            for seed in range(seeds):
                split = trainings.draw_split(seed, pictures)
                how = {"epochs": epochs, "rate": rate, "seed": seed}
                trainings.train_anew(model, split.train, split.train_labels, **how)
                values = measures.unit_values(model, split.test, layers).values()
                found.append(
                    [(np.mean(each == 0), measures.dead_units(each), saturated(each, activation)) for each in values]
                )
            measured = np.array(found)  # (seeds, layers, figures)
            zeros[activation, rate], dead[activation, rate] = measured[..., 0], measured[..., 1]
            rows += [
                (activation, rate, layer, *(round(100 * figure, 1) for figure in measured[:, number].mean(0)))
                for number, layer in enumerate(layers)
            ]
    columns = ("activation", "learning rate", "layer", "zeros (%)", "never positive (%)", "saturated (%)")
    return Finding(_dead_sentence(zeros, dead, rates), columns, rows, _draw_dead(zeros, dead, rates))


ENDS = {"tanh": (-1, 1), "sigmoid": (0, 1)}  # of the values of an activation


def saturated(values: np.ndarray, activation: str) -> float:
    """The fraction of values within 1% of the range of tanh or sigmoid from one of its ends; of a ReLU 0."""
    if activation not in ENDS:
        return 0.0
    low, high = ENDS[activation]
    margin = 0.01 * (high - low)
    return float(np.mean((values < low + margin) | (values > high - margin)))


def _dead_sentence(zeros, dead, rates):
    from transferkit.lab.experiment import spell_percent

    shares = [f"{spell_percent(dead['relu', rate].mean(1))} at rate {rate:g}" for rate in rates]
    best = rates[0]
    return (
        f"At rate {best:g}, {spell_percent(zeros['relu', best].mean(1))} of what relu units give is exactly 0, of tanh "
        f"{spell_percent(zeros['tanh', best].mean(1))} and of sigmoid {spell_percent(zeros['sigmoid', best].mean(1))}; "
        f"of the relu units these are dead, positive on no test picture: {', '.join(shares)}."
    )


def _draw_dead(zeros, dead, rates):
    from transferkit.lab.figures import draw_curves

    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_curves(left, {name: 100 * zeros[name, rates[0]] for name in ACTIVATIONS})
    left.set_title(f"Zeros, learning rate {rates[0]:g}", fontsize=10)
    draw_curves(right, {f"rate {rate:g}": 100 * dead["relu", rate] for rate in rates})
    right.set_title("Dead ReLUs, by learning rate", fontsize=10)
    for axes, name in ((left, "zeros (%)"), (right, "units that are never positive (%)")):
        axes.set(xlabel="layer", ylabel=name, ylim=(-3, 103), xticks=range(1, next(iter(dead.values())).shape[1] + 1))
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


INPUTS = {  # what the first layer subtracts and divides by, and the learning rates to choose from
    "centred": ((127.5, 127.5), (0.01, 0.03, 0.1)),
    "raw": ((0.0, 1.0), (0.00001, 0.00003, 0.0001, 0.003, 0.01)),
}


def compare_inputs(seeds: int, *, inputs=INPUTS, epochs: int = 8, pictures: int = 320, depth: int = 3) -> Finding:
    """Pictures as they are, 0..255, against centred and scaled ones, with relu and tanh, each at its own rate."""
    from functools import partial

    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_bars

    found: dict = {}
    for activation in ("relu", "tanh"):
        for name, (values, rates) in inputs.items():
            build = partial(_build_for, f"simple_cnn(depth={depth}, activation={activation})", values)
            how = {"rates": rates, "epochs": epochs, "seeds": seeds, "pictures": pictures}
            found |= trainings.compare({f"{activation}, {name}": build}, **how)
    scores = {label: each.last() for label, each in found.items()}
    figure = Figure((7, 3), layout="constrained")
    axes = figure.subplots()
    draw_bars(axes, scores)
    axes.set(xlabel="test accuracy (%), with its 95% interval over seeds", title="Raw or centred pictures")
    parts = [
        f"{name}: {spell_points(scores[f'{name}, raw'], scores[f'{name}, centred'])} "
        f"({spell_percent(scores[f'{name}, raw'])} against {spell_percent(scores[f'{name}, centred'])})"
        for name in ("relu", "tanh")
    ]
    used = ", ".join(f"{label} {each.rate:g}" for label, each in found.items())
    return Finding(
        f"Raw against centred pictures, in test accuracy, {'; '.join(parts)}. Learning rates: {used}.",
        ("network", "learning rate", "test accuracy", "training accuracy"),
        [
            (label, each.rate, spell_percent(each.last()), spell_percent(each.last("accuracy")))
            for label, each in found.items()
        ],
        figure,
    )


def _build_for(name: str, values: tuple[float, float]):
    """A network whose first layer subtracts a mean and divides by a deviation."""
    from transferkit import zoo
    from transferkit.lab.trainings import SIDE
    from transferkit.pixels import Pixels

    mean, deviation = values
    return zoo.build(name, pixels=Pixels((mean,) * 3, (deviation,) * 3, SIDE, SIDE), num_classes=10, size=SIDE)


def cluster_units(
    seeds: int, *, layer: str = "act2", rate: float = 0.05, epochs: int = 10, pictures: int = 320, least: float = 0.5
) -> Finding:
    """Clusters of the maps of a layer that fire together, before and after training."""
    from transferkit.lab import fitting, measures, trainings
    from transferkit.lab.experiment import spell_points

    matrices: dict[str, list] = {"untrained": [], "trained": []}
    model = fitting.build("simple_cnn", side=trainings.SIDE)
    for seed in range(seeds):
        split = trainings.draw_split(seed, pictures)
        fitting.redraw(model, seed)
        matrices["untrained"].append(correlate(measures.unit_values(model, split.test, [layer])[layer]))
        trainings.train_anew(model, split.train, split.train_labels, epochs=epochs, rate=rate, seed=seed)
        matrices["trained"].append(correlate(measures.unit_values(model, split.test, [layer])[layer]))
    pairs = {name: np.array([_mean_pair(each) for each in found]) for name, found in matrices.items()}
    counts = {name: [group(each, least).max() / len(each) for each in found] for name, found in matrices.items()}
    sizes = {name: [len(each) for each in found] for name, found in matrices.items()}
    rows = [
        (name, seed, sizes[name][seed], round(pairs[name][seed], 3), int(group(found[seed], least).max()))
        for name, found in matrices.items()
        for seed in range(seeds)
    ]
    shares = {name: f"{100 * np.mean(values):.0f}" for name, values in counts.items()}
    return Finding(
        f"Linked where their mean correlation is above {least:g}, 100 maps of {layer} that are not constant make "
        f"{shares['trained']} groups after training and {shares['untrained']} before, "
        f"{spell_points(counts['trained'], counts['untrained']).replace('points', 'groups')}; the mean absolute "
        f"correlation of two maps is {pairs['trained'].mean():.2f} after and {pairs['untrained'].mean():.2f} before.",
        ("network", "seed", "maps", "mean absolute correlation", "groups"),
        rows,
        _draw_clusters({name: found[0] for name, found in matrices.items()}, layer, least),
    )


def correlate(values: np.ndarray) -> np.ndarray:
    """The correlations (maps, maps) of the columns of (n, maps) that are not constant."""
    return np.corrcoef(values[:, values.std(0) > 1e-6], rowvar=False)


def group(correlations: np.ndarray, least: float) -> np.ndarray:
    """The number of the group of each map, from 1: groups are merged while the mean correlation between them is large.

    Average linkage on 1 - correlation, cut where that is above 1 - `least`.
    """
    from scipy.cluster.hierarchy import fcluster

    return fcluster(_tree(correlations), 1 - least, "distance")


def _tree(correlations):
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    return linkage(squareform(np.clip(1 - correlations, 0, 2), checks=False), "average")


def _mean_pair(correlations):
    return np.abs(correlations[np.triu_indices(len(correlations), 1)]).mean()


def _draw_clusters(matrices, layer, least):
    from scipy.cluster.hierarchy import leaves_list

    figure = Figure((9, 4), layout="constrained")
    places = figure.subplots(1, 2)
    for axes, (name, matrix) in zip(places, matrices.items(), strict=True):
        order = leaves_list(_tree(matrix))
        shown = axes.imshow(matrix[np.ix_(order, order)], cmap="PuOr_r", vmin=-1, vmax=1)
        axes.set_title(f"{name}: {group(matrix, least).max()} groups of {len(matrix)} maps", fontsize=10)
        axes.set(xlabel=f"map of {layer}, sorted", ylabel=f"map of {layer}, sorted")
    figure.colorbar(shown, ax=places, label="correlation")
    figure.suptitle(f"Maps of {layer} that fire together: groups where the mean correlation is above {least:g}")
    return figure


EXPERIMENTS = {
    "relu-speed": Experiment(race_to_error, "How much faster do ReLUs reach a training error than tanh or sigmoid?", 3),
    "dead-units": Experiment(count_dead, "How sparse are the units of each layer, and how many ReLUs are dead?", 5),
    "raw-pictures": Experiment(compare_inputs, "Do ReLUs need centred pictures less than tanh does?", 5),
    "unit-clusters": Experiment(cluster_units, "Which units of a layer fire together?", 3),
}
