"""Check HDF5 files in a child process before this process opens them.

On about one in 700 files with a few changed bytes, the HDF5 library loops for ever in C, and only killing the process
stops it; on other files it crashes. So a child process, `hdf5_process.py`, reads the whole file first.
"""

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from transferkit.weights.errors import UnusableFileError, explain_errors

# Maximum wall-clock time of reading, as network disks are slow. The child limits its own processor time.
SECONDS, BYTES_A_SECOND = 30, 10_000_000
PROCESS = Path(__file__).with_name("hdf5_process.py")
MAX_UNPACKED = 2**26  # bytes that an archive may declare in addition to four times its length


def check_hdf5(path: str | os.PathLike):
    """Check that an HDF5 file can be read completely, and that it contains all the data that it declares.

    All groups and arrays must be in the file itself, each once, and declare no more data in total than the file has.

    Raises:
        ValueError: the file is damaged.
        OSError: the child process could not be started.
    """
    with hdf5_checker() as ask, explain_errors(path):
        ask(path)


def check_keras_archive(path: str | os.PathLike):
    """Check the sizes and checksums of the members of a `.keras` file, and its HDF5 member.

    Raises:
        ValueError: the file is damaged.
        OSError: the child process could not be started.
    """
    with hdf5_checker() as ask, explain_errors(path):
        for member in _check_members(path):
            if member.endswith(".h5"):
                ask(path, member)


@contextmanager
def hdf5_checker() -> Iterator[Callable]:
    """Start a child process for many files; yield a function ask(path, member="") that raises `UnusableFileError`.

    The child is started again after a file that crashed it.
    """
    child = _start_child()

    def ask(path, member=""):
        nonlocal child
        if child.poll() is not None:
            _stop_child(child)
            child = _start_child()
        seconds = SECONDS + _hdf5_size(path, member) / BYTES_A_SECOND
        if problem := _ask_child(child, [os.path.abspath(path), member], seconds):
            raise UnusableFileError(problem)

    try:
        yield ask
    finally:
        _stop_child(child)


def _hdf5_size(path, member: str) -> int:
    if not member:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(member).file_size


def _ask_child(child: subprocess.Popen, question: list, seconds: float) -> str | None:
    deadline = threading.Timer(seconds, child.kill)
    deadline.start()
    try:
        stdin, stdout = _pipes(child)
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        if line := stdout.readline():
            return json.loads(line)
    except BrokenPipeError:
        pass
    finally:
        deadline.cancel()
    child.wait()
    return "is damaged: the HDF5 library crashes on it or comes to no end."


def _start_child() -> subprocess.Popen:
    search = os.pathsep.join(folder for folder in sys.path if folder)
    # "::" keeps the library from loading filter plugins that a file names; with one thread, less memory is reserved
    more = {"PYTHONPATH": search, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-P", str(PROCESS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | more,
        text=True,
        encoding="ascii",
    )
    if _pipes(child)[1].readline() != '"ready"\n':
        _stop_child(child)
        raise OSError(f"The process that checks HDF5 files could not be started with {sys.executable}.")
    return child


def _stop_child(child: subprocess.Popen):
    child.kill()
    stdin, stdout = _pipes(child)
    stdout.close()
    stdin.close()
    child.wait()


def _pipes(child: subprocess.Popen) -> tuple[IO[str], IO[str]]:
    """Standard input and output of the child."""
    if child.stdin is None or child.stdout is None:
        raise ValueError("The process was started without pipes.")
    return child.stdin, child.stdout


def _check_members(path) -> list[str]:
    """Check the members of an archive, and return their names."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        declared = sum(member.file_size for member in archive.infolist())
        if declared > 4 * os.path.getsize(path) + MAX_UNPACKED:
            raise UnusableFileError(f"is damaged: it declares {declared:,} bytes, out of proportion to its length.")
        if len(set(names)) < len(names):
            raise UnusableFileError("is damaged: two members of the archive have the same name.")
        if wrong := archive.testzip():
            raise UnusableFileError(f"is damaged: the checksum of {wrong!r} is not that of its content.")
    return names
