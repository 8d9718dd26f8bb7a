"""Pages in headless Chromium, with axe. CONTRIBUTING.md says how to get them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pictures import folder
from served import serving

from transferkit.report import run_page
from transferkit.serving.app import create_app
from transferkit.serving.classifier import make_classifier

NODE = os.environ.get("TRANSFERKIT_NODE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (NODE and shutil.which("node")), reason="no browser: TRANSFERKIT_NODE is not set"),
]


def look(*words: str | Path) -> list[dict]:
    """What the browser says of a page, at two widths, light and dark."""
    script = Path(__file__).parent / "check_page.mjs"
    done = subprocess.run(["node", script, *words], cwd=NODE, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(*words: str | Path) -> list[dict]:
    rows = look(*words)
    for row in rows:
        assert row["violations"] == [] and row["passes"] > 10
        assert row["needed"] <= row["width"], "the page is wider than the window"
        assert row["asked"] == [] and row["broken"] == 0
    return rows


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


def test_the_page_of_a_server(finished, pets, tmp_path):
    """Pictures are chosen and a Grad-CAM is asked for by keyboard."""
    (tmp_path / "notes.jpg").write_text("no picture")
    classifier = make_classifier(finished.network, str(finished.folder))
    with serving(create_app(classifier, "pets")) as url:
        rows = check(url, tmp_path / "page", pets / "cat" / "000.jpg", pets / "dog" / "001.jpg", tmp_path / "notes.jpg")
    for row in rows:
        cat, dog, notes = row["cards"]
        assert cat.startswith("000.jpg\ncat\ncat\t") and dog.startswith("001.jpg\ndog\ndog\t")
        assert "Show where it looked (Grad-CAM)" in cat and re.search(r"\d\.\d%", cat)
        assert "The picture cannot be read: not a known picture format." in notes


def test_the_check_finds_what_is_wrong(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<html><title>x</title><img src="https://no.invalid/a.png"><div style="width: 2000px">x</div></html>'
    )
    for row in look(page):
        assert any(violation.startswith("image-alt") for violation in row["violations"])
        assert any(violation.startswith("html-has-lang") for violation in row["violations"])
        assert row["needed"] > row["width"] and row["asked"] == ["https://no.invalid/a.png"] and row["broken"] == 1
