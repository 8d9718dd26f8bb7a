"""Convolution by hand."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding
from transferkit.lab.figures import draw_maps

PADDINGS = ("valid", "same", "full")


def slide(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The correlation by loops: at each place where the kernel fits, the sum of its products with what is below it."""
    sides = [side - reach + 1 for side, reach in zip(values.shape, kernel.shape, strict=True)]
    found = np.zeros(sides)
    for place in np.ndindex(*sides):
        for tap in np.ndindex(*kernel.shape):
            found[place] += kernel[tap] * values[tuple(np.add(place, tap))]
    return found


def pad(values: np.ndarray, kernel: int, padding: str) -> np.ndarray:
    """Zeros around an array for a kernel of an odd side: none, so that the size stays, or wherever they overlap."""
    return np.pad(values, {"valid": 0, "same": kernel // 2, "full": kernel - 1}[padding])


def convolve_signal() -> Finding:
    """The definition in loops, NumPy and Keras' layer, on a signal of ten numbers."""
    from transferkit.lab.operations import apply_convolution, largest_difference

    signal, kernel = np.array([0.0, 0, 3, 3, 3, 1, 1, 4, 0, 0]), np.array([1.0, 2, -1])
    rows, maps = [], {}
    for padding in PADDINGS:
        padded = pad(signal, 3, padding)
        maps[padding] = slide(padded, kernel[::-1])
        library = np.convolve(signal, kernel, padding)  # type: ignore[call-overload]
        layer = apply_convolution(padded, kernel[::-1])
        apart = largest_difference(maps[padding], library), largest_difference(layer, library)
        rows.append((padding, len(library), *apart))
    figure = Figure((7.5, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.stem(np.arange(len(signal)), signal, linefmt="C0-", basefmt="k-", label="signal")
    upper.set(ylabel="value", title="A signal, and its convolution with the kernel 1, 2, -1")
    for number, (padding, first) in enumerate(zip(PADDINGS, (1, 0, -1), strict=True)):
        places = np.arange(len(maps[padding])) + first
        lower.plot(places, maps[padding], f"C{number}", lw=7 - 2.5 * number, marker="o", ms=4, label=padding)
    lower.set(xlabel="place of the kernel's middle", ylabel="feature map")
    lower.legend(title="padding")
    lengths = ", ".join(f"{row[1]} with {row[0]}" for row in rows)
    return Finding(
        f"Of {len(signal)} numbers and a kernel of 3 come {lengths} padding; loops, NumPy and Keras' layer with the "
        f"kernel reversed differ by at most {max(max(row[2:]) for row in rows):.1g}.",
        ("padding", "length", "loops from numpy.convolve", "Keras' layer from numpy.convolve"),
        [(row[0], row[1], *(f"{value:.1g}" for value in row[2:])) for row in rows],
        figure,
    )


def compare_flipped() -> Finding:
    """A convolution flips its kernel on both axes, Keras' layer does not: with the flipped kernel they agree."""
    from scipy.signal import convolve2d, correlate2d

    from transferkit.lab.operations import apply_convolution, largest_difference

    random = np.random.default_rng(0)
    picture, kernel = random.normal(size=(12, 12)), random.normal(size=(3, 3))
    kernels = {"not symmetric": kernel, "symmetric": kernel + kernel[::-1, ::-1]}
    maps: dict[str, np.ndarray] = {}
    rows: dict[str, list[float]] = {}
    for each in kernels.values():
        exact = convolve2d(picture, each, mode="valid")
        found = {
            "loops, kernel flipped": slide(picture, each[::-1, ::-1]),
            "layer": apply_convolution(picture, each),
            "correlation of SciPy": correlate2d(picture, each, mode="valid"),
            "layer, kernel flipped": apply_convolution(picture, each[::-1, ::-1]),
        }
        maps = maps or {"convolution": exact} | found
        for name, values in found.items():
            rows.setdefault(name, []).append(largest_difference(values, exact))
    network = _convolve_twice(picture, kernel)
    return Finding(
        "With a kernel that is not symmetric, Keras' layer differs from the convolution by up to "
        f"{rows['layer'][0]:.2f}, and by {rows['layer, kernel flipped'][0]:.1g} once the kernel is flipped on both axes"
        f"; with a symmetric one, by {rows['layer'][1]:.1g}. A network of two layers is converted in the same way: it "
        f"differs by {network:.1g}.",
        ("computed by", *(f"from scipy.signal.convolve2d, {name} kernel" for name in kernels)),
        [(name, *(f"{value:.2g}" for value in values)) for name, values in rows.items()],
        draw_maps(maps, columns=5, title="One picture, one kernel: convolution and what a layer computes"),
    )


def _convolve_twice(picture: np.ndarray, kernel: np.ndarray) -> float:
    """The difference of convolution, ReLU, convolution by SciPy from two layers with flipped kernels."""
    from scipy.signal import convolve2d

    from transferkit.lab.operations import apply_convolution, largest_difference

    exact = convolve2d(np.maximum(convolve2d(picture, kernel, "valid"), 0), kernel.T, "valid")
    middle = np.maximum(apply_convolution(picture, kernel[::-1, ::-1]), 0)
    return largest_difference(apply_convolution(middle, kernel.T[::-1, ::-1]), exact)


def check_laws() -> Finding:
    """Commutative, associative, linear: what holds for the convolution, and for a layer with its bias and ReLU."""
    from scipy.signal import convolve2d, correlate2d

    from transferkit.lab.operations import apply_convolution, largest_difference

    random = np.random.default_rng(0)
    picture, other = random.normal(size=(2, 12, 12))
    kernel, second = random.normal(size=(2, 3, 3))
    a, b, bias = 2.0, -0.5, np.array([0.7])

    def bare(values):
        return apply_convolution(values[..., None], kernel[..., None, None])

    def biased(values):
        return apply_convolution(values[..., None], kernel[..., None, None], bias)

    def activated(values):
        return np.maximum(bare(values), 0)

    def break_linearity(layer):
        return largest_difference(layer(a * picture + b * other), a * layer(picture) + b * layer(other))

    def without_constant(values):
        return biased(values) - biased(np.zeros_like(values))

    twice = convolve2d(convolve2d(picture, kernel), second)
    laws = {
        "convolution: K * I = I * K (full)": largest_difference(
            convolve2d(picture, kernel), convolve2d(kernel, picture)
        ),
        "correlation: K * I = I * K (full)": largest_difference(
            correlate2d(picture, kernel), correlate2d(kernel, picture)
        ),
        "convolution: (I * K) * L = I * (K * L)": largest_difference(
            twice, convolve2d(picture, convolve2d(kernel, second))
        ),
        "layer without bias is linear": break_linearity(bare),
        "layer with a bias is linear": break_linearity(biased),
        "layer with a bias, minus its output for zeros, is linear": break_linearity(without_constant),
        "layer without bias, with ReLU is linear": break_linearity(activated),
    }
    commuted = list(laws.values())[:2]
    held = [name for name, value in laws.items() if value < 1e-9]
    sizes = [convolve2d(*pair, mode="same").shape for pair in ((picture, kernel), (kernel, picture))]
    spelled = " and ".join(f"{height}x{width}" for height, width in sizes)
    return Finding(
        f"{len(held)} of {len(laws)} laws hold up to rounding ({max(laws[name] for name in held):.1g}). In full mode "
        f"the two orders differ by {commuted[0]:.1g} for the convolution and by {commuted[1]:.1g} for the "
        f"correlation; in same mode the results are of {spelled}. A bias makes a layer affine: a * f(x) + b * f(y) is "
        f"off by (a + b - 1) times the bias, {(a + b - 1) * bias[0]:.2g}; measured, "
        f"{laws['layer with a bias is linear']:.2g}.",
        ("law", "largest difference", "holds"),
        [(name, f"{value:.2g}", "yes" if name in held else "no") for name, value in laws.items()],
        _draw_laws(laws, held),
    )


def _draw_laws(laws: dict[str, float], held: list[str]) -> Figure:
    figure = Figure((8, 3.4), layout="constrained")
    axes = figure.subplots()
    colors = ["C0" if name in held else "C1" for name in laws]
    axes.barh(list(laws), [max(value, 1e-17) for value in laws.values()], color=colors)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="largest difference of the two sides", title="Laws: blue holds, orange does not")
    return figure


def make_matrix(shape: tuple[int, ...], kernel: np.ndarray, padding: str = "same"):
    """The matrix of a correlation: `matrix @ values.ravel()` is its output, row by row.

    Args:
        shape: of the input, (n,) or (h, w).
        kernel: (k,) or (k, l), with odd sides.
        padding: "valid" or "same".

    Returns:
        A `scipy.sparse.csr_array` (outputs, inputs): banded for a signal, with bands of bands for a picture.

    Example:
        >>> make_matrix((4,), np.array([1, 2, 3])).toarray()
        array([[2, 3, 0, 0],
               [1, 2, 3, 0],
               [0, 1, 2, 3],
               [0, 0, 1, 2]])
    """
    from scipy.sparse import csr_array

    margins = [reach // 2 if padding == "same" else 0 for reach in kernel.shape]
    sides = [n + 2 * margin - k + 1 for n, margin, k in zip(shape, margins, kernel.shape, strict=True)]
    places = np.indices(sides).reshape(len(sides), -1).T
    matrix = csr_array((len(places), int(np.prod(shape))), dtype=kernel.dtype)
    for tap in np.ndindex(*kernel.shape):
        sources = places + tap - margins
        (rows,) = np.nonzero(((sources >= 0) & (sources < shape)).all(1))  # outside are zeros
        columns = np.ravel_multi_index(tuple(sources[rows].T), shape)
        matrix += csr_array((np.full(len(rows), kernel[tap]), (rows, columns)), shape=matrix.shape)
    return matrix


def build_matrices() -> Finding:
    """The matrix of a convolutional layer, for signals and pictures, and how few of its numbers are not zero."""
    from transferkit.lab.operations import apply_convolution, largest_difference

    random = np.random.default_rng(0)
    rows = []
    matrices: dict[str, np.ndarray] = {}
    for shape, reach in (((5,), 3), ((8, 8), 3), ((16, 16), 3), ((32, 32), 3), ((32, 32), 5), ((32, 32), 11)):
        kernel, values = random.normal(size=(reach,) * len(shape)), random.normal(size=shape)
        matrix = make_matrix(shape, kernel)
        layer = apply_convolution(values, kernel, padding="same")
        apart = largest_difference((matrix @ values.ravel()).reshape(shape), layer)
        spelled = "x".join(map(str, shape)), "x".join(map(str, kernel.shape))
        density = matrix.nnz / np.prod(matrix.shape)
        rows.append((*spelled, "x".join(map(str, matrix.shape)), matrix.nnz, density, len(set(matrix.data)), apart))
        if len(matrices) < 2:
            matrices[f"{spelled[0]} numbers, kernel {spelled[1]}"] = matrix.toarray()
    figure = draw_maps(
        matrices, title="The matrix of a convolution: one row for each output, one column for each input"
    )
    figure.set_size_inches(7, 3.8)
    first, digit = rows[0], rows[3]
    return Finding(
        f"The matrix of a layer from 5 to 5 numbers has 25 entries, of which {first[3]} are not zero and {first[5]} "
        f"distinct: the kernel; that of a {digit[1]} kernel on {digit[0]} pixels has {digit[4]:.2%} that are not zero. "
        f"Its product with the picture differs from the layer by at most {max(row[-1] for row in rows):.1g}.",
        ("input", "kernel", "matrix", "not zero", "density", "distinct", "difference from the layer"),
        [(*row[:4], f"{row[4]:.2%}", row[5], f"{row[6]:.1g}") for row in rows],
        figure,
    )


def collapse_stack(depths=(1, 2, 3, 4)) -> Finding:
    """Layers without activation are one layer, whose kernel is the convolution of theirs; a ReLU between ends that."""
    from transferkit.lab.operations import apply_convolution, largest_difference

    random = np.random.default_rng(0)
    picture, maps = random.normal(size=(24, 24, 3)), 8
    rows = []
    for depth in depths:
        channels = [3, *[maps] * depth]
        pairs = zip(channels, channels[1:], strict=False)
        kernels = [random.normal(size=(3, 3, before, after)) / np.sqrt(9 * before) for before, after in pairs]
        one = kernels[0]
        linear = rectified = picture
        for number, kernel in enumerate(kernels):
            one = one if number == 0 else join_kernels(one, kernel)
            linear = apply_convolution(linear, kernel)
            rectified = apply_convolution(np.maximum(rectified, 0) if number else rectified, kernel)
        exact = apply_convolution(picture, one)
        relative = float(np.linalg.norm(rectified - exact) / np.linalg.norm(exact))
        sizes = sum(kernel.size for kernel in kernels), one.size
        rows.append((depth, f"{len(one)}x{len(one)}", *sizes, largest_difference(linear, exact), relative))
    figure = Figure((6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(depths, [row[-1] for row in rows], "C1o-", label="with a ReLU between layers")
    axes.plot(depths, [row[-2] for row in rows], "C0s-", label="without activation")
    axes.set(xlabel="layers of 3x3", ylabel="distance from the one layer\n(fraction of its output)", xticks=depths)
    axes.set_title("A stack of layers against the one layer with the joined kernel")
    axes.legend()
    last = rows[-1]
    return Finding(
        f"Without activation, {last[0]} layers of 3x3 are one layer of {last[1]}: they differ by at most "
        f"{max(row[4] for row in rows):.1g}. With a ReLU between them, {last[0]} layers are {last[5]:.0%} of the "
        "output away from that one.",
        ("layers", "kernel of the one", "weights", "weights of the one", "difference", "distance with ReLU"),
        [(*row[:4], f"{row[4]:.1g}", f"{row[5]:.0%}") for row in rows],
        figure,
    )


def join_kernels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The kernel of one layer that does what two do: the full convolution of theirs, summed over the maps between.

    Args:
        first: (k, k, inputs, maps).
        second: (l, l, maps, outputs).

    Returns:
        (k + l - 1, k + l - 1, inputs, outputs).
    """
    side, reach = len(first), len(second)
    joined = np.zeros((side + reach - 1, side + reach - 1, first.shape[2], second.shape[3]))
    for row, column in np.ndindex(reach, reach):
        joined[row : row + side, column : column + side] += first @ second[row, column]
    return joined


EXPERIMENTS = {
    "convolution-1d": Experiment(convolve_signal, "What is the convolution of a signal, and does Keras compute it?"),
    "flipped-kernel": Experiment(compare_flipped, "Is a convolutional layer a convolution?"),
    "convolution-laws": Experiment(check_laws, "Is convolution commutative, associative and linear?"),
    "convolution-matrix": Experiment(build_matrices, "Which matrix is a convolutional layer, and how sparse is it?"),
    "stacked-linear": Experiment(collapse_stack, "Are several layers without activation more than one?"),
}
