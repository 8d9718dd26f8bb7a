"""The pictures that `predict` and `explain` take: paths, folders, lists, and paths on standard input."""

import itertools
import os
import re
import sys

import click

from transferkit import untrusted_files
from transferkit.commands import options


def check_sources(arguments: tuple[str, ...]) -> list[str]:
    """Replace `-` by the paths on standard input; raise `UsageError` if none of the sources exists."""
    sources = []
    for argument in arguments:
        sources += _read_stdin() if argument == "-" else [argument]
    if not sources:
        raise click.UsageError("Standard input has no paths: expected a path on each line.")
    if not any(map(_exists, sources)):
        options.check_source(sources[0])
    return sources


def _read_stdin() -> list[str]:
    try:
        given = untrusted_files.read_stream(sys.stdin.buffer)
    except OSError as error:
        raise OSError(f"Standard input cannot be read: {error}.") from None
    ends = rb"[^\0]+" if b"\0" in given else rb"[^\r\n]+"
    return [os.fsdecode(line[0]) for line in re.finditer(ends, given)]


def _exists(source: str) -> bool:
    return source.startswith("tfds:") or os.path.exists(source)


def find_pictures(sources, knobs) -> list[str]:
    from transferkit.console import say_looking
    from transferkit.data.sources.resolve import find_paths

    recipe = options.build_recipe(None, knobs)
    found = [find_paths(recipe.override(data=source).data) if _exists(source) else [source] for source in sources]
    pictures = list(itertools.chain(*found))
    if not pictures:
        raise ValueError(f"{', '.join(sources)}: there are no pictures.")
    say_looking(len(pictures), sources[0] if len(sources) == 1 and pictures != sources else "")
    return pictures
