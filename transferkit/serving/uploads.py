"""The pictures of a request, read into memory within limits: nothing is written to a disk."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from transferkit.lookup import count_noun
from transferkit.serving.requests import Limits, Refused

MULTIPART = "multipart/form-data"
FIELDS, FIELD_SIZE = 16, 4096  # of parts without a file, and their bytes
NO_NAME = "picture"  # the path of a picture that came without a file name
BUSY = "The server is busy: try again in a second."


@dataclass(frozen=True)
class Upload:
    """A file of a request: its name, as the client gave it, and its content."""

    name: str
    data: bytes


class Budget:
    """Something that all requests share, as memory."""

    def __init__(self, most: int):
        self.most, self.used = most, 0

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Yield take(count), which raises `Refused` if there is not enough; at the end all is given back."""
        taken = 0

        def take(count: int):
            nonlocal taken
            if self.used + count > self.most:
                raise Refused(503, "busy", BUSY)
            self.used += count
            taken += count

        try:
            yield take
        finally:
            self.used -= taken


class _InMemoryParser(MultiPartParser):
    spool_max_size = sys.maxsize  # larger files would go to a temporary folder
    has_ended = False

    def on_end(self):
        self.has_ended = True


async def read_uploads(request: Request, limits: Limits, take: Callable[[int], None]) -> list[Upload]:
    """The files of a multipart request, or the picture that is its body.

    Args:
        take: called with the number of bytes of each piece that arrives.

    Raises:
        Refused: they are too large, too many, too slow, not pictures, or not understood.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    declared, most = request.headers.get("content-length", "0"), limits.megabytes * 10**6
    if declared.isdecimal() and int(declared) > 2 * most:
        raise _too_large(limits)
    body = request.stream()
    try:
        async with asyncio.timeout(limits.seconds):
            try:
                async with aclosing(_limited(body, limits, take)) as stream:
                    return (
                        await _read_files(request, stream, limits) if kind == MULTIPART else await _read(stream, kind)
                    )
            except Refused:
                await _skip(body, 2 * most)  # uvicorn would not after `Connection: close`, and the answer is lost
                raise
    except TimeoutError:
        raise Refused(408, "timeout", f"The upload took more than {limits.seconds:g} seconds.") from None


async def _limited(
    body: AsyncIterator[bytes], limits: Limits, take: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The body of a request, refused if it is too large."""
    size = 0
    async for piece in body:
        size += len(piece)
        if size > limits.megabytes * 10**6:
            raise _too_large(limits)
        take(len(piece))
        yield piece


async def _skip(body: AsyncIterator[bytes], most: int):
    """Read what is left of a body, up to a size."""
    size = 0
    async for piece in body:
        size += len(piece)
        if size > most:
            return


def _too_large(limits: Limits) -> Refused:
    return Refused(413, "too_large", f"The request has more than {limits.megabytes} MB, which are the most.")


async def _read(stream: AsyncIterator[bytes], kind: str) -> list[Upload]:
    """The picture that is the body."""
    if not (kind.startswith("image/") or kind == "application/octet-stream"):
        raise Refused(415, "no_picture", f"Expected {MULTIPART} or a body of image/*, not {kind or 'no type'}.")
    return [Upload(NO_NAME, b"".join([piece async for piece in stream]))]


async def _read_files(request: Request, stream: AsyncIterator[bytes], limits: Limits) -> list[Upload]:
    async def whole():
        async for piece in stream:
            yield piece
        if not parser.has_ended:
            raise Refused(400, "request", "The multipart body is cut off: its last boundary is missing.")

    parser = _InMemoryParser(
        request.headers, whole(), max_files=limits.pictures, max_fields=FIELDS, max_part_size=FIELD_SIZE
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise Refused(
                413, "too_many", f"At most {count_noun(limits.pictures, 'picture')} go into one request."
            ) from None
        raise Refused(400, "request", f"The multipart body is not understood: {error.message.rstrip('.')}.") from None
    files = [value for _, value in form.multi_items() if not isinstance(value, str)]
    try:
        uploads = [Upload(file.filename or NO_NAME, await file.read()) for file in files]
    finally:
        await form.close()
    if not uploads:
        raise Refused(415, "no_picture", "The request has no pictures: expected parts with a file name.")
    return uploads
