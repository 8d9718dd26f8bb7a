"""HDF5 files are opened here only after another process has read them to the end.

On about one in 700 files with a few bytes changed the HDF5 library loops for ever in C, where nothing can stop it but
the end of the process; on others it crashes. So a child process, `hdf5_process.py`, reads the file first.
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

from transferkit.weights.errors import Unusable, worded

# What a read may take by the clock: disks of other machines are slow. The child's own limits are of processor time.
SECONDS, BYTES_A_SECOND = 30, 10_000_000
PROCESS = Path(__file__).with_name("hdf5_process.py")
MOST_UNPACKED = 2**26  # bytes that an archive may declare beside four times its own length


def check(path: str | os.PathLike):
    """See that reading an HDF5 file ends, and that the file holds all it speaks of.

    Groups and arrays lie in the file itself, each once; together they declare no more data than it has; all of it can
    be read.

    Raises:
        ValueError: one sentence, which begins with the path.
        OSError: the process that reads it could not be started.
    """
    with checking() as ask, worded(path):
        ask(path)


def check_keras_archive(path: str | os.PathLike):
    """See that every member of a `.keras` file has the length and the checksum that the archive says; check its HDF5.

    Raises:
        ValueError: one sentence, which begins with the path.
        OSError: the process that reads it could not be started.
    """
    with checking() as ask, worded(path):
        for member in _sound_members(path):
            if member.endswith(".h5"):
                ask(path, member)


@contextmanager
def checking() -> Iterator[Callable]:
    """`ask(path, member="")`, which raises `Unusable`, by one child process for many files.

    The child is started again after a file that it did not survive.
    """
    child = _start()

    def ask(path, member=""):
        nonlocal child
        if child.poll() is not None:
            _end(child)
            child = _start()
        with zipfile.ZipFile(path) if member else open(path, "rb") as file:
            size = file.getinfo(member).file_size if member else os.fstat(file.fileno()).st_size
        if problem := _asked(child, [os.path.abspath(path), member], SECONDS + size / BYTES_A_SECOND):
            raise Unusable(problem)

    try:
        yield ask
    finally:
        _end(child)


def _asked(child: subprocess.Popen, question: list, seconds: float) -> str | None:
    deadline = threading.Timer(seconds, child.kill)
    deadline.start()
    try:
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()
        if line := child.stdout.readline():
            return json.loads(line)
    except BrokenPipeError:
        pass
    finally:
        deadline.cancel()
    child.wait()
    return "is damaged: the HDF5 library crashes on it or comes to no end."


def _start() -> subprocess.Popen:
    search = os.pathsep.join(place for place in sys.path if place)
    # "::" keeps the library from loading what a file names as its filter; one thread needs less memory reserved
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
    if child.stdout.readline() != '"ready"\n':
        _end(child)
        raise OSError(f"The process that checks HDF5 files could not be started with {sys.executable}.")
    return child


def _end(child: subprocess.Popen):
    child.kill()
    child.stdout.close()
    child.stdin.close()
    child.wait()


def _sound_members(path) -> list[str]:
    """The names of an archive's members, each of them read once."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        declared = sum(member.file_size for member in archive.infolist())
        if declared > 4 * os.path.getsize(path) + MOST_UNPACKED:
            raise Unusable(f"is damaged: it declares {declared:,} bytes, out of proportion to its length.")
        if len(set(names)) < len(names):
            raise Unusable("is damaged: two members of the archive have the same name.")
        if wrong := archive.testzip():
            raise Unusable(f"is damaged: the checksum of {wrong!r} is not that of its content.")
    return names
