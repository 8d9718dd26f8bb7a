"""Which class each output of a network is, where the network does not say: by a file, or by an order of the classes."""

import re
from dataclasses import replace
from itertools import zip_longest

from transferkit import bounded
from transferkit.data.sources.folder_walk import natural_sort_key
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.recipe import Model

ORDERS = {
    "keras": str,
    "natural": natural_sort_key,
}  # sort keys; Keras' image_dataset_from_directory sorts folders as text
FILE = "--classes FILE, the name of each output on a line of its own"
MOST = 12
MOST_BYTES = 10_000_000  # of a list of classes
NUMBERED = re.compile(r"(\d+)(?:\s*[:,;]\s*|\s+)(\S.*)")  # a line of Teachable Machine's labels.txt: `0 cat`


def name_outputs(network: Network, which: Model, classes: tuple[str, ...] = ()) -> Network:
    """The network with the names that `--classes` or `--class-order` give its outputs; else as it is.

    Args:
        which: with the path of a file of names, or an order.
        classes: of the pictures, in any order.

    Raises:
        UnknownName: the network has no classes to be named, has names, or another number of them than `classes`.
        ValueError: the file cannot be used, or holds another number of names.
    """
    if not which.classes and not which.class_order:
        return network
    flag = "--classes" if which.classes else "--class-order"
    if which.classes and which.class_order:
        raise UnknownName(
            f"--classes {which.classes} gives the order too: leave out --class-order {which.class_order}."
        )
    if not network.classes:
        raise UnknownName(f"{network.base} has no classifier whose classes could be named: leave out {flag}.")
    if which.classes:
        names = read_class_names(which.classes)
        if len(names) != len(network.classes):
            raise ValueError(
                f"{which.classes} names {len(names):,} classes, and {network.base} has {len(network.classes):,} "
                "outputs: expected a line for each, in their order."
            )
        return replace(network, classes=names)
    if network.named:
        raise UnknownName(f"{network.base} says what its classes are, {_few(network.classes)}: leave out {flag}.")
    if len(classes) != len(network.classes):
        raise UnknownName(_wrong_count_message(network, classes))
    return replace(network, classes=sort_classes(which.class_order, classes))


def sort_classes(order: str, classes) -> tuple[str, ...]:
    """Class names as one of `ORDERS` has them."""
    return tuple(sorted(classes, key=ORDERS[order]))


def read_class_names(path: str) -> tuple[str, ...]:
    """The names in a text file, one a line; where each has its number before it, as `0 cat`, that is their order.

    Raises:
        OSError: it cannot be read, or is larger than a list of classes.
        ValueError: it is not text, a line between others is empty, or a name is there twice.
    """
    try:
        text = bounded.read_bytes(path, MOST_BYTES).decode("utf-8-sig")
        names = [line.strip() for line in text.rstrip().split("\n")]
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8: expected the name of a class on each line.") from None
    if "" in names:
        raise ValueError(f"{path}, line {names.index('') + 1}: expected the name of a class, not an empty line.")
    names = _sort_numbered_lines(names) or names
    seen = set()
    for number, name in enumerate(names, start=1):
        if name in seen:
            raise ValueError(f"{path}, line {number}: {name!r} is there twice, expected a name for each output.")
        seen.add(name)
    return tuple(names)


def _sort_numbered_lines(lines: list[str]) -> list[str]:
    """The names in the order of the numbers before them, which count the lines from 0 or 1; none where they do not."""
    found = [NUMBERED.fullmatch(line) for line in lines]
    if not all(found):
        return []
    by_number = {int(one[1]): one[2] for one in found}
    start = min(by_number)
    if start > 1 or len(by_number) < len(lines) or max(by_number) != start + len(lines) - 1:
        return []
    return [by_number[number] for number in sorted(by_number)]


def missing_names_message(network: Network, classes: tuple[str, ...]) -> str:
    """The sentence that asks what the outputs of a network without names are.

    Args:
        classes: of the pictures they are to be compared with.
    """
    if len(classes) != len(network.classes):
        return _wrong_count_message(network, classes)
    keras, other = (sort_classes(order, classes) for order in ORDERS)
    differ = next((at for at, pair in enumerate(zip_longest(keras, other)) if pair[0] != pair[1]), None)
    lead = f"{network.base} does not say which class each of its {len(classes):,} outputs is: give"
    if differ is None:
        return f"{lead} --class-order keras if they are {_few(keras)}, in this order, or {FILE}."
    return (
        f"{lead} --class-order keras if they are {_few(keras, differ)}, the alphabetical order of "
        f"image_dataset_from_directory, --class-order natural if they are {_few(other, differ)}, or {FILE}."
    )


def _wrong_count_message(network: Network, classes) -> str:
    return (
        f"{network.base} has {len(network.classes):,} outputs and does not say what they are, and the pictures have "
        f"{len(classes):,} classes, so no order of these matches them: give {FILE}."
    )


def _few(names, differ: int = 0) -> str:
    """Some of the names, those among them at which two orders begin to differ."""
    first = max(0, differ - MOST + 3) if differ >= MOST else 0
    shown = ", ".join(names[first : first + MOST])
    return ("..., " if first else "") + shown + (", ..." if first + MOST < len(names) else "")
