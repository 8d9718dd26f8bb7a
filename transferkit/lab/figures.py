"""Figures that several experiments draw."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

SIGNED = "PuOr_r"  # colours of maps around zero
NUMBERS = 80  # the most cells of a map in which numbers are written


def draw_maps(
    maps: Mapping[str, np.ndarray], *, columns: int = 4, cmap: str | None = SIGNED, title: str = ""
) -> Figure:
    """Maps side by side, each under its name. A map of at most 80 cells has its numbers in them.

    Args:
        maps: (h, w) by name, or (h, w, 3) in 0..255.
        columns: the most in a row.
        cmap: colours. Those of `SIGNED` have zero in the middle.
    """
    columns = min(columns, len(maps))
    rows = math.ceil(len(maps) / columns)
    figure = Figure((2.7 * columns, 2.7 * rows + 0.3), layout="constrained")
    figure.suptitle(title)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in places:
        place.set_axis_off()
    for place, (name, values) in zip(places, maps.items(), strict=False):
        place.set_title(name, fontsize=9)
        if values.ndim == 3:
            place.imshow(np.clip(values, 0, 255).astype("uint8"))
            continue
        most = np.abs(values).max() or 1
        place.imshow(values, cmap=cmap, **({"vmin": -most, "vmax": most} if cmap == SIGNED else {}))
        if values.size <= NUMBERS:
            for (row, column), value in np.ndenumerate(values):
                dark = cmap == SIGNED and abs(value) > 0.6 * most
                place.text(
                    column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color="w" if dark else "k"
                )
    return figure
