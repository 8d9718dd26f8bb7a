"""transferkit check"""

import os

import click

from transferkit.commands import options

EXAMPLES = 2  # of a problem, in the table
PER_CLASS = 60  # classes the table shows


@click.command(short_help="Look for what is wrong with a folder of pictures.")
@options.knob_options(*options.SOURCE)
@click.argument("data", type=options.source)
@click.option(
    "--html", type=click.Path(dir_okay=False), help="Write a page with thumbnails, the same ones side by side."
)
@click.option(
    "--quarantine",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Move files that cannot be read there, under the same relative paths, and list them in DIR/moved.csv. "
    "Nothing is deleted or overwritten.",
)
@click.option(
    "--quarantine-what",
    type=click.Choice(("unreadable", "duplicates")),
    multiple=True,
    help="What to move; may be given twice. duplicates: later copies, equal to the byte, in one class of one split.  "
    "[default: unreadable]",
)
@options.as_json
def command(data, html, quarantine, quarantine_what, as_json, **knobs):
    """Look at every picture of a folder: unreadable ones, duplicates, leaks between splits, classes of unequal size.

    \b
    Example: transferkit check pets/ --html pets.html
    Training does the same first. What was looked at once is not read again until it changes. The exit status is 0
    whatever is found.
    """
    from transferkit.data.audit import problems
    from transferkit.data.audit.scan import scan_files
    from transferkit.data.sources import resolve

    if quarantine_what and not quarantine:
        raise click.UsageError("--quarantine-what says what --quarantine DIR moves: give both.")
    if quarantine and resolve.source_kind(data) != "folder":
        raise click.UsageError(f"--quarantine moves files of a folder, and {data!r} is none.")
    parts = resolve.list_parts(options.build_recipe(None, knobs | {"data": data}).data)
    paths = [path for part in parts.values() for path in part.paths]
    looks = dict(zip(paths, scan_files(paths, what=data), strict=True))
    found = problems.find_problems(parts, looks, source=data if os.path.isfile(data) else "")
    moved = []
    if html:
        from transferkit.data.audit.html_page import write_page

        write_page(html, data, parts, found)
    if quarantine:
        from transferkit.data.audit.quarantine import move_files

        kinds = {"unreadable": problems.UNREADABLE, "duplicates": ("duplicate",)}
        chosen = {kind for what in quarantine_what or ("unreadable",) for kind in kinds[what]}
        moved = move_files([one for one in found if one.kind in chosen], data, quarantine, paths)
    counts = problems.count_classes(parts)
    if as_json:
        rows = [{"path": one.path, "problem": one.kind, "detail": one.detail} for one in found]
        classes = {name: sum(by_part.values()) for name, by_part in counts.items()}
        options.answer({"images": len(paths), "classes": classes, "problems": rows})
        return
    _show(data, found, counts, len(paths))
    if html:
        options.tell(f"the page is in {html}")
    if quarantine:
        options.tell(f"{len(moved):,} {'file was' if len(moved) == 1 else 'files were'} moved to {quarantine}")


def _show(data, found, counts, images):
    from collections import Counter

    from transferkit.console import answers, say, table
    from transferkit.data.audit.problems import KINDS, count_files

    on, root, kinds = answers(), os.path.join(os.path.abspath(data), ""), Counter(one.kind for one in found)
    rows = []
    for kind in kinds:
        every = [one for one in found if one.kind == kind]
        few = every if kind == "ignored" else every[:EXAMPLES]  # each of those is another kind of file
        heads = [(KINDS[kind], count_files(every)), *[("", None)] * len(few)]
        rows += [(*head, _line(one, root)) for head, one in zip(heads, few, strict=False)]
    if rows:
        table(None, ("problem", "count", "such as"), rows, on)
        say("", on)
    parts = list(next(iter(counts.values())))
    shown = [(name, *(by_part[part] for part in parts)) for name, by_part in list(counts.items())[:PER_CLASS]]
    table(None, ("class", *(parts if len(parts) > 1 else ("pictures",))), shown, on)
    if len(counts) > PER_CLASS:
        say(f"and {len(counts) - PER_CLASS:,} more classes", on)
    bad = sum(kinds[kind] for kind in ("unreadable", "truncated", "bomb"))
    readable = f", {bad:,} of which cannot be read" if bad else ", all of which can be read"
    pictures, classes = "picture" if images == 1 else "pictures", "class" if len(counts) == 1 else "classes"
    say(f"{images:,} {pictures} of {len(counts):,} {classes}{readable}", on)


def _line(one, root: str) -> str:
    """A problem's path and detail, short."""
    detail = one.detail.replace(root, "")
    return detail if os.path.join(one.path, "") == root else f"{one.path.removeprefix(root)}: {detail}"
