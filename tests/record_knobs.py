"""Writes `transferkit/knobs.py`, the types of all knobs for editors and type checkers, from the fields of the recipe.

    .venv/bin/python tests/record_knobs.py

A test fails if the file differs from the recipe.
"""

import dataclasses
from pathlib import Path

from transferkit import recipe

PATH = Path(recipe.__file__).with_name("knobs.py")
HEAD = '''"""The knobs as keyword arguments, for editors and type checkers. Written by `tests/record_knobs.py`."""

from typing import TypedDict


class Knobs(TypedDict, total=False):
    """Fields of `recipe.Recipe`; `transferkit finetune --help-all` explains each."""

'''


def type_name(knob) -> str:
    """The annotation of a knob; None leaves an open one to the rules."""
    name = knob.type.__name__ if isinstance(knob.type, type) else str(knob.type)
    return f"{name} | None" if knob.default is recipe.BY_RULE and "None" not in name else name


def source() -> str:
    """The text of the module. `base` and the pictures are arguments of their own wherever knobs are taken."""
    knobs = [knob for section in dataclasses.fields(recipe.Recipe) for knob in dataclasses.fields(section.type)]
    others = ("base", "data")
    return HEAD + "".join(f"    {knob.name}: {type_name(knob)}\n" for knob in knobs if knob.name not in others)


if __name__ == "__main__":
    PATH.write_text(source(), "utf-8")
