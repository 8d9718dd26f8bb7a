"""Parameters and multiply-adds."""

import time

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, spell_interval


def measure(model, side: int | None = None) -> tuple[int, int]:
    """Parameters and multiply-adds of a model, for pictures of side x side if it takes any size."""
    from transferkit.explain.geometry import measure_layers, sum_costs

    return sum_costs(measure_layers(model, side))


def count_sharing() -> Finding:
    """Dense, locally connected and convolutional layers between the same numbers: parameters and multiply-adds."""
    import keras
    from keras import layers

    from transferkit.zoo.teaching import local

    line, gray, color = keras.Input((5, 1, 1)), keras.Input((32, 32, 1)), keras.Input((32, 32, 3))

    def dense(x, units):
        return layers.Dense(units)(layers.Flatten()(x))

    def local_column(x):  # `local` for a single column
        windows = layers.Concatenate()([layers.ZeroPadding2D(((1, 1), (0, 0)))(x)[:, i : i + 5] for i in range(3)])
        return layers.EinsumDense("nhwp,hwpf->nhwf", (5, 1, 1), bias_axes="hwf")(windows)

    cases = {
        "5 to 5 numbers: dense": (line, dense(line, 5)),
        "5 to 5 numbers: local, kernel 3": (line, local_column(line)),
        "5 to 5 numbers: convolution, kernel 3": (line, layers.Conv2D(1, (3, 1), padding="same")(line)),
        "32x32 gray to 512 units: dense": (gray, dense(gray, 512)),
        "32x32 colour to 512 units: dense": (color, dense(color, 512)),
        "32x32 gray to 32x32: dense": (gray, dense(gray, 1024)),
        "32x32 gray to 32x32: local, 3x3": (gray, local(gray, 1, 3, name="local")),
        "32x32 gray to 32x32: convolution, 3x3": (gray, layers.Conv2D(1, 3, padding="same")(gray)),
    }
    rows = []
    for name, (inputs, outputs) in cases.items():
        model = keras.Model(inputs, outputs)
        params, products = measure(model)
        weights = sum(int(np.prod(each.shape)) for each in model.weights if each.name == "kernel")
        rows.append((name, weights, params, products, products / weights))
    figure = Figure((8, 3.6), layout="constrained")
    axes = figure.subplots()
    last, places = rows[-3:], np.arange(3)
    axes.bar(places - 0.2, [row[1] for row in last], 0.4, label="weights")
    axes.bar(places + 0.2, [row[3] for row in last], 0.4, label="multiply-adds")
    axes.set_xticks(places, [row[0].partition(": ")[2] for row in last])
    axes.set(yscale="log", ylabel="number", title="A layer from 32x32 to 32x32 numbers")
    axes.legend()
    found = dict(zip(cases, rows, strict=True))
    small, wide, local_row, conv_row = rows[0], found["32x32 gray to 512 units: dense"], rows[-2], rows[-1]
    return Finding(
        f"From 5 to 5 numbers a dense layer has {small[1]} weights, a convolution {rows[2][1]}; from 32x32 gray "
        f"pixels to 512 units a dense layer has {wide[1]:,}, {wide[2]:,} with biases. Sharing a 3x3 kernel between "
        f"32x32 places divides the weights by {local_row[1] / conv_row[1]:,.0f} and the multiply-adds by "
        f"{local_row[3] / conv_row[3]:.0f}; a dense layer needs {last[0][3] / conv_row[3]:.0f} times the "
        "multiply-adds.",
        ("layer", "weights", "with biases", "multiply-adds", "uses of a weight"),
        [(*row[:4], f"{row[4]:.4g}") for row in rows],
        figure,
    )


