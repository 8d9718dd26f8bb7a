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
    raise UnknownName(f"No {kind} is called {name!r}.{nearest(table, name)}{known(table)}")


def nearest(names: Iterable[str], name: str) -> str:
    """' Did you mean ...?' or nothing."""
    by_lower = {key.lower(): key for key in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def known(names: Iterable[str], most: int = 40) -> str:
    """' Known: a, b, c.', cut where the list would fill the screen."""
    names = sorted(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f" Known: {', '.join(names[:most])}{rest}."
