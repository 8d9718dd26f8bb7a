"""transferkit inspect"""

import re
from collections import Counter
from dataclasses import replace

import click

from transferkit.commands import options

QUIET = ("InputLayer", "Rescaling", "BatchNormalization", "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax")
UNKNOWN = "how pixels are scaled for it does not show: what looks at pictures asks for --pixels"
SHORT = {  # so that a table is no wider than 80 columns
    "Identity": "cut",
    "GlobalAveragePooling": "AvgPool",
    "GlobalMaxPooling": "MaxPool",
    "AveragePooling": "AvgPool",
    "MaxPooling": "MaxPool",
    "Concatenate": "Concat",
    "DepthwiseConv": "Depthwise",
}


@click.command(short_help="Show a network layer by layer, or two side by side.")
@click.argument("network", metavar="NAME|RUN|FILE")
@click.argument("other", metavar="[NAME2]", required=False)
@click.option(
    "--size", type=options.Size(1, 99_999), help="Side of the picture, or height x width.  [default: the network's own]"
)
@click.option("--all", "every", is_flag=True, help="Show the norms, activations, paddings and dropouts too.")
@click.option("--cuts", is_flag=True, help="Show only where features can be taken, and how many there are.")
@options.as_json
@options.with_tensorflow
def command(network, other, size, every, cuts, as_json):
    """Show a network layer by layer: sizes, parameters, multiply-adds, and what part of the picture a place sees.

    \b
    Example: transferkit inspect resnet34
             transferkit inspect resnet34 resnet50
    NAME is a network of `transferkit models`, its knobs in brackets, and needs no
    weights for this. A second one is set beside the first, stage by stage.
    """
    found = [_examined(base, size) for base in (network, other) if base]
    if as_json:
        documents = [_document(*each, cuts_only=cuts) for each in found]
        options.print_json(documents if other else documents[0])
    elif other:
        _show_both(*found)
    elif cuts:
        _show_cuts(*found[0])
    else:
        _show(*found[0], every)


def _examined(base: str, size: int | str | None):
    """(how it is called, the network, its layers)"""
    from transferkit import adopt, models, zoo
    from transferkit.explain import geometry
    from transferkit.network import at_size

    ours = zoo.is_network(base)
    fresh = ours or base.startswith(adopt.PREFIX)  # no shape depends on what the weights hold
    weights = "none" if fresh else "imagenet"
    try:
        network = models.load(base, weights)
    except adopt.UnknownPixels:  # of which no shape depends either
        network = models.load(base, weights, pixels="raw")
        network = replace(network, loaded=tuple(line for line in network.loaded if "as told" not in line) + (UNKNOWN,))
    network = at_size(network, size or (zoo.variant(base).size if ours else network.pixels.size))
    return zoo.spell(base) if ours else base, network, geometry.measure(network.model, network.pixels.shape)


def _document(name, network, layers, *, cuts_only: bool) -> dict:
    from transferkit.explain import geometry
    from transferkit.network import cuts

    params, multiply_adds = geometry.totals(layers)
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "output": list(layer.output),
            "params": layer.params,
            "multiply_adds": layer.multiply_adds,
            "receptive_field": layer.receptive_field,
            "stride": layer.stride,
        }
        for layer in layers
        if not cuts_only or layer.name in cuts(network.model)
    ]
    return {"name": name, "params": params, "multiply_adds": multiply_adds, "layers": rows}


