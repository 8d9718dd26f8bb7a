"""transferkit verify"""

import click

from transferkit.commands import options, result_output


@click.command(short_help="Check that pictures reach a network as a reference has it.")
@options.network_argument
@click.option(
    "--data", metavar="PATH", help="Pictures to compare.  [default: those a run held out, or two photographs]"
)
@click.option("--pictures", type=options.WholeNumber(1), default=64, show_default=True, help="How many at most.")
@options.weights_option
@options.json_option
def command(network, data, pictures, weights, as_json):
    """Compare the answers of NETWORK with those of Pillow and plain Keras, from picture files to logits.

    \b
    Example: transferkit verify runs/pets
    Example: transferkit verify resnet34 --data pets/

    The reference decodes and resizes with Pillow and runs the network's .keras file with Keras, in a process that does
    not import transferkit. The figures of a run go into its verification.json. The status is 1 if a probability differs
    by more than 0.05.
    """
    from transferkit import bases
    from transferkit.data import lazy_tensorflow

    bases.check_base(network, weights, "")
    bases.fetch_missing(network, weights)
    lazy_tensorflow.load()
    from transferkit.exchange.verify import verify

    found = verify(network, data, weights=weights, pictures=pictures)
    if as_json:
        result_output.print_json(found.to_dict())
    else:
        _print(found)
    return 0 if found.is_right else 1


def _print(found):
    from transferkit.console import stdout_console, table
    from transferkit.lookup import count_noun

    rows = [
        ("compared", count_noun(found.pictures, "picture")),
        ("pixels, of 255", f"{found.pixel_difference:.3f} on average, {found.largest_pixel_difference} at most"),
        ("logits, in their standard deviations", f"{found.logit_difference:.2g} at most"),
        ("probabilities", f"{found.probability_difference:.2g} at most"),
        ("the same class", result_output.format_percent(found.agreement)),
    ]
    table(None, ("difference from Pillow and Keras", ""), rows, stdout_console())
