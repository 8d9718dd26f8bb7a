"""transferkit models"""

import click

from transferkit.commands import options, result_output

NO_ERRORS = "No published errors of these networks are recorded."


@click.command(short_help="List the networks and their public weights.")
@click.option(
    "--filter", "pattern", default="*", help="Only matching names: a pattern as 'resnet*', or a part of the name."
)
@click.option("--licences", is_flag=True, help="List the licences of the weights.")
@click.option("--published", is_flag=True, help="List the errors that the papers report.")
@options.json_option
def command(pattern, licences, published, as_json):
    """List the networks and the public weights that load into them, first those whose weights are on this machine.

    \b
    Example: transferkit models
             transferkit models --filter vgg --published

    Give the name of a network to --base, and a tag to --weights.
    """
    from transferkit.console import say, stdout_console, table
    from transferkit.weights.model_list import list_models

    document = list_models(pattern)
    if as_json:
        result_output.print_json(document)
        return
    on = stdout_console()
    if licences:
        return table(None, ("licence", "weights"), _licences(document), on)
    if published:
        heads = ("network", "year", "pictures", "views", "top-1 error", "top-5 error", "source")
        rows = _published(document)
        return table("Errors in percent, as the papers report them", heads, rows, on) if rows else say(NO_ERRORS)
    document.sort(key=lambda net: not any(each["available"] for each in net["weights"]))
    rows = [
        (
            net["name"],
            f"{net['params'] / 1e6:.2f} M",
            f"{net['multiply_adds'] / 1e6:,.1f} M",
            net["size"],
            ", ".join(each["tag"] + "*" * each["available"] for each in net["weights"]) or "no public ones",
        )
        for net in document
    ]
    table(None, ("network", "parameters", "multiply-adds", "size", "weights"), rows, on)
    say("", on)
    say("The first weights are the default; * is on this machine. --licences lists their licences.", on)


def _published(document: list[dict]) -> list[tuple]:
    """What the papers report, the oldest first."""
    rows = sorted((each for net in document for each in net["published"]), key=lambda each: each["year"])
    return [tuple("" if value is None else f"{value}" for value in row.values()) for row in rows]


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
