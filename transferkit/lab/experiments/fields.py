"""Receptive fields and dilation."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding
from transferkit.lab.figures import draw_maps


def build_stack(side: int, layers: Sequence[dict], padding: str = "same"):
    """A network of convolutions of one map whose weights are all 1, for pictures of side x side.

    Args:
        layers: the arguments of each `keras.layers.Conv2D` but the number of maps.
    """
    import keras

    stack = [
        keras.layers.Conv2D(1, padding=padding, kernel_initializer="ones", dtype="float64", **knobs) for knobs in layers
    ]
    return keras.Sequential([keras.Input((side, side, 1)), *stack])


def count_paths(model) -> np.ndarray:
    """The gradient of the unit in the middle of the last map by the pixels: with weights of 1, the number of paths."""
    from transferkit.lab.operations import find_gradients

    side = model.output_shape[1]
    upstream = np.zeros(model.output_shape[1:])
    upstream[side // 2, side // 2] = 1
    return find_gradients(lambda x: model(x[None])[0], (np.zeros(model.input_shape[1:]),), upstream)[0][..., 0]


def measure_field(model) -> tuple[int, int, float, np.ndarray]:
    """The field of the unit in the middle of the last map.

    Returns:
        Its side by the geometry, its side where the gradient is not zero, the fraction of that square that the unit
        sees, and the number of paths of each pixel of it.
    """
    from transferkit.explain.geometry import measure_layers

    paths = count_paths(model)
    rows, columns = (np.flatnonzero(paths.any(axis)) for axis in (1, 0))
    seen = paths[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    theory = measure_layers(model)[-1].receptive_field or 0
    return theory, max(seen.shape), float((seen > 0).mean()), seen


def compare_dilations(stacks=((1, 1, 1), (1, 2, 4), (1, 2, 4, 8), (1, 2, 4, 8, 16), (2, 2, 2), (2, 4, 8))) -> Finding:
    """Stacks of dilated 3x3 layers: their field, the size of the map, and the pixels that the field leaves out.

    Args:
        stacks: dilations of the layers of each network.
    """
    from transferkit.lab.operations import apply_convolution, largest_difference

    random = np.random.default_rng(0)
    picture, kernel = random.normal(size=(20, 20)), random.normal(size=(3, 3))
    spread = np.zeros((5, 5))
    spread[::2, ::2] = kernel
    apart = [
        largest_difference(apply_convolution(picture, kernel, dilation_rate=1), apply_convolution(picture, kernel)),
        largest_difference(apply_convolution(picture, kernel, dilation_rate=2), apply_convolution(picture, spread)),
    ]
    rows, maps = [], {}
    side = 2 * max(map(sum, stacks)) + 7
    for rates in stacks:
        model = build_stack(side, [{"kernel_size": 3, "dilation_rate": rate} for rate in rates])
        theory, measured, seen, paths = measure_field(model)
        name = ", ".join(map(str, rates))
        rows.append((name, 9 * len(rates), theory, measured, seen, model.output_shape[1]))
        if max(rates) > 1:
            maps[f"{name}\n{seen:.0%} of {measured}x{measured} seen"] = np.where(paths > 0, np.log2(paths + 1), np.nan)
    plain, gaps = rows[0], min(rows, key=lambda row: row[4])
    doubled = ", ".join(str(row[2]) for row in rows if row[0].startswith(("1, 2", "1, 1")))
    return Finding(
        f"The map keeps its {side} places while the field of 3 plain layers and of stacks of doubled dilations is "
        f"{doubled} pixels; by the gradient, {sum(row[2] == row[3] for row in rows)} of {len(rows)} fields have that "
        f"size. With dilations {gaps[0]} a unit sees {gaps[4]:.0%} of the pixels of its field, with {plain[0]} "
        f"{plain[4]:.0%}. Dilation 1 is the plain layer (difference {apart[0]:.1g}), 2 is a kernel with zeros between "
        f"({apart[1]:.1g}).",
        ("dilations", "weights", "field", "field by the gradient", "pixels seen in it", "side of the map"),
        [(*row[:4], f"{row[4]:.0%}", row[5]) for row in rows],
        draw_maps(maps, columns=3, cmap="viridis", title="Paths from each pixel to one unit (white: none)"),
    )


def grow_fields(depths=range(1, 7)) -> Finding:
    """The field against the number of layers, for kernels, strides and dilations, by the geometry and the gradient."""
    kinds = {
        "3x3": lambda layer: {"kernel_size": 3},
        "5x5": lambda layer: {"kernel_size": 5},
        "3x3, stride 2": lambda layer: {"kernel_size": 3, "strides": 2},
        "3x3, dilation 1, 2, 4, ...": lambda layer: {"kernel_size": 3, "dilation_rate": 2**layer},
    }
    fields: dict[str, list[int]] = {name: [] for name in kinds}
    same = []
    for name, knobs in kinds.items():
        for depth in depths:
            model = build_stack(2 ** (max(depths) + 2), [knobs(layer) for layer in range(depth)])
            theory, measured, _, _ = measure_field(model)
            fields[name].append(theory)
            same.append(theory == measured)
    figure = Figure((6, 4), layout="constrained")
    axes = figure.subplots()
    styles = (("o-", 6), ("o-", 6), ("o-", 10), ("o--", 4))  # the last two are equal, so one is seen around the other
    for (name, values), (style, size) in zip(fields.items(), styles, strict=True):
        axes.plot(list(depths), values, style, markersize=size, label=name)
    axes.set(
        xlabel="layers", ylabel="side of the receptive field (pixels)", yscale="log", title="What one unit can see"
    )
    axes.set_yticks([3, 7, 15, 31, 63, 127], ["3", "7", "15", "31", "63", "127"])
    axes.legend()
    last, half = max(depths), list(depths).index(max(depths) // 2)
    spelled = ", ".join(f"{values[half]} to {values[-1]} for {name}" for name, values in fields.items())
    linear = sum(
        value == 1 + depth * (int(name[0]) - 1)
        for name in ("3x3", "5x5")
        for depth, value in zip(depths, fields[name], strict=True)
    )
    return Finding(
        f"From {max(depths) // 2} to {last} layers the field grows from {spelled} pixels. It is 1 + L (K - 1) in "
        f"{linear} of {2 * len(list(depths))} cases without stride and dilation, and the gradient has the size of the "
        f"theory in {sum(same)} of {len(same)}.",
        ("layers", *fields),
        list(zip(depths, *fields.values(), strict=True)),
        figure,
    )


EXPERIMENTS = {
    "dilation": Experiment(compare_dilations, "How large do dilations make a field, and what do they leave out?"),
    "receptive-field": Experiment(
        grow_fields, "How does the receptive field grow with depth, kernel, stride, dilation?"
    ),
}
