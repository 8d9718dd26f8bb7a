"""What `transferkit inspect` shows besides its table: a receptive field, a diagram, the arithmetic, activities."""

import os
from pathlib import Path

import click

from transferkit.commands import options
from transferkit.lookup import count_noun

FORMATS = (".svg", ".pdf", ".png")
OWN = "own"


class Pictures(options.Source):
    """The type of `--data`: labelled pictures, or `OWN`, the test or validation pictures of the run."""

    def convert(self, value, param, ctx):
        return value if value == OWN else super().convert(value, param, ctx)


def check_file(option: str, value: str | None, overwrite: bool):
    """Refuse a figure that cannot be written, before anything is computed."""
    if value and (Path(value).suffix.lower() not in FORMATS or not Path(value).absolute().parent.is_dir()):
        raise click.UsageError(f"{option} must be an .svg, .pdf or .png file in an existing folder, not {value}.")
    if value and Path(value).exists() and not overwrite:
        raise click.UsageError(f"{value} exists: give another {option}, or --overwrite to replace it.")


def check_field(field: tuple[str, str] | None, data: str | None, out: str | None) -> str | None:
    """The file of the figure of --receptive-field or --data, or None; refuses a picture that is not there."""
    if field and not os.path.isfile(field[1]):
        raise FileNotFoundError(f"There is no picture {field[1]}: --receptive-field expects a layer, then a picture.")
    if field and data:
        raise click.UsageError(f"--receptive-field and --data {data} are shown one at a time: omit one.")
    if out and not (field or data):
        raise click.UsageError(
            "--out is the figure of --receptive-field LAYER IMAGE or --data: give one, or omit --out."
        )
    return out or (field and "receptive-field.png") or None


def check_own(network: str, data: str | None):
    """Refuse `--data own` of what is no run."""
    if data == OWN and not os.path.isfile(os.path.join(network, "split.csv")):
        raise click.UsageError(
            f"--data own are the pictures that a run held out, and {network} is no run: give a folder."
        )


def write_diagram(inspection, path: str):
    """Write the diagram of a network."""
    from transferkit.commands import result_output
    from transferkit.explain.diagram import draw_diagram

    _save(draw_diagram(inspection), path)
    result_output.print_line(f"The diagram of {inspection.name} is {path}")


def write_field(inspection, field: tuple[str, str], path: str, as_json: bool):
    """Write the figure of the receptive field of a layer on a picture, and print its sizes."""
    from transferkit.commands import result_output
    from transferkit.console import say
    from transferkit.data import decode, pipeline
    from transferkit.explain import map_layers
    from transferkit.explain.receptive_field import draw_field, find_field

    (layer, picture), network = field, _with_weights(inspection)
    map_layers.find_map(network.model, layer)  # a wrong name before the picture
    views = [view for view, _ in pipeline.evaluation_dataset([picture], network.pixels, batch_size=1)]
    if not views:
        raise ValueError(f"{picture} cannot be read: {decode.explain_unreadable(picture)}.")
    view = views[0].numpy()[0]
    seen = find_field(network, layer, view)
    _save(draw_field(seen, view, inspection.name), path)
    (height, width), side = seen.sides, seen.effective_side
    if as_json:
        found = {"layer": layer, "place": seen.place, "box": seen.box, "sides": seen.sides, "effective_side": side}
        return result_output.print_json(found | {"figure": path})
    if height > view.shape[0] or width > view.shape[1]:
        say(f"The field is larger than the picture of {view.shape[0]} x {view.shape[1]} pixels: its frame is outside.")
    row, column = seen.place
    result_output.print_line(f"{layer}, the unit at row {row} and column {column}")
    result_output.print_line(f"theoretical field  {height} x {width} pixels")
    result_output.print_line(
        f"effective field    as many pixels as {side:.0f} x {side:.0f}, by the gradient on this picture"
    )
    result_output.print_line(f"the figure is {path}")


def _with_weights(inspection):
    """The network with its public weights if they are on this machine, else with fresh ones, which is said."""
    from transferkit import bases, models, zoo
    from transferkit.console import say
    from transferkit.network import with_size
    from transferkit.pixels import format_size
    from transferkit.weights.catalogue import weight_sets

    name = inspection.name
    if not zoo.is_network(name):
        return inspection.network
    known = bool(weight_sets(name.partition("(")[0]))
    if not known or bases.find_absent_set(name, "imagenet"):
        why = "its public ones are not on this machine" if known else "it has no public ones"
        say(f"The weights of {name} are fresh, as {why}: the gradient is that of an untrained network.")
        return inspection.network
    return with_size(models.load(name), format_size(inspection.network.pixels.shape))


