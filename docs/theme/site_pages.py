"""The hook of mkdocs.yml: pages of the site that are no files of docs/, and links that leave docs/.

README.md is the first page; CONTRIBUTING.md and others of the repository's root are in `project/`, notebooks in
`notebooks/`, and what `reference.py` writes from the code is in `reference/`. In the sources, links are those of the
repository, so that it can be read without the site.
"""

import os
import re
from pathlib import Path, PurePosixPath

import notebook_pages
import reference
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
PROJECT = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?!https?://|mailto:|#)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def homes() -> dict[str, str]:
    """{path of a source in the repository: path of its page}, for pages that are no files of docs/."""
    notebooks = {
        f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in sorted(ROOT.glob("notebooks/*.ipynb"))
    }
    return {"README.md": "index.md"} | {name: f"project/{name}" for name in PROJECT} | notebooks


def on_config(config):
    """Fill in the lists of pages in `nav`: commands and notebooks."""
    lists = {
        "commands": ["reference/commands.md", *(f"reference/commands/{name}.md" for name in reference.command_names())],
        "notebooks": [page for page in homes().values() if page.startswith("notebooks/")],
    }
    for entry in config.nav:
        for title, pages in entry.items():
            entry[title] = pages if isinstance(pages, str) else [_fill(page, lists) for page in pages]
    return config


def _fill(entry, lists: dict[str, list[str]]):
    """An entry of `nav` itself; an empty list becomes the pages of that name, or those of that folder in docs/."""
    if isinstance(entry, str) or next(iter(entry.values())):
        return entry
    (name,) = entry
    pages = lists.get(name) or [f"{name}/{path.name}" for path in sorted((ROOT / "docs" / name).glob("*.md"))]
    return {name.capitalize(): pages}


def on_files(files, config):
    """Add the pages that are no files of docs/."""
    for source, page in homes().items():
        if source.endswith(".ipynb"):
            text, pictures = notebook_pages.read(ROOT / source)
            for name, content in pictures.items():
                files.append(File.generated(config, f"notebooks/{name}", content=content))
        else:
            text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
    for page, text in reference.pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links of the repository into links of the site; one to a file that is no page becomes its text."""
    sources = {page: source for source, page in homes().items()}
    own = PurePosixPath(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def change(link: re.Match) -> str:
        target = os.path.normpath(own.parent / link["path"]).replace(os.sep, "/")
        home = homes().get(target)
        if home is None and not target.startswith("docs/"):
            return link["text"]
        place = os.path.relpath(home or target.removeprefix("docs/"), PurePosixPath(page.file.src_uri).parent)
        return f"[{link['text']}]({place}{link['anchor'] or ''})"

    return LINK.sub(change, markdown)
