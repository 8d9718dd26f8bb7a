"""What is wrong with a weight file, in one sentence."""

from contextlib import contextmanager


class Unusable(ValueError):
    """What is wrong with a file, as a sentence that lacks its subject; `worded` puts the path there."""


@contextmanager
def worded(path):
    """Turn every exception into a ValueError of one sentence that begins with the path.

    The libraries of the formats raise all sorts on damaged content, and some of it in several lines.
    """
    try:
        yield
    except Unusable as error:
        raise ValueError(f"{path} {error}") from error
    except Exception as error:
        first = (str(error).strip() or "no more is known").splitlines()[0].rstrip(".")
        raise ValueError(f"{path} is damaged or truncated: {type(error).__name__} ({first}).") from error
