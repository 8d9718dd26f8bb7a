"""transferkit finetune"""

import sys

import click

from transferkit.commands import options


@click.command(short_help="Train a network on your own pictures.")
@options.recipe_options("data", "augment", "model", "train")
@click.option("--recipe", "recipe_file", type=options.FILE, help="TOML file of knobs, such as a run's recipe.toml.")
@click.option("--out", type=click.Path(), help="Run folder.  [default: runs/finetune-<base>-<data>-<n>]")
@click.option("--overwrite", is_flag=True, help="Replace the run folder that is there.")
@click.option("--resume", type=options.FOLDER, metavar="RUN", help="Go on with a run that was cut short.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@options.as_json
@options.with_tensorflow
def command(recipe_file, out, overwrite, resume, dry_run, as_json, **knobs):
    """Train a new last layer on a frozen network, then the whole network at a lower rate.

    \b
    Example: transferkit finetune --base resnet34 --data pets/
    pets/ holds a folder of pictures for each class, or train/, val/ and test/ folders that hold those.
    """
    given = {name: value for name, value in knobs.items() if value is not None}
    if resume and (given or recipe_file or out or overwrite or dry_run):
        raise click.UsageError("--resume takes everything from the run: give it alone, or with --json.")
    job = options.build_recipe(recipe_file, given)
    if not resume and not job.data.data:
        raise click.UsageError("Missing option '--data': where your pictures are.")

    from transferkit import console, runs
    from transferkit.training import planning, tuning

    if resume:
        run = tuning.resume(resume)
    else:
        name = f"runs/finetune-{runs.slug(job.model.base)}-{runs.slug(job.data.data)}"
        runs.check_free(out, overwrite=overwrite, base=job.model.base)  # before the pictures are read
        plan = planning.plan(job)
        if dry_run and as_json:
            return options.answer(plan_document(plan))
        show_plan(plan, on=console.answers() if dry_run else console.console)
        if dry_run:
            return
        run = tuning.run(plan, runs.new_folder(out, overwrite=overwrite, name=name))
    if as_json:
        figures = {name: run.metrics[name] for name in ("accuracy", "ci95", "n", "split", "seconds")}
        options.answer({"run": str(run.folder)} | figures)
    else:
        show_result(run)
    if run.metrics["interrupted"]:
        click.echo(f"Interrupted: transferkit finetune --resume {run.folder} goes on.", err=True)
        sys.exit(130)


def plan_document(plan) -> dict:
    """The plan as `--dry-run --json` answers it."""
    import dataclasses

    return {
        "recipe": dataclasses.asdict(plan.recipe),
        "chosen": [dataclasses.asdict(choice) for choice in plan.choices],
        "pictures": {name: part.counts() for name, part in plan.splits.items()},
        "unreadable": [{"path": path, "reason": reason} for path, reason in plan.unreadable],
        "weights": plan.network.loaded,
        "device": plan.device.name,
        "precision": plan.device.policy,
    }


def show_plan(plan, on):
    """Pictures, network, knobs and why, on a console."""
    from transferkit.console import say, table

    splits, job = plan.splits, plan.recipe
    counts = {name: part.counts() for name, part in splits.items()}
    rows = [[c, *(counts[name][c] for name in counts)] for c in splits.train.classes]
    more = [["...", *("" for _ in counts)]] if len(rows) > 20 else []
    total = [["all", *(len(part) for _, part in splits.items())]]
    table("Pictures", ["class", *counts], rows[:20] + more + total, on)
    for name, part in splits.items():
        if part.ignored:
            ignored = ", ".join(f"{count} {suffix}" for suffix, count in sorted(part.ignored.items()))
            say(f"Passed over in {name}: {ignored}.", on)
    if splits.made:
        held = f"{job.data.validation:.0%} of each class"
        if splits.train.groups:  # of which no share can be promised
            held = f"{len(splits.val):,} pictures, in whole groups nearest to {held},"
        say(f"No validation pictures are given: {held} are held out.", on)
    pixels = plan.network.pixels
    say("", on)
    say(
        f"{plan.network.base}: {'; '.join(plan.network.loaded) or 'fresh weights'}; on {plan.device.name} in "
        f"{plan.device.policy}; shorter side to {pixels.resize}, {pixels.interpolation}, centre {pixels.crop} pixels",
        on,
    )
    say("", on)
    flags = [[f"--{c.knob.replace('_', '-')}", str(c.value), c.reason] for c in plan.choices]
    table("Chosen by rule", ["knob", "value", "because"], flags, on)


def show_result(run):
    """The closing lines."""
    figures = run.metrics
    val = "validation pictures, which also chose the checkpoint"
    click.echo(options.accuracy_line(figures, "test pictures" if figures["split"] == "test" else val))
    click.echo(options.confused_line(figures))
    kept = figures["kept"]
    if figures["baseline"]:
        alone, added = figures["baseline"], [100 * share for share in figures["baseline"]["added_ci95"]]
        click.echo(
            f"a logistic regression on the frozen network's features: {options.percent(alone['accuracy'])}; "
            f"training added {100 * alone['added']:+.1f} points (95%: {added[0]:+.1f} to {added[1]:+.1f})"
        )
    if kept["phase"] == "probe":
        click.echo("kept: the regression itself, which no epoch of training was better than")
    else:
        click.echo(f"kept: the weights of epoch {kept['epoch']} of phase {kept['phase']!r}")
    if figures["unreadable"]:
        click.echo(f"{figures['unreadable']} pictures could not be read and were left out")
    click.echo(f"{figures['seconds']:.0f} seconds; the run is in {run.folder}")
