"""Groups of pictures that must stay together: read from their names by a pattern, and checked in a given split."""

import re
from pathlib import PurePath


def groups_from_pattern(names, pattern: str, *, columns=()) -> tuple[str, ...]:
    """Find the group of each picture: the first group of a regular expression in its name, or else the whole match.

    Args:
        names: paths below the folder of the pictures, or the names they had before they were packed.
        columns: of the list, for the message: the pattern may be a misspelt column.

    Raises:
        ValueError: the pattern is not a regular expression, or does not match one of the names.

    Example:
        >>> groups_from_pattern(["a_01/x.jpg", "b_02/y.jpg"], r"^([a-z]+)_")
        ('a', 'b')
    """
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise ValueError(f"--group-by {pattern!r} is not a regular expression: {error}.") from None
    names = [PurePath(name).as_posix() for name in names]  # so that a slash in the pattern fits on any system
    found = [search(name) for name in names]
    matches = [match for match in found if match]
    unmatched = [name for name, match in zip(names, found, strict=True) if not match]
    if unmatched:
        known = f", and is not one of the columns {', '.join(columns)}" if columns else ""
        raise ValueError(
            f"--group-by {pattern!r} does not match {len(unmatched)} of {len(names)} paths{known}; the first: "
            f"{unmatched[0]!r}."
        )
    return tuple((match[1] or "") if match.re.groups else match[0] for match in matches)


def check_groups_apart(parts: dict):
    """Raise `ValueError` if a group is in two of the parts."""
    part_of: dict[str, str] = {}
    for name, part in parts.items():
        for path, group in zip(part.paths, part.groups, strict=True) if part.groups else ():
            if part_of.setdefault(group, name) != name:
                raise ValueError(
                    f"Group {group!r} is in {part_of[group]} and in {name} ({path}): no group may be on both sides; "
                    "move its pictures to one of them, or omit --group-by."
                )
