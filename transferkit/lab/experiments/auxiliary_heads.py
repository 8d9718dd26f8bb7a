"""Auxiliary heads."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, mean_interval

NAMES = ("aux1", "aux2", "logits")  # from the picture to the last layer


def compare_gradients(
    seeds: int, *, network: str = "googlenet_paper(aux=true, init=glorot, dropout=0)", side: int = 79, pictures: int = 8
) -> Finding:
    """The gradient of each convolution of GoogLeNet before training, with auxiliary heads in the loss and without.

    The kernels begin by Glorot 2010: without a knob the classifiers of the zoo are zeros, which pass no gradient.
    Dropout before the classifier is off, so that both losses see the same.
    """
    from transferkit import zoo
    from transferkit.lab import fitting, measures, trainings
    from transferkit.lab.figures import draw_curves

    weights = {"with": zoo.variant(network).loss_weights, "without": {"logits": 1.0}}
    model = fitting.build(network, side=side)
    found: dict[str, list] = {name: [] for name in weights}
    for seed in range(seeds):
        split = trainings.draw_split(seed, pictures, side=side)
        for name, each in weights.items():
            fitting.redraw(model, seed)  # the same weights
            found[name].append(measures.gradient_norms(model, split.train, split.train_labels, weights=each))
    trunk = [layer for layer in found["with"][0] if not layer.startswith("aux")]
    norms = {name: np.array([[each[layer] for layer in trunk] for each in values]) for name, values in found.items()}
    ratios = norms["with"] / norms["without"]
    figure = Figure((9, 3.8), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, {f"{name} auxiliary heads": values for name, values in norms.items()})
    for head, module in {"aux1": "inception4a", "aux2": "inception4d"}.items():
        place = max(number for number, layer in enumerate(trunk, start=1) if layer.startswith(module))
        axes.axvline(place, color="black", linestyle=":", linewidth=1)
        axes.text(place, 1, head, ha="center", va="bottom", fontsize=8, transform=axes.get_xaxis_transform())
    axes.set(
        xlabel="convolution, the first sees the picture", ylabel="norm of the gradient of its kernel", yscale="log"
    )
    axes.set_title(f"Gradients of {zoo.spell(network, aux='false')} before training", pad=16)
    axes.legend()
    first, last = _factor(ratios[:, 0]), _factor(ratios[:, -1])
    fall = _factor(norms["without"][:, -1] / norms["without"][:, 0])
    return Finding(
        f"Before training and without heads, the gradient of the last convolution is {fall} times that of the first; "
        f"the heads change that of the first by a factor of {first}, of the last one, which is above both, by {last}.",
        ("convolution", "norm without heads", "norm with heads", "factor"),
        [
            (layer, *(f"{norms[name][:, i].mean():.2e}" for name in ("without", "with")), _factor(ratios[:, i]))
            for i, layer in enumerate(trunk)
            if layer.count(".") < 2 or layer.endswith("branch1.conv")
        ],
        figure,
    )


def _factor(ratios) -> str:
    """ "3.1 (2.5 to 3.9)": the geometric mean of the seeds with its 95% interval."""
    mean, half = mean_interval(np.log(ratios))
    low, middle, high = np.exp([mean - half, mean, mean + half])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def train_heads(
    seeds: int, *, depth: int = 12, rates=(0.003, 0.01, 0.03), epochs: int = 10, pictures: int = 320
) -> Finding:
    """A plain stack of convolutions with a head at a third and at two thirds of its depth, and without them."""
    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_bars

    weights = {"with": {"logits": 1.0, "aux1": 0.3, "aux2": 0.3}, "without": {"logits": 1.0, "aux1": 0.0, "aux2": 0.0}}
    scores, used = {}, {}
    for label, each in weights.items():
        model = build_with_heads(depth, each)

        def fit(split, rate, seed, held_out, model=model):
            labels, (shown, wanted) = dict.fromkeys(NAMES, split.train_labels), held_out
            held_out = shown, dict.fromkeys(NAMES, wanted)
            history = trainings.train_anew(
                model, split.train, labels, epochs=epochs, rate=rate, seed=seed, validation=held_out
            )
            return {name: history[f"val_{name}_accuracy"][-1] for name in NAMES}

        choice = trainings.draw_split(trainings.CHOICE_SEED, pictures), trainings.choice_pictures()
        found = {rate: fit(choice[0], rate, trainings.CHOICE_SEED, choice[1])["logits"] for rate in rates}
        used[label] = max(rates, key=found.__getitem__)
        splits = [trainings.draw_split(seed, pictures) for seed in range(seeds)]
        results = [fit(split, used[label], seed, (split.test, split.test_labels)) for seed, split in enumerate(splits)]
        scores[label] = {name: [result[name] for result in results] for name in NAMES}
    bars = {f"head aux{n}, after {n * depth // 3} convolutions": scores["with"][f"aux{n}"] for n in (1, 2)}
    bars |= {f"classifier, {label} heads": scores[label]["logits"] for label in weights}
    figure = Figure((7.5, 3), layout="constrained")
    axes = figure.subplots()
    draw_bars(axes, bars)
    axes.set(
        xlabel="test accuracy (%), with its 95% interval over seeds", title=f"Auxiliary heads, {depth} plain layers"
    )
    with_heads, without = scores["with"]["logits"], scores["without"]["logits"]
    return Finding(
        f"The classifier after {depth} plain convolutions with auxiliary heads in training against without: "
        f"{spell_points(with_heads, without)} of test accuracy ({spell_percent(with_heads)} against "
        f"{spell_percent(without)}); the heads' own accuracy is {spell_percent(scores['with']['aux1'])} and "
        f"{spell_percent(scores['with']['aux2'])}. Learning rates: {used['with']:g} and {used['without']:g}.",
        ("output", "test accuracy"),
        [(label, spell_percent(values)) for label, values in bars.items()],
        figure,
    )


def build_with_heads(depth: int, loss_weights: dict[str, float], *, width: int = 16):
    """A stack with three outputs, compiled with these weights of their losses."""
    import keras

    from transferkit.lab.stacks import build_stack

    model = build_stack(depth, width=width, heads=(depth // 3, 2 * depth // 3))
    losses = {name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in NAMES}
    metrics = {name: ["accuracy"] for name in NAMES}
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), losses, metrics=metrics, loss_weights=loss_weights)
    return model


EXPERIMENTS = {
    "auxiliary-gradients": Experiment(
        compare_gradients, "Do GoogLeNet's auxiliary heads strengthen early gradients?", 6
    ),
    "auxiliary-heads": Experiment(
        train_heads, "How good are auxiliary heads, and does the classifier gain by them?", 4
    ),
}
