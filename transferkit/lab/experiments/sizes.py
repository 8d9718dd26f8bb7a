"""Padding, stride and the size of maps."""

import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from transferkit.lab.experiment import Experiment, Finding
from transferkit.lab.small_data import load_photograph

ARITHMETIC = (  # figures of chapter 2 of Dumoulin and Visin 2016: size, kernel, stride, zeros on either side
    ("no padding", 4, 3, 1, 0),
    ("full padding", 5, 3, 1, 2),
    ("one ring, stride 2", 5, 3, 2, 1),
)


def check_output_sizes(sizes=range(1, 15), kernels=range(1, 6), strides=(1, 2, 3), dilations=(1, 2)) -> Finding:
    """`conv_output_size` against Keras, on a grid of sizes, and three drawings of the arithmetic."""
    import keras

    from transferkit.explain.arithmetic import conv_output_size

    equal: dict[str, list[bool]] = {}
    for size, kernel, stride, dilation in itertools.product(sizes, kernels, strides, dilations):
        reach = (kernel - 1) * dilation + 1
        if stride > 1 and dilation > 1:
            continue  # Keras refuses both at once
        for padding, zeros in (("valid", 0), ("same", 0), ("full", reach - 1), ("1 on either side", 1)):
            if padding != "same" and size + 2 * zeros < reach:
                continue
            counted = conv_output_size(size, kernel, stride, zeros if padding[0] == "1" else padding, dilation)
            filled = keras.ops.zeros((1, size + 2 * zeros, 1))
            mode = "same" if padding == "same" else "valid"
            taps = keras.ops.zeros((kernel, 1, 1))
            found = keras.ops.conv(filled, taps, strides=stride, padding=mode, dilation_rate=dilation)
            equal.setdefault(padding, []).append(counted == found.shape[1])
    alexnet = [conv_output_size(224, 11, 4, zeros) for zeros in (0, 2)]
    sides = [conv_output_size(size, kernel, stride, zeros) for _, size, kernel, stride, zeros in ARITHMETIC]
    right, tried = sum(map(sum, equal.values())), sum(map(len, equal.values()))
    return Finding(
        f"floor((N + 2P - D(K - 1) - 1) / S) + 1 gives Keras' size in {right} of {tried} cases. AlexNet's first layer "
        f"does not divide: (224 - 11) / 4 + 1 is {(224 - 11) / 4 + 1:.2f}, so {alexnet[0]} places without padding, and "
        f"{alexnet[1]} with two zeros on either side.",
        ("padding", "cases", "as Keras"),
        [(padding, len(found), sum(found)) for padding, found in equal.items()],
        _draw_arithmetic(sides),
    )


def _draw_arithmetic(sides) -> Figure:
    """The input with its zeros, the first two places of the kernel, and the output."""
    figure = Figure((9, 3.8), layout="constrained")
    figure.suptitle("Input (grey), zeros (white), the kernel's first two places, and the output (blue)")
    for axes, (name, size, kernel, stride, zeros), side in zip(figure.subplots(1, 3), ARITHMETIC, sides, strict=True):
        for row, column in np.ndindex(size + 2 * zeros, size + 2 * zeros):
            inside = zeros <= row < size + zeros and zeros <= column < size + zeros
            axes.add_patch(Rectangle((column, row), 1, 1, fc="0.8" if inside else "w", ec="0.5"))
        for number, color in ((0, "C1"), (1, "C2")):
            corner = number * stride + 0.08 * number, 0.08 * number
            axes.add_patch(Rectangle(corner, kernel, kernel, fill=False, ec=color, lw=3))
        left = size + 2 * zeros + 1
        for row, column in np.ndindex(side, side):
            axes.add_patch(Rectangle((left + column, row), 1, 1, fc="#9ecae1", ec="0.4"))
        axes.set(xlim=(-0.2, left + side + 0.2), ylim=(size + 2 * zeros + 0.2, -0.2), aspect="equal")
        axes.set_axis_off()
        axes.set_title(f"{name}\nN={size} K={kernel} S={stride} P={zeros}: {side}x{side}", fontsize=10)
    return figure


MODES = {"zeros": "constant", "reflect": "reflect", "border repeated": "edge"}  # names of numpy.pad


