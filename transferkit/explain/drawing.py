"""Sheets of explanations. Maps are in viridis, signed ones in PuOr: both are read by the colour-blind."""

import os
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from transferkit.console import printable
from transferkit.data import contact_sheet, fonts
from transferkit.data.file_ranges import original_name
from transferkit.evaluation.plots import shorten_name
from transferkit.explain import deconvnet_sheet
from transferkit.explain.activations import rank_maps
from transferkit.explain.methods import METHODS
from transferkit.lookup import count_noun

SIDE = 2.2  # inches of a picture
MOST_MAPS = 8  # of a layer that are shown
POSITIVE, SIGNED = "viridis", "PuOr_r"  # colour maps
OPAQUE = 0.6  # of a heat map over its picture
COLUMNS = 8  # of filters
CELL, SHEET = 144, 6  # pixels of a small picture, and of these in a row
SATURATED = 99.5  # percentile of a heat map at which its colours end: few pixels have very large gradients


def draw_sheet(explanations: Sequence) -> Figure:
    """Draw explanations of one method, a row for each picture.

    Args:
        explanations: of `explanations.explain_pictures`, at least one.

    Returns:
        A figure, with the class, the layer and the scale on it.
    """
    method = explanations[0].method
    draw = {"heat": _draw_heat, "maps": _draw_maps, "filters": _draw_filters, "picture": _draw_made}
    draw |= {"projections": _draw_projections}
    return draw[METHODS[method].kind](explanations)


def draw_overlays(explanations: Sequence) -> Image.Image:
    """Heat maps over their pictures, small, each with its classes below: a sheet for a page."""
    cells = []
    for each in explanations:
        overlay = ImageOps.contain(draw_overlay(each.picture, each.heat), (CELL, CELL))
        cells.append((overlay, f"true: {each.true}\n{each.label}: {each.probability:.0%}\n{_name(each)}"))
    heading = f"{explanations[0].method} of {explanations[0].layer}: yellow is the most of each picture"
    return contact_sheet.draw_grid([cells[at : at + SHEET] for at in range(0, len(cells), SHEET)], CELL, [heading])


def draw_overlay(picture: np.ndarray, heat: np.ndarray) -> Image.Image:
    """A heat map (h, w) of values from 0 over its picture (h, w, channels) in grey; yellow is the most."""
    colours = matplotlib.colormaps[POSITIVE](np.clip(heat / (heat.max() or 1.0), 0, 1))[..., :3] * 255
    grey = _as_rgb(picture).mean(-1, keepdims=True)
    return Image.fromarray(_as_rgb(OPAQUE * colours + (1 - OPAQUE) * grey))


def draw_sanity(result: dict, method: str) -> Figure:
    """The curves of `explanations.check_sanity`."""
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [row["layer"] for row in result["randomised"]]
    left.plot(range(len(names)), [row["correlation"] for row in result["randomised"]], "o-")
    left.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    left.set(ylim=(-0.2, 1.05), ylabel="rank correlation with the network's own map", title="random from the top to")
    left.axhline(0, color="grey", linewidth=0.8)
    styles = {"deletion": "C0-", "turned_deletion": "C0:", "insertion": "C1-", "turned_insertion": "C1:"}
    for name, style in styles.items():
        values = result["curves"][name]
        label = f"{name.replace('turned_', 'map turned by 180 degrees, ')}: area {result[name]:.3f}"
        right.plot(np.linspace(0, 1, len(values)), values, style, label=label)
    right.set(xlabel="fraction of the pixels", ylabel="probability of the class", ylim=(-0.02, 1.02))
    right.legend(fontsize=8)
    figure.suptitle(f"{method} on {count_noun(result['n'], 'picture')}")
    return figure


def _draw_heat(explanations) -> Figure:
    figure, rows = _start(len(explanations), 3)
    for (picture, over, alone), each in zip(rows, explanations, strict=True):
        heat = each.heat
        signed = heat.min() < 0
        limit = float(np.percentile(np.abs(heat), SATURATED)) or float(np.abs(heat).max()) or 1.0
        colours = {"cmap": SIGNED if signed else POSITIVE, "vmin": -limit if signed else 0, "vmax": limit}
        picture.imshow(_as_rgb(each.picture))
        over.imshow(_as_rgb(each.picture).mean(-1) if each.picture.ndim == 3 else each.picture, cmap="gray")
        over.imshow(heat, alpha=OPAQUE, **colours)
        shown = alone.imshow(heat, **colours)
        bar = figure.colorbar(shown, ax=alone, fraction=0.05, extend="both" if signed else "max")
        bar.set_label(METHODS[each.method].scale, fontsize=7)
        bar.ax.tick_params(labelsize=7)
        _title(picture, _describe_picture(each))
        _title(over, f"{each.method}: {shorten_name(each.label)}\n{each.probability:.1%}")
        _title(alone, "\n".join(filter(None, (each.layer and f"layer {each.layer}", each.note))))
    return figure


