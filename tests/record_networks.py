"""Writes the tables of knobs and of published errors in `docs/networks.md` from those of the zoo.

    .venv/bin/python tests/record_networks.py

A test fails if the file differs from them.
"""

import re

from documents import ROOT, fill_in

from transferkit import zoo
from transferkit.zoo.knobs import KNOBS, spell_value
from transferkit.zoo.published import published_errors

PATH = ROOT / "docs" / "networks.md"


def knobs_table() -> str:
    """A row for each knob: its values, its effect, the networks that have it."""
    rows = ["| knob | values, the default first | effect | networks |", "|---|---|---|---|"]
    for name, knob in KNOBS.items():
        values = knob.describe().replace("|", ", ")
        rows.append(f"| `{name}` | {values} | {knob.help} | {', '.join(networks_with(name))} |")
    return "\n".join(rows)


def networks_with(name: str) -> list[str]:
    """The networks that have a knob, by the word that their names begin with, with their default if it is another."""
    found: dict[str, dict[str, list[str]]] = {}
    for network, row in zoo.variants().items():
        if name in row.knobs:
            word = re.match(r"[a-z]+(_cnn)?", network)[0]
            found.setdefault(word, {}).setdefault(spell_value(row.knobs[name].default), []).append(network)
    texts = []
    for word, defaults in found.items():
        for value, networks in defaults.items():
            among = [word] if len(defaults) == 1 else dict.fromkeys(re.sub(r"\d+", "*", each) for each in networks)
            other = "" if value == spell_value(KNOBS[name].default) else f" ({value})"
            texts += [f"{each}{other}" for each in among]
    return texts


def errors_table() -> str:
    """A row for each line of `published.csv`."""
    rows = ["| network | year | pictures | views | top-1 | top-5 | source |", "|---|---|---|---|---|---|---|"]
    for each in published_errors():
        errors = ["" if error is None else f"{error:g}" for error in (each.top1, each.top5)]
        cells = (f"`{each.network}`", str(each.year), each.data, each.views, *errors, each.source)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def source() -> str:
    """The page with its tables as they should be."""
    tables = {"knobs": knobs_table(), "errors": errors_table()}
    return fill_in(PATH.read_text("utf-8"), tables, "tests/record_networks.py")


if __name__ == "__main__":
    PATH.write_text(source(), "utf-8")
