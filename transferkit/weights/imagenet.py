"""ImageNet's classes: their names, WordNet ids and numbers, and what stands for those that nobody has named."""

from functools import cache
from importlib import resources


def class_names(count: int) -> tuple[str, ...]:
    """The names of ImageNet's classes for a network of 1000 outputs, in the order all public sets share; of another
    number of outputs the names are unknown."""
    return tuple(name for _, _, name in _table()) if count == 1000 else unnamed(count)


@cache
def synsets() -> dict[str, str]:
    """{WordNet id: name}, in the order of `class_names`: `{"n01440764": "tench", ...}`."""
    return {synset: name for synset, _, name in _table()}


@cache
def challenge_numbers() -> dict[int, str]:
    """{number from 1 to 1000: WordNet id}, as the development kit of ILSVRC2012 counts classes: in another order."""
    return {int(number): synset for synset, number, _ in _table()}


def unnamed(count: int) -> tuple[str, ...]:
    """What stands for the names of outputs where nobody has said them: never a bare number, which a folder may bear."""
    return tuple(f"output {i}" for i in range(count))


@cache
def _table() -> tuple[tuple[str, str, str], ...]:
    """(WordNet id, ILSVRC2012_ID, name) of each class."""
    text = resources.files("transferkit.weights").joinpath("imagenet.txt").read_text("utf-8")
    return tuple(tuple(line.split("\t")) for line in text.splitlines())
