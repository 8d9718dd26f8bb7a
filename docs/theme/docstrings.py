"""An extension of mkdocstrings: `Example:`, as Keras spells it, is a section with code."""

import re

import griffe


class KerasSections(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_):
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
