"""The experiments. Each module here with a table `EXPERIMENTS` is a group; they import Keras inside their functions."""

import functools
import importlib
import pkgutil

from transferkit.lab.experiment import Experiment


@functools.cache
def groups() -> dict[str, dict[str, Experiment]]:
    """The experiments by name, by what the module is about: the first line of its docstring. Does not import Keras."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return {(module.__doc__ or "").split("\n")[0].rstrip("."): module.EXPERIMENTS for module in modules}


def by_name() -> dict[str, Experiment]:
    """All experiments by name."""
    return {name: each for table in groups().values() for name, each in table.items()}
