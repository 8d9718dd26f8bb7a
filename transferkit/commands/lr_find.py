"""transferkit lr-find"""

import dataclasses
from pathlib import Path

import click

from transferkit import recipe
from transferkit.commands import options

APART = ("time", "folds", "workers")  # which a search has no use for
KNOBS = [knob.name for knob in recipe.knobs_of("data", "augment", "model", "train") if knob.name not in APART]


@click.command(short_help="Find a learning rate by trying.")
@options.knob_options(*KNOBS)
@click.option("--recipe", "recipe_name", metavar="NAME|FILE", help="A paper's recipe, or a TOML file of knobs.")
@click.option(
    "--out", type=click.Path(dir_okay=False), default="lr-find.png", show_default=True, help="The plot, .png."
)
@click.option("--overwrite", is_flag=True, help="Replace the plot that is there.")
@options.as_json
@options.with_tensorflow
def command(recipe_name, out, overwrite, as_json, **knobs):
    """Train for a hundred steps at a rate that rises from 1e-7 to 10, and tell from the loss what --lr to take.

    \b
    Example: transferkit lr-find --base resnet34 --data pets/
    What the rule takes for --lr is said beside it, and instead of it where the curve is too flat to tell. It takes the
    flags of finetune but for --time, --folds and --workers, and leaves nothing behind but the plot.
    """
    wanted = options.build_recipe(recipe_name, knobs).override(time="", folds=0)
    if not wanted.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")
    if Path(out).suffix.lower() != ".png" or not Path(out).parent.is_dir():
        raise click.UsageError(f"--out must be a .png in a folder that exists, not {out}.")
    if Path(out).exists() and not overwrite:
        raise click.UsageError(f"{out} exists: give another --out, or --overwrite to replace it.")

    from transferkit.atomic import write
    from transferkit.evaluation import plots
    from transferkit.training import lr_find
    from transferkit.training.planning import planner

    found = lr_find.find(planner.plan(wanted))
    tried = {"suggestion": found.suggestion, "steepest": found.steepest, "least loss": found.minimum}
    marks = {name: rate for name, rate in tried.items() if rate and not found.flat} | {"rule": found.rule}
    write(out, lambda path: plots.rates(found.rates, found.losses, marks, path))
    if as_json:
        more = {"flat": found.flat, "factor": found.factor, "plot": out}
        return options.print_json(dataclasses.asdict(found) | more)
    for line in (*_advice(found), f"the plot is {out}"):
        options.tell(line)


def _advice(found) -> list[str]:
    """Lines: what to take and why, and what the rule takes."""
    flag, rule = f"--{found.knob.replace('_', '-')}", f"{found.rule:.2g} ({found.reason})"
    if not found.steepest:
        return [f"The loss fell at no rate up to {found.rates[-1]:.2g}.", f"{flag} {rule}: what the rule takes"]
    if found.flat:
        falls = f"it falls by {found.drop:.2g}, and the losses of single steps are {found.noise:.2g} from it"
        return [f"The curve is too flat to tell: {falls}.", f"{flag} {rule}: what the rule takes"]
    why = "no minimum was found, and there the loss fell fastest"
    if found.minimum:
        why = f"a tenth of {found.minimum:.2g}, where the loss was least; it fell fastest at {found.steepest:.2g}"
    times, where = max(found.factor, 1 / found.factor), "higher" if found.factor > 1 else "lower"
    beside = f"The rule takes {rule}: the suggestion is {times:.2g} times {where}."
    return [f"{flag} {found.suggestion:.2g}: {why}", beside]
