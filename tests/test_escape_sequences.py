"""Names with escape sequences have no effect on the terminal in any command."""

import pytest
from conftest import QUICK
from pictures import folder

EVIL = "cat\x1b]0;owned\x07\x1b[31m"


@pytest.fixture
def evil(tmp_path):
    return folder(tmp_path / "evil", {EVIL: 8, "dog": 8})


@pytest.mark.slow
def test_finetune_and_evaluate(cli, tiny, evil):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (QUICK | {"epochs": 1, "head_epochs": 1}).items()]
    words = ("finetune", "--base", tiny, "--data", evil, *flags)
    for more in (("--out", "a\x1b[2Jrun"), ("--folds", 2, "--out", "folds")):
        status, out, error = cli(*words, *more)
        assert status == 0, error
        assert "\x1b" not in out + error and "\x07" not in out + error
        assert "cat\\x1b]0;owned" in out + error
    status, out, error = cli("evaluate", "a\x1b[2Jrun", "--data", evil)
    assert status == 0 and "\x1b" not in out + error and "cat\\x1b]0;owned" in out


def test_errors(cli, evil):
    for words in (("predict", "\x1b[2J", evil), ("finetune", "--data", evil, "--base", "\x1b[2J"), ("\x1b[2J",)):
        status, out, error = cli(*words)
        assert status and "\x1b" not in out + error and "\\x1b[2J" in error
