"""Notebooks as pages of the site, with the outputs that are kept in the file."""

import base64
import re
from pathlib import Path

import nbformat

COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal


def read(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and {file name: content} of its pictures."""
    parts, pictures = [], {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"```python\n{cell.source}\n```")
            for output in cell.outputs:
                parts.append(_show(output, f"{path.stem}-{len(pictures)}", pictures))
    return "\n\n".join(parts) + "\n", pictures


def _show(output, name: str, pictures: dict[str, bytes]) -> str:
    """An output as Markdown; its picture is added to `pictures`."""
    data = output.get("data", {})
    for kind, ending in {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}.items():
        if kind in data:
            pictures[f"{name}.{ending}"] = base64.b64decode(data[kind])
            return f"![Figure drawn by the cell above]({name}.{ending})"
    if "text/html" in data:
        return f"<div class='output'>{''.join(data['text/html'])}</div>"
    text = COLOURS.sub("", output.get("text") or data.get("text/plain", ""))
    return f"```text\n{text.rstrip()}\n```" if text else ""
