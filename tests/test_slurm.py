"""Slurm's host lists: parsed by our code, and by Slurm's program if it is installed."""

import stat
import sys

import pytest

from transferkit.lookup import UnknownName
from transferkit.training.distributed import slurm, workers

LISTS = {
    "": "",
    "login1": "login1",
    "a,b-2,c.example.org": "a b-2 c.example.org",
    "a[1-3]": "a1 a2 a3",
    "a[07-09,12],login1": "a07 a08 a09 a12 login1",
    "a[8-11]": "a8 a9 a10 a11",
    "a[098-101]": "a098 a099 a100 a101",
    "a[1,03,5-06]": "a1 a03 a5 a6",
    "a[01-02]-ib": "a01-ib a02-ib",
    "a[01-02]-ib,b": "a01-ib a02-ib b",
    "rack[1-2]node[1-2]": "rack1node1 rack1node2 rack2node1 rack2node2",
    "a[1,3-5]b[2]": "a1b2 a3b2 a4b2 a5b2",
    "a[1-2][08-10]": "a108 a109 a110 a208 a209 a210",
    "x,r[1-2]n[1,3].cluster,y[5]": "x r1n1.cluster r1n3.cluster r2n1.cluster r2n3.cluster y5",
    "[1-2]a": "1a 2a",
    " a[1-2]\n": "a1 a2",
}


@pytest.mark.parametrize(("words", "expected"), LISTS.items())
def test_host_lists(words, expected):
    assert slurm.parse_hosts(words) == expected.split()


@pytest.mark.parametrize(
    "words", ["a[1-2", "a1-2]", "a[]", "a[1-]", "a[-2]", "a[b-c]", "a[1;2]", "a,,b", "a,", "a b", "a[[1]]", "a[1-2,]"]
)
def test_invalid_host_lists(words):
    with pytest.raises(UnknownName) as caught:
        slurm.parse_hosts(words)
    assert str(caught.value) == f"Slurm's list of hosts must be like gpu[07-09,12],login1, not {words!r}."


@pytest.mark.parametrize("part", ["5-3", "1-65537"])
def test_invalid_ranges(part):
    with pytest.raises(UnknownName, match=f"has '{part}': expected a range that goes up, to at most 65536 hosts"):
        slurm.parse_hosts(f"a[1-2,{part}]")


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A function that puts a program of this name on the path, alone there; the program is Python."""

    def put(code):
        program = tmp_path / "bin" / "scontrol"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable} -S\nimport sys, time\n{code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent))

    return put


def test_slurms_program_is_used(scontrol):
    """It is trusted: what it answers is not what would be read here."""
    scontrol("assert sys.argv[1:] == ['show', 'hostnames', 'a[1-2]b'], sys.argv; print('one', 'two', sep='\\n')")
    assert slurm.list_hosts("a[1-2]b") == ["one", "two"]
    environment = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "a[1-2]b"}
    port = workers.FIRST_PORT
    assert workers.find_cluster("auto", environment) == workers.Cluster((f"one:{port}", f"two:{port}"), 1)


@pytest.mark.parametrize("code", ["sys.exit('error')", "print()", "time.sleep(60)"])
def test_without_slurms_program_our_parser_is_used(scontrol, monkeypatch, code):
    monkeypatch.setattr(slurm, "TIMEOUT", 1)
    scontrol(code)
    assert slurm.list_hosts("a[1-2]b") == ["a1b", "a2b"]
    monkeypatch.setenv("PATH", "")
    assert slurm.list_hosts("a[1-2]b") == ["a1b", "a2b"]
