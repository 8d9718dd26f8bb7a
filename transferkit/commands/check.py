"""transferkit check"""

import os

import click

from transferkit.commands import options, result_output

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
@options.json_option
def command(data, html, quarantine, quarantine_what, as_json, **knobs):
    """Check every picture of a folder: unreadable files, duplicates, leaks between splits, classes of unequal size.

    \b
    Example: transferkit check pets/ --html pets.html

    Training does the same first. A file is not read again until it changes. The exit status is 0 whatever is found.
    """
    from transferkit.data.audit.check import check
    from transferkit.data.sources import resolve

    if quarantine_what and not quarantine:
        raise click.UsageError("--quarantine-what needs --quarantine DIR: give both.")
    if quarantine and resolve.source_kind(data) != "folder":
        raise click.UsageError(f"--quarantine moves files of a folder, and {data!r} is not a folder.")
    result = check(data, **{name: value for name, value in knobs.items() if value is not None})
    moved = []
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
    if html:
        result_output.print_line(f"the page is in {html}")
    if quarantine:
        result_output.print_line(
            f"{len(moved):,} {'file was' if len(moved) == 1 else 'files were'} moved to {quarantine}"
        )


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
        say(f"and {len(counts) - PER_CLASS:,} more classes", on)
    unreadable = sum(kinds[kind] for kind in ("unreadable", "truncated", "bomb"))
    readable = f"{unreadable:,} cannot be read" if unreadable else "all can be read"
    pictures, classes = "picture" if images == 1 else "pictures", "class" if len(counts) == 1 else "classes"
    say(f"{images:,} {pictures} of {len(counts):,} {classes}; {readable}", on)


def _describe(row, root: str) -> str:
    """The path and the detail of a problem, without the path of the folder."""
    detail = row.detail.replace(root, "")
    return detail if os.path.join(row.path, "") == root else f"{row.path.removeprefix(root)}: {detail}"
