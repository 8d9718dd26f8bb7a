"""The package: what its files say of it, what is in the wheel, and the wheel alone in an environment of its own."""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from conftest import UNIX_ONLY

import transferkit as tk
from transferkit import recipe_files

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MOST_OF_WHEEL = 2_000_000  # bytes


def call(*words, **options) -> str:
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert ended.returncode == 0, f"{words}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M))


def test_the_workflow_runs_what_exists():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    flow = yaml.safe_load(text)
    triggers = flow[True]  # YAML 1.1 reads `on` as true
    (weekly,) = triggers["schedule"]
    assert weekly["cron"].split()[2:4] == ["*", "*"] and weekly["cron"].split()[4].isdigit()
    matrix = flow["jobs"]["test"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert matrix["python"] == named
    commands = [step["run"] for job in flow["jobs"].values() for step in job["steps"] if "run" in step]
    assert [shlex.split(command)[:2] for command in commands] == [["make", "test"], ["make", "next-keras"]]
    assert {"test", "next-keras"} <= make_targets()


@pytest.mark.parametrize("target", ["test", "docs", "next-keras", "wheel"])
@pytest.mark.parametrize("system", ["", "Windows_NT"])
def test_make_finds_the_programs_of_an_environment(target, system, tmp_path):
    """What `make` would run, which is printed and not run."""
    lines = call("make", "-n", target, f"VENV={tmp_path}", cwd=ROOT, env=os.environ | {"OS": system})
    programs = set(re.findall(rf"{re.escape(str(tmp_path))}/(\w+)/python", lines))
    assert programs == {"Scripts" if system else "bin"}
    named = re.findall(r"tests/\w+\.py", lines)
    assert not [path for path in named if not (ROOT / path).exists()]


def test_tests_that_need_unix_are_left_out_elsewhere():
    imports = re.compile(r"^\s*(?:import|from) (?:fcntl|pty|pwd|resource|termios)\b", flags=re.M)
    found = [path.name for path in ROOT.glob("tests/test_*.py") if imports.search(path.read_text("utf-8"))]
    assert sorted(found) == UNIX_ONLY


def test_the_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == tk.__version__ and citation["license"] == PROJECT["license"]
    assert [one["name"] for one in citation["authors"]] == [one["name"] for one in PROJECT["authors"]]
    assert " ".join(citation["abstract"].split()) == PROJECT["description"]
    assert {"cff-version", "message", "title", "type"} <= citation.keys()


def test_the_core_needs_no_tensorflow_datasets():
    def names(requirements):
        return {re.match(r"[\w-]+", one)[0] for one in requirements}

    extras = PROJECT["optional-dependencies"]
    assert "tensorflow-datasets" not in names(PROJECT["dependencies"]) and "tensorflow-datasets" in names(
        extras["tfds"]
    )
    assert "sys_platform == 'linux'" in extras["gpu"][0]
    assert any(re.search(r"[\[,]tfds[,\]]", one) for one in extras["test"])


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with the sdist and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.mark.slow
def test_what_the_wheel_holds(dist):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (message_from_bytes(wheel.read(name)) for name in names if name.endswith("/METADATA"))
    assert path.stat().st_size < MOST_OF_WHEEL
    assert {name.split("/")[0] for name in names} == {"transferkit", f"transferkit-{tk.__version__}.dist-info"}
    package = {str(file.relative_to(ROOT)) for file in (ROOT / "transferkit").rglob("*.*") if file.suffix != ".pyc"}
    assert package <= names
    assert {f"transferkit/recipes/{name}.toml" for name in recipe_files.list_recipes()} <= names
    assert {"transferkit/zoo/published.csv", "transferkit/pages/layout.html", "transferkit/py.typed"} <= names
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["Author"] == "The transferkit authors"
    assert not metadata.get_all("Project-URL")  # until there is an address that is true
    readme = metadata.get_payload()
    links = [target for target in re.findall(r"\]\(([^)]+)\)", readme) if not target.startswith("https://")]
    assert metadata["Description-Content-Type"] == "text/markdown" and "docs/training.md" in readme and links == []


@pytest.mark.slow
def test_what_the_sdist_holds(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "Makefile", "recipes/resnet.toml"} <= names
    assert {"tests/test_package.py", "docs/training.md", "transferkit/__init__.py"} <= names
    assert not [name for name in names if name.startswith((".ci", ".venv", "dist"))]


@pytest.mark.slow
def test_the_wheel_alone(dist, tmp_path):
    """Installed without what it needs, which comes from this environment; in an empty folder."""
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    programs = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    call(sys.executable, "-m", "pip", "--python", programs / "python", "install", "--no-deps", "--no-index", wheel)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(call(programs / "python", "-c", code).strip())
    (site / "others.pth").write_text(f"{call(sys.executable, '-c', code).strip()}\n", "utf-8")
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {"cwd": tmp_path / "empty", "env": environment}
    assert call(programs / "python", "-c", "import transferkit; print(transferkit.__file__)", **options).startswith(
        str(site)
    )
    program = programs / "transferkit"
    assert call(program, "--version", **options).strip().endswith(tk.__version__)
    assert "resnet34" in call(program, "models", **options)
    assert "--out" in call(program, "demo", "--help", **options)
    assert "resnet_cifar" in call(program, "train", "--help", **options)  # recipes are in the wheel
    assert call(program, "doctor", **options).strip().endswith("Everything works.")
    assert not os.listdir(tmp_path / "empty")
