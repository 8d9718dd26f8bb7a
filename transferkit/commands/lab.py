"""transferkit lab"""

import os
from pathlib import Path

import click

from transferkit.commands import options, result_output

DPI = 110


@click.command(short_help="Run a short experiment on how convolutional networks work.")
@click.argument("name", required=False)
@click.option("--seeds", type=options.WholeNumber(2, 1000), help="How often it is repeated.  [default: as it says]")
@click.option("--out", type=click.Path(dir_okay=False), help="The figure.  [default: lab-NAME.png]")
@options.json_option
def command(name, seeds, out, as_json):
    """Run the experiment NAME: a table, one sentence that answers its question, and a figure. Without NAME, list all.

    \b
    Example: transferkit lab
    Example: transferkit lab flipped-kernel

    Data come with transferkit's dependencies; each takes less than five minutes on two cores.
    """
    from transferkit import lab
    from transferkit.lab import experiments
    from transferkit.lookup import look_up

    if name is None:
        return _list(as_json)
    found = look_up(experiments.by_name(), name, "experiment", lab.LIST)
    if seeds and not found.seeds:
        raise click.UsageError(f"{name} has no random numbers: omit --seeds.")
    path = out or f"lab-{name}.png"
    _check_figure(path)
    from transferkit.console import say
    from transferkit.data import lazy_tensorflow

    count = seeds or found.seeds
    say(f"{found.question}{f' With {count} seeds ...' if count else ''}")
    lazy_tensorflow.load()
    finding = lab.run(name, seeds=seeds)
    _save(finding.figure, path)
    if as_json:
        rows = [dict(zip(finding.columns, row, strict=True)) for row in finding.rows]
        answer = {"experiment": name, "question": found.question, "sentence": finding.sentence}
        return result_output.print_json(answer | {"seeds": count, "rows": rows, "figure": path})
    from transferkit.console import stdout_console, table

    table(None, finding.columns, finding.rows, stdout_console())
    result_output.print_line("")
    result_output.print_line(finding.sentence)
    result_output.print_line(f"The figure is {path}")


def _list(as_json: bool):
    from transferkit.console import stdout_console, table
    from transferkit.lab import experiments

    if as_json:
        rows = [
            {"name": name, "group": group, "question": each.question, "seeds": each.seeds}
            for group, found in experiments.groups().items()
            for name, each in found.items()
        ]
        return result_output.print_json(rows)
    for group, found in experiments.groups().items():
        table(group, ("name", "question"), [(name, each.question) for name, each in found.items()], stdout_console())
        result_output.print_line("")
    result_output.print_line("transferkit lab NAME runs one.")


def _check_figure(path: str):
    folder = Path(path).absolute().parent
    if Path(path).suffix != ".png" or not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise click.UsageError(f"--out must be a .png file in an existing folder, not {path}.")


def _save(figure, path: str):
    from transferkit.atomic import write

    write(path, lambda target: figure.savefig(target, dpi=DPI, format="png"))
