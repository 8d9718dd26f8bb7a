"""Fixed kernels and pools on signals and photographs."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, spell_interval
from transferkit.lab.figures import draw_maps
from transferkit.lab.small_data import load_photograph


def make_gaussian(side: int, deviation: float) -> np.ndarray:
    """A kernel of a Gaussian, (side,), whose sum is 1."""
    places = np.arange(side) - side // 2
    weights = np.exp(-(places**2) / (2 * deviation**2))
    return weights / weights.sum()


SMOOTHING = {
    "none": np.ones(1),
    "box of 3": np.full(3, 1 / 3),
    "box of 7": np.full(7, 1 / 7),
    "box of 15": np.full(15, 1 / 15),
    "Gaussian, deviation 1": make_gaussian(7, 1),
    "Gaussian, deviation 2": make_gaussian(13, 2),
}


def smooth(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A signal (n,), or a picture (h, w) on both axes, through a layer with a fixed kernel; the border is reflected."""
    from transferkit.lab.operations import apply_convolution

    weights = kernel if values.ndim == 1 else np.outer(kernel, kernel)
    return apply_convolution(np.pad(values, len(kernel) // 2, mode="reflect"), weights)


def compare_smoothing(seeds: int, noise: float = 25) -> Finding:
    """The error of a noisy signal and a noisy photograph, before and after box and Gaussian kernels.

    Args:
        seeds: number of draws of the noise.
        noise: its standard deviation, where the signal swings by 100 and the photograph is in 0..255.
    """
    clean = {
        "signal": 50 * np.sin(np.arange(400) / 20) + 50 * np.sign(np.sin(np.arange(400) / 60)),
        "photograph": load_photograph()[60:260, 200:400].mean(-1).astype("float64"),
    }
    errors: dict[str, dict[str, list[float]]] = {name: {data: [] for data in clean} for name in SMOOTHING}
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        for data, values in clean.items():
            noisy = values + random.normal(scale=noise, size=values.shape)
            for name, kernel in SMOOTHING.items():
                errors[name][data].append(float(np.sqrt(np.mean((smooth(noisy, kernel) - values) ** 2))))
    noisy = {
        data: values + np.random.default_rng(0).normal(scale=noise, size=values.shape) for data, values in clean.items()
    }
    means = {data: {name: np.mean(each[data]) for name, each in errors.items()} for data in clean}
    best = {data: min(each, key=each.__getitem__) for data, each in means.items()}
    figure = Figure((10, 3.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
    axes[0].plot(noisy["signal"], color="0.7", lw=1, label="noisy")
    axes[0].plot(smooth(noisy["signal"], SMOOTHING[best["signal"]]), "C1", lw=2, label=best["signal"])
    axes[0].plot(clean["signal"], "k--", lw=1, label="clean")
    axes[0].set(xlabel="place", ylabel="value", title="A signal")
    axes[0].legend()
    for place, (title, values) in zip(
        axes[1:],
        (
            ("noisy", noisy["photograph"]),
            (best["photograph"], smooth(noisy["photograph"], SMOOTHING[best["photograph"]])),
        ),
        strict=True,
    ):
        place.imshow(values, cmap="gray", vmin=0, vmax=255)
        place.set_title(f"photograph: {title}", fontsize=10)
        place.set_axis_off()
    gains = [
        f"{data} from {spell_interval(errors['none'][data], '.1f')} to "
        f"{spell_interval(errors[best[data]][data], '.1f')} ({best[data]})"
        for data in clean
    ]
    widest = spell_interval(errors["box of 15"]["photograph"], ".1f")
    return Finding(
        f"The best of {len(SMOOTHING) - 1} kernels changes the error (root mean square) of the "
        f"{' and of the '.join(gains)}; a box of 15 leaves {widest} in the photograph.",
        ("kernel", *(f"error of the {data}" for data in clean)),
        [(name, *(spell_interval(values, ".1f") for values in each.values())) for name, each in errors.items()],
        figure,
    )


EDGES = {
    "horizontal line": np.array([[-1, -1, -1], [2, 2, 2], [-1, -1, -1]], "float64"),
    "Sobel, rows": np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], "float64"),
    "Sobel, columns": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "float64"),
}


def detect_edges() -> Finding:
    """What line and Sobel kernels answer to drawn edges, to even areas and to a photograph."""
    from transferkit.lab.operations import apply_convolution

    step = np.zeros((16, 16))
    step[8:] = 100
    line = np.zeros((16, 16))
    line[8] = 100
    drawn = {
        "even area": np.full((16, 16), 100.0),
        "horizontal edge": step,
        "vertical edge": step.T,
        "horizontal line": line,
    }
    photograph = load_photograph().mean(-1).astype("float64")
    rows: list[tuple] = []
    maps = {"photograph": photograph}
    for name, kernel in EDGES.items():
        largest = [float(np.abs(apply_convolution(picture, kernel)).max()) for picture in drawn.values()]
        maps[name] = apply_convolution(photograph, kernel)
        strength = np.sort(np.abs(maps[name]).ravel())[::-1]
        tenth = float(strength[: strength.size // 10].sum() / strength.sum())
        rows.append((name, *largest, tenth))
    figure = draw_maps(
        {name: np.sign(each) * np.sqrt(np.abs(each)) for name, each in maps.items() if name in EDGES}, columns=3
    )
    figure.set_size_inches(11, 3)
    figure.suptitle(
        "Where edges are in a photograph (root of the response; orange: brighter below, at the right or on the line)"
    )
    _, sobel, other = rows
    return Finding(
        f"On an even area the largest answer is {max(row[1] for row in rows):.2g}. The Sobel kernel of rows answers "
        f"{sobel[2]:.0f} to a horizontal edge and {sobel[3]:.0f} to a vertical one, that of columns {other[2]:.0f} "
        f"and {other[3]:.0f}: each compares neighbours across its edge. In a photograph the strongest tenth of the "
        f"pixels has {min(row[-1] for row in rows):.0%} to {max(row[-1] for row in rows):.0%} of the response.",
        ("kernel", *(f"largest answer: {name}" for name in drawn), "response in the strongest tenth"),
        [(row[0], *(f"{value:.0f}" for value in row[1:-1]), f"{row[-1]:.0%}") for row in rows],
        figure,
    )


def pool_maps(values: np.ndarray, kind: str, side: int = 2) -> np.ndarray:
    """Pool (h, w, c) over windows of side x side beside each other, each map by itself.

    Args:
        kind: "max", "average", or "L2", the root of the sum of the squares in the window.
    """
    import keras

    if kind == "max":
        return np.asarray(keras.ops.max_pool(values[None], side, side))[0]
    powers = values**2 * side**2 if kind == "L2" else values
    mean = np.asarray(keras.ops.average_pool(powers[None], side, side))[0]
    return np.sqrt(mean) if kind == "L2" else mean


def add_salt(seeds: int, fractions=(0.001, 0.01, 0.05, 0.1)) -> Finding:
    """How far pools move when single pixels become white, and whether a map's pool depends on other maps.

    Args:
        seeds: number of draws of the white pixels.
        fractions: of the pixels that become white.
    """
    from transferkit.lab.operations import largest_difference

    photograph = load_photograph()[60:260, 200:400].astype("float64") / 255
    kinds = ("max", "average", "L2")
    moved: dict[float, dict[str, list[float]]] = {each: {kind: [] for kind in kinds} for each in fractions}
    for fraction in fractions:
        for seed in range(seeds):
            salt = np.random.default_rng(seed).random(photograph.shape[:2]) < fraction
            noisy = np.where(salt[..., None], 1, photograph)
            for kind in kinds:
                before = pool_maps(photograph, kind)
                change = np.linalg.norm(pool_maps(noisy, kind) - before) / np.linalg.norm(before)
                moved[fraction][kind].append(float(change))
    alone = [
        largest_difference(pool_maps(photograph, kind)[..., [0]], pool_maps(photograph[..., [0]], kind))
        for kind in kinds
    ]
    figure = Figure((6, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, kind in enumerate(kinds):
        values = np.array([moved[fraction][kind] for fraction in fractions])
        axes.plot(fractions, values.mean(1), f"C{number}o-", label=kind)
        axes.fill_between(fractions, values.min(1), values.max(1), color=f"C{number}", alpha=0.2)
    axes.set(
        xscale="log", yscale="log", xlabel="fraction of white pixels", ylabel="change of the pooled maps\n(relative)"
    )
    axes.set_title("Salt noise on a photograph, pools of 2x2")
    axes.legend(title="pool")
    shown = fractions[-1]
    ratios = {kind: np.divide(moved[shown]["max"], moved[shown][kind]) for kind in kinds[1:]}
    spelled = " and ".join(f"{spell_interval(ratio, '.2f')} times that of the {kind}" for kind, ratio in ratios.items())
    return Finding(
        f"With {shown:.0%} of the pixels white, the change of the maximum is {spelled} pool. The pool of one map "
        f"differs by {max(alone):.1g} when the other maps are there too.",
        ("white pixels", *(f"change of {kind}" for kind in kinds)),
        [(f"{fraction:.1%}", *(spell_interval(each[kind]) for kind in kinds)) for fraction, each in moved.items()],
        figure,
    )


EXPERIMENTS = {
    "smoothing": Experiment(compare_smoothing, "How much noise does a smoothing kernel remove?", seeds=5),
    "edges": Experiment(detect_edges, "What do line and edge kernels respond to?"),
    "pool-noise": Experiment(add_salt, "Does the maximum react more to noise than average and L2 pooling?", seeds=5),
}
