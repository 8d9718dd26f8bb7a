"""Architecture rules: import order, third-party packages, sizes of modules and functions."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "transferkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROWS = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "architecture.md").read_text("utf-8"), flags=re.M)
HOMES = {  # where a package may be imported
    "click": {"commands"},
    "tensorflow": {"data", "training", "exchange"},
    "torch": set(),
    "torchvision": set(),
}


def place(path: Path) -> str:
    """The row of the architecture that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    """Names of all modules that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


INTERNALS = {  # attributes of Keras objects that `keras_internals` alone may use
    "_flatten_layers",
    "_get_variable_index",
    "_keras_history",
    "_maybe_symbolic_build",
    "_nodes_by_depth",
    "_run_through_graph",
    "_seed_generators",
    "_stateful_handle_non_finite_grads",
    "_stateless_handle_non_finite_grads",
    "_symbolic_build",
}
PRIVATE_CLASSES = {"BaseConv", "BaseConvTranspose", "BaseDepthwiseConv", "BasePooling", "BaseSeparableConv", "GetItem"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_api_of_keras_is_used_in_one_place(path):
    if path.name == "keras_internals.py":
        return
    assert not [name for name in imports(path) if name.startswith("keras.src")]
    text = path.read_text("utf-8")
    assert "keras.src" not in text
    assert not INTERNALS & set(re.findall(r"\b_\w+", text))
    assert not PRIVATE_CLASSES & set(re.findall(r"\w+", text))
    own = r"\b(?:layer|model|network\.model|operation|op|optimizer|tensor|variable|generator|keras)\._[a-z]\w*"
    assert not re.findall(own, text)


def test_every_module_is_in_the_architecture_table():
    assert {place(path) for path in MODULES} - {"__init__", "__main__"} == set(ROWS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_rows_above(path):
    if place(path) in ("__init__", "__main__"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "transferkit" and len(parts) > 1 and parts[1] in ROWS:
            assert ROWS.index(parts[1]) <= ROWS.index(place(path)), f"{path.name} imports {name}"
        if parts[0] in HOMES:
            assert place(path) in HOMES[parts[0]], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "tests").glob("*.py"))], ids=lambda path: path.name)
def test_sizes(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than 60 lines"


WRITERS = {
    "console.py",
    "standard_streams.py",
    "hdf5_process.py",
    "help_pages.py",
    "prediction_output.py",
    "result_output.py",
    "__init__.py",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_reach_a_terminal_by_console_and_options_alone(path):
    """They make escape sequences in file and class names harmless, and are tested for it."""
    if path.name not in WRITERS:
        assert not re.findall(r"click\.echo|\bprint\(|sys\.std(?:out|err)\.write|\bon\.print", path.read_text("utf-8"))


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_and_help_load_nothing_heavy():
    heavy = "{'tensorflow', 'keras', 'sklearn', 'matplotlib', 'rich', 'numpy'} & set(sys.modules)"
    out = run(f"import sys, transferkit, transferkit.commands; print({heavy})")
    assert out.strip() == "set()"


def test_public_names_are_not_module_names():
    import transferkit

    assert not set(transferkit.__all__) & {place(path) for path in MODULES}
    for name in transferkit.__all__:
        assert callable(getattr(transferkit, name))
    with pytest.raises(AttributeError, match="no attribute 'fintune'"):
        transferkit.fintune  # noqa: B018


FOREIGN = {
    "model",
    "run",
    "network",
    "metrics",
    "history",
    "split",
    "recipe",
    "features",
}  # also `model.fit`, `run.metrics`


@cache
def defined_names() -> dict[str, set[str]]:
    """{dotted module below the package: its functions, classes and variables}."""
    found = {}
    for path in MODULES:
        names = found.setdefault(".".join(path.relative_to(PACKAGE).with_suffix("").parts), set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(
    "path", [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", *MODULES], ids=lambda p: p.name
)
def test_names_in_prose_are_defined(path):
    """`module.name` in docs and docstrings, whole or by the module's last word, is there."""
    modules = defined_names()
    for dotted in re.findall(r"`((?:[a-z_0-9]+\.)+[A-Za-z_]\w*)\b", path.read_text("utf-8")):
        dotted = dotted.removeprefix("transferkit.")
        head, _, name = dotted.rpartition(".")
        homes = [module for module in modules if module == head or module.rpartition(".")[2] == head]
        if (
            homes
            and dotted not in modules
            and head not in FOREIGN
            and name not in ("py", "json", "csv", "toml", "keras", "png", "html", "npz")
        ):
            assert any(name in modules[home] for home in homes), f"{dotted} is not defined"


@pytest.mark.parametrize(
    "path", [*(ROOT / "tests").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")], ids=lambda p: p.name
)
def test_scripts_in_strings_import_what_is_defined(path):
    """A child process runs them, in slow tests above all, and no other tool looks into a string."""
    modules = defined_names()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        for home, names in re.findall(r"from transferkit\.?([\w.]*) import ([\w, ]+)", node.value):
            for name in (each.split(" as ")[0].strip() for each in names.split(",")):
                dotted = f"{home}.{name}".strip(".")
                is_module = dotted in modules or f"{dotted}.__init__" in modules
                defined = modules.get(home, set()) | modules.get(f"{home}.__init__".strip("."), set())
                assert is_module or name in defined, f"line {node.lineno}: {dotted} is not defined"
