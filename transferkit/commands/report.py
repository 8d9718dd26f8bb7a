"""transferkit report"""

from pathlib import Path

import click

from transferkit.commands import options, result_output
from transferkit.lookup import count_noun

SUFFIXES = (".html", ".htm")


@click.command(short_help="Write the page of a run, or a leaderboard of several.")
@click.argument("folders", metavar="RUN...", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(dir_okay=False), help="The HTML file.  [default: report.html in the run]")
@options.json_option
def command(folders, out, as_json):
    """Write the page of a run, or with several runs a leaderboard of them, with the knobs in which they differ.

    \b
    Example: transferkit report runs/finetune-resnet34-pets-1
             transferkit report runs/* --out runs.html

    A page is one file with everything in it, thumbnails too, and needs no network. Each training writes report.html
    and MODEL_CARD.md into its run; this command writes them again from the run's other files.
    """
    if out and Path(out).suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"--out must end in .html, not {out!r}.")
    if out and not Path(out).absolute().parent.is_dir():
        raise click.UsageError(f"There is no folder {str(Path(out).parent)!r} for --out.")
    if len(folders) > 1 and not out:
        raise click.UsageError("Missing option '--out': the HTML file of the leaderboard.")

    from transferkit import runs

    found = [runs.load_run(folder) for folder in folders]
    document = _write_leaderboard(found, out, as_json) if len(found) > 1 else _write_page(found[0], out)
    if as_json:
        result_output.print_json(document)


def _write_page(run, out) -> dict:
    """Write the page of one run, and its model card unless the page goes elsewhere."""
    from transferkit.console import say
    from transferkit.report import model_card, run_page
    from transferkit.training.next_steps import suggest_next_steps

    page = run_page.write_run_page(run, out, suggest_next_steps(run))
    written = [page] if out else [page, model_card.write_model_card(run)]
    for path in written:
        say(f"{path}: {path.stat().st_size / 1000:,.0f} kB")
    return {"files": list(map(str, written))}


def _write_leaderboard(found, out, as_json) -> dict:
    from transferkit.console import say, stdout_console, table, warn
    from transferkit.report import leaderboard

    rows, notes = leaderboard.compare_runs(found)
    leaderboard.write_leaderboard(rows, notes, out)
    for note in notes:
        warn(note)
    say(f"{out}: {count_noun(len(rows), 'run')}")
    if not as_json:
        percent = result_output.format_percent
        lines = [
            (row["run"], percent(row["accuracy"]), " to ".join(map(percent, row["ci95"])), f"{row['n']:,}")
            for row in rows
        ]
        table(None, ("run", "accuracy", "95% interval", "pictures"), lines, stdout_console())
    return {"runs": rows, "notes": notes, "files": [out]}
