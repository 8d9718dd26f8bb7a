"""The site: its reference is that of the code, links lead where they should, it builds without a warning."""

import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import click
import pytest
from documents import ROOT

import transferkit as tk
from transferkit import recipe, zoo
from transferkit.commands import group

PAGES = ("index", "reference/commands/finetune", "reference/cut-points", "reference/python", "training", "networks")


@pytest.fixture(scope="module")
def theme():
    """The modules of docs/theme."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs" / "theme")
        import notebook_pages
        import reference
        import site_pages

        yield SimpleNamespace(notebooks=notebook_pages, reference=reference, site=site_pages)


def test_every_command_and_option_has_its_place(theme):
    pages = {name: theme.reference.command_page(name) for name in theme.reference.command_names()}
    assert pages.keys() == group.commands.keys()
    for name, page in pages.items():
        command = group.commands[name]
        for each in (command, *getattr(command, "commands", {}).values()):
            options = [param for param in each.params if isinstance(param, click.Option) and param.name != "help_all"]
            assert not [param.opts for param in options if f"`{param.opts[0]}" not in page]
        assert f"](commands/{name}.md)" in theme.reference.commands_page()


def test_every_knob_and_public_name_has_its_place(theme):
    knobs = recipe.list_knobs("data", "augment", "model", "train")
    assert not [knob.name for knob in knobs if f"| `{knob.name}` |" not in theme.reference.knobs_page()]
    assert sorted(re.findall(r"^::: .*\.(\w+)$", theme.reference.python_page(), flags=re.M)) == tk.__all__


def test_cut_points(theme):
    """ResNet-18's by hand: He et al. 2015, table 1."""
    rows = re.findall(r"^\| `(\w+)` \| ([\dx ]+) \| (\d*) \|", theme.reference.cut_table("resnet18"), flags=re.M)
    assert [rows[1], rows[4]] == [("stage1", "56 x 56 x 64", "4"), ("stage4", "7 x 7 x 512", "32")]


def test_tables_keep_their_cells(theme):
    assert theme.reference.table(("a", "b"), [(theme.reference.code("x|y"), theme.reference.prose("<b> | c"))]) == (
        "| a | b |\n|---|---|\n| `x\\|y` | &lt;b&gt; \\| c |\n"
    )


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[a](docs/data.md#lists), ![b](docs/images/c.svg)", "[a](data.md#lists), ![b](images/c.svg)"),
        ("data.md", "[a](../SECURITY.md)", "[a](project/SECURITY.md)"),
        ("data.md", "[a](models.md), [b](#c), [d](https://e.f)", "[a](models.md), [b](#c), [d](https://e.f)"),
        ("project/CONTRIBUTING.md", "[a](docs/architecture.md)", "[a](../architecture.md)"),
        ("reference/knobs.md", "[a](../rules.md)", "[a](../rules.md)"),
        ("features.md", "[a](../notebooks/features.ipynb)", "[a](notebooks/features.md)"),
        ("recipes.md", "[`resnet.toml`](../recipes/resnet.toml)", "`resnet.toml`"),
    ],
)
def test_links_of_the_repository_become_those_of_the_site(theme, page, text, expected):
    place = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    assert theme.site.on_page_markdown(text, page=place, config=None, files=None) == expected


def test_notebooks_keep_their_outputs(theme):
    pages, pictures = theme.notebooks.read(ROOT / "notebooks" / "features.ipynb")
    assert pages.startswith("# ") and "```python\n" in pages
    assert not [name for name in pictures if f"]({name})" not in pages]


def test_notebooks_show_no_codes_of_a_terminal(theme):
    path = ROOT / "notebooks" / "finetuning.ipynb"
    assert "\\u001b[" in path.read_text("utf-8")  # colours of a command's output
    assert "\x1b" not in theme.notebooks.read(path)[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The whole site, built as `make docs` does, where nothing can be downloaded."""
    folder = tmp_path_factory.mktemp("site")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "http_proxy": "http://no.invalid",
        "https_proxy": "http://no.invalid",
    }
    words = [sys.executable, "-m", "mkdocs", "build", "--site-dir", folder]
    ended = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning(site, theme):
    built = {str(path.relative_to(site))[: -len(".html")] for path in site.rglob("*.html")}
    docs = ROOT / "docs"
    sources = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    assert sources | {page.removesuffix(".md") for page in theme.site.homes().values()} <= built
    cuts = (site / "reference" / "cut-points.html").read_text("utf-8")
    assert not [name for name in zoo.variants() if f'<h2 id="{name}">' not in cuts and name != "tiny"]


@pytest.mark.slow
def test_pages_ask_no_other_computer(site):
    for path in site.rglob("*.html"):
        found = re.findall(
            r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?(https?://[^" >]+)', path.read_text("utf-8")
        )
        assert not [address for address in found if "canonical" not in address], path


@pytest.mark.slow
@pytest.mark.skipif(not (os.environ.get("TRANSFERKIT_NODE") and shutil.which("node")), reason="no browser")
@pytest.mark.parametrize("page", PAGES)
def test_pages_in_a_browser(site, page):
    from test_pages_in_browser import check

    check(site / f"{page}.html")
