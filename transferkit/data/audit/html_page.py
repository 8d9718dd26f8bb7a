"""Write the problems of a data set as one HTML file with thumbnails, without scripts or external files."""

import base64
import html
import io
import os

from PIL import Image

from transferkit import atomic, pages
from transferkit.data import contact_sheet
from transferkit.data.audit.problems import HARMLESS, KINDS, UNREADABLE, Problem, count_classes, count_files
from transferkit.data.listing import Listing
from transferkit.lookup import count_noun

THUMBNAIL_SIZE = 112  # pixels, longer side
MAX_PER_KIND = 60  # problems of each kind that are shown; the others are counted


def write_page(path: str | os.PathLike, data: str, parts: dict[str, Listing], problems: list[Problem]):
    """Write the page: each kind of problem with thumbnails, the harmless ones folded, then the classes.

    Args:
        data: the source, whose paths are shortened in the page.
    """
    root = os.path.join(os.path.abspath(data), "")
    by_kind = {kind: [problem for problem in problems if problem.kind == kind] for kind in KINDS}
    by_kind = {kind: group for kind, group in by_kind.items() if group}
    sections = {kind: _section(kind, group, root) for kind, group in by_kind.items()}
    harmless = [kind for kind in sections if kind in HARMLESS]
    folded = "".join(sections.pop(kind) for kind in harmless)
    if harmless:
        names = ", ".join(KINDS[kind] for kind in harmless)
        folded = f"<details><summary>Harmless for training: {names}</summary>\n{folded}</details>\n"
    rows = "".join(
        f'<tr><td><a href="#{k}">{KINDS[k]}</a><td class=n>{count_files(group):,}' for k, group in by_kind.items()
    )
    name = _text(os.path.basename(os.path.abspath(data)))
    images = sum(map(len, parts.values()))
    atomic.write(
        path,
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{name}: check</title>\n"
        f"<style>{pages.style()}</style>\n"
        f"<main><h1>{name}</h1>\n<p>{count_noun(images, 'picture')}, checked by transferkit check.</p>\n"
        f"<table><tr><th>problem<th class=n>count{rows}</table>\n{''.join(sections.values())}{folded}"
        f"{_class_table(parts)}</main></html>\n",
    )


def _class_table(parts: dict[str, Listing]) -> str:
    names = list(parts) if len(parts) > 1 else ["pictures"]
    head = "".join(f"<th class=n>{name}" for name in names)
    rows = "".join(
        f"<tr><td>{_text(name)}" + "".join(f"<td class=n>{count:,}" for count in by_part.values())
        for name, by_part in count_classes(parts).items()
    )
    return f"<h2>Classes</h2>\n<table><tr><th>class{head}{rows}</table>\n"


def _section(kind: str, problems: list[Problem], root: str) -> str:
    figures = "\n".join(_figure(problem, root) for problem in problems[:MAX_PER_KIND])
    more = f"<p>and {len(problems) - MAX_PER_KIND:,} more</p>" if len(problems) > MAX_PER_KIND else ""
    title = KINDS[kind][0].upper() + KINDS[kind][1:]
    return (
        f"<section class={kind} id={kind}><h2>{title}: {count_files(problems):,}</h2>"
        f"<div class=grid>{figures}</div>{more}</section>\n"
    )


def _figure(problem: Problem, root: str) -> str:
    pictures = (
        "".join(_picture(path, root) for path in (problem.other, problem.path) if path) if _has_picture(problem) else ""
    )
    where = _text(problem.path.removeprefix(root)) + ": " if os.path.join(problem.path, "") != root else ""
    detail = _text(problem.detail.replace(root, ""))
    return f"<figure><div class=pair>{pictures}</div><figcaption>{where}{detail}</figcaption></figure>"


def _has_picture(problem: Problem) -> bool:
    return problem.kind not in (*UNREADABLE, "missing-class", "imbalance", "ignored")


def _picture(path: str, root: str) -> str:
    uri = thumbnail_uri(path)
    alt = _text(path.removeprefix(root))
    return f'<img src="{uri}" alt="{alt}" title="{alt}">' if uri else "<div class=none>no thumbnail</div>"


def thumbnail_uri(path: str, size: int = THUMBNAIL_SIZE) -> str:
    """A thumbnail of at most `size` pixels as a data URI; empty if the picture is damaged or too large."""
    small = contact_sheet.load_thumbnail(path, size)
    return picture_uri(small) if small else ""


def picture_uri(picture: Image.Image) -> str:
    """A picture as a data URI of a JPEG."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _text(text: str) -> str:
    """Escape any file name; a byte that is not text becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode())
