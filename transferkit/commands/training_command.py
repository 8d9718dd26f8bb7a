"""What `finetune` and `train` share: the options, and the training itself."""

import sys

import click

from transferkit.commands import completion, help_pages, options, plan_output, result_output

OPTIONS = (
    options.recipe_options("data", "augment", "model", "train"),
    options.recipe_option,
    click.option(
        "--quality",
        type=click.Choice(("fast", "balanced", "best")),
        help="A recipe: fast trains the head alone.",
        cls=help_pages.Option,
        group="train",
    ),
    click.option("--out", type=click.Path(), help="Run folder.  [default: runs/<command>-<base>-<data>-<n>]"),
    click.option("--overwrite", is_flag=True, help="Replace an existing run folder."),
    click.option(
        "--resume",
        type=options.FOLDER,
        metavar="RUN",
        help="Continue an interrupted run.",
        shell_complete=completion.complete_run,
    ),
    click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    options.json_option,
)


def training_options(function):
    """Add all options of a command that trains; `train_and_report` takes them."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def train_and_report(command: str, given: dict, defaults: dict | None = None):
    """Train with the given options, and print the result.

    Args:
        command: name of the command, for the run folder and for the line that says how to continue.
        given: the options of `training_options`.
        defaults: knobs that the command sets if neither the recipe nor an option does.
    """
    names = ("recipe_name", "quality", "out", "overwrite", "resume", "dry_run", "as_json")
    recipe_name, quality, out, overwrite, resume, dry_run, as_json = (given.pop(name) for name in names)
    knobs = {name: value for name, value in given.items() if value is not None}
    if recipe_name and quality:
        raise click.UsageError(f"--quality {quality} is a recipe: give it or --recipe {recipe_name}.")
    recipe_name = recipe_name or quality
    if resume and (knobs or recipe_name or out or overwrite or dry_run):
        raise click.UsageError("--resume takes everything from the run: give it alone, or with --json.")
    recipe = options.build_recipe(recipe_name, knobs, defaults)
    if not resume and not recipe.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")

    from transferkit.training.planning import recipe_checks

    if not resume:
        recipe_checks.check_recipe(recipe)  # a wrong name is answered before the slow imports

    from transferkit import console, run_folder, runs
    from transferkit.data import lazy_tensorflow
    from transferkit.training.planning import planner

    if resume:
        runs.load_run(resume)  # raises now if it is not a run
        lazy_tensorflow.load()
        from transferkit.training import run_job

        run = run_job.resume(resume)
    else:
        name = f"runs/{command}-{run_folder.slug(recipe.model.base)}-{run_folder.slug(recipe.data.data)}"
        run_folder.check_output(out, overwrite=overwrite, base=recipe.model.base)  # before the pictures are read
        plan = planner.make_plan(recipe, download=not dry_run)
        if dry_run and as_json:
            return result_output.print_json(plan_output.plan_to_dict(plan))
        plan_output.print_plan(plan, on=console.stdout_console() if dry_run else console.console)
        if dry_run:
            return
        from transferkit.training import run_job

        run = run_job.train_plan(plan, run_job.make_shared_folder(plan, out, overwrite=overwrite, name=name))
    if as_json:
        shown = ("accuracy", "ci95", "n", "split", "seconds", "folds")
        figures = {name: run.metrics[name] for name in shown if name in run.metrics}
        result_output.print_json({"run": str(run.folder)} | figures)
    else:
        result_output.print_run(run)
    if run.metrics["interrupted"]:
        console.say(f"Interrupted: transferkit {command} --resume {run.folder} continues it.")
        sys.exit(130)
