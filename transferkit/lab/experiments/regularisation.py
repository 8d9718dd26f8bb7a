"""Regularisation."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding

FULL = {"dropout": 0.5, "decay": 0.005, "shift": 2}  # fraction, per unit of learning rate, pixels
SETTINGS = {
    "all three": FULL,
    "without dropout": FULL | {"dropout": 0},
    "without weight decay": FULL | {"decay": 0},
    "without augmentation": FULL | {"shift": 0},
    "none": {"dropout": 0, "decay": 0, "shift": 0},
}


def ablate(
    seeds: int, *, rates=(0.03, 0.1), epochs: int = 25, pictures: int = 160, settings=SETTINGS, width: int = 32
) -> Finding:
    """Training and test accuracy with dropout, weight decay and random shifts, and without each of them.

    Few pictures, so that the network can learn them by heart. Weight decay is decoupled from the momentum: a step takes
    rate * decay * weight off each weight.
    """
    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points

    found = {}
    for label, setting in settings.items():
        model = _build(width, **setting)
        fit = _fitter(model, setting["shift"], epochs)
        choice = trainings.draw_split(trainings.CHOICE_SEED, pictures)
        scores = {rate: fit(choice, rate, trainings.CHOICE_SEED, trainings.choice_pictures())[1] for rate in rates}
        rate = max(scores, key=scores.__getitem__)
        measured = []
        for seed in range(seeds):
            split = trainings.draw_split(seed, pictures)
            measured.append(fit(split, rate, seed, (split.test, split.test_labels)))
        found[label] = (rate, *zip(*measured, strict=True))
    parts = [
        f"{label}: {spell_points(test, found['all three'][2])}"
        for label, (_, _, test) in found.items()
        if label != "all three"
    ]
    gaps = {label: [a - b for a, b in zip(train, test, strict=True)] for label, (_, train, test) in found.items()}
    return Finding(
        f"With dropout, weight decay and random shifts, test accuracy is {spell_percent(found['all three'][2])}; "
        f"against that, {'; '.join(parts)}. Training accuracy is above test accuracy by "
        f"{spell_percent(gaps['all three'])} with all three, by {spell_percent(gaps['none'])} with none.",
        ("regularisation", "learning rate", "training accuracy", "test accuracy", "gap"),
        [
            (label, rate, spell_percent(train), spell_percent(test), spell_percent(gaps[label]))
            for label, (rate, train, test) in found.items()
        ],
        _draw(found, pictures),
    )


def _build(width: int, *, dropout: float, decay: float, shift: int):
    import keras

    from transferkit.lab import fitting
    from transferkit.lab.trainings import SIDE

    model = fitting.build(f"simple_cnn(width={width}, dropout={dropout})", side=SIDE)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=decay or None)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def _fitter(model, shift: int, epochs: int):
    """A function of (split, rate, seed, held out) that gives accuracy on the training and on the held out pictures."""
    from transferkit.lab.fitting import accuracy
    from transferkit.lab.trainings import train_anew

    def fit(split, rate, seed, held_out):
        pictures = np.concatenate([shift_at_random(split.train, shift, seed * epochs + each) for each in range(epochs)])
        train_anew(model, pictures, np.tile(split.train_labels, epochs), epochs=1, rate=rate, seed=seed)
        return accuracy(model, split.train, split.train_labels), accuracy(model, *held_out)

    return fit


def shift_at_random(pictures: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Each picture of (n, h, w, c) moved by up to `most` pixels on both axes; the border is repeated."""
    if not most:
        return pictures
    padded = np.pad(pictures, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    starts = np.random.default_rng(seed).integers(0, 2 * most + 1, (len(pictures), 2))
    height, width = pictures.shape[1:3]
    return np.stack([each[y : y + height, x : x + width] for each, (y, x) in zip(padded, starts, strict=True)])


def _draw(found, pictures):
    from transferkit.lab.figures import draw_bars

    figure = Figure((9, 3.2), layout="constrained")
    for axes, name, place in zip(figure.subplots(1, 2), ("training", "test"), (1, 2), strict=True):
        draw_bars(axes, {label: values[place] for label, values in found.items()})
        axes.set(xlabel=f"{name} accuracy (%), with its 95% interval")
    figure.axes[1].set_yticklabels([])
    figure.suptitle(f"Regularisation, {pictures} training pictures")
    return figure


EXPERIMENTS = {
    "regularisation": Experiment(ablate, "What do dropout, weight decay and augmentation add, each?", 3),
}
