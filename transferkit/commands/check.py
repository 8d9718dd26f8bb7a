"""transferkit check"""

import os

import click

from transferkit.commands import options, result_output
from transferkit.lookup import count_noun

SUSPECTS = 10  # likely wrong labels, in the table
EXAMPLES = 2  # of a problem, in the table
PER_CLASS = 60  # classes the table shows


@click.command(short_help="Find what is wrong with a folder of pictures.")
@options.knob_options(*options.SOURCE_KNOBS)
@click.argument("data", type=options.Source())
@click.option("--html", type=click.Path(dir_okay=False), help="Write a page with thumbnails, duplicates side by side.")
@click.option(
    "--quarantine",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Move files that cannot be read to DIR, under the same relative paths, and list them in DIR/moved.csv. "
    "Nothing is deleted or overwritten.",
)
@click.option(
    "--quarantine-what",
    type=click.Choice(("unreadable", "duplicates")),
    multiple=True,
    help="What to move; may be given twice. duplicates: exact copies in one class and split, all but the first.  "
    "[default: unreadable]",
)
@click.option(
    "--labels", is_flag=True, help="Find likely wrong labels too, by a cross-validated classifier on features."
)
@click.option(
    "--base", help="With --labels: the network of the features.  [default: the largest whose weights are here]"
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="With --labels: write suspects.csv, the worst first, and a sheet of them, suspects.png.",
)
@click.option(
    "--relabel",
    type=click.Path(dir_okay=False),
    metavar="CSV",
    help="Carry out the labels of an edited suspects.csv: move each picture to the folder of its class, or write a "
    "corrected copy of the list. CSV.undo.csv takes it back.",
)
@options.json_option
def command(data, html, quarantine, quarantine_what, labels, base, out, relabel, as_json, **knobs):
    """Check every picture of a folder: unreadable files, duplicates, leaks between splits, classes of unequal size.

    \b
    Example: transferkit check pets/ --html pets.html
             transferkit check pets/ --labels --out suspects/
             transferkit check pets/ --relabel suspects/suspects.csv

    Training does the same first, except --labels. A file is not read again until it changes. The exit status is 0
    whatever is found. To correct labels, edit the column label of suspects.csv and give the file to --relabel.
    """
    given = {name: value for name, value in knobs.items() if value is not None}
    if relabel:
        if html or quarantine or labels:
            raise click.UsageError("--relabel corrects labels and checks nothing: give it alone.")
        return _relabel(data, relabel, given, as_json)
    if (base or out) and not labels:
        raise click.UsageError(f"{'--base' if base else '--out'} is about likely wrong labels: add --labels.")
    if labels:
        base = _prepare_labels(base, out)
    from transferkit.data.audit.check import check
    from transferkit.data.sources import resolve

    if quarantine_what and not quarantine:
        raise click.UsageError("--quarantine-what needs --quarantine DIR: give both.")
    if quarantine and resolve.source_kind(data) != "folder":
        raise click.UsageError(f"--quarantine moves files of a folder, and {data!r} is not a folder.")
    result = check(data, **given)
    moved, suspects = [], []
    if labels:
        suspects = _find_suspects(data, result, base, out)
    if html:
        from transferkit.data.audit.html_page import write_page

        write_page(html, data, result.listings, result.problems)
    if quarantine:
        from transferkit.data.audit.problems import UNREADABLE
        from transferkit.data.audit.quarantine import move_files

        kinds = {"unreadable": UNREADABLE, "duplicates": ("duplicate",)}
        chosen = {kind for what in quarantine_what or ("unreadable",) for kind in kinds[what]}
        moved = move_files([row for row in result.problems if row.kind in chosen], data, quarantine, result.paths)
    counts, images = result.class_counts, len(result.paths)
    if as_json:
        rows = [{"path": row.path, "problem": row.kind, "detail": row.detail} for row in result.problems]
        classes = {name: sum(by_part.values()) for name, by_part in counts.items()}
        result_output.print_json({"images": images, "classes": classes, "problems": rows})
        return
    _print_problems(data, result.problems, counts, images)
    if labels:
        _print_suspects(data, suspects, out)
    if html:
        result_output.print_line(f"the page is in {html}")
    if quarantine:
        result_output.print_line(
            f"{len(moved):,} {'file was' if len(moved) == 1 else 'files were'} moved to {quarantine}"
        )


