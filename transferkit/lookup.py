"""Words for error messages: a name that is not known or not a name, the first line of another error."""

import difflib
import os
from collections.abc import Iterable
from numbers import Integral


class UnknownName(ValueError):
    """A name that is not in a table. Commands end with status 2, as for any bad value of an option."""


def look_up(table, name: str, kind: str):
    """Return `table[name]`; raise `UnknownName` with the nearest key and all known ones.

    Args:
        table: dict from name to value.
        name: the name.
        kind: the kind of name, for the message: "network", "layer of resnet34".
    """
    if not isinstance(name, str):
        raise UnknownName(f"The {kind} must be a name, not {describe_type(name)}.{list_known(table)}")
    if name in table:
        return table[name]
    raise UnknownName(f"No {kind} is called {quote(name)}.{suggest_nearest(table, name)}{list_known(table)}")


def suggest_nearest(names: Iterable[str], name: str) -> str:
    """ " Did you mean 'resnet34'?", or "".

    A misspelling is tried first; then a name whose words are all in the given one, `flip` for `horizontal_flip`; then
    similar names, and last names similar to one of its words.
    """
    by_lower, given = {key.lower(): key for key in names}, name.lower()
    words = given.split("_")
    within = [key for key in by_lower if set(key.split("_")) <= set(words)]
    near = (
        difflib.get_close_matches(given, by_lower, 1, 0.8)
        or sorted(within, key=len)[-1:]
        or difflib.get_close_matches(given, by_lower, 1)
        or [key for word in words for key in difflib.get_close_matches(word, by_lower, 1, 0.65)]
    )
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def quote(text: str, most: int = 120) -> str:
    """The text in quotes, shortened where it is very long."""
    return repr(text if len(text) <= most else f"{text[:most]}...")


def list_known(names: Iterable[str], most: int = 40) -> str:
    """ " Known: a, b, c.", shortened where the list is very long."""
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f" Known: {', '.join(names[:most])}{rest}."


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
