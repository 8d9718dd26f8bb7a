"""The file `split.csv` of a run: which picture is in which split."""

from pathlib import Path

from transferkit import atomic
from transferkit.data.listing import Listing, Splits


def split_rows(splits: Splits) -> list[dict]:
    """The rows of `split.csv`: path, label, split, and the group and the duplicate set if there are any."""
    rows = []
    for name, part in splits.items():
        optional = {"group": part.groups, "copies": part.duplicate_sets}
        columns = {"path": part.paths, "label": [part.classes[label] for label in part.labels]}
        columns |= {"split": [name] * len(part)} | {column: values for column, values in optional.items() if values}
        rows += [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return rows


def read_splits(path: Path, classes: tuple[str, ...]) -> Splits:
    """Read a `split.csv`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a row is damaged, or its label is not one of the classes.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}, which names the pictures of the run (on the Hub no run has it): give others (--data)."
        )
    rows: dict[str, list[tuple]] = {"train": [], "val": [], "test": []}
    for number, row in enumerate(atomic.read(path), start=2):
        if row.get("split") not in rows or row.get("label") not in classes:
            raise ValueError(f"{path}, line {number}: expected a path, a label and train, val or test, not {row}.")
        label = classes.index(row["label"])
        rows[row["split"]].append((row["path"], label, row.get("group"), row.get("copies") or ""))
    parts = {}
    for name, part in rows.items():
        if part:
            paths, labels, groups, sets = zip(*part, strict=True)
            groups, sets = () if None in groups else groups, sets if any(sets) else ()
            parts[name] = Listing(paths, labels, classes, groups=groups, duplicate_sets=sets)
    return Splits(parts["train"], parts["val"], parts.get("test"))
