"""Initialisation and normalisation."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding

NORMS = {"batch norm": "batch", "no norm": "none"}
INITIALISERS = {"Gaussian 0.01": "0.01", "Glorot": "glorot", "He": "he"}


def measure_gradients(seeds: int, *, depth: int = 32, pictures: int = 64) -> Finding:
    """The norm of the gradient of each convolution before training, in deep networks that begin differently."""
    from transferkit.lab import fitting, measures, trainings
    from transferkit.lab.figures import draw_curves

    norms = {}
    for label, name in _deep_networks(depth).items():
        model, found = fitting.build(name, side=trainings.SIDE), []
        for seed in range(seeds):
            split = trainings.draw_split(seed, pictures)
            fitting.redraw(model, seed)
            found.append(list(measures.gradient_norms(model, split.train, split.train_labels).values()))
        norms[label] = np.array(found)  # (seeds, layers)
    figure = Figure((10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, wanted in zip(panels, ("no norm", "batch norm or shortcuts"), (False, True), strict=True):
        draw_curves(axes, {k: np.maximum(v, TINY) for k, v in norms.items() if ("+" in k) == wanted})
        axes.set(xlabel="convolution, the first sees the picture", yscale="log", title=title)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    panels[0].set_ylabel("norm of the gradient of its kernel")
    figure.suptitle(f"Gradients before training, plain and residual networks of {depth} layers")
    rows = [(label, *(_spell_norm(each[:, end]) for end in (0, -1)), _verdict(each)) for label, each in norms.items()]
    named = {verdict: [label for label, *_, found in rows if found == verdict] for verdict in VERDICTS}
    parts = [f"{verdict} with {', '.join(labels)}" for verdict, labels in named.items() if labels]
    same = all(_verdict(each[[seed]]) == _verdict(each) for each in norms.values() for seed in range(seeds))
    agreement = "the same" if same else "not the same"
    return Finding(
        f"Before training, over {depth} layers, the gradient of the first convolution is {'; '.join(parts)}: vanishing "
        f"is a norm below {VERDICTS['vanishing'][1]:g}, exploding above {VERDICTS['exploding'][0]:,.0f}; "
        f"{agreement} with every seed.",
        ("network", "norm at the first convolution", "norm at the last", "gradients are"),
        rows,
        figure,
    )


TINY = 1e-30  # in place of a gradient of 0 on a logarithmic axis
VERDICTS = {"vanishing": (0, 1e-3), "moderate": (1e-3, 1e3), "exploding": (1e3, np.inf)}


def _deep_networks(depth: int) -> dict[str, str]:
    plain = f"plain{depth}_cifar(widen=0.5, "
    return {
        "sigmoid Glorot": plain + "norm=none, activation=sigmoid, init=glorot)",
        "tanh Glorot": plain + "norm=none, activation=tanh, init=glorot)",
        "relu Gaussian 0.01": plain + "norm=none, init=0.01)",
        "relu Glorot": plain + "norm=none, init=glorot)",
        "relu He": plain + "norm=none, init=he)",
        "relu Gaussian 0.5": plain + "norm=none, init=0.5)",
        "relu Gaussian 0.01 + batch norm": plain + "norm=batch, init=0.01)",
        "relu He + batch norm": plain + "norm=batch, init=he)",
        "relu He + shortcuts": f"resnet{depth}_cifar(widen=0.5, norm=none, init=he)",
        "relu He + shortcuts + batch norm": f"resnet{depth}_cifar(widen=0.5, init=he)",
    }


def _middle(values) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(np.maximum(values, TINY)))))


def _verdict(norms: np.ndarray) -> str:
    """By the geometric mean of the norm at the first convolution, (seeds, layers)."""
    return next(name for name, (low, high) in VERDICTS.items() if low <= _middle(norms[:, 0]) < high)


def _spell_norm(values) -> str:
    """The geometric mean over seeds."""
    middle = _middle(values)
    return f"{middle:.1e}" if middle > TINY else f"below {TINY:g}"


def compare_beginnings(
    seeds: int, *, depth: int = 20, rates=(0.01, 0.1), epochs: int = 6, pictures: int = 320
) -> Finding:
    """How well a deep plain network learns with each initialiser, with and without batch norm."""
    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_bars

    names = {
        f"{init}, {norm}": f"plain{depth}_cifar(widen=0.5, norm={norm_knob}, init={init_knob})"
        for norm, norm_knob in NORMS.items()
        for init, init_knob in INITIALISERS.items()
    }
    found = trainings.compare(trainings.named(names), rates=rates, epochs=epochs, seeds=seeds, pictures=pictures)
    scores = {label: each.last("accuracy") for label, each in found.items()}
    figure = Figure((7, 3.4), layout="constrained")
    axes = figure.subplots()
    draw_bars(axes, scores)
    axes.set(xlabel=f"training accuracy in epoch {epochs} (%), with its 95% interval over seeds")
    axes.set_title(f"Beginnings of a plain network of {depth} layers")
    parts = [
        f"{spell_points(scores[f'He, {norm}'], scores[f'Gaussian 0.01, {norm}'])} with {norm} "
        f"({spell_percent(scores[f'He, {norm}'])} against {spell_percent(scores[f'Gaussian 0.01, {norm}'])})"
        for norm in NORMS
    ]
    return Finding(
        f"{depth} plain layers that begin by He against Gaussian 0.01, in training accuracy in epoch {epochs}: "
        f"{'; '.join(parts)}. Each network has its own learning rate.",
        ("initialiser, norm", "learning rate", "training accuracy", "test accuracy"),
        [(label, each.rate, spell_percent(scores[label]), spell_percent(each.last())) for label, each in found.items()],
        figure,
    )


def sweep_rates(
    seeds: int, *, rates=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0), epochs: int = 6, pictures: int = 320, depth: int = 4
) -> Finding:
    """Test accuracy with and without batch norm, by learning rate."""
    from transferkit.lab import fitting, trainings
    from transferkit.lab.experiment import spell_percent
    from transferkit.lab.figures import draw_curves

    scores = {}
    for label, norm in NORMS.items():
        model = fitting.build(f"simple_cnn(depth={depth}, norm={norm})", side=trainings.SIDE)
        how = {"epochs": epochs, "seeds": seeds, "pictures": pictures}
        found = [[each["val_accuracy"][-1] for each in trainings.train_seeds(model, rate=r, **how)] for r in rates]
        scores[label] = np.array(found).T  # (seeds, rates)
    figure = Figure((7, 3.6), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, {label: 100 * values for label, values in scores.items()}, rates)
    axes.set(xscale="log", xlabel="learning rate", ylabel="test accuracy (%)", title="Batch norm, by learning rate")
    axes.legend()
    parts = [
        f"{'with batch norm' if label == 'batch norm' else 'without'} at {_spell_rates(rates, values.mean(0))}, and "
        f"{spell_percent(values[:, -1])} at {max(rates):g}"
        for label, values in scores.items()
    ]
    return Finding(
        f"After {epochs} epochs, mean test accuracy is above 50% {'; '.join(parts)}.",
        ("learning rate", *(f"test accuracy, {label}" for label in scores)),
        [(rate, *(spell_percent(v[:, i]) for v in scores.values())) for i, rate in enumerate(rates)],
        figure,
    )


def _spell_rates(rates, accuracies) -> str:
    """ "2 of 3 rates (0.01, 0.1)": those with which the accuracy is above one half."""
    usable = [f"{rate:g}" for rate, each in zip(rates, accuracies, strict=True) if each > 0.5]
    return f"{len(usable)} of {len(rates)} rates" + (f" ({', '.join(usable)})" if usable else "")


def compare_response_norm(
    seeds: int, *, rates=(0.03, 0.1, 0.3), epochs: int = 16, pictures: int = 320, depth: int = 4
) -> Finding:
    """Test accuracy with and without local response normalisation: Krizhevsky et al. 2012, section 3.3."""
    from transferkit.lab import trainings

    names = {"without": f"simple_cnn(depth={depth})", "with": f"simple_cnn(depth={depth}, lrn=true)"}
    builders = trainings.named(names)
    return _compare_responses(builders, f"A network of {depth} layers", rates, epochs, seeds, pictures)


def compare_vgg(
    seeds: int, *, rates=(0.003, 0.01, 0.03), epochs: int = 12, pictures: int = 320, width: int = 8
) -> Finding:
    """VGG's A against A-LRN, an eighth as wide: Simonyan, Zisserman 2014, table 3."""
    builders = {
        "without": partial(build_narrow_a, respond=False, width=width),
        "with": partial(build_narrow_a, respond=True, width=width),
    }
    return _compare_responses(builders, "VGG's A", rates, epochs, seeds, pictures, side=32)