def follow_border(depth: int = 6, side: int = 32) -> Finding:
    """A constant picture through averaging layers: what the border becomes, and how large the map stays."""
    from transferkit.lab.operations import apply_convolution

    kernel = np.full((3, 3), 1 / 9)
    maps = {name: np.ones((side, side)) for name in ("valid", *MODES)}
    rows: list[tuple] = []
    for layer in range(1, depth + 1):
        for name, values in maps.items():
            padded = np.pad(values, 1, MODES[name]) if name in MODES else values  # type: ignore[call-overload]
            maps[name] = apply_convolution(padded, kernel)
            wrong = np.abs(maps[name] - 1)
            rows.append((layer, name, len(maps[name]), float((wrong > 1e-6).mean()), float(wrong.max())))
    figure = Figure((9.5, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for name in ("valid", "zeros"):
        left.plot(range(depth + 1), [side, *(row[2] for row in rows if row[1] == name)], "o-", label=name)
    left.set(
        xlabel="layers of 3x3", ylabel="side of the map (positions)", ylim=(0, side * 1.1), title="Size of the map"
    )
    left.legend(title="padding")
    for name in MODES:
        middle.plot(maps[name][side // 2], label=name, lw=2, ls=("-", "--", ":")[list(MODES).index(name)])
    middle.set(xlabel="column of the map", ylabel="output", ylim=(0, 1.1), title=f"Middle row after {depth} layers")
    middle.legend(title="padding")
    image = right.imshow(maps["zeros"], cmap="cividis", vmin=0, vmax=1)
    right.set(xlabel="column", ylabel="row", title="Zero padding")
    figure.colorbar(image, ax=right, label="output; the input is 1 everywhere")
    last = {row[1]: row for row in rows[-len(maps) :]}
    return Finding(
        f"After {depth} layers of 3x3, a map of {side} positions has {last['valid'][2]} without padding. Zero padding "
        f"keeps {last['zeros'][2]}, but {last['zeros'][3]:.0%} of the outputs of a constant picture differ from it, "
        f"by up to {last['zeros'][4]:.0%}; with reflected pixels {last['reflect'][3]:.0%} do.",
        ("layers", "padding", "side", "outputs that differ", "largest difference"),
        [(*row[:3], f"{row[3]:.1%}", f"{row[4]:.1%}") for row in rows],
        figure,
    )


def compare_strides(strides=((1, 1), (2, 2), (3, 3), (4, 4), (1, 2), (2, 1), (2, 3)), crop: int = 128) -> Finding:
    """A stride is stride 1 and then every s-th output, for each axis, at a fraction of the multiply-adds."""
    import keras

    from transferkit.explain.geometry import measure_layers
    from transferkit.lab.operations import apply_convolution, largest_difference

    picture = load_photograph()[100 : 100 + crop, 200 : 200 + crop].astype("float64") / 255
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 8))
    every = {padding: apply_convolution(picture, kernel, padding=padding) for padding in ("valid", "same")}
    rows: list[tuple] = []
    for stride in strides:
        strided = apply_convolution(picture, kernel, strides=stride)
        apart = largest_difference(strided, every["valid"][:: stride[0], :: stride[1]])
        layer = keras.layers.Conv2D(8, 3, stride, use_bias=False)
        cost = measure_layers(keras.Sequential([keras.Input(picture.shape), layer]))[-1].multiply_adds
        first = _find_first(apply_convolution(picture, kernel, padding="same", strides=stride), every["same"], stride)
        rows.append((f"{stride[0]}, {stride[1]}", "x".join(map(str, strided.shape[:2])), cost, apart, first))
    costs = [row[2] for row in rows]
    figure = Figure((6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.bar([row[0] for row in rows], [cost / costs[0] for cost in costs], label="measured")
    axes.plot([row[0] for row in rows], [1 / (a * b) for a, b in strides], "C1o", label="1 / (rows x columns)")
    axes.set(xlabel="stride (rows, columns)", ylabel="multiply-adds, as a fraction\nof those with stride 1")
    axes.set_title(f"A layer of 3x3 on {crop}x{crop} pixels")
    axes.legend()
    return Finding(
        f"With {len(rows)} strides the outputs differ by at most {max(row[3] for row in rows):.1g} from every s-th "
        f"output of stride 1; stride {rows[1][0]} costs {costs[1] / costs[0]:.0%} of the multiply-adds, stride "
        f"{rows[-1][0]} {costs[-1] / costs[0]:.0%}. With same padding and stride {rows[1][0]}, TensorFlow's first "
        f"output is the one at {rows[1][4]} (row, column) of stride 1.",
        ("stride", "map", "multiply-adds", "difference", "first place with same padding"),
        [(*row[:3], f"{row[3]:.1g}", row[4]) for row in rows],
        figure,
    )


def _find_first(strided: np.ndarray, every: np.ndarray, stride: tuple[int, int]) -> str:
    """Row and column, in the outputs of stride 1, of the first output with a stride."""
    for row, column in np.ndindex(*stride):
        kept = every[row :: stride[0], column :: stride[1]]
        if kept.shape == strided.shape and np.allclose(kept, strided):
            return f"{row}, {column}"
    return "none"


EXPERIMENTS = {
    "output-size": Experiment(check_output_sizes, "How many places has the map of a layer?"),
    "padding": Experiment(follow_border, "What does padding do to the size of maps and to their border?"),
    "stride": Experiment(compare_strides, "What does a stride compute, and what does it save?"),
}
