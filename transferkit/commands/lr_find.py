"""transferkit lr-find"""

import dataclasses
from pathlib import Path

import click

from transferkit import recipe
from transferkit.commands import help_pages, options, result_output

UNUSED_KNOBS = ("time", "folds", "workers")
KNOBS = [knob.name for knob in recipe.list_knobs("data", "augment", "model", "train") if knob.name not in UNUSED_KNOBS]


@click.command(cls=help_pages.Command, short_help="Find a learning rate with a range test.")
@options.knob_options(*KNOBS)
@options.recipe_option
@click.option(
    "--out", type=click.Path(dir_okay=False), default="lr-find.png", show_default=True, help="File of the plot, .png."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing plot.")
@options.json_option
def command(recipe_name, out, overwrite, as_json, **knobs):
    """Train for a hundred steps while the learning rate rises from 1e-7 to 10, and suggest --lr from the loss.

    \b
    Example: transferkit lr-find --base resnet34 --data pets/

    The rate that the rule would choose is printed too; it is the suggestion if the curve is too flat. The options are
    those of finetune except --time, --folds and --workers. Only the plot is written.
    """
    resolved = options.build_recipe(recipe_name, knobs).override(time="", folds=0)
    if not resolved.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")
    if Path(out).suffix.lower() != ".png" or not Path(out).parent.is_dir():
        raise click.UsageError(f"--out must be a .png file in an existing folder, not {out}.")
    if Path(out).exists() and not overwrite:
        raise click.UsageError(f"{out} exists: give another --out, or --overwrite to replace it.")

    from transferkit.training.planning import recipe_checks

    recipe_checks.check_recipe(resolved)  # a wrong name is answered before the slow imports

    from transferkit.training.planning import planner

    plan = planner.make_plan(resolved)  # loads TensorFlow, after it has read the pictures

    from transferkit.atomic import write
    from transferkit.evaluation import plots
    from transferkit.training import lr_find

    found = lr_find.find_rate(plan)
    rates = {"suggestion": found.suggestion, "steepest": found.steepest, "least loss": found.minimum}
    rates = ({} if found.is_flat else rates) | {"rule": found.rule}
    marks = {name: rate for name, rate in rates.items() if rate}
    write(out, lambda path: plots.plot_rates(found.rates, found.losses, marks, path))
    if as_json:
        computed = {"flat": found.is_flat, "factor": found.factor, "plot": out}
        return result_output.print_json(dataclasses.asdict(found) | computed)
    for line in (*_suggestion_lines(found), f"the plot is {out}"):
        result_output.print_line(line)


def _suggestion_lines(found) -> list[str]:
    """The suggested rate with its reason, and the rate of the rule."""
    flag, rule = f"--{found.knob.replace('_', '-')}", f"{found.rule:.2g} ({found.reason})"
    if not found.steepest:
        return [f"The loss fell at no rate up to {found.rates[-1]:.2g}.", f"{flag} {rule}: the rate of the rule"]
    if found.is_flat:
        reason = f"it falls by {found.drop:.2g}, and single steps deviate from it by {found.noise:.2g}"
        return [f"The curve is too flat: {reason}.", f"{flag} {rule}: the rate of the rule"]
    why = "where the loss fell fastest, as it has no minimum"
    if found.minimum:
        why = f"a tenth of {found.minimum:.2g}, where the loss was lowest; it fell fastest at {found.steepest:.2g}"
    times, where = max(found.factor, 1 / found.factor), "higher" if found.factor > 1 else "lower"
    comparison = f"The rate of the rule is {rule}; the suggestion is {times:.2g} times {where}."
    return [f"{flag} {found.suggestion:.2g}: {why}", comparison]
