"""Writes the tables of `docs/augmentations.md` from the tables of steps and their docstrings.

    .venv/bin/python tests/record_augmentations.py

A test fails if the file differs from them.
"""

from pathlib import Path

from transferkit.data.augment import augmentation, step_list

PATH = Path(__file__).parent.parent / "docs" / "augmentations.md"
HEAD = """# The steps of `--augment`

`transferkit data augmentations` prints these tables, which `tests/record_augmentations.py` writes from the code.

A line of steps is `"crop(0.3) | flip | rotate(10)"`: the steps are separated by `|` and done in this order. A step's
numbers stand in brackets, in their order; those that are missing have the default. `transferkit data preview pets/
--augment LINE` draws what the network will see, and [a notebook](../notebooks/augmentation.ipynb) what each step does.
"""


def source() -> str:
    """The text of the page."""
    parts = [HEAD]
    for place, title in step_list.PLACES.items():
        parts.append(f"\n## {title}\n\n| step, with its defaults | numbers | effect | paper |\n|---|---|---|---|\n")
        for step in step_list.list_steps():
            if step["place"] == place:
                cells = (
                    f"`{step_list.spell_defaults(step)}`",
                    step_list.spell_ranges(step),
                    step["effect"],
                    step["paper"],
                )
                parts.append(f"| {' | '.join(cells)} |\n")
    parts.append("\n## Names of several steps\n\n| name | steps |\n|---|---|\n")
    parts += [f"| `{name}` | {_code(line)} |\n" for name, line in augmentation.LEVELS.items()]
    return "".join(parts)


def _code(line: str) -> str:
    """A line of steps in a cell, where `|` would end it."""
    return f"`{line}`".replace("|", "\\|") if line else "none"


if __name__ == "__main__":
    PATH.write_text(source(), "utf-8")
