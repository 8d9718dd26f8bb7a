"""In a terminal of any width no line is too long and no word is broken; pipes and NO_COLOR get plain, full lines."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading

import pytest
from pictures import folder

from transferkit import commands, text_layout

QUICK = ("--weights", "none", "--size", "32", "--epochs", "2")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SEPARATORS = "/-_.,:;=|+&)"


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """terminal(columns, *words) runs a command line in a pseudo-terminal: all that it writes there."""
    monkeypatch.chdir(tmp_path)

    def call(columns: int, *words) -> str:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        written, before = [], [os.dup(1), os.dup(2)]
        reader = threading.Thread(target=read_all, args=(master, written))
        reader.start()
        with monkeypatch.context() as patch:
            os.dup2(slave, 1), os.dup2(slave, 2)
            for number, name in ((1, "stdout"), (2, "stderr")):
                stream = os.fdopen(number, "w", encoding="utf-8", closefd=False, buffering=1)
                patch.setattr(sys, name, stream), patch.setattr(sys, f"__{name}__", stream)
            try:
                with pytest.raises(SystemExit):
                    commands.main([str(word) for word in words])
            finally:
                sys.stdout.flush()
                for number, old in enumerate(before, start=1):
                    os.dup2(old, number), os.close(old)
                os.close(slave)
                reader.join()
                os.close(master)
        return b"".join(written).decode()

    return call


def read_all(master: int, written: list[bytes]):
    try:
        while part := os.read(master, 65536):
            written.append(part)
    except OSError:  # nobody has the other end open any more
        pass


def lines_of(text: str) -> list[str]:
    """The lines that stay on the screen: bars are erased."""
    lines = [ESCAPE.sub("", line).rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in lines if "━" not in line]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """Pictures with long names."""
    return folder(
        tmp_path_factory.mktemp("a-folder-of-pictures") / "pets", {"british_shorthair_kittens": 12, "dog": 12}
    )


def is_whole(word: str, words: set[str]) -> bool:
    """Whether a word is one of these, or a piece of one that begins and ends at a separator."""
    if word in words:
        return True
    for full in words:
        start = full.find(word)
        end = start + len(word)
        if start >= 0 and (not start or full[start - 1] in SEPARATORS) and (end == len(full) or word[-1] in SEPARATORS):
            return True
    return False


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "words",
    [
        ("finetune", "--base", "tiny", "--data", "{named}", "--dry-run", *QUICK),
        ("models",),
        ("models", "--licences"),
        ("check", "{named}"),
        ("predict", "{run}", "{named}"),
        ("inspect", "tiny"),
        ("inspect", "tiny", "--cuts"),
        ("data", "augmentations"),
        ("finetune", "--data", "{named}", "--base", "a-network-that-nobody-has-ever-heard-of-nor-will"),
        ("finetune", "--help"),
    ],
    ids=" ".join,
)
def test_no_line_is_too_long_and_no_word_broken(terminal, cli, named, finished, columns, words):
    words = [word.format(named=named, run=finished.folder) for word in words]
    lines = lines_of(terminal(columns, *words))
    assert len(lines) > 1 and max(map(len, lines)) <= columns
    if "--help" in words:
        return
    _, out, err = cli(*words)
    whole = set((out + err).split())
    assert [word for line in lines for word in line.split() if not is_whole(word, whole)] == []


def test_a_pipe_and_no_color_have_no_escape_codes(terminal, cli, named, finished, monkeypatch):
    words = ("check", named)
    assert "\x1b" in terminal(80, *words)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in terminal(80, *words)
    _, out, err = cli(*words)
    assert "\x1b" not in out + err
    assert any(len(line) > 80 and str(named) in line for line in cli("predict", finished.folder, named)[1].splitlines())


def test_verbose_says_how_weights_were_read(cli, finished, pets):
    """It may stand before the command or after it, and holds for one command line."""
    words = ("finetune", "--base", finished.folder, "--data", pets, "--dry-run", *QUICK[2:])
    assert "weights loaded" not in cli(*words)[1]
    assert "weights loaded" in cli("--verbose", *words)[1]
    assert "weights loaded" in cli(*words, "--verbose")[1]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 13, ["one two three"]),
        ("one two three", 12, ["one two", "three"]),
        ("in /folder/a_long-name.jpg now", 14, ["in /folder/a_", "long-name.jpg", "now"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("日本 語語語", 6, ["日本", "語語語"]),
        ("", 4, [""]),
    ],
)
def test_wrap(text, width, lines):
    assert text_layout.wrap(text, width).split("\n") == lines


def test_columns_are_made_narrower_where_it_hurts_least():
    rows = [("number", "text"), ("1,234.5 M", "many words of a sentence"), ("2", "a/path/of/folders")]
    assert text_layout.fit_columns(rows, 100) == [9, 24]
    assert text_layout.fit_columns(rows, 22) == [9, 11]
    assert text_layout.fit_columns(rows, 19) == [9, 8]
    assert sum(text_layout.fit_columns(rows, 10)) == 8
