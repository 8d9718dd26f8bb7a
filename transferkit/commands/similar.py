"""transferkit similar"""

from pathlib import Path

import click

from transferkit.commands import options, result_output
from transferkit.lookup import count_noun


@click.command(short_help="Find the most similar pictures by their features.")
@click.argument("feats", type=click.Path(exists=True))
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True, type=options.Source())
@click.option(
    "--top", default=5, type=options.WholeNumber(1), show_default=True, help="Number of neighbours of each query."
)
@click.option("--metric", default="cosine", show_default=True, help="cosine or euclidean.")
@click.option("--out", type=click.Path(dir_okay=False), help="Draw the neighbours: PNG or JPEG.")
@options.json_option
def command(feats, queries, top, metric, out, as_json):
    """Find the pictures in FEATS whose features are nearest to those of each QUERY, by exact search.

    \b
    Example: transferkit similar pets.npz cat.jpg --out cats.png

    FEATS is a file or folder that `transferkit extract` wrote, QUERY a picture or a folder.
    """
    if out and Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.UsageError(f"--out must end in .png, .jpg or .jpeg, not {out!r}.")

    from transferkit import atomic, console
    from transferkit.data.sources.resolve import find_paths
    from transferkit.recipe import Data

    pictures = [path for query in queries for path in find_paths(Data(data=query))]
    if not pictures:
        raise ValueError(f"{', '.join(queries)}: there are no pictures.")
    console.say_looking(len(pictures))

    from transferkit.features import neighbours  # scikit-learn and pyarrow are slow to import
    from transferkit.features.feature_files import load_features

    results = neighbours.find_neighbours(load_features(feats), pictures, top=top, metric=metric)
    if out:
        sheet = neighbours.draw_sheet(results)
        atomic.write(out, sheet.save)
        console.say(f"{out}: {count_noun(len(results), 'picture')} with up to {count_noun(top, 'neighbour')} each")
    if as_json:
        return result_output.print_json(results)
    for result in results:
        rows = [(near["distance"], near["label"], near["path"]) for near in result["neighbours"]]
        reason = f"cannot be read: {result['error']}" if result["error"] else "there is no other picture"
        rows = rows or [("", "", reason)]
        console.table(
            console.printable(result["query"]), ("distance", "label", "picture"), rows, console.stdout_console()
        )
