"""Draw a network as the figures of the papers do: a box for each cut point, in perspective, with its sizes.

As figure 2 of Krizhevsky et al. 2012: height and width of a box are those of the map, its depth is the number of maps,
all on a scale of roots, so that 224 pixels and 7 are seen in one figure. Below a box stands what leads to it, with
repetitions counted: "3x (1x1 128, 3x3 128, 1x1 512)"; "3x3 64/2" is a convolution of 64 maps with a stride of 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import keras
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from transferkit.data import fonts
from transferkit.explain.geometry import Layer
from transferkit.explain.inspection import Inspection
from transferkit.keras_internals import operation_kind
from transferkit.network import cut_points

SLANT = 0.2  # of a box's depth to the right and up
COLORS = ("#cfe3f3", "#a9cbe6", "#7fb0d8")  # front, top and side of a map: blues that are told apart in grey
FLAT_COLORS = ("#f6dfc2", "#ecc796", "#dfac69")  # of a vector
UNIT, COLUMNS = 1.5, 10  # inches from box to box, and boxes in a line
HEADROOM, LINE_HEIGHT = 1.1, 0.085  # above the lower edge of the boxes, and of a line of text, in units
MOST_PARTS = 8  # lines of text below a box


@dataclass(frozen=True)
class Block:
    """One box of the diagram.

    Attributes:
        name: of the layer that ends it.
        output: its shape, (height, width, maps) or (units,).
        parts: what it consists of, in order: "3x3 64, stride 2", "max 3x3, stride 2", "4 x (1x1 64, 3x3 64)".
    """

    name: str
    output: tuple
    parts: tuple[str, ...]


def list_blocks(inspection: Inspection) -> list[Block]:
    """The boxes of a network: the picture, its cut points and its output.

    A model without cut points has one for each size of the map, and for each vector.

    Example:
        >>> [block.name for block in list_blocks(inspect("resnet18"))]
        ['pictures', 'stem', 'stage1', 'stage2', 'stage3', 'stage4', 'pooled', 'fc']
    """
    model, layers = inspection.network.model, inspection.layers
    ends = _choose_ends(layers, cut_points(model))
    blocks, words = [Block(layers[0].name, layers[0].output, ())], []
    for layer in layers[1:]:
        word = _describe_operation(model.get_layer(layer.name))
        words += [word] if word else []
        if layer.name in ends and (words or layer.output != blocks[-1].output):
            blocks.append(Block(layer.name, layer.output, tuple(_shorten(_count_repeats(words)))))
            words = []
    return blocks


def _choose_ends(layers: Sequence[Layer], cuts: Sequence[str]) -> set[str]:
    """The names of the layers that end a box."""
    if len(cuts) < 2:
        cuts = [before.name for before, after in pairwise(layers[1:]) if before.output != after.output]
        sizes = {layer.name: layer.output[:-1] for layer in layers}
        cuts = [a for a, b in pairwise([*cuts, ""]) if not b or sizes[a] != sizes[b] or not sizes[a]]
    return {*cuts, layers[-1].name}


def _describe_operation(layer) -> str:
    """What a layer does, in two words; "" for what belongs to another."""
    kind = operation_kind(layer)
    if kind == "dense":
        return f"dense {layer.units}"
    if isinstance(layer, keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D):
        return "global average" if "Average" in type(layer).__name__ else "global max"
    if kind not in ("convolution", "pooling"):
        return ""
    window = "x".join(map(str, getattr(layer, "kernel_size", None) or layer.pool_size))
    if kind == "pooling":
        window = f"{'max' if 'Max' in type(layer).__name__ else 'average'} {window}"
    else:
        window += f" {layer.filters}" if hasattr(layer, "filters") else " depthwise"
    stride = max(layer.strides or (1,))
    return window + (f"/{stride}" if stride > 1 else "")


def _count_repeats(words: Sequence[str], longest: int = 12) -> list[str]:
    """Words with repeated runs written once: a b a b c becomes "2x (a, b)", "c"."""
    found, at = [], 0
    while at < len(words):
        best, times = 1, 1
        for length in range(1, min(longest, len(words) - at) + 1):
            count = 1
            while words[at + count * length : at + (count + 1) * length] == words[at : at + length]:
                count += 1
            if count > 1 and count * length > best * times:
                best, times = length, count
        run = words[at : at + best]
        found += list(run) if times == 1 else [f"{times}x ({', '.join(run)})" if best > 1 else f"{times}x {run[0]}"]
        at += best * times
    return found


def _shorten(parts: list[str]) -> list[str]:
    return parts if len(parts) <= MOST_PARTS else [*parts[: MOST_PARTS - 1], f"and {len(parts) - MOST_PARTS + 1} more"]


def draw_diagram(inspection: Inspection) -> Figure:
    """Draw the boxes of a network from left to right, in lines of at most ten.

    Returns:
        A figure whose `savefig` writes SVG, PDF or PNG.
    """
    blocks = list_blocks(inspection)
    lines = [blocks[at : at + COLUMNS] for at in range(0, len(blocks), COLUMNS)]
    texts = [max(_describe(block).count("\n") + 1 for block in line) * LINE_HEIGHT for line in lines]
    heights = [HEADROOM + text + 0.1 for text in texts]
    columns = min(COLUMNS, len(blocks))
    figure = Figure((UNIT * columns, UNIT * sum(heights) + 0.5), layout="constrained")
    (title,), families = fonts.make_drawable([inspection.name])
    figure.suptitle(title, fontfamily=families)
    tallest = max(_sides(block.output)[1] for block in blocks)
    rows = figure.subplots(len(lines), 1, squeeze=False, height_ratios=heights).flat
    for axes, line, text in zip(rows, lines, texts, strict=True):
        for place, block in enumerate(line):
            _draw_block(axes, place, block, tallest)
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(-text - 0.1, HEADROOM), aspect="equal")
        axes.set_axis_off()
    return figure


def _sides(output: Sequence[int]) -> tuple[float, float, float]:
    """Width, height and depth of a box, on a scale of roots; a vector is a high and narrow one."""
    if len(output) == 1:
        return 2.0, output[0] ** 0.5 / 4, 2.0
    return output[1] ** 0.5, output[0] ** 0.5, output[2] ** 0.5


def _draw_block(axes, place: int, block: Block, tallest: float):
    """A box seen from the front, its depth to the upper right, with its sizes above and its parts below."""
    scale = 0.7 / max(tallest, 16)
    thick, high, deep = (side * scale for side in _sides(block.output))
    deep *= SLANT
    left, bottom = place - (thick + deep) / 2, 0
    right, top = left + thick, bottom + high
    front = [(left, bottom), (right, bottom), (right, top), (left, top)]
    roof = [(left, top), (right, top), (right + deep, top + deep), (left + deep, top + deep)]
    side = [(right, bottom), (right + deep, bottom + deep), (right + deep, top + deep), (right, top)]
    for corners, color in zip((front, roof, side), COLORS if len(block.output) > 1 else FLAT_COLORS, strict=True):
        axes.add_patch(Polygon(corners, facecolor=color, edgecolor="#334455", linewidth=0.8))
    size = "x".join("?" if number is None else str(number) for number in block.output)
    axes.text(place, top + deep + 0.04, size, ha="center", va="bottom", fontsize=8)
    axes.text(place, bottom - 0.05, _describe(block), ha="center", va="top", fontsize=7, linespacing=1.25)


def _describe(block: Block) -> str:
    """The name and the parts of a block, in short lines."""
    return "\n".join([block.name, *(part.replace(", ", ",\n") for part in block.parts)])
