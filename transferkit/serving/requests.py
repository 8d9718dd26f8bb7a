"""What a server is asked to be, checked before TensorFlow is loaded, and how it refuses a request."""

from dataclasses import dataclass
from importlib.util import find_spec

from transferkit.lookup import UnknownName

PACKAGES = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
PACKAGES |= {"prometheus_client": "prometheus-client"}  # modules, and the packages that have them


@dataclass(frozen=True)
class Limits:
    """What a server accepts.

    Attributes:
        megabytes: of one request.
        pictures: of one request.
        batch: pictures that the network sees at once.
        waiting: pictures of all requests that are read or wait for the network.
        waiting_megabytes: of all requests that are being answered.
        seconds: for the upload of one request.
    """

    megabytes: int = 20
    pictures: int = 32
    batch: int = 32
    waiting: int = 512
    waiting_megabytes: int = 1000
    seconds: float = 60


class Refused(Exception):
    """A request, or a picture of it, that is answered by an error.

    Attributes:
        status: of HTTP.
        kind: of the error, for the metrics.
        sentence: for people.
    """

    def __init__(self, status: int, kind: str, sentence: str):
        super().__init__(sentence)
        self.status, self.kind, self.sentence = status, kind, sentence


def check_packages():
    """Raise `UnknownName` if a package that serves is missing."""
    if missing := [package for module, package in PACKAGES.items() if not find_spec(module)]:
        raise UnknownName(f"serve needs {missing[0]}, which is not installed: pip install 'transferkit[serve]'.")