def _save(figure, path: str):
    from transferkit.atomic import write

    write(path, lambda target: figure.savefig(target, dpi=120, format=Path(path).suffix[1:].lower()))


def print_arithmetic(inspection, layers, as_json: bool):
    """Print the formulas of the layers that are in `layers`."""
    from transferkit.commands import result_output
    from transferkit.explain.arithmetic import work_out

    found = work_out(inspection.network.model, inspection.layers)
    if as_json:
        return result_output.print_json(
            [
                {
                    "name": each.layer.name,
                    "formulas": [[line.quantity, line.text, line.value] for line in each.formulas],
                }
                for each in found
            ]
        )
    result_output.print_line(
        "kernel = (kernel - 1) * dilation + 1    output = floor((input + padding - kernel) / stride) + 1"
    )
    result_output.print_line("field = field before + (kernel - 1) * stride before    stride = stride before * stride")
    for each in found:
        if each.layer not in layers or not each.formulas:
            continue
        result_output.print_line("")
        size = "x".join(map(str, each.layer.output))
        result_output.print_line(f"{each.layer.name}  {each.layer.kind}  {size}")
        for line in each.formulas:
            result_output.print_line(f"    {line.quantity:<13} {line.text} = {line.value:,}")


def print_activity(inspection, given: str, data: str, path: str | None, as_json: bool):
    """Print what the layers do on pictures, and write the figure if a path is given.

    Args:
        given: the network as it was given.
        data: of `--data`.
    """
    import numpy as np

    from transferkit.commands import result_output
    from transferkit.console import say, stdout_console, table, warn
    from transferkit.explain import activity, explanations

    network, paths, labels = _find_labelled(_with_weights(inspection), given, data)
    rows = np.linspace(0, len(paths) - 1, min(activity.PICTURES, len(paths))).astype(int)
    say(f"Looking at {len(rows):,} of {count_noun(len(paths), 'picture')} ...")
    views = explanations.read_views(network, [paths[row] for row in rows])
    label_of = dict(zip(paths, labels, strict=True)) if labels else {}
    found = activity.measure_activity(
        network, views.pictures, np.array([label_of[each] for each in views.paths]) if labels else None
    )
    n = len(views.paths)
    if path:
        _save(activity.draw_activity(found, f"{inspection.name} on {count_noun(n, 'picture')}"), path)
    if as_json:
        layers = [_activity_row(each) for each in found]
        result_output.print_json({"name": inspection.name, "pictures": n, "layers": layers, "figure": path})
    else:
        columns = ("layer", "activation", "units", "dead", "zeros", "mean", "deviation", "gradient")
        cells = [list(_activity_row(each).values())[:-1] for each in found]
        table(
            None,
            columns,
            [[_format_cell(*pair) for pair in zip(columns, row, strict=True)] for row in cells],
            stdout_console(),
        )
        if path:
            result_output.print_line(f"the figure is {path}")
    if sentence := activity.describe_dead(found, n):
        warn(sentence)


def _activity_row(each) -> dict:
    return {
        "layer": each.layer,
        "activation": each.activation,
        "units": len(each.largest),
        "dead": each.dead_share,
        "zeros": each.zeros,
        "mean": each.mean,
        "deviation": each.deviation,
        "gradient": each.gradient,
        "kind": each.kind,
    }


def _format_cell(column: str, value) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.1%}" if column in ("dead", "zeros") else f"{value:,}" if column == "units" else f"{value:.3g}"


def _find_labelled(network, given: str, data: str):
    """The network, with names for its outputs if they are unknown; paths; and labels, () if they cannot be known."""
    from dataclasses import replace

    from transferkit import runs
    from transferkit.console import say
    from transferkit.data.sources import resolve
    from transferkit.recipe import Data

    if data == OWN:
        splits = runs.load_run(given).splits
        listing = splits.test or splits.val
        return network, listing.paths, listing.labels
    source = Data(data=data)
    try:
        if network.classes and not network.has_class_names:
            names = resolve.find_classes(source)
            if len(names) == len(network.classes):
                network = replace(network, classes=names)
                say(f"The outputs have no names, and are taken as the classes of {data} in their order.")
        listing, _ = resolve.find_labelled(source, network.classes)
        return network, listing.paths, listing.labels
    except FileNotFoundError:
        raise
    except ValueError as error:
        say(f"No gradients are measured, as the pictures have no labels of this network. {error}")
    if not (paths := resolve.find_paths(source)):
        raise ValueError(f"{data} holds no pictures.")
    return network, paths, ()
