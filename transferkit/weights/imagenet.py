"""The names of ImageNet's classes."""

from functools import cache
from importlib import resources


@cache
def class_names(count: int) -> tuple[str, ...]:
    """The names of ImageNet's classes for a network of 1000 outputs, in the order all public sets share."""
    if count != 1000:
        return tuple(str(i) for i in range(count))
    return tuple(resources.files("transferkit.weights").joinpath("imagenet.txt").read_text("utf-8").splitlines())
