"""The one sentence for a name that is not known."""

import difflib
from collections.abc import Iterable


class UnknownName(ValueError):
    """A name that is in no table. Commands end with status 2 on it, as on any bad option value."""


def pick(table, name: str, kind: str):
    """Return `table[name]`; raise `UnknownName` that names the nearest key and all the known ones.

    Args:
        table: dict from name to value.
        name: the name asked for.
        kind: what the names are, for the sentence: "network", "layer of resnet34".
    """
    if name in table:
        return table[name]
    raise UnknownName(f"No {kind} is called {shown(name)}.{nearest(table, name)}{known(table)}")


def nearest(names: Iterable[str], name: str) -> str:
    """' Did you mean ...?' or nothing.

    What is all but a misspelling goes first; then a name whose words are all in it, `flip` for `horizontal_flip`; then
    what is alike, and last what is like one of its words.
    """
    by_lower, asked = {key.lower(): key for key in names}, name.lower()
    words = asked.split("_")
    within = [key for key in by_lower if set(key.split("_")) <= set(words)]
    near = (
        difflib.get_close_matches(asked, by_lower, 1, 0.8)
        or sorted(within, key=len)[-1:]
        or difflib.get_close_matches(asked, by_lower, 1)
        or [key for word in words for key in difflib.get_close_matches(word, by_lower, 1, 0.65)]
    )
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def shown(text: str, most: int = 120) -> str:
    """The text in quotes, cut where it would fill the screen."""
    return repr(text if len(text) <= most else f"{text[:most]}...")


def known(names: Iterable[str], most: int = 40) -> str:
    """' Known: a, b, c.', cut where the list would fill the screen."""
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f" Known: {', '.join(names[:most])}{rest}."
