"""Check the pictures of a source: unreadable files, duplicates, leaks between splits, classes of unequal size."""

import os
from collections import Counter
from dataclasses import dataclass, fields

from transferkit.data.audit.problems import Problem, count_classes, find_problems
from transferkit.data.audit.scan import scan_files
from transferkit.data.listing import Listing
from transferkit.data.sources import resolve
from transferkit.lookup import UnknownName, as_text, count_noun, describe_type, look_up
from transferkit.recipe import Data


@dataclass(frozen=True, repr=False)
class CheckResult:
    """What `check` found.

    Attributes:
        listings: of each split, with the files that cannot be read.
        problems: each with `path`, `kind`, `detail`, `other` and `count`; see `problems.Problem`.
    """

    listings: dict[str, Listing]
    problems: list[Problem]

    def __repr__(self):
        kinds = Counter(problem.kind for problem in self.problems)
        found = ", ".join(f"{kind} {count:,}" for kind, count in kinds.items()) or "no problems"
        return f"<CheckResult: {count_noun(len(self.paths), 'picture')}; {found}>"

    @property
    def paths(self) -> list[str]:
        return [path for listing in self.listings.values() for path in listing.paths]

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """{class: {split: pictures}}."""
        return count_classes(self.listings)


def check(data, **knobs) -> CheckResult:
    """Scan every picture of a source, and find what is wrong with them. Files that did not change are not read again.

    Args:
        data: as `--data` of the commands: a folder, a CSV list, `tfds:NAME` or packed shards; or a list of paths (the
            folder of each is its class), a listing, or `Splits`.
        **knobs: of a source that is a path: `image_col`, `label_col`, `split_col`, `image_dir`, `image_suffix`,
            `data_dir`, `group_by`.

    Raises:
        UnknownName, FileNotFoundError, ValueError: the source is not found, or does not list pictures.

    Example:
        >>> [(problem.path, problem.kind) for problem in check("pets/").problems]  # doctest: +SKIP
        [('pets/cat/broken.jpg', 'unreadable')]
    """
    for name in knobs:
        look_up({field.name: field for field in fields(Data)}, name, "knob of a source")
    is_path = isinstance(data, (str, os.PathLike))
    if knobs and not is_path:
        raise UnknownName(f"{next(iter(knobs))} is about a path, and data is {describe_type(data)}: omit it.")
    source = as_text(data, "data") if is_path else ""
    listings = resolve.list_parts(Data(data=source, **knobs)) if is_path else resolve.as_listings(data, "data")
    paths = [path for listing in listings.values() for path in listing.paths]
    scans = dict(zip(paths, scan_files(paths, what=source or "pictures"), strict=True))
    return CheckResult(listings, find_problems(listings, scans, source=source if os.path.isfile(source) else ""))