def _prepare_labels(base: str | None, out: str | None) -> str:
    """Check what --labels needs before anything is read; the network."""
    from pathlib import Path

    from transferkit import bases
    from transferkit.features import label_quality
    from transferkit.recipe import AUTO

    label_quality.check_installed()
    if out and (file := Path(out) / label_quality.CSV_FILE).exists():
        raise ValueError(f"{file} exists, and you may have edited it: give another --out.")
    if base in (None, AUTO):
        return label_quality.choose_base()
    bases.check_base(base)
    return base


def _find_suspects(data, result, base: str, out: str | None) -> list:
    """The likely wrong labels, which are written to the folder `out` and added to the problems."""
    from transferkit.data.audit.problems import sort_problems
    from transferkit.data.sources.resolve import join_parts
    from transferkit.features import label_quality

    suspects = label_quality.find_suspects(join_parts(result.listings, data)[0], base)
    result.problems[:] = sort_problems([*result.problems, *map(label_quality.as_problem, suspects)])
    if out and suspects:
        label_quality.write_suspects(suspects, out)
    return suspects


def _print_suspects(data, suspects: list, out: str | None):
    from transferkit.console import say, stdout_console, table

    on, root = stdout_console(), os.path.join(os.path.abspath(data), "")
    if not suspects:
        return say("no label looks wrong", on)
    say("", on)
    rows = [
        (one.path.removeprefix(root), one.label, one.likely, result_output.format_percent(one.probability))
        for one in suspects[:SUSPECTS]
    ]
    table(None, ("picture", "label", "likely", "probability"), rows, on)
    if len(suspects) > SUSPECTS:
        say(f"and {len(suspects) - SUSPECTS:,} more likely wrong labels", on)
    if out:
        say(
            f"{out} has suspects.csv and suspects.png. Correct the column label of suspects.csv, then: "
            f"transferkit check {data} --relabel {os.path.join(out, 'suspects.csv')}",
            on,
        )


def _relabel(data, fixes: str, knobs: dict, as_json: bool):
    """Carry out an edited suspects.csv, and say what was done."""
    from transferkit.data.audit.relabel import relabel
    from transferkit.recipe import Data

    done = relabel(Data(data=data, **knobs), fixes)
    if as_json:
        return result_output.print_json(
            {"changed": done.changed, "same": done.same, "file": done.file and str(done.file)}
        )
    pictures = "picture has" if done.changed == 1 else "pictures have"
    result_output.print_line(
        f"{done.changed:,} {pictures} another label now; {done.same:,} of the rows changed nothing"
    )
    if done.file and os.path.isdir(data):
        result_output.print_line(f"to take it back: transferkit check {data} --relabel {done.file}")
    elif done.file:
        result_output.print_line(f"the corrected list is {done.file}")


def _print_problems(data, found, counts, images):
    from collections import Counter

    from transferkit.console import say, stdout_console, table
    from transferkit.data.audit.problems import KINDS, count_files

    on, root, kinds = stdout_console(), os.path.join(os.path.abspath(data), ""), Counter(row.kind for row in found)
    rows = []
    for kind in kinds:
        same_kind = [row for row in found if row.kind == kind]
        examples = same_kind if kind == "ignored" else same_kind[:EXAMPLES]  # each ignored row is one suffix
        heads = [(KINDS[kind], count_files(same_kind)), *[("", None)] * len(examples)]
        rows += [(*head, _describe(row, root)) for head, row in zip(heads, examples, strict=False)]
    if rows:
        table(None, ("problem", "count", "example"), rows, on)
        say("", on)
    parts = list(next(iter(counts.values())))
    shown = [(name, *(by_part[part] for part in parts)) for name, by_part in list(counts.items())[:PER_CLASS]]
    table(None, ("class", *(parts if len(parts) > 1 else ("pictures",))), shown, on)
    if len(counts) > PER_CLASS:
        say(f"and {count_noun(len(counts) - PER_CLASS, 'more class')}", on)
    unreadable = sum(kinds[kind] for kind in ("unreadable", "truncated", "bomb"))
    readable = f"{unreadable:,} cannot be read" if unreadable else "all can be read"
    pictures, classes = "picture" if images == 1 else "pictures", "class" if len(counts) == 1 else "classes"
    say(f"{images:,} {pictures} of {len(counts):,} {classes}; {readable}", on)


def _describe(row, root: str) -> str:
    """The path and the detail of a problem, without the path of the folder."""
    detail = row.detail.replace(root, "")
    return detail if os.path.join(row.path, "") == root else f"{row.path.removeprefix(root)}: {detail}"
