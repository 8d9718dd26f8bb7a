"""List the steps of augmentation with their numbers and papers, from the tables of steps and their docstrings."""

import inspect
import re

from transferkit.data.augment.augmentation import OPS, parameter_limits, step_parameters
from transferkit.data.augment.crops import WINDOWS
from transferkit.data.augment.mixing import BATCH_STEPS

TABLES: dict[str, dict] = {"window": WINDOWS, "picture": OPS, "batch": BATCH_STEPS}  # in the order of a line
PLACES = {  # what the steps of each table do
    "window": "Choose the part of the picture that is decoded: at most one, the first of a line",
    "picture": "Change a picture",
    "batch": "Mix the pictures of a batch and their labels: the last of a line",
}
PAPER = re.compile(r"\s*\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")  # "(Zhang et al. 2017, section 2)"


def list_steps() -> list[dict]:
    """List the steps in the order of their tables.

    Returns:
        A dict for each step: `step` (its name), `place` (a key of `PLACES`), `numbers` (a dict for each parameter in
        order, with `name`, `default`, `low` and `high`, both included), `effect` (one sentence) and `paper` ("" if the
        step has none).

    Example:
        >>> list_steps()[0]["numbers"][0]
        {'name': 'area', 'default': 0.08, 'low': 0.01, 'high': 1}
    """
    return [_describe(name, step, place) for place, steps in TABLES.items() for name, step in steps.items()]


def _describe(name: str, step, place: str) -> dict:
    text = " ".join((inspect.getdoc(step) or "").partition("\n\nArgs:")[0].split("\n\n")[0].split())
    papers = PAPER.findall(inspect.getdoc(step) or "")
    numbers = []
    for parameter in step_parameters(step):
        limits = parameter_limits(parameter)
        ends = {"low": limits[0], "high": limits[-1]}
        numbers.append({"name": parameter.name, "default": parameter.default} | ends)
    effect = PAPER.sub("", text)
    return {"step": name, "place": place, "numbers": numbers, "effect": effect, "paper": "; ".join(papers)}


def spell_defaults(step: dict) -> str:
    """A step as it is written, with its defaults: "crop(0.08, 1.333)"."""
    numbers = ", ".join(f"{number['default']:.4g}" for number in step["numbers"])
    return f"{step['step']}({numbers})" if numbers else step["step"]


def spell_ranges(step: dict) -> str:
    """The ranges of a step's numbers: "area 0.01 to 1, aspect 1 to 10"."""
    return ", ".join(f"{number['name']} {number['low']:g} to {number['high']:g}" for number in step["numbers"])
