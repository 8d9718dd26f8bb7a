"""Recipes in TOML files: those of the package by name, any file, and what a run saves."""

import json
import os
import tomllib
from dataclasses import fields
from pathlib import Path

from transferkit import __version__, atomic, versions
from transferkit.lookup import look_up
from transferkit.recipe import BY_RULE, Recipe, list_knobs

MAX_BYTES = 100_000  # of a recipe's file; ours have at most 20,000
MAX_LINE = 5_000  # characters: for `a.a.a...`, the time of tomllib grows with the square


def list_recipes() -> dict[str, Path]:
    """The files of the recipes that come with the package, by name."""
    package = Path(__file__).parent
    folder = package if (package / "recipes").is_dir() else package.parent  # installed, or in a working copy
    return {path.stem: path for path in sorted(folder.glob("recipes/*.toml"))}


def find_recipe(recipe: str) -> Path:
    """The file of a recipe, by its name or its path.

    Raises:
        UnknownName: there is none.
    """
    path = Path(recipe)
    return path if path.is_file() else look_up(list_recipes(), recipe, "recipe", "transferkit train --help")


def load(path: str | os.PathLike, defaults: Recipe | None = None) -> Recipe:
    """Read a TOML file with tables of knobs, one for each section.

    Args:
        path: the file. It may omit any knob.
        defaults: values of the other knobs; by default `Recipe()`.

    Raises:
        NewerVersionError: a newer transferkit wrote it, with something that is not known.
        ValueError: the file is not TOML, or a section, knob or value is not known.
    """
    text = atomic.read(path, MAX_BYTES).removeprefix("\ufeff")
    longest = max(map(len, text.split("\n")))
    if longest > MAX_LINE:
        raise ValueError(f"{path} is not a recipe: it has a line of {longest:,} characters.")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not a recipe: {error}.") from None
    except RecursionError:
        raise ValueError(f"{path} is not a recipe: it is nested too deeply.") from None
    with versions.reading(path, content):
        return _override(defaults or Recipe(), content, path)


def _override(recipe: Recipe, content: dict, path) -> Recipe:
    """The recipe with the knobs of a file; one that we wrote states our version before its sections."""
    sections = {section.name: section.type for section in fields(Recipe)}
    for section, knobs in content.items():
        if section == versions.VERSION and isinstance(knobs, str):
            continue
        look_up(sections, section, f"section of the recipe {path}")
        if not isinstance(knobs, dict):
            raise ValueError(f"{path}: [{section}] must be a table of knobs.")
        for name in knobs:
            look_up({knob.name: knob for knob in list_knobs(section)}, name, f"knob in [{section}] of {path}")
        recipe = recipe.override(**knobs)
    return recipe


def dumps(recipe: Recipe) -> str:
    """The recipe as TOML: every knob that has a value, with its help as a comment."""
    lines = [f"{versions.VERSION} = {json.dumps(__version__)}  # which wrote this file", ""]
    for section in fields(Recipe):
        lines.append(f"[{section.name}]")
        for knob in list_knobs(section.name):
            value = getattr(getattr(recipe, section.name), knob.name)
            if value is not BY_RULE:
                # a JSON string is a TOML string too, where DEL is escaped
                spelling = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
                lines.append(f"{knob.name} = {spelling}  # {knob.metadata['help']}")
        lines.append("")
    return "\n".join(lines)
