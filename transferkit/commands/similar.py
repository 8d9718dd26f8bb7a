"""transferkit similar"""

from pathlib import Path

import click

from transferkit.commands import options


@click.command(short_help="The most similar pictures, by their features.")
@click.argument("feats", type=click.Path(exists=True))
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True, type=options.check_source)
@click.option("--top", default=5, type=click.IntRange(1), show_default=True, help="Neighbours of each query.")
@click.option("--metric", default="cosine", show_default=True, help="cosine or euclidean.")
@click.option("--out", type=click.Path(dir_okay=False), help="Draw a contact sheet: PNG or JPEG.")
@options.as_json
def command(feats, queries, top, metric, out, as_json):
    """Find the pictures among FEATS whose features are nearest to those of each QUERY: by exact search.

    \b
    Example: transferkit similar pets.npz cat.jpg --out cats.png
    FEATS is what `transferkit extract` wrote; QUERY a picture, or a folder of them.
    """
    if out and Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.UsageError(f"--out must end in .png, .jpg or .jpeg, not {out!r}.")

    from transferkit import atomic, console
    from transferkit.data.sources.resolve import find_paths
    from transferkit.features import neighbours
    from transferkit.features.feature_files import load_features
    from transferkit.recipe import Data

    pictures = [path for query in queries for path in find_paths(Data(data=query))]
    if not pictures:
        raise ValueError(f"{', '.join(queries)}: no pictures are there.")
    answers = neighbours.find_neighbours(load_features(feats), pictures, top=top, metric=metric)
    if out:
        sheet = neighbours.draw_sheet(answers)
        atomic.write(out, sheet.save)
        console.say(f"{out}: {len(answers)} queries and up to {top} of the nearest of each")
    if as_json:
        return options.print_json(answers)
    for answer in answers:
        rows = [(one["distance"], one["label"], one["path"]) for one in answer["neighbours"]]
        nothing = f"cannot be read: {answer['error']}" if answer["error"] else "no other picture is there"
        rows = rows or [("", "", nothing)]
        console.table(
            console.printable(answer["query"]), ("distance", "label", "picture"), rows, console.stdout_console()
        )
