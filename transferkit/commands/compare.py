"""transferkit compare"""

from pathlib import Path

import click

from transferkit.commands import completion, evaluation_output, help_pages, options, result_folder, result_output
from transferkit.lookup import count_noun

MARK = "comparison.json"
PAGES = ("differ.png", "differ.csv")
MOST_CLASSES = 20  # in the table


@click.command(cls=help_pages.Command, short_help="Compare two runs on the same pictures.")
@click.argument("networks", metavar="RUN_A RUN_B", nargs=2, shell_complete=completion.complete_run)
@options.knob_options("data", *options.SOURCE_KNOBS)
@evaluation_output.group_by_option
@click.option("--out", type=click.Path(file_okay=False), help="Write figures and a sheet of pictures to this folder.")
@click.option("--overwrite", is_flag=True, help="Replace such a folder.")
@options.json_option
def command(networks, out, overwrite, as_json, **knobs):
    """Say whether one of two runs is better: on the pictures that both held out, or on those of --data.

    \b
    Example: transferkit compare runs/a runs/b --out a-and-b
    Example: transferkit compare runs/a runs/b --data more-pets/ --json

    Classes are matched by name. With --data, pictures that a run was trained on
    are left out; without it, the predictions count that the runs were measured by.
    """
    from transferkit.runs import load_run

    result_folder.check(out, MARK, overwrite=overwrite)
    (run_a, run_b), recipe = map(load_run, networks), options.build_recipe(None, knobs)

    from transferkit import run_comparison

    if recipe.data.data:
        from transferkit.console import say
        from transferkit.data import lazy_tensorflow
        from transferkit.data.sources.resolve import find_labelled

        say(f"Looking at the pictures in {recipe.data.data} ...")
        pictures = find_labelled(recipe.data, run_a.classes)[0]
        lazy_tensorflow.load()
        figures = run_comparison.compare(run_a, run_b, pictures)
    else:
        figures = run_comparison.compare(run_a, run_b, group_by=recipe.data.group_by or None)
    if out:
        with result_folder.create(out, MARK, overwrite=overwrite) as folder:
            run_comparison.write_comparison(folder, figures)
    result_output.print_json(figures) if as_json else _print(figures, out)


def _print(figures: dict, out: str | None):
    from transferkit.console import stdout_console, table
    from transferkit.evaluation.comparison import describe_difference

    for letter, run in zip("AB", figures["runs"], strict=True):
        result_output.print_line(f"{letter} is {run}")
    per_class = figures["per_class"]
    shown = sorted(per_class, key=lambda name: -abs(per_class[name]["difference"]))[:MOST_CLASSES]
    if len(shown) < len(per_class):
        result_output.print_line(f"the {MOST_CLASSES} classes of {len(per_class):,} that differ most:")
    rows = [
        (name, *map(result_output.format_percent, found["accuracy"]), _points(found["difference"]), found["n"])
        for name, found in ((name, per_class[name]) for name in per_class if name in shown)
    ]
    table(None, ("class", "A", "B", "points", "pictures"), rows, stdout_console())
    for line in _lines(figures):
        result_output.print_line(line)
    result_output.print_line(describe_difference(figures))
    if out:
        result_output.print_line(result_output.look_at_line(Path(out), (*PAGES, MARK)))


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}" if round(100 * difference, 1) else "0.0"


def _lines(figures: dict) -> list[str]:
    pictures = {
        "val": "validation pictures, which also chose both checkpoints",
        "folds": "pictures, each held out once",
    }
    what = pictures.get(figures["split"]) or evaluation_output.PICTURES[figures["split"]]
    ends, (first, second) = figures["ci95"], map(result_output.format_percent, figures["accuracy"])
    interval = f" (95%: {_points(ends[0])} to {_points(ends[1])})" if ends else ""
    over = f", over {count_noun(figures['groups'], 'group')}" if "groups" in figures else ""
    return [
        f"accuracy of A {first}, of B {second}, on {figures['n']:,} {what}",
        f"difference, B minus A: {_points(figures['difference'])} points{interval}{over}",
    ]
