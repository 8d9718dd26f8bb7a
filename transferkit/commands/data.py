"""transferkit data"""

import click

from transferkit.commands import options


@click.group(short_help="Look at a folder of pictures and prepare it.")
def command():
    """Tools around the pictures themselves.

    \b
    Example: transferkit data pack pets/ --out pets-packed
    Each answers with one JSON document if --json is given.
    """


@command.command(short_help="Pack pictures into a few large files.")
@options.knob_options("image_col", "label_col", "split_col", "data_dir")
@click.argument("source", metavar="DATA", type=options.source)
@click.option("--out", required=True, type=click.Path(), help="Folder of the shards; it must be new or empty.")
@click.option("--shard-mb", default=100.0, type=click.FloatRange(0.001), help="Size of a shard in MB.  [default: 100]")
@options.as_json
@options.with_tensorflow
def pack(source, out, shard_mb, as_json, **knobs):
    """Write pictures as TFRecord shards with an index; `--data OUT` reads them where they lie.

    \b
    Example: transferkit data pack pets/ --out pets-packed
    DATA: whatever finetune --data takes. The files' bytes are kept as they are.
    """
    from transferkit.data import shards, sources

    parts = sources.find_parts(options.build_recipe(None, knobs | {"data": source}).data)
    counts = shards.pack(parts, out, shard_mb=shard_mb)
    if as_json:
        options.answer({"out": str(out), "pictures": counts})
    else:
        click.echo(f"{out}: " + ", ".join(f"{count:,} pictures of {name}" for name, count in counts.items()))
