"""Errors of our own inside a pipeline that skips pictures which cannot be read: they end the job instead.

A picture that is missing is asked for its reason, and before that it is asked here whether it was the picture.
"""

import functools

_found: list[Exception] = []


def record_errors(function):
    """A Python function of a graph whose errors are remembered."""

    @functools.wraps(function)
    def call(*args, **words):
        try:
            return function(*args, **words)
        except Exception as error:  # whatever it is, it is no damaged picture's
            _found.append(error)
            raise

    return call


def raise_recorded():
    """Raise the first error that was noted, if there is one.

    Raises:
        RuntimeError: from that error.
    """
    if _found:
        error = _found[0]
        _found.clear()
        raise RuntimeError(f"A picture was read, but its view failed: {type(error).__name__}: {error}") from error
