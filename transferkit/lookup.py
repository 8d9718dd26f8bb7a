"""Words for error messages: a name that is not known or not a name, the first line of another error."""

import difflib
import os
from collections.abc import Iterable
from numbers import Integral

MOST_LISTED = 8  # names of a table in a message; a longer one is listed by a command
MOST_NEAREST = 3


class UnknownName(ValueError):
    """A name that is not in a table. Commands end with status 2, as for any bad value of an option."""


def look_up(table, name: str, kind: str, command: str = ""):
    """Return `table[name]`; raise `UnknownName` with the nearest keys, and all of a short table.

    Args:
        table: dict from name to value.
        name: the name.
        kind: the kind of name, for the message: "network", "layer of resnet34".
        command: the command line that lists a long table.
    """
    if not isinstance(name, str):
        raise UnknownName(f"The {kind} must be a name, not {describe_type(name)}.{list_known(table)}")
    if name in table:
        return table[name]
    raise UnknownName(f"No {kind} is called {quote(name)}.{suggest_known(table, name, command)}")


def suggest_known(names: Iterable[str], name: str, command: str = "") -> str:
    """The nearest names, and all of a short table or the command line that lists a long one.

    Example:
        >>> suggest_known(("adamw", "lamb"), "adam")
        " Did you mean 'adamw'? Known: adamw, lamb."
    """
    names = sorted(names)
    most = 1 if len(names) <= MOST_LISTED else MOST_NEAREST
    return suggest_nearest(names, name, most) + list_known(names, command)


def list_known(names: Iterable[str], command: str = "") -> str:
    """ " Known: a, b, c.", or of a long table the command line that lists it, or its first names."""
    names = sorted(names)
    if len(names) <= MOST_LISTED:
        return f" Known: {', '.join(names)}."
    if command:
        return f" `{command}` lists all {len(names)}."
    return f" Known are {len(names)}, as {', '.join(names[:MOST_NEAREST])}."


def suggest_nearest(names: Iterable[str], name: str, most: int = 1) -> str:
    """ " Did you mean 'resnet34'?", with up to `most` names, or ""."""
    near = find_nearest(names, name, most)
    return f" Did you mean {join_or(map(repr, near))}?" if near else ""


def find_nearest(names: Iterable[str], name: str, most: int = MOST_NEAREST) -> list[str]:
    """The names most like the given one, the most likely first; [] if none is like it.

    A misspelling is tried first; then a name whose words are all in the given one, `flip` for `horizontal_flip`; then
    similar names, and last names similar to one of its words.
    """
    by_lower, given = {key.lower(): key for key in names}, name.lower()
    words = given.split("_")
    within = [key for key in by_lower if set(key.split("_")) <= set(words)]
    near = (
        difflib.get_close_matches(given, by_lower, most, 0.8)
        or sorted(within, key=len)[-1:]
        or difflib.get_close_matches(given, by_lower, most)
        or [key for word in words for key in difflib.get_close_matches(word, by_lower, 1, 0.65)][:most]
    )
    return [by_lower[key] for key in near]


def count_noun(count: int, noun: str) -> str:
    """A number with its noun, which takes an s unless the number is one.

    Example:
        >>> count_noun(1, "picture"), count_noun(1200, "picture"), count_noun(2, "class")
        ('1 picture', '1,200 pictures', '2 classes')
    """
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def none_can(count: int, noun: str) -> str:
    """The beginning of a sentence about what is possible with none of them.

    Example:
        >>> none_can(1, "picture"), none_can(12, "picture")
        ('The picture cannot', 'None of the 12 pictures can')
    """
    return f"The {noun} cannot" if count == 1 else f"None of the {count_noun(count, noun)} can"


def join_or(texts: Iterable[str]) -> str:
    """ "a", "a or b", "a, b or c"."""
    *others, last = texts
    return f"{', '.join(others)} or {last}" if others else last


def quote(text: str, most: int = 120) -> str:
    """The text in quotes, shortened where it is very long."""
    return repr(text if len(text) <= most else f"{text[:most]}...")


def first_line(error: Exception | str, empty: str = "") -> str:
    """The first line of an error's message without its full stop, to go into a sentence.

    Args:
        empty: what stands for an empty message; by default the type of the error.
    """
    text = str(error).strip() or empty or type(error).__name__
    return text.splitlines()[0].rstrip(".")


def as_text(value, name: str) -> str:
    """A name or a path as text.

    Args:
        value: what was given.
        name: of the argument, for the message.

    Raises:
        ValueError: it is neither.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a name or a path, not {describe_type(value)}.")
    if not text:
        raise ValueError(f"{name} is empty: expected a name or a path.")
    return str(text)  # not np.str_


def as_count(value, name: str, *, least: int = 1) -> int:
    """A whole number of at least `least`; raise `ValueError` if it is not."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {show(value)}.")
    return int(value)


def show(value, most: int = 120) -> str:
    """The value as Python shows it, in one line, shortened where it is very long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[:most]}..."


def describe_type(value) -> str:
    """ "None", or "of type dict"."""
    return "None" if value is None else f"of type {type(value).__name__}"
