"""Depth and shortcuts."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding

KINDS = ("plain", "resnet")


def show_degradation(
    seeds: int, *, depths=(20, 56), rates=(0.03, 0.1), epochs: int = 8, pictures: int = 600, widen: float = 0.25
) -> Finding:
    """Training accuracy of plain and residual networks, shallow and deep: He et al. 2015, figure 6."""
    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_curves

    names = {f"{kind}{depth}": f"{kind}{depth}_cifar(widen={widen})" for kind in KINDS for depth in depths}
    found = trainings.compare(trainings.named(names), rates=rates, epochs=epochs, seeds=seeds, pictures=pictures)
    figure = Figure((9, 3.8), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), KINDS, strict=True):
        draw_curves(
            axes,
            {f"{kind}{d}, rate {found[f'{kind}{d}'].rate:g}": 1 - found[f"{kind}{d}"].curves() for d in depths},
        )
        axes.set(xlabel="epoch", title={"plain": "plain", "resnet": "residual"}[kind])
        axes.legend(fontsize=8)
    figure.axes[0].set_ylabel("training error (fraction)")
    low, high = min(depths), max(depths)
    trained = {label: each.last("accuracy") for label, each in found.items()}
    pairs = [(f"{kind}{high}", f"{kind}{low}") for kind in KINDS]
    parts = [f"{deep} against {flat}: {spell_points(trained[deep], trained[flat])}" for deep, flat in pairs]
    used = ", ".join(f"{label} {each.rate:g}" for label, each in found.items())
    return Finding(
        f"In training accuracy in epoch {epochs}, {'; '.join(parts)}. Each network has its own learning rate: {used}.",
        ("network", "learning rate", "training accuracy", "test accuracy"),
        [
            (label, each.rate, spell_percent(each.last("accuracy")), spell_percent(each.last()))
            for label, each in found.items()
        ],
        figure,
    )


def sweep_depth(
    seeds: int, *, depths=(1, 2, 4, 8, 16, 32), rates=(0.003, 0.01, 0.03, 0.1), epochs: int = 10, pictures: int = 320
) -> Finding:
    """Training and test accuracy of plain stacks of convolutions without a norm, by their number."""
    from transferkit.lab import trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_curves
    from transferkit.lab.stacks import build_stack

    builders = {str(depth): partial(build_stack, depth) for depth in depths}
    found = trainings.compare(builders, rates=rates, epochs=epochs, seeds=seeds, pictures=pictures)
    curves = {name: np.stack([each.last(key) for each in found.values()], 1) for name, key in ACCURACIES.items()}
    figure = Figure((7, 3.8), layout="constrained")
    axes = figure.subplots()
    draw_curves(axes, {name: 100 * values for name, values in curves.items()}, depths)
    axes.set_xscale("log", base=2)
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set(xlabel="convolutions", ylabel="accuracy (%)", title="Plain networks by depth, a band over seeds")
    axes.legend()
    best = str(depths[int(curves["test"].mean(0).argmax())])
    parts = [
        f"{label} against {best}: {spell_points(found[label].last(), found[best].last())}"
        for label in (str(min(depths)), str(max(depths)))
        if label != best
    ]
    return Finding(
        f"Test accuracy is highest with {best} convolutions, {spell_percent(found[best].last())}; {'; '.join(parts)}. "
        f"Each depth has its own learning rate.",
        ("convolutions", "learning rate", "training accuracy", "test accuracy"),
        [
            (int(label), each.rate, spell_percent(each.last("accuracy")), spell_percent(each.last()))
            for label, each in found.items()
        ],
        figure,
    )


ACCURACIES = {"training": "accuracy", "test": "val_accuracy"}


def compare_shortcuts(
    seeds: int, *, rates=(0.02, 0.1), epochs: int = 8, pictures: int = 320, depth: int = 20, widen: float = 0.5
) -> Finding:
    """Options A, B and C of ResNet's section 3.3 and no shortcut: test accuracy and parameters."""
    from transferkit.lab import fitting, trainings
    from transferkit.lab.experiment import spell_percent, spell_points
    from transferkit.lab.figures import draw_bars

    residual = {f"option {each.upper()}": f"resnet{depth}_cifar(widen={widen}, shortcut={each})" for each in "abc"}
    names = {"plain": f"plain{depth}_cifar(widen={widen})", **residual}
    counts = {label: fitting.build(name).count_params() for label, name in names.items()}
    found = trainings.compare(trainings.named(names), rates=rates, epochs=epochs, seeds=seeds, pictures=pictures)
    scores = {label: each.last() for label, each in found.items()}
    figure = Figure((7, 3), layout="constrained")
    axes = figure.subplots()
    draw_bars(axes, {f"{label}, {counts[label]:,} parameters": values for label, values in scores.items()})
    axes.set(xlabel="test accuracy (%), with its 95% interval over seeds", title=f"Shortcuts, {depth} layers")
    parts = [
        f"option {each} against A: {spell_points(scores[f'option {each}'], scores['option A'])}, with "
        f"{counts[f'option {each}'] - counts['option A']:,} more parameters"
        for each in "BC"
    ]
    equal = "as many parameters as" if counts["plain"] == counts["option A"] else "other parameters than"
    return Finding(
        f"Option A has {equal} the plain network, {counts['option A']:,}. In test accuracy, option A against plain: "
        f"{spell_points(scores['option A'], scores['plain'])}; {'; '.join(parts)}.",
        ("shortcuts", "parameters", "learning rate", "test accuracy", "training accuracy"),
        [
            (label, counts[label], each.rate, spell_percent(scores[label]), spell_percent(each.last("accuracy")))
            for label, each in found.items()
        ],
        figure,
    )


EXPERIMENTS = {
    "degradation": Experiment(show_degradation, "Do deeper networks learn worse, and do shortcuts mend it?", 3),
    "depth": Experiment(sweep_depth, "How deep may a plain network without norms be?", 3),
    "shortcuts": Experiment(compare_shortcuts, "Do shortcuts with parameters learn better than those without?", 3),
}
