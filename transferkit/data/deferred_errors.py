"""Record errors of our own code in a pipeline that skips unreadable pictures, so that they end the job.

Before a missing picture is called unreadable, `raise_recorded` raises the error if it was not the picture's.
"""

import functools

_recorded: list[Exception] = []


def record_errors(function):
    """Decorate a Python function of a graph to record the errors it raises."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as error:  # of any type: a damaged picture does not raise here
            _recorded.append(error)
            raise

    return call


def raise_recorded():
    """Raise the first recorded error, if there is one.

    Raises:
        RuntimeError: from that error.
    """
    if _recorded:
        error = _recorded[0]
        _recorded.clear()
        raise RuntimeError(f"A picture was read, but its view failed: {type(error).__name__}: {error}") from error
