"""Errors for unusable weight files, as one sentence."""

from contextlib import contextmanager

from transferkit.lookup import first_line


class UnusableFileError(ValueError):
    """A problem with a file: a sentence without its subject, which `explain_errors` replaces by the path."""


@contextmanager
def explain_errors(path):
    """Turn every exception in this context into a ValueError of one sentence that begins with the path.

    On damaged files, libraries raise errors of any type, some with messages of several lines.
    """
    try:
        yield
    except UnusableFileError as error:
        raise ValueError(f"{path} {error}") from error
    except Exception as error:
        first = first_line(error, "no more is known")
        raise ValueError(f"{path} is damaged or truncated: {type(error).__name__} ({first}).") from error
