"""transferkit data"""

from pathlib import Path

import click

from transferkit import recipe
from transferkit.commands import options, result_output
from transferkit.lookup import count_noun

source_options = options.knob_options(*options.SOURCE_KNOBS)


@click.group(short_help="Preview augmentation, fit colour axes, pack pictures.")
def command():
    """Prepare pictures for training.

    \b
    Example: transferkit data preview pets/

    Each command prints one JSON document with --json.
    """


@command.command("preview", short_help="Draw what the network will see.")
@source_options
@click.argument("data", type=options.Source())
@options.recipe_options("augment")
@options.knob_options("size", "fit")
@click.option(
    "--channels", type=click.Choice("134"), default="3", show_default=True, help="1 grey, 3 RGB, 4 with alpha."
)
@click.option("--each", type=options.WholeNumber(1, 100), default=2, show_default=True, help="Pictures of each class.")
@click.option(
    "--views", type=options.WholeNumber(1, 100), default=6, show_default=True, help="Training views of each picture."
)
@click.option(
    "--most", type=options.WholeNumber(1, 1000), default=24, show_default=True, help="Maximum number of pictures."
)
@click.option(
    "--seed",
    type=options.WholeNumber(0),
    default=0,
    show_default=True,
    help="Seed of the choice of pictures and of the views.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    default="preview.png",
    show_default=True,
    help="File to write, PNG or JPEG.",
)
@options.json_option
def preview(data, pca, channels, each, views, most, seed, out, as_json, **knobs):
    """Draw some pictures of each class as evaluation sees them, and as training does, epoch by epoch.

    \b
    Example: transferkit data preview pets/ --augment "crop(0.3) | flip | hue"

    What is not given is as the rules of finetune choose it for these pictures and a network of 224 pixels. Transparent
    parts are shown white.
    """
    from dataclasses import replace

    from transferkit import atomic
    from transferkit.console import say, say_looking
    from transferkit.data import contact_sheet, lazy_tensorflow
    from transferkit.data.augment import augmentation as language
    from transferkit.data.augment import pca_axes
    from transferkit.data.sources import resolve
    from transferkit.pixels import Pixels

    if Path(out).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.UsageError(f"--out must end in .png, .jpg or .jpeg, not {out!r}.")
    wanted = options.build_recipe(None, knobs | {"data": data})
    axes = pca_axes.load_or_imagenet(pca or "")
    language.parse_augmentation(wanted.augment.augment or "none", axes)  # a wrong name is told before pictures are read
    listing = resolve.list_given_splits(wanted.data)["train"]
    say_looking(len(listing), data)
    lazy_tensorflow.load()
    wanted, reasons = _choose_views(wanted, listing)
    each = min(each, max(1, most // len(listing.classes)))  # rather fewer of each class than none of the last ones
    chosen = contact_sheet.sample_per_class(listing, each, seed=seed)
    chosen = chosen.take(range(min(most, len(chosen))))
    pixels = replace(Pixels().with_size(wanted.model.size).with_channels(int(channels)), fit=wanted.model.fit)
    augmentation = language.parse_augmentation(wanted.augment.augment, axes)
    picture = contact_sheet.draw_views(chosen, pixels, augmentation, views=views, seed=seed)
    atomic.write(out, picture.save)
    steps = language.expand_levels(wanted.augment.augment)
    if as_json:
        found = {"out": out, "augment": steps, "size": wanted.model.size, "fit": wanted.model.fit}
        return result_output.print_json(found | {"pictures": list(chosen.paths), "classes": list(chosen.classes)})
    for choice in reasons:
        say(f"--{choice.knob} {choice.value}: {choice.reason}")
    say(
        f"{out}: {count_noun(len(chosen), 'picture')} at {wanted.model.size}, {count_noun(views, 'view')} of each with "
        f"{steps or 'no steps'}"
    )


def _choose_views(wanted: recipe.Recipe, listing):
    """The recipe with `size`, `fit` and `augment` by the rules of finetune where they are open, and those choices."""
    from transferkit import rules
    from transferkit.data.audit import before_training
    from transferkit.data.audit.scan import scan_files
    from transferkit.lookup import none_can
    from transferkit.pixels import Pixels
    from transferkit.training.distributed import devices

    if recipe.BY_RULE not in (wanted.model.size, wanted.model.fit, wanted.augment.augment):
        return wanted, []
    scans = tuple(scan for scan in scan_files(listing.paths) if not scan.reason)
    if not scans:
        raise ValueError(f"{none_can(len(listing), 'picture')} be read.")
    audit = before_training.Audit(listing, (), scans)
    facts = rules.RuleInputs(
        pictures=len(scans),
        smallest_class=1,
        shorter_side=audit.median_side,
        aspect_ratios=audit.aspect_quartiles,
        pixels=Pixels(),
        minimum_size=1,
        can_fit_head=True,
        head_layers=("pooled",),
        has_gpu=devices.choose_device().gpu,
    )
    resolved, choices = rules.choose_knobs(wanted, facts)
    return resolved, [choice for choice in choices if choice.knob in ("size", "fit", "augment")]


@command.command("augmentations", short_help="List the steps of --augment and their numbers.")
@options.json_option
def augmentations(as_json):
    """List the steps of --augment with their numbers, ranges and papers, and the names that stand for several steps.

    \b
    Example: transferkit data augmentations

    Numbers are given in their order, those that are missing have their default: "crop(0.3) | flip | rotate(10)".
    """
    from transferkit import console

    with console.silenced():
        from transferkit.data.augment import augmentation, step_list
    steps, levels = step_list.list_steps(), augmentation.LEVELS
    if as_json:
        return result_output.print_json({"steps": steps, "sets": levels})
    on = console.stdout_console()
    for place, title in step_list.PLACES.items():
        rows = [
            (
                step_list.spell_defaults(step),
                step_list.spell_ranges(step),
                step["effect"].replace("`", ""),
                step["paper"],
            )
            for step in steps
            if step["place"] == place
        ]
        console.table(title, ("step, defaults", "numbers", "effect", "paper"), rows, on)
        console.say("", on)
    lines = [(name, line or "no steps") for name, line in levels.items()]
    console.table("Names of several steps", ("name", "steps"), lines, on)


@command.command("pca", short_help="Fit the colour axes of pca_jitter and pca_jitter_std.")
@source_options
@click.argument("data", type=options.Source())
@click.option("--out", type=click.Path(dir_okay=False), default="pca.json", show_default=True, help="File to write.")
@click.option(
    "--most", type=options.WholeNumber(1), default=2000, show_default=True, help="Maximum number of pictures to read."
)
@click.option(
    "--seed", type=options.WholeNumber(0), default=0, show_default=True, help="Seed of the choice of pictures."
)
@options.json_option
def pca(data, out, most, seed, as_json, **knobs):
    """Compute the principal axes of RGB over the training pictures, resized to 224 pixels.

    \b
    Example: transferkit data pca pets/ --out pets.json
    Then: transferkit finetune --data pets/ --pca pets.json \\
              --augment "crop | pca_jitter"
    """
    from dataclasses import asdict

    import numpy as np

    from transferkit import console
    from transferkit.data import lazy_tensorflow
    from transferkit.data.augment import pca_axes
    from transferkit.data.sources import resolve
    from transferkit.pixels import Pixels

    paths = resolve.list_given_splits(options.build_recipe(None, knobs | {"data": data}).data)["train"].paths
    console.say_looking(min(most, len(paths)), data)
    lazy_tensorflow.load()
    from transferkit.data import pipeline

    rows = sorted(np.random.default_rng(seed).permutation(len(paths))[:most])
    batches = pipeline.evaluation_dataset([paths[row] for row in rows], Pixels(), batch_size=32)
    fitted = pca_axes.fit_axes(pictures for pictures, _ in batches.as_numpy_iterator())
    pca_axes.save_axes(fitted, out)
    if fitted.is_flat():
        console.warn(
            f"The pictures of {data} are all of one colour, so pca_jitter and pca_jitter_std have no effect with {out}."
        )
    if as_json:
        return result_output.print_json({"out": str(out), **asdict(fitted)})
    axes = zip(fitted.values, zip(*fitted.vectors, strict=True), strict=True)
    lines = [[f"{number:.4f}" for number in (value, *axis)] for value, axis in axes]
    console.table(None, ("eigenvalue", "R", "G", "B"), lines, on=console.stdout_console())
    console.say(f"{out}: colour axes of {count_noun(fitted.pictures, 'picture')}; use them with --pca {out}")


@command.command(short_help="Pack pictures into a few large files.")
@source_options
@click.argument("source", metavar="DATA", type=options.Source())
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder for the shards, new or empty.")
@click.option(
    "--shard-mb", default=100.0, type=options.FiniteNumber(0.001), help="Size of a shard in MB.  [default: 100]"
)
@options.json_option
def pack(source, out, shard_mb, as_json, **knobs):
    """Pack pictures into TFRecord shards with an index, which `--data OUT` reads without unpacking.

    \b
    Example: transferkit data pack pets/ --out pets-packed

    DATA is what finetune --data takes. The bytes of the files are not changed.
    """
    from transferkit import console
    from transferkit.data import lazy_tensorflow
    from transferkit.data.sources import resolve, shards

    parts = resolve.list_given_splits(options.build_recipe(None, knobs | {"data": source}).data)
    console.say_looking(sum(map(len, parts.values())), source)
    lazy_tensorflow.load()
    counts = shards.pack_shards(parts, out, shard_mb=shard_mb)
    if as_json:
        result_output.print_json({"out": str(out), "pictures": counts})
    else:
        result_output.print_line(
            f"{out}: " + ", ".join(f"{count_noun(count, 'picture')} of {name}" for name, count in counts.items())
        )
