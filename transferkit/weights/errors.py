"""Errors over weight files, in one sentence."""

from contextlib import contextmanager

from transferkit.lookup import first_line


class UnusableFileError(ValueError):
    """What is wrong with a file, a sentence without its subject; `explain_errors` puts the path there."""


@contextmanager
def explain_errors(path):
    """Turn every exception in this context into a ValueError of one sentence that begins with the path.

    On damaged content the libraries raise errors of any type, some with several lines.
    """
    try:
        yield
    except UnusableFileError as error:
        raise ValueError(f"{path} {error}") from error
    except Exception as error:
        first = first_line(error, "no more is known")
        raise ValueError(f"{path} is damaged or truncated: {type(error).__name__} ({first}).") from error
