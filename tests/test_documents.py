"""README and docs/: links lead somewhere, commands exist, and every code block runs, on real photographs."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import documents
import pytest
import record_readme
from documents import PAGES, ROOT

from transferkit.commands import group

MOST_NOT_RUN = 0.3  # of all: blocks that need the internet, a cluster or another environment
BLOCKS = [block for path in PAGES for block in documents.read_blocks(path)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_lead_to_files_and_headings(path):
    for target in documents.links(path):
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), f"{target} does not exist"
        assert there.is_relative_to(ROOT), f"{target} is outside the repository"
        assert not anchor or anchor in documents.anchors(there), f"there is no heading for {target}"


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_pictures_are_described(path):
    assert "![](" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_rows_of_a_table_have_as_many_cells_as_its_heading(path):
    """A bar within a cell is written with a backslash, else it begins another cell."""
    for is_row, lines in itertools.groupby(documents.without_blocks(path).splitlines(), lambda line: line[:1] == "|"):
        rows = list(lines)
        assert not is_row or len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_readme_has_the_tables_of_its_script():
    assert record_readme.PATH.read_text("utf-8") == record_readme.source(), "run python tests/record_readme.py"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_names_its_language_and_why_it_does_not_run(block):
    assert block.language in documents.RUN | documents.SHOWN
    assert not block.reason or (block.language in documents.RUN and len(block.reason.split()) > 2)


def test_few_blocks_do_not_run():
    runnable = [block for block in BLOCKS if block.language in documents.RUN]
    assert len([block for block in runnable if block.reason]) <= MOST_NOT_RUN * len(runnable)


def check_line(line: str):
    """Whether the command and its options exist."""
    command, words = group, shlex.split(re.sub(r"\.\.\.|\[|\]|(?<=\w)(\|[\w-]+)+", " ", line), comments=True)
    words = list(itertools.takewhile(lambda word: word not in documents.OPERATORS, words))
    while words and isinstance(command, click.Group) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    assert not isinstance(command, click.Group) or not words or words[0].startswith("-"), f"no command: {line}"
    known = {name for each in (command, group) for param in each.params for name in param.opts}
    for word in words:
        if re.match(r"--?[a-z]", word):
            assert word.partition("=")[0] in known | {"--help", "--version"}, f"no option {word}: {line}"


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_commands_and_options_exist(path):
    lines = documents.inline_commands(path)
    for block in documents.read_blocks(path):
        if block.language == "bash":
            lines += [
                line.removeprefix("transferkit ")
                for line in documents.block_commands(block)
                if line.startswith("transferkit ")
            ]
    for line in lines:
        check_line(line)


def test_a_wrong_option_is_found():
    with pytest.raises(AssertionError, match="no option --bass"):
        check_line("finetune --bass resnet34")
    with pytest.raises(AssertionError, match="no command"):
        check_line("fintune --base resnet34")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    from documented_folder import make_folder

    return make_folder(tmp_path_factory.mktemp("documents"))


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PAGES if any(block.path == path for block in BLOCKS)], ids=relative)
def test_blocks_run(path, made, cli, tmp_path, monkeypatch):
    """All blocks of a page in one folder, in their order; later Python blocks see the names of earlier ones."""
    from documented_folder import make_small, names, with_stand_ins

    place = shutil.copytree(made, tmp_path / "documents")
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    known = names()
    for block in documents.read_blocks(path):
        if block.reason or block.language in documents.SHOWN:
            continue
        if block.language == "python":
            exec(compile(with_stand_ins(block.code), str(block), "exec"), known)
            continue
        for line in documents.block_commands(block):
            words = shlex.split(line, comments=True)
            if words[0] == "transferkit" and "cpu:2" in words:  # a process divides its processor before it uses it
                line = shlex.join(["transferkit", *make_small(line)])
            elif words[0] == "transferkit" and not documents.OPERATORS & set(words):
                status, _, said = cli(*make_small(line))
                monkeypatch.chdir(place)
                assert status == 0, f"{block}: {line}\n{said}"
                continue
            ended = subprocess.run(["bash", "-ec", line], capture_output=True, text=True)
            assert ended.returncode == 0, f"{block}: {line}\n{ended.stderr}"