def build_narrow_a(*, respond: bool, width: int, side: int = 32):
    """Net A or A-LRN of VGG's table 1, whose first layer has 64 maps, with fewer; initialised by He 2015."""
    import keras

    from transferkit.zoo import layers

    pictures = keras.Input((side, side, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pictures)
    for block, (factor, convolutions) in enumerate(((1, 1), (2, 1), (4, 2), (8, 2), (8, 2)), start=1):
        for number in range(1, convolutions + 1):
            x = layers.conv(x, factor * width, 3, bias=0.0, name=f"conv{block}_{number}")
            x = keras.layers.ReLU()(x)
            x = layers.local_response_norm(x) if respond and block == 1 else x
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    for number in (6, 7):
        x = keras.layers.Dense(8 * width, activation="relu", kernel_initializer="he_normal", name=f"fc{number}")(x)
    return keras.Model(pictures, keras.layers.Dense(10, name="fc8")(x))


def _compare_responses(builders, network, rates, epochs, seeds, pictures, side: int = 16) -> Finding:
    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_bars

    found = trainings.compare(builders, rates=rates, epochs=epochs, seeds=seeds, pictures=pictures, side=side)
    scores = {label: each.last() for label, each in found.items()}
    times = time_steps(builders, side)
    figure = Figure((8, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_bars(left, scores)
    left.set(xlabel="test accuracy (%), with its 95% interval")
    right.barh(list(times), list(times.values()), height=0.6)
    right.invert_yaxis()
    right.set(xlabel="time of a training step (ms)")
    figure.suptitle(f"{network}, with and without local response normalisation")
    used = ", ".join(f"{each.rate:g} {label}" for label, each in found.items())
    return Finding(
        f"{network} with local response normalisation against without, in test accuracy: "
        f"{spell_points(scores['with'], scores['without'])} ({spell_percent(scores['with'])} against "
        f"{spell_percent(scores['without'])}, at learning rates {used}); a training step takes "
        f"{times['with'] / times['without']:.2f} times as long.",
        ("response normalisation", "learning rate", "test accuracy", "training step (ms)"),
        [(label, each.rate, spell_percent(scores[label]), round(times[label], 1)) for label, each in found.items()],
        figure,
    )


def time_steps(builders, side: int, *, repeats: int = 15, batch: int = 64) -> dict[str, float]:
    """The least time, in milliseconds, of a step of training on a batch; the networks take turns."""
    import time

    import keras

    models = {label: build() for label, build in builders.items()}
    for model in models.values():
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pictures, labels = np.zeros((batch, side, side, 3), "float32"), np.zeros(batch, "int32")
    spent = dict.fromkeys(models, np.inf)
    for number in range(repeats + 2):  # the first two compile
        for label, model in models.items():
            begin = time.perf_counter()
            model.train_on_batch(pictures, labels)
            if number > 1:
                spent[label] = min(spent[label], 1000 * (time.perf_counter() - begin))
    return spent


EXPERIMENTS = {
    "gradient-norms": Experiment(measure_gradients, "Do gradients vanish or explode in deep networks?", 3),
    "initialisation": Experiment(compare_beginnings, "Which initialisers let a deep plain network learn?", 3),
    "batch-norm": Experiment(sweep_rates, "Which learning rates does batch norm allow?", 3),
    "response-norm-accuracy": Experiment(
        compare_response_norm, "Does local response normalisation help a small network?", 4
    ),
    "vgg-response-norm": Experiment(compare_vgg, "Was VGG right that response normalisation does not help net A?", 3),
}