def grow_costs(sides=(16, 32, 64, 128), widths=(0.5, 1, 2, 4)) -> Finding:
    """Parameters against the size of the picture, multiply-adds against the number of maps.

    Args:
        sides: of the picture in pixels.
        widths: factors on the maps of a ResNet-20.
    """
    from transferkit.lab.fitting import build

    networks = {"mlp": "mlp", "flat": "simple_cnn", "average": "simple_cnn(top=average)"}
    params = {key: [measure(build(name, side=side))[0] for side in sides] for key, name in networks.items()}
    free = build(networks["average"])
    outputs = [free(np.zeros((1, side, side, 3), "float32")).shape[-1] for side in sides]
    names = {width: f"resnet20_cifar(widen={width:g})" if width != 1 else "resnet20_cifar" for width in widths}
    costs = [measure(build(name), 32) for name in names.values()]
    slope = [float(np.polyfit(np.log(widths), np.log([cost[i] for cost in costs]), 1)[0]) for i in (0, 1)]
    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for key, name in networks.items():
        left.plot(sides, params[key], "o-", label=name)
    left.set(
        xscale="log", yscale="log", xlabel="side of the picture (pixels)", ylabel="parameters", title="Larger pictures"
    )
    left.set_xticks(sides, map(str, sides), minor=False)
    left.set_xticks([], minor=True)
    left.legend(fontsize=8)
    right.plot(widths, [cost[1] for cost in costs], "o-", label="resnet20_cifar")
    right.plot(widths, [costs[0][1] * (width / widths[0]) ** 2 for width in widths], "k--", label="quadratic")
    right.set(xscale="log", yscale="log", xlabel="factor on the maps", ylabel="multiply-adds", title="More maps")
    right.set_xticks(widths, [f"{width:g}" for width in widths], minor=False)
    right.set_xticks([], minor=True)
    right.legend()
    rows: list[tuple] = [
        (f"{name} at {side} pixels", count, "")
        for key, name in networks.items()
        for side, count in zip(sides, params[key], strict=True)
    ]
    rows += [(f"{names[width]} at 32 pixels", *cost) for width, cost in zip(widths, costs, strict=True)]
    grown = {key: params[key][-1] / params[key][0] for key in networks}
    return Finding(
        f"From {sides[0]} to {sides[-1]} pixels the parameters of an MLP grow {grown['mlp']:.0f} times, those of a "
        f"network of convolutions with average pooling {grown['average']:.1f} times, and one such network takes all "
        f"{len(outputs)} sizes; with a flat classifier {grown['flat']:.0f} times. The multiply-adds of ResNet-20 grow "
        f"as the number of maps to the power {slope[1]:.2f}, its parameters to {slope[0]:.2f}.",
        ("network", "parameters", "multiply-adds"),
        rows,
        figure,
    )


