"""transferkit models"""

import click

from transferkit.commands import options, result_output


@click.command(short_help="List the networks and their public weights.")
@click.option(
    "--filter", "pattern", default="*", help="Only matching names: a pattern as 'resnet*', or a part of the name."
)
@options.json_option
def command(pattern, as_json):
    """List the networks and the public weights that load into them.

    \b
    Example: transferkit models
             transferkit models --filter vgg

    Give the name of a network to --base, and a tag to --weights.
    """
    from transferkit import zoo
    from transferkit.console import say, stdout_console, table
    from transferkit.weights.model_list import list_models

    document = list_models(pattern)
    if as_json:
        result_output.print_json(document)
        return
    rows = [
        (
            net["name"],
            f"{net['params'] / 1e6:.2f} M",
            f"{net['multiply_adds'] / 1e6:,.1f} M",
            net["size"],
            zoo.variants()[net["name"]].minimum,
            net["features"],
        )
        for net in document
    ]
    on = stdout_console()
    table(None, ("network", "parameters", "multiply-adds", "size", "minimum", "features"), rows, on)
    tags = [
        (net["name"], ", ".join(each["tag"] + "*" * each["available"] for each in net["weights"]))
        for net in document
        if net["weights"]
    ]
    if not tags:
        say("", on)
        say("No public weights are known for these.", on)
        return
    say("", on)
    table(None, ("network", "weights, the default first (* on this machine)"), tags, on)
    say("", on)
    table(None, ("licence", "weights"), _licences(document), on)


def _licences(document: list[dict]) -> list[tuple]:
    """Each licence with the tags of its weights, with the network if a tag has several licences."""
    pairs = [(net["name"], each) for net in document for each in net["weights"]]
    licences: dict[str, set] = {}
    rows: dict[str, dict[str, None]] = {}
    for _, each in pairs:
        licences.setdefault(each["tag"], set()).add(each["licence"])
    for name, each in pairs:
        tag = each["tag"] if len(licences[each["tag"]]) == 1 else f"{name}.{each['tag']}"
        rows.setdefault(each["licence"], {})[tag] = None  # as an ordered set
    return [(licence, ", ".join(tags)) for licence, tags in rows.items()]
