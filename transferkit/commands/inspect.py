"""transferkit inspect"""

import re
from collections import Counter

import click

from transferkit.commands import completion, inspection_views, options, result_output

HIDDEN_KINDS = (
    "InputLayer",
    "Rescaling",
    "BatchNormalization",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "Softmax",
)
SHORT_KINDS = {  # so that a table is at most 80 columns wide
    "Identity": "cut",
    "GlobalAveragePooling": "AvgPool",
    "GlobalMaxPooling": "MaxPool",
    "AveragePooling": "AvgPool",
    "MaxPooling": "MaxPool",
    "Concatenate": "Concat",
    "DepthwiseConv": "Depthwise",
}


@click.command(short_help="Show a network layer by layer, or compare two.")
@click.argument("network", metavar="NAME|RUN|FILE", shell_complete=completion.complete_base)
@click.argument("other", metavar="[NAME2]", required=False, shell_complete=completion.complete_base)
@click.option(
    "--size", type=options.Size(1, 99_999), help="Size of the picture, 224 or 192x320.  [default: the network's own]"
)
@click.option("--all", "every", is_flag=True, help="Show norms, activations, paddings and dropouts too.")
@click.option("--cuts", is_flag=True, help="Show only the cut points, and how many features they have.")
@click.option("--step-by-step", is_flag=True, help="Show the arithmetic of each layer: formulas with their numbers.")
@click.option("--diagram", metavar="FILE", help="Draw the network as boxes with their sizes: an .svg, .pdf or .png.")
@click.option(
    "--receptive-field",
    "field",
    nargs=2,
    metavar="LAYER IMAGE",
    help="Draw on a picture what the unit in the middle of a layer sees, and what moves it.",
)
@click.option(
    "--data",
    metavar="SOURCE|own",
    type=inspection_views.Pictures(),
    help="Measure dead units, zeros, activations and gradients by layer, on pictures or on those the run held out.",
)
@click.option(
    "--out", metavar="FILE", help="The figure of --receptive-field or --data.  [default: receptive-field.png; none]"
)
@click.option("--overwrite", is_flag=True, help="Replace existing figures.")
@options.json_option
def command(network, other, size, every, cuts, step_by_step, diagram, field, data, out, overwrite, as_json):
    """Show a network layer by layer: sizes, parameters, multiply-adds and receptive fields.

    \b
    Example: transferkit inspect resnet34
             transferkit inspect resnet34 resnet50
             transferkit inspect vgg16 --receptive-field conv3_3 tabby.jpg
             transferkit inspect runs/pets --data own

    NAME is a network of `transferkit models`, with its knobs in brackets; no weights
    are needed. A second network is compared with the first, stage by stage.
    """
    alone = {"diagram": diagram, "receptive-field": field, "step-by-step": step_by_step, "data": data}
    if other and (flag := next((name for name, value in alone.items() if value), "")):
        raise click.UsageError(f"--{flag} shows one network: omit {other}.")
    out = inspection_views.check_field(field, data, out)
    inspection_views.check_own(network, data)
    inspection_views.check_file("--diagram", diagram, overwrite)
    inspection_views.check_file("--out", out, overwrite)

    from transferkit import bases
    from transferkit.data import lazy_tensorflow

    for base in filter(None, (network, other)):
        bases.check_base(base, "none" if bases.is_named(base) else "imagenet")
        bases.fetch_missing(base, "none")
    lazy_tensorflow.load()

    from transferkit.explain.inspection import inspect

    found = [inspect(base, size) for base in (network, other) if base]
    if diagram:
        inspection_views.write_diagram(found[0], diagram)
    if data:
        inspection_views.print_activity(found[0], network, data, out, as_json)
    elif field:
        inspection_views.write_field(found[0], field, out, as_json)
    elif step_by_step:
        shown = [each for each in found[0].layers if every or not _is_hidden(each)]
        inspection_views.print_arithmetic(found[0], shown, as_json)
    elif diagram:
        return
    elif as_json:
        documents = [each.to_dict(cuts_only=cuts) for each in found]
        result_output.print_json(documents if other else documents[0])
    elif other:
        _print_comparison(*found)
    elif cuts:
        _print_cuts(found[0])
    else:
        _print_layers(found[0], every)