def _draw_maps(explanations) -> Figure:
    figure, rows = _start(len(explanations), MOST_MAPS + 1, 1.5)
    for axes, each in zip(rows, explanations, strict=True):
        axes[0].imshow(_as_rgb(each.picture))
        order = rank_maps(each.values)[:MOST_MAPS]
        for place, number in zip(axes[1:], order, strict=False):
            shown = each.values[..., number]
            place.imshow(shown, cmap=POSITIVE)
            _title(place, f"map {number}\n{shown.min():.2g} to {shown.max():.2g}")
        height, width, count = each.values.shape
        _title(axes[0], f"{_describe_picture(each)}\n{each.layer}, {height}x{width}x{count}")
    return figure


def _draw_projections(explanations) -> Figure:
    """The sheet of maps, or for each picture a strip of its strongest maps; 0 is grey, each has its own scale."""
    if explanations[0].sheet:
        return deconvnet_sheet.draw_sheet([each.sheet for each in explanations], explanations[0].layer)
    figure, rows = _start(len(explanations), 1 + max(len(each.maps) for each in explanations), 1.5)
    for axes, each in zip(rows, explanations, strict=True):
        axes[0].imshow(_as_rgb(each.picture))
        _title(axes[0], f"{_describe_picture(each)}\n{each.layer}")
        for place, values, (number, strength) in zip(axes[1:], each.values, each.maps.items(), strict=False):
            place.imshow(deconvnet_sheet.scale(values).squeeze(), cmap="gray", vmin=0, vmax=1)
            _title(place, f"map {number}\n{strength:.2g}")
    return figure


def _draw_filters(explanations) -> Figure:
    (each,) = explanations
    count = len(each.values)
    figure, rows = _start(-(-count // COLUMNS), COLUMNS, 0.8, title=0.02)
    limit = float(np.abs(each.values).max()) or 1.0
    for number, place in enumerate(place for axes in rows for place in axes):
        if number < count:
            kernel = each.values[number]
            place.imshow(kernel, cmap=SIGNED, vmin=-limit, vmax=limit) if kernel.shape[-1] == 1 else place.imshow(
                0.5 + kernel / (2 * limit)
            )
    height, width = each.values.shape[1:3]
    figure.suptitle(
        f"{count} filters of {each.layer}, {height}x{width}; grey is 0, the ends are -{limit:.2g} and {limit:.2g}",
        fontsize=9,
    )
    return figure


def _draw_made(explanations) -> Figure:
    columns = min(len(explanations), 3)
    figure, rows = _start(-(-len(explanations) // columns), columns)
    for place, each in zip([place for axes in rows for place in axes], explanations, strict=False):
        place.imshow(_as_rgb(each.values))
        _title(place, "\n".join(filter(None, (f"{each.layer} {each.label}".strip(), each.note))))
    return figure


def _start(count: int, columns: int, side: float = SIDE, title: float = 0.55):
    """A figure of rows of axes without lines."""
    width, height = side * columns + 1.0, (side + title) * count + 0.3
    figure = Figure((width, height), dpi=100)  # a constrained layout takes seconds for many axes
    edges = {"left": 0.1 / width, "right": 1 - 0.9 / width, "bottom": 0.05 / height, "top": 1 - (title + 0.2) / height}
    axes = figure.subplots(count, columns, squeeze=False, gridspec_kw=edges | {"wspace": 0.06, "hspace": title / side})
    for place in axes.flat:
        place.set_axis_off()
    return figure, axes


def _describe_picture(each) -> str:
    name = shorten_name(_name(each))
    true = f"true: {shorten_name(each.true)}, " if each.true else ""
    return f"{name}\n{true}predicted: {shorten_name(each.predicted)}" if each.predicted else name


def _name(each) -> str:
    return printable(os.path.basename(original_name(each.path))) if each.path else ""


def _title(place, text: str):
    (text,), families = fonts.make_drawable([text])
    place.set_title(text, fontsize=8, parse_math=False, fontfamily=families)


def _as_rgb(picture: np.ndarray) -> np.ndarray:
    """A picture (h, w, 1, 3 or 4) as (h, w, 3), uint8."""
    colours = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture[..., :3]
    return np.clip(np.round(colours), 0, 255).astype("uint8")
