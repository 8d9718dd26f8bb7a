"""transferkit export"""

import click

from transferkit.commands import options, result_output
from transferkit.exchange.targets import TARGETS


@click.command(short_help="Export a network to ONNX, LiteRT, SavedModel or Keras, and check the file.")
@options.network_argument
@click.option("--to", metavar="FORMAT", type=click.Choice(tuple(TARGETS)), help="One of those above.")
@click.option(
    "--dtype",
    type=click.Choice(("float32", "float16", "int8")),
    default="float32",
    show_default=True,
    help="Of the weights; int8 of maps too (LiteRT).",
)
@click.option("--data", metavar="PATH", help="Pictures to check the file with.  [default: those a run held out]")
@options.weights_option
@click.option("--out", type=click.Path(), help="The file or folder.  [default: NETWORK with the format's ending]")
@options.json_option
def command(network, to, dtype, data, weights, out, as_json):
    """Export NETWORK, a run, a network's name or a Keras model's file.

    \b
    Example: transferkit export runs/pets --to onnx
    Example: transferkit export runs/pets --to litert --dtype int8

    \b
    keras       {keras}
    savedmodel  {savedmodel}
    onnx        {onnx}
    litert      {litert}

    The file answers calibrated probabilities, and holds the labels. It is run by its own runtime in another process,
    and only kept if it answers as the network does.
    """
    if not to:
        raise click.UsageError(f"Which format? transferkit export {network} --to onnx, or {', '.join(TARGETS)}.")
    from transferkit import bases
    from transferkit.console import say
    from transferkit.data import lazy_tensorflow
    from transferkit.exchange import requests

    path = out or requests.name_file(network, to)
    requests.check_request(to, dtype, path)
    bases.check_base(network, weights, "")
    bases.fetch_missing(network, weights)
    say(f"Exporting {network} to {path} ...")
    lazy_tensorflow.load()
    from transferkit.exchange.export import export

    found = export(network, path, to=to, dtype=dtype, data=data, weights=weights)
    if as_json:
        return result_output.print_json(found.to_dict())
    _print(found)


command.help = (command.help or "").format(**{name: target.help for name, target in TARGETS.items()})


def _print(found):
    from transferkit.console import stdout_console, table
    from transferkit.lookup import count_noun

    rows = [
        ("file", f"{found.path}, {found.megabytes:.1f} MB"),
        ("checked with", count_noun(found.pictures, "picture")),
        ("largest difference of a probability", f"{found.largest_difference:.2g}"),
        ("the same class as in Keras", result_output.format_percent(found.agreement)),
    ]
    if found.accuracy is not None:
        keras, percent = found.keras_accuracy, result_output.format_percent
        rows.append(("accuracy", f"{percent(found.accuracy)}, in Keras {percent(keras)}"))
    rows.append(("one picture", f"{found.milliseconds:.1f} ms"))
    table(None, ("", ""), rows, stdout_console())
