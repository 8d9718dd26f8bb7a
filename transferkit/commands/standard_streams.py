"""Keep a job running if standard output or error is closed, full, or a pipe that nobody reads any more."""

import errno
import io
import os
import sys

UNREAD = {errno.EPIPE, errno.EBADF, errno.EIO, errno.EINVAL}  # EINVAL: a closed pipe on Windows


class _UnbreakableFile(io.FileIO):
    """The file of a standard stream, which discards everything once nobody can read it.

    A full disk is an error for standard output, which has the result, but not for standard error.
    """

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as error:
            _discard(self.fileno())
            if error.errno in UNREAD or self.fileno() == 2:
                return len(data)
            raise


def _discard(number: int, flags: int = os.O_WRONLY):
    """Redirect a file descriptor to the null device, for C++ code and child processes too."""
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def protect_streams():
    """Replace standard output and error by such streams, unless they are terminals or a caller has replaced them.

    Any file name can be printed: bytes that are not text are written unchanged in UTF-8, else as codes.
    """
    if sys.stdin is None:
        _discard(0, os.O_RDONLY)  # otherwise the next opened file becomes standard input
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _discard(number)
        elif stream is not getattr(sys, f"__{name}__"):
            continue
        encoding = getattr(stream, "encoding", "utf-8")
        errors = "surrogateescape" if number == 1 and encoding.lower() == "utf-8" else "backslashreplace"
        if stream is not None and stream.isatty():
            stream.reconfigure(errors=errors)
            continue
        file = io.BufferedWriter(_UnbreakableFile(number, "w", closefd=False))
        setattr(sys, name, io.TextIOWrapper(file, encoding, errors, line_buffering=number == 2))
