"""ImageNet's classes: names, WordNet ids and numbers; placeholders for unknown class names."""

from functools import cache
from importlib import resources


def class_names(count: int) -> tuple[str, ...]:
    """Class names of a network with public weights: ImageNet's for 1000 outputs, else placeholders."""
    return tuple(name for _, _, name in _read_classes()) if count == 1000 else placeholder_names(count)


@cache
def synsets() -> dict[str, str]:
    """{WordNet id: name}, in the order of `class_names`: `{"n01440764": "tench", ...}`."""
    return {synset: name for synset, _, name in _read_classes()}


@cache
def challenge_numbers() -> dict[int, str]:
    """{number from 1 to 1000: WordNet id} of the development kit of ILSVRC2012, whose order of classes is different."""
    return {int(number): synset for synset, number, _ in _read_classes()}


def placeholder_names(count: int) -> tuple[str, ...]:
    """Placeholders for unknown class names: "output 3" and not a number, which may be the name of a class folder."""
    return tuple(f"output {i}" for i in range(count))


@cache
def _read_classes() -> tuple[tuple[str, str, str], ...]:
    """(WordNet id, ILSVRC2012_ID, name) of each class."""
    text = resources.files("transferkit.weights").joinpath("imagenet.txt").read_text("utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return tuple((synset, number, name) for synset, number, name in rows)
