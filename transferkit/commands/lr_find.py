"""transferkit lr-find"""

import dataclasses
from pathlib import Path

import click

from transferkit.commands import options


@click.command(short_help="Find a learning rate by trying.")
@options.recipe_options("data", "augment", "model", "train")
@click.option("--recipe", "recipe_file", type=options.FILE, help="TOML file of knobs, such as a run's recipe.toml.")
@click.option("--out", type=click.Path(dir_okay=False), default="lr-find.png", show_default=True, help="The plot.")
@click.option("--overwrite", is_flag=True, help="Replace the plot that is there.")
@options.as_json
@options.with_tensorflow
def command(recipe_file, out, overwrite, as_json, **knobs):
    """Train for a hundred steps at a rate that rises from 1e-7 to 10, and tell from the loss what --lr to take.

    \b
    Example: transferkit lr-find --base resnet34 --data pets/
    It takes the flags of finetune, and leaves nothing behind but the plot.
    """
    wanted = options.build_recipe(recipe_file, knobs)
    if not wanted.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")
    if Path(out).exists() and not overwrite:
        raise click.UsageError(f"{out} exists: give another --out, or --overwrite to replace it.")

    from transferkit.atomic import write
    from transferkit.evaluation import plots
    from transferkit.training import lr_find, planning

    found = lr_find.find(planning.plan(wanted))
    marks = {"suggestion": found.suggestion, "steepest": found.steepest, "least loss": found.minimum}
    write(out, lambda path: plots.rates(found.rates, found.losses, marks, path))
    if as_json:
        return options.answer(dataclasses.asdict(found) | {"plot": out})
    click.echo(
        f"--lr {found.suggestion:.2g}: a tenth of {found.minimum:.2g}, where the loss was least; it fell fastest at "
        f"{found.steepest:.2g}; the plot is {out}"
    )
