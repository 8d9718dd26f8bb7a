"""Pages in headless Chromium, with axe. CONTRIBUTING.md says how to get them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from pictures import folder

from transferkit.report import run_page

NODE = os.environ.get("TRANSFERKIT_NODE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (NODE and shutil.which("node")), reason="no browser: TRANSFERKIT_NODE is not set"),
]


def look(page: Path) -> list[dict]:
    """What the browser says of a page, at two widths, light and dark."""
    script = Path(__file__).parent / "check_page.mjs"
    done = subprocess.run(["node", script, page], cwd=NODE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(page: Path):
    for row in look(page):
        assert row["violations"] == [] and row["passes"] > 10
        assert row["needed"] <= row["width"], "the page is wider than the window"
        assert row["asked"] == [] and row["broken"] == 0


def test_the_page_of_a_run(finished, tmp_path):
    from test_report import make_run

    pictures = sorted(map(str, folder(tmp_path / "pictures", {"a": 40}).rglob("*.*")))
    classes = ("a" * 40, *(f"class {number}" for number in range(11)))
    check(run_page.write_run_page(make_run(tmp_path / "run", pictures, finished, classes)))


def test_the_page_of_an_evaluation(cli, finished, pets, tmp_path):
    assert cli("evaluate", finished.folder, "--data", pets, "--slice", "size", "--out", tmp_path / "found")[0] == 0
    check(tmp_path / "found" / "report.html")


def test_the_leaderboard(cli, finished, tmp_path):
    copied = shutil.copytree(finished.folder, tmp_path / ("a" * 60))
    assert cli("report", finished.folder, copied, "--out", tmp_path / "runs.html")[0] == 0
    check(tmp_path / "runs.html")


def test_the_page_of_check(cli, data, tmp_path):
    root = data({"cat/broken.jpg": b"no picture", "dog/again.jpg": b""})
    shutil.copy(next((root / "cat").glob("0*")), root / "dog" / "copy.jpg")
    cli("check", root, "--html", tmp_path / "check.html")
    check(tmp_path / "check.html")


def test_the_check_finds_what_is_wrong(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<html><title>x</title><img src="https://no.invalid/a.png"><div style="width: 2000px">x</div></html>'
    )
    for row in look(page):
        assert any(violation.startswith("image-alt") for violation in row["violations"])
        assert any(violation.startswith("html-has-lang") for violation in row["violations"])
        assert row["needed"] > row["width"] and row["asked"] == ["https://no.invalid/a.png"] and row["broken"] == 1