def time_sparse(seeds: int, zeros=(0.0, 0.5, 0.9, 0.99), maps: int = 64, side: int = 56, repeats: int = 10) -> Finding:
    """The time of a convolution whose kernel is mostly zeros, and of a dense one with fewer maps.

    Args:
        seeds: number of draws of the zeros, each timed by itself.
        zeros: fractions of the kernel that are zero.
        maps: of the input and of the output.
        side: of the maps.
        repeats: number of timed calls; the median counts.
    """
    import keras

    times: dict[str, list[float]] = {}
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        values = random.normal(size=(8, side, side, maps)).astype("float32")
        kernel = random.normal(size=(3, 3, maps, maps)).astype("float32")
        cases = {f"{fraction:.0%} zeros": kernel * (random.random(kernel.shape) >= fraction) for fraction in zeros}
        cases[f"{maps // 4} of {maps} maps"] = kernel[..., : maps // 4]
        calls = {
            name: (keras.ops.convert_to_tensor(values), keras.ops.convert_to_tensor(each))
            for name, each in cases.items()
        }
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for attempt in range(repeats + 1):  # in turn, so that other work on the machine meets all alike
            for name, arguments in calls.items():
                start = time.perf_counter()
                np.asarray(keras.ops.conv(*arguments, padding="same"))
                if attempt:  # the first one prepares
                    taken[name].append(time.perf_counter() - start)
        for name, each in taken.items():
            times.setdefault(name, []).append(float(np.median(each)))
    first = next(iter(times))
    relative = {name: np.divide(each, times[first]) for name, each in times.items()}
    figure = Figure((6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (name, values) in enumerate(relative.items()):
        axes.bar(name, values.mean(), color="C0" if "zeros" in name else "C1")
        axes.plot([number] * len(values), values, "k.", ms=4)
    axes.set(
        ylabel=f"time, as a multiple of\nthat with {first}",
        title=f"A 3x3 convolution of {maps} maps; dots: repetitions",
    )
    sparsest, fewer = list(relative)[-2:]
    return Finding(
        f"With {sparsest} the convolution takes {spell_interval(relative[sparsest], '.2f')} of the time of the kernel "
        f"without zeros; a dense one with {maps // 4} of {maps} output maps takes "
        f"{spell_interval(relative[fewer], '.2f')}.",
        ("kernel", "milliseconds", "relative time"),
        [
            (name, spell_interval(np.multiply(times[name], 1000), ".1f"), spell_interval(each, ".2f"))
            for name, each in relative.items()
        ],
        figure,
    )


def compare_inceptions() -> Finding:
    """GoogLeNet's modules with all maps into each convolution, and with 1x1 convolutions before: both costs."""
    import keras

    from transferkit.zoo.googlenet import INCEPTIONS, STAGES, conv_with_bias

    rows: list[tuple] = []
    depth = 192
    for modules, side in zip(STAGES, (28, 14, 7), strict=True):
        for name, widths in modules.items():
            found = []
            for inception in ("naive", "reduced"):
                pictures = keras.Input((side, side, depth))

                def unit(*arguments, **knobs):
                    return conv_with_bias(*arguments, act="relu", **knobs)

                outputs = INCEPTIONS[inception](pictures, widths, unit=unit, large=5, name=name)
                found.append((*measure(keras.Model(pictures, outputs)), outputs.shape[-1]))
            (naive, naive_products, naive_maps), (params, products, maps) = found
            rows.append((name, f"{side}x{side}x{depth}", naive, params, naive_products, products, naive_maps, maps))
            depth = maps
    figure = Figure((8, 3.6), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    axes.bar(places - 0.2, [row[4] / 1e6 for row in rows], 0.4, label="naive")
    axes.bar(places + 0.2, [row[5] / 1e6 for row in rows], 0.4, label="reduced by 1x1")
    axes.set_xticks(places, [row[0] for row in rows])
    axes.set(xlabel="module", ylabel="multiply-adds (millions)", title="Inception modules on the same input")
    axes.legend()
    first = rows[0]
    total = [sum(row[i] for row in rows) for i in range(2, 6)]
    return Finding(
        f"Module 3a has {first[2]:,} parameters and {first[4] / 1e6:.0f} million multiply-adds in its naive form, "
        f"{first[3]:,} and {first[5] / 1e6:.0f} million with 1x1 convolutions; all nine together "
        f"{total[0] / total[1]:.1f} times the parameters and {total[2] / total[3]:.1f} times the multiply-adds, on "
        f"the same inputs. The naive form also passes on more maps, {first[6]} for {first[7]}.",
        (
            "module",
            "input",
            "naive parameters",
            "reduced parameters",
            "naive multiply-adds",
            "reduced multiply-adds",
            "naive maps",
            "reduced maps",
        ),
        rows,
        figure,
    )


EXPERIMENTS = {
    "weight-counts": Experiment(count_sharing, "What do local connections and shared weights save?"),
    "cost-growth": Experiment(grow_costs, "How do costs grow with the size of pictures and the number of maps?"),
    "sparse-kernel": Experiment(time_sparse, "Is a convolution with zeros in its kernel faster?", seeds=5),
    "inception-cost": Experiment(compare_inceptions, "What do the 1x1 convolutions of an Inception module save?"),
}
