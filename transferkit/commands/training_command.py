"""What `finetune` and `train` share: the flags, the work and the closing lines."""

import sys

import click

from transferkit.commands import options as shared
from transferkit.commands import plan_output

FLAGS = (
    shared.recipe_options("data", "augment", "model", "train"),
    click.option("--recipe", "recipe_name", metavar="NAME|FILE", help="A paper's recipe, or a TOML file of knobs."),
    click.option("--quality", type=click.Choice(("fast", "balanced", "best")), help="A recipe of that name."),
    click.option("--out", type=click.Path(), help="Run folder.  [default: runs/<command>-<base>-<data>-<n>]"),
    click.option("--overwrite", is_flag=True, help="Replace the run folder that is there."),
    click.option("--resume", type=shared.FOLDER, metavar="RUN", help="Go on with a run that was cut short."),
    click.option("--dry-run", is_flag=True, help="Print the plan and stop."),
    shared.as_json,
    shared.with_tensorflow,
)


def training_options(function):
    """All flags of a command that trains; `carry_out` takes them."""
    for flag in reversed(FLAGS):
        function = flag(function)
    return function


def train_and_report(command: str, given: dict, defaults: dict | None = None):
    """Train by what a command was given, and answer.

    Args:
        command: its name, for the run folder and for how to go on.
        given: the flags of `options`.
        defaults: knobs that the command sets where neither recipe nor flag does.
    """
    names = ("recipe_name", "quality", "out", "overwrite", "resume", "dry_run", "as_json")
    recipe_name, quality, out, overwrite, resume, dry_run, as_json = (given.pop(name) for name in names)
    given = {name: value for name, value in given.items() if value is not None}
    if recipe_name and quality:
        raise click.UsageError(f"--quality {quality} is a recipe: give it or --recipe {recipe_name}.")
    recipe_name = recipe_name or quality
    if resume and (given or recipe_name or out or overwrite or dry_run):
        raise click.UsageError("--resume takes everything from the run: give it alone, or with --json.")
    wanted = shared.build_recipe(recipe_name, given, defaults)
    if not resume and not wanted.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")

    from transferkit import console, runs
    from transferkit.training import run_job
    from transferkit.training.planning import planner

    if resume:
        run = run_job.resume(resume)
    else:
        name = f"runs/{command}-{runs.slug(wanted.model.base)}-{runs.slug(wanted.data.data)}"
        runs.check_free(out, overwrite=overwrite, base=wanted.model.base)  # before the pictures are read
        plan = planner.plan(wanted)
        if dry_run and as_json:
            return shared.print_json(plan_output.plan_to_dict(plan))
        plan_output.print_plan(plan, on=console.stdout_console() if dry_run else console.console)
        if dry_run:
            return
        run = run_job.run(plan, run_job.new_folder(plan, out, overwrite=overwrite, name=name))
    if as_json:
        names = ("accuracy", "ci95", "n", "split", "seconds", "folds")
        figures = {name: run.metrics[name] for name in names if name in run.metrics}
        shared.print_json({"run": str(run.folder)} | figures)
    else:
        print_result(run)
    if run.metrics["interrupted"]:
        console.say(f"Interrupted: transferkit {command} --resume {run.folder} goes on.")
        sys.exit(130)


def print_result(run):
    """The closing lines."""
    figures = run.metrics
    if "folds" in figures:
        return shared.show_folds(figures, run.folder)
    chose = "the mix of weights, for which the interval allows" if figures["mix"] else "the checkpoint"
    val = f"validation pictures, which also chose {chose}"
    shared.tell(shared.accuracy_line(figures, "test pictures" if figures["split"] == "test" else val))
    if balanced := shared.balanced_line(figures):
        shared.tell(balanced)
    shared.tell(shared.confused_line(figures))
    kept = figures["kept"]
    if figures["baseline"]:
        alone, added = figures["baseline"], [100 * share for share in figures["baseline"]["added_ci95"]]
        shared.tell(
            f"a logistic regression on the frozen network's features: {shared.format_percent(alone['accuracy'])}; "
            f"training added {100 * alone['added']:+.1f} points (95%: {added[0]:+.1f} to {added[1]:+.1f})"
        )
    if figures["mix"]:
        shared.tell(shared.mix_line(figures["mix"]))
    elif kept["phase"] == "probe":
        shared.tell("kept: the logistic regression; no epoch beat it")
    else:
        shared.tell(f"kept: the weights of epoch {kept['epoch']} of phase {kept['phase']!r}")
    if figures["soup"]:
        shared.tell(shared.soup_line(figures["soup"]))
    if figures["refit"]:
        shared.tell(f"saved: the same training done again on all {figures['refit']:,} pictures")
    if figures["unreadable"]:
        shared.tell(f"{figures['unreadable']} pictures could not be read and were left out")
    shared.tell(f"{figures['seconds']:.0f} seconds; the run is in {run.folder}")
