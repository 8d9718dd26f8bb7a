"""Unread output never ends a job: closed streams, closed pipes, full disks."""

import os
import subprocess
import sys
import textwrap

import pytest

MODELS = [sys.executable, "-m", "transferkit", "models"]  # prints more than a pipe holds in one line
JOB = """
    import sys
    from transferkit.commands import standard_streams
    standard_streams.protect_streams()
    from transferkit.console import say, silenced
    print("first", file=sys.stderr, flush=True)
    sys.stdin.readline()
    with silenced():
        pass
    for _ in range(3000):
        say("x" * 100)
        print("y" * 100)
    open("done", "w").write("whole")
"""


def shell(line: str) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)


def test_a_closed_pipe():
    done = shell(f"{' '.join(MODELS)} | head -1; echo ${{PIPESTATUS[0]}}")
    first, status = done.stdout.splitlines()
    assert first.startswith("network") and status == "0" and done.stderr == ""


@pytest.mark.parametrize(
    ("streams", "status"), [(">&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 0), ("nonsense 2>&-", 2)]
)
def test_closed_streams(streams, status):
    done = shell(f"{' '.join(MODELS)} {streams}")
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_is_an_error_for_results_but_not_for_progress():
    done = shell(f"{' '.join(MODELS)} >/dev/full")
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device.\n")
    assert shell(f"{' '.join(MODELS)} nonsense 2>/dev/full").returncode == 2


@pytest.mark.parametrize("left", ["stdout", "stderr"])
def test_a_job_continues_when_its_pipe_is_closed(left, tmp_path):
    pipe = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, left: subprocess.PIPE}
    code = textwrap.dedent(JOB)
    job = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=tmp_path, text=True, **pipe)
    assert job.stderr.readline() == "first\n"
    getattr(job, left).close()
    _, rest = job.communicate("go\n", timeout=120)
    assert job.returncode == 0 and (tmp_path / "done").read_text() == "whole"
    assert left == "stderr" or "Broken" not in rest


def test_names_of_any_bytes_are_printed_as_they_are():
    code = (
        "from transferkit.commands.standard_streams import protect_streams; "
        "protect_streams(); print('caf\\udce9 \\U0001f600')"
    )
    for charset, expected in {"utf-8": b"caf\xe9 \xf0\x9f\x98\x80\n", "ascii": b"caf\\udce9 \\U0001f600\n"}.items():
        environment = os.environ | {"PYTHONIOENCODING": charset}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert done.stdout == expected