def _show(name, network, layers, every: bool):
    from transferkit.console import say, stdout_console, table

    hidden = [] if every else [layer for layer in layers if _is_quiet(layer)]
    rows = [
        (
            layer.name,
            _kind(layer),
            _times(layer.output),
            _count(layer.params) if layer.params else "",
            _count(layer.multiply_adds) if layer.multiply_adds else "",
            layer.stride,
            _field(layer).rjust(5),
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
    table(None, (name, f"at {_times(layers[0].output[:2])}"), _facts(name, network, layers), on)


def _show_cuts(name, network, layers):
    """The cut points: what `extract --layer` may say, besides any layer or prefix of layers."""
    from transferkit.console import stdout_console, table

    width = {layer.name: layer.output[-1] for layer in layers}
    found = _at_cuts(network, layers).items()
    rows = [
        (cut, output, width[cut], f"{field:,}" if isinstance(field, int) else field, _count(products))
        for cut, (output, field, products, _) in found
    ]
    table(None, ("cut point", "output", "features", "field", "mul-adds so far"), rows, stdout_console())


def _facts(name, network, layers) -> list[tuple]:
    """What there is to know of a network besides its layers."""
    from transferkit import zoo
    from transferkit.explain import geometry
    from transferkit.network import cuts

    params, multiply_adds = geometry.totals(layers)
    last = next((layer for layer in reversed(layers) if layer.is_map), None)
    pixels = network.pixels
    scaled = f"(0..255 - mean) / std, mean {_numbers(pixels.mean)}, std {_numbers(pixels.std)}"
    rows = [
        ("parameters", f"{params:,} ({params * 4 / 1e6:,.1f} MB in float32)"),
        ("multiply-adds", f"{multiply_adds:,} for one picture"),
        ("receptive field", f"{_field(last)} pixels, {last.stride} apart, at {last.name}" if last else "no map"),
        ("cut points", f"{', '.join(cuts(network.model)) or 'none'}; any layer or prefix of layers is one too"),
        ("pictures", pixels.described()),
        ("pixels", UNKNOWN if UNKNOWN in network.loaded else scaled),
        ("classes", _classes(network)),
        ("weights", "; ".join((network.base, *(line for line in network.loaded if line != UNKNOWN)))),
    ]
    if name.partition("(")[0] not in zoo.variants():
        return rows
    rows[-1] = ("weights", _weights(name.partition("(")[0]))
    knobs = [f"{knob}={_choices(values)}" for knob, values in zoo.variant(name).knobs.items()]
    return [*rows, ("knobs", ", ".join(knobs))] if knobs else rows


def _classes(network) -> str:
    """How many there are, and what is known of their names."""
    classes = network.classes
    if not classes:
        return network.doubt or "none: it has no classifier"
    first = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    return f"{len(classes):,}: {first if network.named else 'their names are unknown'}"


def _weights(name: str) -> str:
    """The public sets, by who publishes them."""
    from transferkit.weights.catalogue import sets
    from transferkit.weights.fetch import locate

    groups = {}
    for each in sets(name):
        star = "*" if locate(each) else ""
        groups.setdefault(f"{each.source} ({each.licence})", []).append(each.tag + star)
    lines = [f"{source}: {', '.join(tags)}" for source, tags in groups.items()]
    text = "; ".join(lines) or "no public ones known"
    return f"{text} (* on this machine)" if "*" in text else text


def _choices(values) -> str:
    """The values of a knob, the default first."""
    return "|".join(str(value).lower() for value in values) if isinstance(values, tuple) else f"{values} (0 to 1)"


def _show_both(first, second):
    """Totals, then what holds at each cut point."""
    from transferkit.console import say, stdout_console, table
    from transferkit.explain import geometry

    on, pair = stdout_console(), (first, second)
    names = [name for name, _, _ in pair]
    sizes = [_times(layers[0].output[:2]) for _, _, layers in pair]
    totals = [geometry.totals(layers) for _, _, layers in pair]
    depths = [sum(layer.multiply_adds > 0 for layer in layers) for _, _, layers in pair]
    rows = [
        ("picture", *sizes, ""),
        ("parameters", *_compared(*(params for params, _ in totals))),
        ("multiply-adds", *_compared(*(products for _, products in totals))),
        ("layers with kernels", *_compared(*depths)),
    ]
    columns, *rows = _aligned([("", *names, "difference"), *rows])
    table(None, columns, rows, on)
    cuts = [_at_cuts(network, layers) for _, network, layers in pair]
    order = _merged(*cuts)
    for title, figure in (("Output", 0), ("Receptive field", 1), ("Multiply-adds so far", 2), ("Parameters so far", 3)):
        rows = [("cut point", *names, "difference")]
        for name in order:
            values = [found[name][figure] if name in found else None for found in cuts]
            rows.append((name, *_compared(*values)))
        columns, *rows = _aligned(rows)
        say("", on)
        table(title, columns, rows, on)


def _at_cuts(network, layers) -> dict[str, tuple]:
    """Output, receptive field, and the multiply-adds and parameters up to each cut point."""
    from transferkit.network import cuts

    found, params, products = {}, 0, 0
    for layer in layers:
        params, products = params + layer.params, products + layer.multiply_adds
        if layer.name in cuts(network.model):
            found[layer.name] = _times(layer.output), layer.receptive_field or "all", products, params
    return found


def _merged(first, second) -> list[str]:
    """The names of both in order; what only the second has follows what it follows there."""
    order, at = list(first), 0
    for name in second:
        if name not in order:
            order.insert(at, name)
        at = order.index(name) + 1
    return order


def _compared(first, second) -> tuple[str, str, str]:
    """Two figures and by how much the second is more."""
    texts = [_count(value) if isinstance(value, int) else value or "" for value in (first, second)]
    if not isinstance(first, int) or not isinstance(second, int):
        return *texts, ""
    return *texts, ("+" if second > first else "-" if second < first else "") + _count(abs(second - first))


def _aligned(rows: list[tuple]) -> list[tuple]:
    """All columns but the first to the right, the heading with them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))) for row in rows]


def _is_quiet(layer) -> bool:
    """Whether a layer is one that goes with the convolution before or after it."""
    return layer.kind in QUIET or layer.kind.startswith("ZeroPadding") or "Dropout" in layer.kind


def _kind(layer) -> str:
    """A kind short enough for a narrow terminal; --json has the class."""
    kind = re.sub(r"\dD$", "", layer.kind)
    return SHORT.get(kind, kind)


def _field(layer) -> str:
    return "all" if layer.receptive_field is None else f"{layer.receptive_field:,}"


def _times(sides) -> str:
    return "x".join(map(str, sides))


def _count(number: int) -> str:
    """A whole number, or the first figures of a large one."""
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e6:,.2f} M" if number < 1e9 else f"{number / 1e9:,.2f} G"


def _numbers(values) -> str:
    return " ".join(f"{value:g}" for value in values)