def _print_layers(inspection, every: bool):
    from transferkit.console import say, stdout_console, table

    layers = inspection.layers
    hidden = [] if every else [layer for layer in layers if _is_hidden(layer)]
    rows = [
        (
            layer.name,
            _kind(layer),
            _format_shape(layer.output),
            _format_count(layer.params) if layer.params else "",
            _format_count(layer.multiply_adds) if layer.multiply_adds else "",
            layer.stride,
            _format_field(layer).rjust(5),
        )
        for layer in layers
        if layer not in hidden
    ]
    on = stdout_console()
    table(None, ("layer", "kind", "output", "params", "mul-adds", "stride", "field"), rows, on)
    if hidden:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(layer.kind for layer in hidden).items())
        params = sum(layer.params for layer in hidden)
        say("", on)
        say(f"Not shown without --all: {kinds}; {params:,} parameters.", on)
    say("", on)
    title = (inspection.name, f"at {_format_shape(layers[0].output[:2])}")
    table(None, title, _facts(inspection), on)


def _print_cuts(inspection):
    """Print the cut points, for `extract --layer`; any layer or prefix of layers is valid there too."""
    from transferkit.console import stdout_console, table

    width = {layer.name: layer.output[-1] for layer in inspection.layers}
    found = _at_cuts(inspection).items()
    rows = [
        (cut, output, width[cut], f"{field:,}" if isinstance(field, int) else field, _format_count(products))
        for cut, (output, field, products, _) in found
    ]
    table(None, ("cut point", "output", "features", "field", "mul-adds so far"), rows, stdout_console())


def _facts(inspection) -> list[tuple]:
    """What to show of a network besides its layers."""
    from transferkit import zoo
    from transferkit.explain import geometry
    from transferkit.explain.inspection import UNKNOWN_PIXELS
    from transferkit.network import cut_points

    name, network, layers = inspection.name, inspection.network, inspection.layers
    params, multiply_adds = geometry.sum_costs(layers)
    last = next((layer for layer in reversed(layers) if layer.is_map), None)
    pixels = network.pixels
    scaled = f"(0..255 - mean) / std, mean {_format_numbers(pixels.mean)}, std {_format_numbers(pixels.std)}"
    loaded = result_output.notable(tuple(line for line in network.loaded if line != UNKNOWN_PIXELS))
    rows = [
        ("parameters", f"{params:,} ({params * 4 / 1e6:,.1f} MB in float32)"),
        ("multiply-adds", f"{multiply_adds:,} for one picture"),
        ("receptive field", f"{_format_field(last)} pixels, {last.stride} apart, at {last.name}" if last else "no map"),
        (
            "cut points",
            f"{', '.join(cut_points(network.model)) or 'none'}; any layer or prefix of layers can be used too",
        ),
        ("pictures", pixels.describe()),
        ("pixels", UNKNOWN_PIXELS if UNKNOWN_PIXELS in network.loaded else scaled),
        ("classes", _classes(network)),
        ("weights", "; ".join((network.base, *loaded))),
    ]
    if name.partition("(")[0] not in zoo.variants():
        return rows
    bare, _, given = name.partition("(")
    unsuited = ", ".join(zoo.knobs_against_weights(name))
    rows[-1] = ("weights", f"those of {bare} do not suit {unsuited}" if unsuited else _weights(bare))
    knobs = [f"{knob}={row.describe()}: {row.help}" for knob, row in zoo.variant(name).knobs.items()]
    return [*rows, *zip(["knobs", *[""] * len(knobs)], knobs, strict=False)]


def _classes(network) -> str:
    """The number of classes, and their names if known."""
    classes = network.classes
    if not classes:
        return network.doubt or "none: it has no classifier"
    first = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    return f"{len(classes):,}: {first if network.has_class_names else 'their names are unknown'}"


