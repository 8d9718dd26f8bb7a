"""One layer by hand: its outputs and its gradients."""

from functools import partial

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding
from transferkit.lab.figures import draw_maps
from transferkit.lab.small_data import load_photograph


def back_through_convolution(values, kernel, upstream, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of a layer by its kernel and its input, output by output.

    Args:
        values: (h, w, inputs).
        kernel: (k, l, inputs, maps).
        upstream: (rows, columns, maps), the gradient of the loss by the layer's output.
        stride: on both axes.

    Returns:
        The gradient by the kernel: the sum, over all places of the output, of the upstream gradient times the patch of
        the input there. That by the input: at each place, the upstream gradient times the kernel, added up.
    """
    by_kernel, by_values = np.zeros_like(kernel), np.zeros_like(values)
    for row, column in np.ndindex(upstream.shape[:2]):
        top, left = row * stride, column * stride
        patch = slice(top, top + kernel.shape[0]), slice(left, left + kernel.shape[1])
        by_kernel += values[patch][..., None] * upstream[row, column]
        by_values[patch] += kernel @ upstream[row, column]
    return by_kernel, by_values


def compare_gradients() -> Finding:
    """The hand formulas against Keras' gradients, finite differences and a transposed convolution."""
    import keras

    from transferkit.lab.operations import differ_numerically, find_gradients, largest_difference

    random = np.random.default_rng(0)
    rows: list[tuple] = []
    maps: dict[str, np.ndarray] = {}
    for side, reach, inputs, outputs, stride in ((3, 2, 1, 1, 1), (7, 3, 2, 3, 1), (7, 3, 2, 3, 2)):
        values, kernel = random.normal(size=(side, side, inputs)), random.normal(size=(reach, reach, inputs, outputs))
        places = (side - reach) // stride + 1
        upstream = random.normal(size=(places, places, outputs))
        by_kernel, by_values = back_through_convolution(values, kernel, upstream, stride)

        def layer(x, k, stride=stride):
            return keras.ops.conv(x[None], k, strides=stride)[0]

        def loss(x, k, layer=layer, upstream=upstream):
            return float(np.sum(np.asarray(layer(x, k)) * upstream))

        keras_values, keras_kernel = find_gradients(layer, (values, kernel), upstream)
        near = differ_numerically(partial(loss, values), kernel)
        near_values = differ_numerically(partial(loss, k=kernel), values)
        transposed = np.asarray(keras.ops.conv_transpose(upstream[None], kernel, strides=stride)[0])
        name = f"{side}x{side}x{inputs}, {outputs} of {reach}x{reach}, stride {stride}"
        rows += [
            (name, "kernel", "Keras", largest_difference(keras_kernel, by_kernel)),
            (name, "kernel", "finite differences", largest_difference(near, by_kernel)),
            (name, "input", "Keras", largest_difference(keras_values, by_values)),
            (name, "input", "finite differences", largest_difference(near_values, by_values)),
            (name, "input", "transposed convolution", largest_difference(transposed, by_values)),
        ]
        maps = maps or {
            "input": values,
            "kernel": kernel[..., 0],
            "upstream gradient": upstream,
            "gradient by the kernel": by_kernel[..., 0],
            "gradient by the input": by_values,
        }
    worst = {by: max(row[3] for row in rows if row[2] == by) for by in dict.fromkeys(row[2] for row in rows)}
    spelled = ", ".join(f"{value:.1g} from {by}" for by, value in worst.items())
    return Finding(
        f"In {len(rows)} comparisons the gradients by hand differ by at most {spelled}; the transposed convolution is "
        "of the upstream gradient, with the kernel of the layer.",
        ("layer", "gradient by the", "compared with", "largest difference"),
        [(*row[:3], f"{row[3]:.1g}") for row in rows],
        draw_maps(
            {name: each[..., 0] for name, each in maps.items()}, columns=5, title="An input of 3x3 and a kernel of 2x2"
        ),
    )


def back_through_pool(values, upstream, size: int, stride: int, pool: str) -> np.ndarray:
    """The gradient of a pool by its input.

    The maximum passes the gradient to the place that was largest (the first of equals), an average gives each place of
    its window the same part. Where windows overlap, the parts are added up.

    Args:
        values: (h, w).
        upstream: (rows, columns), the gradient of the loss by the pool's output.
        size: side of the windows.
        stride: between them.
        pool: "max" or "average".
    """
    gradient = np.zeros_like(values)
    for row, column in np.ndindex(upstream.shape):
        patch = slice(row * stride, row * stride + size), slice(column * stride, column * stride + size)
        if pool == "max":
            share = np.zeros((size, size))
            share.flat[values[patch].argmax()] = 1
        else:
            share = np.full((size, size), 1 / size**2)
        gradient[patch] += share * upstream[row, column]
    return gradient


def compare_pool_gradients() -> Finding:
    """Where the gradient goes in a maximum and in an average, with windows beside each other and overlapping."""
    import keras

    from transferkit.lab.operations import find_gradients, largest_difference

    random = np.random.default_rng(0)
    values = random.permutation(49).reshape(7, 7).astype("float64")  # no two are equal
    rows, maps = [], {"input": values}
    operations = {"max": keras.ops.max_pool, "average": keras.ops.average_pool}
    for size, stride in ((2, 2), (3, 2)):
        places = (len(values) - size) // stride + 1
        upstream = np.ones((places, places))
        for pool, operation in operations.items():

            def layer(x, operation=operation, size=size, stride=stride):
                return operation(x[None, ..., None], size, stride)[0, ..., 0]

            by_hand = back_through_pool(values, upstream, size, stride, pool)
            (automatic,) = find_gradients(layer, (values,), upstream)
            reached = float((by_hand > 0).mean())
            rows.append(
                (pool, f"{size}x{size}", stride, reached, by_hand.max(), largest_difference(automatic, by_hand))
            )
            maps[f"{pool}, {size}x{size}, stride {stride}"] = by_hand
    shares = ", ".join(f"{row[3]:.0%} with {row[0]} of {row[1]}" for row in rows)
    return Finding(
        f"The gradient reaches {shares} of the input's places; the largest sum at one place, where windows overlap, is "
        f"{max(row[4] for row in rows):.3g}. By hand and by Keras differ by at most {max(row[5] for row in rows):.1g}.",
        ("pool", "window", "stride", "places reached", "largest gradient", "difference from Keras"),
        [(*row[:3], f"{row[3]:.0%}", f"{row[4]:.3g}", f"{row[5]:.1g}") for row in rows],
        draw_maps(maps, columns=5, title="The gradient by the input, if that by each output is 1"),
    )


def compute_one_output(row: int = 200, column: int = 260) -> Finding:
    """One number of a feature map by hand: products over the full depth of the input, their sum, and the bias.

    Args:
        row, column: of the output value, in the map of a photograph.
    """
    import keras

    from transferkit.lab.operations import apply_convolution, largest_difference

    random = np.random.default_rng(1)
    picture = load_photograph().astype("float64") / 255
    kernel, bias = random.normal(size=(3, 3, 3, 8)).round(1), random.normal(size=8).round(1)
    maps = apply_convolution(picture, kernel, bias)
    patch = picture[row : row + 3, column : column + 3]
    by_hand = sum(patch[place] * kernel[(*place, 0)] for place in np.ndindex(3, 3, 3)) + bias[0]
    spanned = patch.size
    pointwise = random.normal(size=(8, 5))
    dense = keras.layers.Dense(5, use_bias=False, dtype="float64")
    dense.build((None, 8))
    dense.set_weights([pointwise])
    per_pixel = np.asarray(dense(maps.reshape(-1, 8))).reshape(*maps.shape[:2], 5)
    apart = largest_difference(per_pixel, apply_convolution(maps, pointwise[None, None]))
    rows = [
        ("3x3 over 3 colours, 8 maps", f"{kernel.shape}", spanned, abs(by_hand - maps[row, column, 0])),
        ("1x1 over 8 maps, 5 maps, against a dense layer", f"{(1, 1, *pointwise.shape)}", 8, apart),
    ]
    shown = {}
    for channel, color in enumerate(("red", "green", "blue")):
        shown[f"{color}: input"] = patch[..., channel]
        shown["kernel" + " " * channel] = kernel[..., channel, 0]
        shown["products" + " " * channel] = patch[..., channel] * kernel[..., channel, 0]
    return Finding(
        f"One output is a sum of {spanned} products, over the kernel's places and all colours, and the bias "
        f"{bias[0]}: {by_hand:.3f} by hand, {maps[row, column, 0]:.3f} in the layer's first map. A 1x1 convolution "
        f"and a dense layer on each of {maps.shape[0] * maps.shape[1]:,} pixels differ by at most {apart:.1g}.",
        ("layer", "shape of the weights", "products of one output", "difference"),
        [(*each[:3], f"{each[3]:.1g}") for each in rows],
        draw_maps(shown, columns=3, title=f"sum of the products + {bias[0]} = {by_hand:.3f}"),
    )


def summarise_pool(window_sides=(1, 2, 4, 8)) -> Finding:
    """The weights of a network with a pool of several sizes: where the saving is.

    Args:
        window_sides: of the pool between a convolution of 16 maps and a dense layer; 1 is no pool.
    """
    import keras
    from keras import layers

    from transferkit.explain.geometry import measure_layers

    rows: list[tuple] = []
    for side in window_sides:
        stack = [layers.Conv2D(16, 3, padding="same", name="convolution"), layers.MaxPooling2D(side, name="pool")]
        stack += [layers.Flatten(), layers.Dense(10, name="dense")]
        measured = {layer.name: layer for layer in measure_layers(keras.Sequential([keras.Input((32, 32, 3)), *stack]))}
        height, width, maps = measured["pool"].output
        costs = [measured[name].params for name in ("convolution", "pool", "dense")]
        rows.append((f"{side}x{side}", f"{height}x{width}x{maps}", *costs, measured["dense"].multiply_adds))
    figure = Figure((6, 3.6), layout="constrained")
    axes = figure.subplots()
    for place, name in ((4, "dense layer"), (2, "convolution"), (3, "pool")):
        axes.plot([row[0] for row in rows], [row[place] for row in rows], "o-", label=name)
    axes.set_yscale("symlog", linthresh=100)
    axes.set(xlabel="window of the pool (1x1: none)", ylabel="parameters", title="Parameters of a network with a pool")
    axes.legend()
    first, last = rows[0], rows[-1]
    return Finding(
        f"Every pool has {max(row[3] for row in rows)} parameters and the convolution always {first[2]:,}; the dense "
        f"layer behind has {first[4]:,} without a pool and {last[4]:,} after one of {last[0]}, "
        f"{first[4] / last[4]:.0f} times fewer.",
        ("window", "map", "convolution", "pool", "dense layer", "multiply-adds of the dense layer"),
        rows,
        figure,
    )


EXPERIMENTS = {
    "one-output": Experiment(compute_one_output, "How is one number of a feature map computed?"),
    "gradients": Experiment(compare_gradients, "What are the gradients of a convolution by its kernel and its input?"),
    "pool-gradients": Experiment(compare_pool_gradients, "Where does the gradient go in a pool?"),
    "pool-weights": Experiment(summarise_pool, "Which weights does a pool save?"),
}
