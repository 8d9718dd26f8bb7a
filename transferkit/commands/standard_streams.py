"""Standard output and error that never end a job: closed, full, or a pipe that nobody reads any more."""

import errno
import io
import os
import sys

UNREAD = {errno.EPIPE, errno.EBADF, errno.EIO, errno.EINVAL}  # EINVAL is Windows' word for a closed pipe


class _Lasting(io.FileIO):
    """The file of a standard stream. From the first write on that nobody can read, all is dropped.

    Of standard error, which is the progress alone, a full disk drops it too; of the answer it is an error.
    """

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _drop(self.fileno())
            if error.errno in UNREAD or self.fileno() == 2:
                return len(data)
            raise


def _drop(number: int, flags: int = os.O_WRONLY):
    """Make a file descriptor lead nowhere, for the C++ side and child processes too."""
    nowhere = os.open(os.devnull, flags)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def protect():
    """Put such streams in the place of Python's own; those of a terminal, or put there by a caller, stay.

    Any file name may be printed: bytes of it that are no text come out as they are in UTF-8, else as codes.
    """
    if sys.stdin is None:
        _drop(0, os.O_RDONLY)  # or the next file that is opened is standard input
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _drop(number)
        elif stream is not getattr(sys, f"__{name}__"):
            continue
        encoding = getattr(stream, "encoding", "utf-8")
        errors = "surrogateescape" if number == 1 and encoding.lower() == "utf-8" else "backslashreplace"
        if stream is not None and stream.isatty():
            stream.reconfigure(errors=errors)
            continue
        file = io.BufferedWriter(_Lasting(number, "w", closefd=False))
        setattr(sys, name, io.TextIOWrapper(file, encoding, errors, line_buffering=number == 2))