def _weights(name: str) -> str:
    """The public weights by publisher."""
    from transferkit.weights.catalogue import weight_sets
    from transferkit.weights.local_files import find_weights

    groups: dict[str, list[str]] = {}
    for each in weight_sets(name):
        star = "*" if find_weights(each) else ""
        groups.setdefault(f"{each.source} ({each.licence})", []).append(each.tag + star)
    lines = [f"{source}: {', '.join(tags)}" for source, tags in groups.items()]
    text = "; ".join(lines) or "no public ones"
    return f"{text} (* on this machine)" if "*" in text else text


def _print_comparison(first, second):
    """Print totals of two networks, then their values at each cut point."""
    from transferkit.console import say, stdout_console, table
    from transferkit.explain import geometry

    on, pair = stdout_console(), (first, second)
    names = [each.name for each in pair]
    sizes = [_format_shape(each.layers[0].output[:2]) for each in pair]
    totals = [geometry.sum_costs(each.layers) for each in pair]
    depths = [sum(layer.multiply_adds > 0 for layer in each.layers) for each in pair]
    rows = [
        ("picture", *sizes, ""),
        ("parameters", *_compared(*(params for params, _ in totals))),
        ("multiply-adds", *_compared(*(products for _, products in totals))),
        ("layers with kernels", *_compared(*depths)),
    ]
    columns, *rows = _aligned([("", *names, "difference"), *rows])
    table(None, columns, rows, on)
    cuts = [_at_cuts(each) for each in pair]
    order = _merge(*cuts)
    for title, figure in (("Output", 0), ("Receptive field", 1), ("Multiply-adds so far", 2), ("Parameters so far", 3)):
        rows = [("cut point", *names, "difference")]
        for name in order:
            values = [found[name][figure] if name in found else None for found in cuts]
            rows.append((name, *_compared(*values)))
        columns, *rows = _aligned(rows)
        say("", on)
        table(title, columns, rows, on)


def _at_cuts(inspection) -> dict[str, tuple]:
    """For each cut point: output, receptive field, and the multiply-adds and parameters up to it."""
    from transferkit.network import cut_points

    found, params, products = {}, 0, 0
    for layer in inspection.layers:
        params, products = params + layer.params, products + layer.multiply_adds
        if layer.name in cut_points(inspection.network.model):
            found[layer.name] = _format_shape(layer.output), layer.receptive_field or "all", products, params
    return found


def _merge(first, second) -> list[str]:
    """The names of both in order; a name of the second alone comes after its predecessor there."""
    order, at = list(first), 0
    for name in second:
        if name not in order:
            order.insert(at, name)
        at = order.index(name) + 1
    return order


def _compared(first, second) -> tuple[str, str, str]:
    """Two values as text, and the difference."""
    before, after = (_format_count(value) if isinstance(value, int) else value or "" for value in (first, second))
    if not isinstance(first, int) or not isinstance(second, int):
        return before, after, ""
    sign = "+" if second > first else "-" if second < first else ""
    return before, after, sign + _format_count(abs(second - first))


def _aligned(rows: list[tuple]) -> list[tuple]:
    """Align all columns but the first to the right, with their headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))) for row in rows]


def _is_hidden(layer) -> bool:
    """Whether a layer belongs to the convolution before or after it, and is shown with --all only."""
    return layer.kind in HIDDEN_KINDS or layer.kind.startswith("ZeroPadding") or "Dropout" in layer.kind


def _kind(layer) -> str:
    """The kind of a layer, short enough for a narrow terminal; --json has the class."""
    kind = re.sub(r"\dD$", "", layer.kind)
    return SHORT_KINDS.get(kind, kind)


def _format_field(layer) -> str:
    return "all" if layer.receptive_field is None else f"{layer.receptive_field:,}"


def _format_shape(shape) -> str:
    return "x".join(map(str, shape))


def _format_count(number: int) -> str:
    """A whole number, or the first figures of a large one."""
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e6:,.2f} M" if number < 1e9 else f"{number / 1e9:,.2f} G"


def _format_numbers(values) -> str:
    return " ".join(f"{value:g}" for value in values)
