"""transferkit data"""

from pathlib import Path

import click

from transferkit import recipe
from transferkit.commands import options

source_options = options.knob_options(*options.SOURCE)


@click.group(short_help="Look at a folder of pictures and prepare it.")
def command():
    """Tools around the pictures themselves.

    \b
    Example: transferkit data preview pets/
    Each answers with one JSON document if --json is given.
    """


@command.command("preview", short_help="A sheet of what the network will see.")
@source_options
@click.argument("data", type=options.source)
@options.recipe_options("augment")
@click.option(
    "--size", type=options.TYPES["size"], default=224, show_default=True, help="Side of the pictures, or 192x320."
)
@click.option(
    "--channels", type=click.Choice("134"), default="3", show_default=True, help="1 grey, 3 RGB, 4 with alpha."
)
@options.knob_options("fit")
@click.option("--each", type=click.IntRange(1, 100), default=2, show_default=True, help="Pictures of each class.")
@click.option("--views", type=click.IntRange(1, 100), default=6, show_default=True, help="Training views of each.")
@click.option("--most", type=click.IntRange(1, 1000), default=24, show_default=True, help="Pictures at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of pictures and views.")
@click.option("--out", type=click.Path(dir_okay=False), default="preview.png", show_default=True, help="PNG or JPEG.")
@options.as_json
@options.with_tensorflow
def preview(data, augment, pca, size, channels, fit, each, views, most, seed, out, as_json, **knobs):
    """Write a contact sheet: some pictures of each class as evaluation sees them, and as training does, epoch by epoch.

    \b
    Example: transferkit data preview pets/ --augment "crop(0.3) | flip | pca_jitter(0.1)"
    With --channels and --fit as for finetune; what alpha leaves transparent is shown white.
    """
    from dataclasses import replace

    from transferkit import atomic
    from transferkit.console import say
    from transferkit.data import contact_sheet
    from transferkit.data.augment import augmentation as language
    from transferkit.data.augment import pca_axes
    from transferkit.data.sources import resolve
    from transferkit.pixels import Pixels

    if Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.UsageError(f"--out must end in .png, .jpg or .jpeg, not {out!r}.")
    line = "light" if augment is recipe.BY_RULE else augment
    augmentation = language.parse_augmentation(line, pca_axes.load_or_imagenet(pca or ""))
    listing = resolve.find_parts(options.build_recipe(None, knobs | {"data": data}).data)["train"]
    some = contact_sheet.sample_per_class(listing, each, seed=seed)
    some = some.take(range(min(most, len(some))))
    pixels = replace(Pixels().at(size).of_channels(int(channels)), fit=fit or Pixels().fit)
    picture = contact_sheet.draw_views(some, pixels, augmentation, views=views, seed=seed)
    atomic.write(out, picture.save)
    steps = language.expand_levels(line)
    if as_json:
        return options.answer(
            {"out": out, "augment": steps, "pictures": list(some.paths), "classes": list(some.classes)}
        )
    say(f"{out}: {len(some)} pictures at {size}, {views} views of each with {steps or 'no steps'}")


@command.command("pca", short_help="Fit the axes of colour for pca_jitter and pca_jitter_std.")
@source_options
@click.argument("data", type=options.source)
@click.option(
    "--out", type=click.Path(dir_okay=False), default="pca.json", show_default=True, help="Where to write them."
)
@click.option("--most", type=click.IntRange(1), default=2000, show_default=True, help="Pictures to look at, at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of which.")
@options.as_json
@options.with_tensorflow
def pca(data, out, most, seed, as_json, **knobs):
    """Find the principal axes of RGB over the training pictures, as they are at 224 pixels.

    \b
    Example: transferkit data pca pets/ --out pets.json
    Then:    transferkit finetune --data pets/ --augment "crop | flip | pca_jitter(0.1)" --pca pets.json
    """
    from dataclasses import asdict

    import numpy as np

    from transferkit import console
    from transferkit.data import pipeline
    from transferkit.data.augment import pca_axes
    from transferkit.data.sources import resolve
    from transferkit.pixels import Pixels

    paths = resolve.find_parts(options.build_recipe(None, knobs | {"data": data}).data)["train"].paths
    rows = sorted(np.random.default_rng(seed).permutation(len(paths))[:most])
    batches = pipeline.evaluation_dataset([paths[row] for row in rows], Pixels(), batch_size=32)
    fitted = pca_axes.fit_axes(pictures for pictures, _ in batches.as_numpy_iterator())
    pca_axes.save_axes(fitted, out)
    if fitted.is_flat():
        console.warn(
            f"The pictures of {data} are all of one colour: pca_jitter and pca_jitter_std do nothing with {out}."
        )
    if as_json:
        return options.answer({"out": str(out), **asdict(fitted)})
    lines = [(value, *axis) for value, axis in zip(fitted.values, zip(*fitted.vectors, strict=True), strict=True)]
    lines = [[f"{figure:.4f}" for figure in line] for line in lines]
    console.table(None, ("eigenvalue", "R", "G", "B"), lines, on=console.answers())
    console.say(f"{out}: axes of {fitted.pictures:,} pictures; --pca {out} gives them to pca_jitter and pca_jitter_std")


@command.command(short_help="Pack pictures into a few large files.")
@source_options
@click.argument("source", metavar="DATA", type=options.source)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False), help="Folder of the shards; it must be new or empty."
)
@click.option("--shard-mb", default=100.0, type=options.Number(0.001), help="Size of a shard in MB.  [default: 100]")
@options.as_json
@options.with_tensorflow
def pack(source, out, shard_mb, as_json, **knobs):
    """Write pictures as TFRecord shards with an index; `--data OUT` reads them where they lie.

    \b
    Example: transferkit data pack pets/ --out pets-packed
    DATA: whatever finetune --data takes. The files' bytes are kept as they are.
    """
    from transferkit.data.sources import resolve, shards

    parts = resolve.find_parts(options.build_recipe(None, knobs | {"data": source}).data)
    counts = shards.pack_shards(parts, out, shard_mb=shard_mb)
    if as_json:
        options.answer({"out": str(out), "pictures": counts})
    else:
        options.tell(f"{out}: " + ", ".join(f"{count:,} pictures of {name}" for name, count in counts.items()))
