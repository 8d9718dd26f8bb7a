"""Short experiments with convolutional networks, on data that come with a dependency; each ends in one sentence."""

import importlib

from transferkit.console import silenced
from transferkit.lab import experiments
from transferkit.lab.experiment import Finding
from transferkit.lookup import look_up

LIST = "transferkit lab"  # the command that lists the experiments


def run(name: str, *, seeds: int | None = None) -> Finding:
    """Run an experiment.

    Args:
        name: as `transferkit lab` lists it.
        seeds: how often it is repeated with other random numbers; by default as often as the experiment says.

    Raises:
        UnknownName: there is no such experiment.
        ValueError: `seeds` of an experiment that has no random numbers, or less than 2.

    Example:
        >>> lab.run("flipped-kernel").sentence
        "With a kernel that is not symmetric, Keras' layer differs from the convolution by up to 10.12, ..."
    """
    found = look_up(experiments.by_name(), name, "experiment", LIST)
    if seeds is not None and not found.seeds:
        raise ValueError(f"{name} has no random numbers: omit seeds.")
    if seeds is not None and seeds < 2:
        raise ValueError(f"{name} needs at least 2 seeds for an interval, not {seeds}.")
    with silenced():  # TensorFlow's lines, which notebooks show in red
        importlib.import_module("tensorflow")
    return found.function(seeds=seeds or found.seeds) if found.seeds else found.function()
