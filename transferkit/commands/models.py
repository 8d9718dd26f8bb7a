"""transferkit models"""

import click

from transferkit.commands import options


@click.command(short_help="List the networks and their public weights.")
@options.as_json
def command(as_json):
    """List the networks and the public weights that load into them.

    \b
    Example: transferkit models
    `--base` takes a network's name, `--weights` a tag.
    """
    from transferkit import zoo
    from transferkit.console import answers, table
    from transferkit.weights.catalogue import sets
    from transferkit.weights.fetch import locate

    document = [
        {
            "name": name,
            "params": row.params,
            "multiply_adds": row.multiply_adds,
            "size": row.size,
            "features": row.features,
            "weights": [
                {
                    "tag": s.tag,
                    "source": s.source,
                    "licence": s.licence,
                    "top1": s.top1,
                    "available": locate(s) is not None,
                }
                for s in sets(name)
            ],
        }
        for name, row in zoo.variants().items()
    ]
    if as_json:
        options.answer(document)
        return
    rows = [
        (
            net["name"],
            f"{net['params'] / 1e6:.2f} M",
            f"{net['multiply_adds'] / 1e9:.2f} G",
            net["size"],
            net["features"],
            ", ".join(s["tag"] + ("*" if s["available"] else "") for s in net["weights"]) or "none",
        )
        for net in document
    ]
    columns = ("network", "parameters", "multiply-adds", "size", "features", "weights (* on this machine)")
    table(None, columns, rows, answers())
