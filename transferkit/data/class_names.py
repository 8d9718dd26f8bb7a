"""Name the outputs of a network that has no class names: by a file, or by an order of the classes."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest

from transferkit import untrusted_files
from transferkit.data.sources.folder_walk import natural_sort_key
from transferkit.lookup import UnknownName, count_noun
from transferkit.network import Network
from transferkit.recipe import Model

ORDERS: dict[str, Callable] = {
    "keras": str,
    "natural": natural_sort_key,
}  # sort keys; Keras' image_dataset_from_directory sorts folders as text
FILE_HINT = "--classes FILE, the name of each output on a line of its own"
MAX_SHOWN = 12  # names in a message
MAX_BYTES = 10_000_000  # of a list of classes
NUMBERED_LINE = re.compile(r"(\d+)(?:\s*[:,;]\s*|\s+)(\S.*)")  # a line of Teachable Machine's labels.txt: `0 cat`


def name_outputs(network: Network, options: Model, classes: tuple[str, ...] = ()) -> Network:
    """Name a network's outputs as `--classes` or `--class-order` says; without them the network is unchanged.

    Args:
        options: the recipe's [model], with the path of a file of names, or an order.
        classes: of the pictures, in any order.

    Raises:
        UnknownName: the network has no classifier, already has names, or not as many outputs as `classes`.
        ValueError: the file cannot be used, or has another number of names.
    """
    if not options.classes and not options.class_order:
        return network
    flag = "--classes" if options.classes else "--class-order"
    if options.classes and options.class_order:
        raise UnknownName(f"--classes {options.classes} gives the order too: omit --class-order {options.class_order}.")
    if not network.classes:
        raise UnknownName(f"{network.base} has no classifier whose classes could be named: omit {flag}.")
    if options.classes:
        names = read_class_names(options.classes)
        if len(names) != len(network.classes):
            raise ValueError(
                f"{options.classes} names {len(names):,} classes, and {network.base} has {len(network.classes):,} "
                "outputs: expected a line for each, in their order."
            )
        return replace(network, classes=names)
    if network.has_class_names:
        raise UnknownName(f"{network.base} says what its classes are, {_shorten(network.classes)}: omit {flag}.")
    if len(classes) != len(network.classes):
        raise UnknownName(_wrong_count_message(network, classes))
    return replace(network, classes=sort_classes(options.class_order, classes))


def sort_classes(order: str, classes) -> tuple[str, ...]:
    """Sort class names by one of `ORDERS`."""
    return tuple(sorted(classes, key=ORDERS[order]))


def read_class_names(path: str) -> tuple[str, ...]:
    """Read the names in a text file, one a line; if each has a number before it, as `0 cat`, they are sorted by it.

    Raises:
        OSError: it cannot be read, or is too large.
        ValueError: it is not text, has an empty line between others, or has a name twice.
    """
    try:
        text = untrusted_files.read_bytes(path, MAX_BYTES).decode("utf-8-sig")
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
    """The names sorted by the numbers before them, which count from 0 or 1; empty if they do not."""
    matches = [match for match in map(NUMBERED_LINE.fullmatch, lines) if match]
    if len(matches) < len(lines):
        return []
    by_number = {int(match[1]): match[2] for match in matches}
    start = min(by_number)
    if start > 1 or len(by_number) < len(lines) or max(by_number) != start + len(lines) - 1:
        return []
    return [by_number[number] for number in sorted(by_number)]


def missing_names_message(network: Network, classes: tuple[str, ...]) -> str:
    """The message that asks for the names of a network's outputs.

    Args:
        classes: of the pictures to compare them with.
    """
    if len(classes) != len(network.classes):
        return _wrong_count_message(network, classes)
    keras, natural = (sort_classes(order, classes) for order in ORDERS)
    differ = next((at for at, pair in enumerate(zip_longest(keras, natural)) if pair[0] != pair[1]), None)
    lead = f"{network.base} does not say which class each of its {count_noun(len(classes), 'output')} is: give"
    if differ is None:
        return f"{lead} --class-order keras if they are {_shorten(keras)}, in this order, or {FILE_HINT}."
    return (
        f"{lead} --class-order keras if they are {_shorten(keras, differ)}, the alphabetical order of "
        f"image_dataset_from_directory, --class-order natural if they are {_shorten(natural, differ)}, or {FILE_HINT}."
    )


def _wrong_count_message(network: Network, classes) -> str:
    return (
        f"{network.base} has {count_noun(len(network.classes), 'output')} and does not say what they are, and "
        f"the pictures have {len(classes):,} classes, so no order of these matches them: give {FILE_HINT}."
    )


def _shorten(names, differ: int = 0) -> str:
    """Join some of the names, among them the one at index `differ`, where two orders differ first."""
    first = max(0, differ - MAX_SHOWN + 3) if differ >= MAX_SHOWN else 0
    shown = ", ".join(names[first : first + MAX_SHOWN])
    return ("..., " if first else "") + shown + (", ..." if first + MAX_SHOWN < len(names) else "")
