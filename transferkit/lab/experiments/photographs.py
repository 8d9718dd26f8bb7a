"""What photographs are like, without training."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding, spell_difference, spell_interval
from transferkit.lab.small_data import load_photograph

NAMES = ("china", "flower")
PATCH = 8  # side of the patches whose statistics are compared
DIRECTIONS = 6  # of the 64 of a patch


def shuffle_pixels(picture: np.ndarray, seed: int) -> np.ndarray:
    """The same pixels in random places: the control without structure."""
    flat = picture.reshape(-1, *picture.shape[2:])
    return np.random.default_rng(seed).permutation(flat).reshape(picture.shape)


def correlate_neighbours(values: np.ndarray, distance: int) -> float:
    """The correlation of the pixels of (h, w) with those to the right of them."""
    return float(np.corrcoef(values[:, :-distance].ravel(), values[:, distance:].ravel())[0, 1])


def find_directions(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The patches (n, 64) of (h, w), centred, and the directions (64, 6) in which they vary most."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (PATCH, PATCH))[::4, ::4]
    patches = windows.reshape(-1, PATCH**2)
    patches = patches - patches.mean(1, keepdims=True)
    return patches, np.linalg.svd(patches.T @ patches)[0][:, :DIRECTIONS]


def compare_places(distances=(1, 2, 4, 8, 16, 32, 64)) -> Finding:
    """Correlations of neighbours and directions of patches in four places of two photographs and of shuffled pixels."""
    from scipy.stats import kurtosis

    rows: list[tuple] = []
    curves: dict[tuple[str, int], list[float]] = {}
    gaps, shares = [], []
    for name in NAMES:
        gray = load_photograph(name).mean(-1)
        for kind, values in ((name, gray), (f"{name}, shuffled", shuffle_pixels(gray, 0))):
            height, width = values.shape[0] // 2, values.shape[1] // 2
            places = [values[i * height :][:height, j * width :][:, :width] for i in (0, 1) for j in (0, 1)]
            found = [find_directions(place) for place in places]
            for number, (place, (patches, _)) in enumerate(zip(places, found, strict=True)):
                total = (patches**2).sum()
                kept = [float(((patches @ basis) ** 2).sum() / total) for _, basis in found]
                others = float(np.mean(kept[:number] + kept[number + 1 :]))
                curves[kind, number] = [correlate_neighbours(place, distance) for distance in distances]
                heavy = float(kurtosis(np.diff(place, axis=1).ravel()))
                corner = ("top left", "top right", "bottom left", "bottom right")[number]
                rows.append((kind, corner, curves[kind, number][0], heavy, kept[number], others))
                if kind == name:
                    gaps.append(kept[number] - others)
                    shares.append(others)
    figure = Figure((6.5, 4), layout="constrained")
    axes = figure.subplots()
    styles = dict(zip(dict.fromkeys(kind for kind, _ in curves), ("C0o-", "C7.:", "C1s-", "C7.:"), strict=True))
    for (kind, number), values in curves.items():
        axes.plot(distances, values, styles[kind], ms=4, label=None if number else kind)
    axes.set(
        xscale="log", xlabel="distance (pixels)", ylabel="correlation of two pixels", title="One line for each place"
    )
    axes.set_xticks(distances, map(str, distances))
    axes.set_xticks([], minor=True)
    axes.legend()
    near = {kind: [row[2] for row in rows if ("shuffled" in row[0]) == kind] for kind in (False, True)}
    return Finding(
        f"In {len(near[False])} places of two photographs neighbouring pixels correlate by {min(near[False]):.2f} to "
        f"{max(near[False]):.2f}, shuffled ones by at most {max(map(abs, near[True])):.2f}. The {DIRECTIONS} "
        f"directions in which the patches of one place vary most hold {min(shares):.0%} to {max(shares):.0%} of the "
        f"variance in the other places of that photograph, {np.mean(gaps):.1%} less than their own on average.",
        (
            "picture",
            "place",
            "correlation of neighbours",
            "excess kurtosis of differences",
            "variance in 6 own directions",
            "in those of other places",
        ),
        [(*row[:2], f"{row[2]:.3f}", f"{row[3]:.1f}", f"{row[4]:.1%}", f"{row[5]:.1%}") for row in rows],
        figure,
    )


def fill_hole(picture: np.ndarray, hole: np.ndarray, side: int = 9) -> np.ndarray:
    """Fill a hole with the patches that fit best, from its border inwards.

    The patch at the place with most known pixels around it is compared with all patches without a hole; what is missing
    is copied from the best one (Criminisi et al. 2004, "Region Filling and Object Removal by Exemplar-Based Image
    Inpainting", without its priority of edges; PatchMatch of Barnes et al. 2009 makes the same search quick).

    Args:
        picture: (h, w, 3).
        hole: (h, w), whether a pixel is missing; further from the border than side // 2.
        side: of a patch, odd.
    """
    half = side // 2
    filled, missing = picture.copy(), hole.copy()
    whole = ~np.lib.stride_tricks.sliding_window_view(hole, (side, side)).any((2, 3))
    windows = np.lib.stride_tricks.sliding_window_view(picture, (side, side), (0, 1))[whole]
    sources = windows.transpose(0, 2, 3, 1).reshape(len(windows), -1).astype("float32")
    while missing.any():
        known = np.lib.stride_tricks.sliding_window_view(np.pad(~missing, half), (side, side)).sum((2, 3))
        row, column = np.unravel_index(np.where(missing, known, -1).argmax(), missing.shape)
        window = slice(row - half, row + half + 1), slice(column - half, column + half + 1)
        gaps = missing[window]
        compared = np.repeat(~gaps.ravel(), 3)
        wanted = filled[window].reshape(-1)[compared]
        best = ((sources[:, compared] - wanted) ** 2).sum(1).argmin()
        filled[window][gaps] = sources[best].reshape(side, side, 3)[gaps]
        missing[window] = False
    return filled


def find_likeness(picture: np.ndarray, seed: int, side: int = 7, queries: int = 100) -> float:
    """How much nearer the nearest patch elsewhere in a picture is than a random one: the ratio of the distances.

    Args:
        picture: (h, w, 3).
        seed: of the patches that are looked at.
        side: of a patch; patches that overlap it do not count.
        queries: number of patches.
    """
    random = np.random.default_rng(seed)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (side, side), (0, 1))
    rows, columns = windows.shape[:2]
    patches = windows.reshape(rows * columns, -1).astype("float32")
    ratios = []
    for index in random.choice(len(patches), queries, replace=False):
        distances = np.sqrt(((patches - patches[index]) ** 2).mean(1)).reshape(rows, columns)
        row, column = divmod(int(index), columns)
        near = slice(max(row - side + 1, 0), row + side), slice(max(column - side + 1, 0), column + side)
        typical = np.median(distances)
        distances[near] = np.inf
        ratios.append(distances.min() / typical)
    return float(np.mean(ratios))


def search_patches(seeds: int, hole: int = 16, step: int = 3) -> Finding:
    """The likeness of patches in two photographs and in shuffled pixels, and holes that are filled with patches.

    Args:
        seeds: number of draws of patches and of the place of the hole.
        hole: side of the hole in pixels.
        step: every step-th pixel of the photographs is used.
    """
    shown = []
    likeness: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {"patches": [], "mean colour": []}
    contrast: dict[str, list[float]] = {"patches": [], "mean colour": []}
    for name in NAMES:
        picture = load_photograph(name)[::step, ::step]
        likeness[name] = [find_likeness(picture, seed) for seed in range(seeds)]
        likeness[f"{name}, shuffled"] = [find_likeness(shuffle_pixels(picture, seed), seed) for seed in range(seeds)]
        for seed in range(seeds):
            top, left = (np.random.default_rng(seed).integers(12, side - hole - 12) for side in picture.shape[:2])
            mask = np.zeros(picture.shape[:2], bool)
            mask[top : top + hole, left : left + hole] = True
            around = picture[top - 1 : top + hole + 1, left - 1 : left + hole + 1]
            ring = (around.sum((0, 1)) - picture[mask].sum(0)) / (around.shape[0] * around.shape[1] - mask.sum())
            fills = {
                "patches": fill_hole(np.where(mask[..., None], 0, picture), mask),
                "mean colour": np.where(mask[..., None], ring, picture),
            }
            for kind, filled in fills.items():
                errors[kind].append(float(np.sqrt(((filled - picture)[mask] ** 2).mean())))
                contrast[kind].append(float(filled[mask].std(0).mean() / picture[mask].std(0).mean()))
            if seed == 0:
                shown += [np.where(mask[..., None], 0, picture), fills["patches"], picture]
    figure = Figure((10, 4.8), layout="constrained")
    titles = ("with a hole", "filled with patches", "the photograph")
    for number, (place, values) in enumerate(zip(figure.subplots(2, 3).ravel(), shown, strict=True)):
        place.imshow(np.clip(values, 0, 255).astype("uint8"))
        place.set_title(titles[number % 3], fontsize=10)
        place.set_axis_off()
    errors, contrast = (
        {kind: list(np.reshape(values, (len(NAMES), seeds)).mean(0)) for kind, values in each.items()}
        for each in (errors, contrast)
    )
    rows = [(f"nearest patch / median patch: {kind}", spell_interval(values)) for kind, values in likeness.items()]
    rows += [(f"error of a hole filled by {kind}", spell_interval(values, ".1f")) for kind, values in errors.items()]
    rows += [
        (f"contrast of a hole filled by {kind}", spell_interval(values, ".2f")) for kind, values in contrast.items()
    ]
    china, shuffled = (spell_interval(likeness[key], ".2f") for key in ("china", "china, shuffled"))
    return Finding(
        f"The nearest patch elsewhere in a photograph is {china} times as far as a median one, {shuffled} times among "
        f"shuffled pixels. A hole filled with such patches has {spell_interval(contrast['patches'], '.2f')} of the "
        f"true contrast, one with the mean colour {spell_interval(contrast['mean colour'], '.2f')}; its error is "
        f"{spell_interval(errors['patches'], '.1f')} and {spell_interval(errors['mean colour'], '.1f')} of 255.",
        ("measure", "value"),
        rows,
        figure,
    )


def solve_jigsaws(seeds: int, sides=(70, 40)) -> Finding:
    """Pieces of two photographs, and of the same pixels shuffled, put together by the jump in colour at their borders.

    Args:
        seeds: number of draws of the order of the pieces and of where they are cut.
        sides: of the pieces in pixels.
    """
    from transferkit.lab.jigsaw import restore

    found: dict[tuple[str, int], list[float]] = {}
    nearest: dict[tuple[str, int], list[float]] = {}
    shown = []
    for name in NAMES:
        photograph = load_photograph(name)
        for side in sides:
            height, width = ((length - 16) // side * side for length in photograph.shape[:2])
            for seed in range(seeds):
                top, left = np.random.default_rng(seed).integers(0, 16, 2)
                picture = photograph[top : top + height, left : left + width]
                for kind, values in ((name, picture), (f"{name}, shuffled pixels", shuffle_pixels(picture, seed))):
                    right, best, mixed, restored = restore(values, side, seed)
                    found.setdefault((kind, side), []).append(right)
                    nearest.setdefault((kind, side), []).append(best)
                    if seed == 0 and side == sides[-1] and kind == name:
                        shown += [mixed, restored]
    figure = Figure((9, 6.2), layout="constrained")
    for place, values, title in zip(
        figure.subplots(2, 2).ravel(), shown, ("shuffled", "put together") * 2, strict=True
    ):
        place.imshow(values.astype("uint8"))
        place.set_title(f"pieces of {sides[-1]} pixels: {title}", fontsize=10)
        place.set_axis_off()
    photographs, controls = (
        np.mean([values for (kind, _), values in found.items() if ("shuffled" in kind) == control], axis=0)
        for control in (False, True)
    )
    spelled = ", ".join(
        f"{spell_interval(values, '.2f')} ({kind}, {side} pixels)"
        for (kind, side), values in found.items()
        if kind in NAMES
    )
    return Finding(
        f"The fraction of neighbours found is {spelled}. Against the same pixels shuffled: "
        f"{spell_difference(photographs, controls, '.2f')}.",
        ("picture", "side of a piece", "neighbours found", "neighbours with the smallest jump"),
        [(*key, spell_interval(values, ".2f"), spell_interval(nearest[key], ".2f")) for key, values in found.items()],
        figure,
    )


EXPERIMENTS = {
    "patch-statistics": Experiment(compare_places, "Are patches alike at different places of a photograph?"),
    "jigsaw": Experiment(solve_jigsaws, "Do colours at the borders tell which pieces belong together?", seeds=3),
    "nearest-patches": Experiment(
        search_patches, "Does a photograph repeat itself, so that patches fill a hole?", seeds=5
    ),
}
