"""The names of ImageNet's classes, and what stands for those that nobody has named."""

from functools import cache
from importlib import resources


@cache
def class_names(count: int) -> tuple[str, ...]:
    """The names of ImageNet's classes for a network of 1000 outputs, in the order all public sets share; of another
    number of outputs the names are unknown."""
    if count != 1000:
        return unnamed(count)
    return tuple(resources.files("transferkit.weights").joinpath("imagenet.txt").read_text("utf-8").splitlines())


def unnamed(count: int) -> tuple[str, ...]:
    """What stands for the names of outputs where nobody has said them: never a bare number, which a folder may bear."""
    return tuple(f"output {i}" for i in range(count))
