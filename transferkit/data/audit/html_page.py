"""The problems of a folder as one HTML file: pictures in it, nothing fetched, no script."""

import base64
import html
import io
import os

from transferkit import atomic
from transferkit.data import formats, pillow_reader
from transferkit.data.audit.problems import KINDS, UNREADABLE, Problem, count_classes, count_files
from transferkit.data.file_ranges import read_bytes
from transferkit.data.listing import Listing

SIDE = 112  # pixels of a thumbnail
PER_KIND = 60  # problems shown of each kind; the others are counted
LARGEST = 50_000_000  # pixels; thumbnails of larger pictures would cost their whole memory
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
       color: #1c1c1c; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.grid { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; padding: .5rem; border: 1px solid #ddd; border-radius: 4px; max-width: 16rem; }
.pair { display: flex; gap: .4rem; } .none { color: #666; font-size: .8rem; width: 7rem; }
img { max-width: 112px; max-height: 112px; background: #eee; image-rendering: auto; }
figcaption { font-size: .78rem; overflow-wrap: anywhere; margin-top: .3rem; } .leak h2 { color: #b00020; }
"""


def write_page(path: str | os.PathLike, data: str, parts: dict[str, Listing], found: list[Problem]):
    """Write the page: classes, then each kind of problem with thumbnails, equal pictures side by side."""
    root = os.path.join(os.path.abspath(data), "")
    groups = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    groups = {kind: some for kind, some in groups.items() if some}
    sections = [_section(kind, some, root) for kind, some in groups.items()]
    rows = "".join(
        f'<tr><td><a href="#{k}">{KINDS[k]}</a><td class=n>{count_files(some):,}' for k, some in groups.items()
    )
    name = _text(os.path.basename(os.path.abspath(data)))
    images = sum(map(len, parts.values()))
    atomic.write(
        path,
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{name}: check</title><style>{STYLE}</style>\n"
        f"<h1>{name}</h1>\n<p>{images:,} pictures, looked at by transferkit check.</p>\n"
        f"<table><tr><th>problem<th class=n>count{rows}</table>\n{''.join(sections)}{_classes(parts)}</html>\n",
    )


def _classes(parts: dict[str, Listing]) -> str:
    names = list(parts) if len(parts) > 1 else ["pictures"]
    head = "".join(f"<th class=n>{name}" for name in names)
    rows = "".join(
        f"<tr><td>{_text(one)}" + "".join(f"<td class=n>{count:,}" for count in by_part.values())
        for one, by_part in count_classes(parts).items()
    )
    return f"<h2>Classes</h2>\n<table><tr><th>class{head}{rows}</table>\n"


def _section(kind: str, some: list[Problem], root: str) -> str:
    figures = "\n".join(_figure(one, root) for one in some[:PER_KIND])
    more = f"<p>and {len(some) - PER_KIND:,} more</p>" if len(some) > PER_KIND else ""
    title = KINDS[kind][0].upper() + KINDS[kind][1:]
    return (
        f"<section class={kind} id={kind}><h2>{title}: {count_files(some):,}</h2>"
        f"<div class=grid>{figures}</div>{more}</section>\n"
    )


def _figure(one: Problem, root: str) -> str:
    pictures = "".join(_picture(path, root) for path in (one.other, one.path) if path) if _shown(one) else ""
    where = _text(one.path.removeprefix(root)) + ": " if os.path.join(one.path, "") != root else ""
    detail = _text(one.detail.replace(root, ""))
    return f"<figure><div class=pair>{pictures}</div><figcaption>{where}{detail}</figcaption></figure>"


def _shown(one: Problem) -> bool:
    return one.kind not in (*UNREADABLE, "missing-class", "imbalance", "ignored")


def _picture(path: str, root: str) -> str:
    uri = thumbnail(path)
    alt = _text(path.removeprefix(root))
    return f'<img src="{uri}" alt="{alt}" title="{alt}">' if uri else "<div class=none>no thumbnail</div>"


def thumbnail(path: str) -> str:
    """A small picture as a data URI; empty where there can be none."""
    try:
        data = read_bytes(path)
        with formats.open_image(data) as image:
            if image.width * image.height > LARGEST:
                return ""
        small = pillow_reader.thumbnail(data, SIDE)
    except Exception:  # of a damaged file, whatever its reader raises
        return ""
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _text(text: str) -> str:
    """Any file name in a page; a byte that is no text becomes a mark."""
    return html.escape(text.encode("utf-8", "replace").decode())
