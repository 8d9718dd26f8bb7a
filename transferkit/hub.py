"""Networks on the Hugging Face Hub, by names as `hf://USER/NAME@REVISION`: downloaded into the cache folder.

huggingface_hub does the work: HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean there. Only those files are
downloaded that a run or a Keras model has; none is a program.
"""

import logging
import os
import re
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from transferkit import atomic
from transferkit.cache_folder import cache_folder
from transferkit.lookup import UnknownName, first_line, quote

PREFIX = "hf://"
ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)/?", flags=re.A)
NAME = re.compile(r"hf://([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w.-]+(?:/[\w.-]+)*))?", flags=re.A)
MODEL = "model.keras"
RUN_FILES = (MODEL, "recipe.toml", "classes.txt", "metrics.json", "calibration.json", "shift.npz")
LAYOUT = ("config.json", "metadata.json", "model.weights.h5")  # what Keras itself saves to hf://
MOMENT = 30  # seconds in which a command asks for a name once
_found: dict[tuple[str | None, ...], tuple[float, Path]] = {}  # when and where each name was found last


def is_hub(name: str) -> bool:
    """Whether a name begins with `hf://`."""
    return name.startswith(PREFIX)


def parse(name: str) -> tuple[str, str | None]:
    """The repository and the revision of a name; the revision is None where none is named.

    Raises:
        UnknownName: it is not of the form `hf://USER/NAME` or `hf://USER/NAME@REVISION`.

    Example:
        >>> parse("hf://ada/pets@v2")
        ('ada/pets', 'v2')
    """
    if found := NAME.fullmatch(name):
        return found[1], found[2]
    meant = suggest(name)
    raise UnknownName(
        f"{quote(name)} is no name on the Hub: expected hf://USER/NAME, or hf://USER/NAME@REVISION.{meant}"
    )


def suggest(name: str) -> str:
    """ " Did you mean 'hf://ada/pets'?" for an address of the Hub, or ""."""
    found = ADDRESS.match(name.removeprefix(PREFIX))
    return f" Did you mean '{PREFIX}{found[1]}'?" if found else ""


def check(name: str) -> tuple[str, str | None]:
    """`parse` a name, and check that huggingface_hub is installed.

    Raises:
        UnknownName: it is not a name, or the extra is not installed.
    """
    parsed = parse(name)
    if not find_spec("huggingface_hub"):
        raise UnknownName(f"{name} needs huggingface-hub, which is not installed: pip install 'transferkit[hub]'.")
    return parsed


def fetch(name: str) -> Path:
    """Download what a name stands for, unless it is in the cache, and return where it is.

    Returns:
        The folder of a run that `transferkit push` uploaded, or the `.keras` file of another model.

    Raises:
        UnknownName: there is no such repository or revision, or it may not be read.
        OSError: the Hub cannot be reached, and the cache does not have it.
        ValueError: the repository does not hold a Keras model.
    """
    repo, revision = check(name)
    key = (repo, revision, str(cache_folder()), os.environ.get("HF_ENDPOINT"))
    when, path = _found.get(key, (0.0, None))
    if path is None or time.monotonic() - when > MOMENT or not path.exists():
        path = _place(name)
        _found[key] = time.monotonic(), path
    return path


def find_here(name: str) -> Path | None:
    """Where a name was downloaded to, without a request; None if it was not."""
    try:
        return _place(name, local_files_only=True)
    except (OSError, ValueError):
        return None


def forget():
    """Ask the Hub again for each name."""
    _found.clear()


def _download(name: str, files: tuple[str, ...], **options) -> Path:
    """The folder of a revision with those of some files that it has."""
    from huggingface_hub import snapshot_download

    repo, revision = check(name)
    with explained(name):
        folder = snapshot_download(
            repo,
            revision=revision,
            cache_dir=cache_folder() / "hub",
            allow_patterns=list(files),
            endpoint=os.environ.get("HF_ENDPOINT"),
            **options,
        )
    return Path(folder)


def _place(name: str, **options) -> Path:
    """Download a run or a file; what Keras saved to hf:// is made into a file."""
    folder = _download(name, RUN_FILES, **options)
    model = folder / MODEL
    if not model.is_file():
        _download(name, LAYOUT, **options)
        if missing := [file for file in LAYOUT if not (folder / file).is_file()]:
            raise ValueError(
                f"{name} does not hold a Keras model: expected {MODEL}, or {', '.join(LAYOUT)} as Keras saves them to "
                f"hf://, and it lacks {MODEL} and {missing[0]}."
            )
        atomic.write(model, lambda partial: _zip(partial, folder))
    return folder if (folder / "recipe.toml").is_file() else model


def _zip(path: Path, folder: Path):
    with zipfile.ZipFile(path, "w", strict_timestamps=False) as archive:
        for file in LAYOUT:
            archive.write(folder / file, file)


@contextmanager
def _without_lines() -> Iterator[None]:
    """Hide what huggingface_hub logs, and its bars where they cannot be shown, unless the user has asked for them."""
    from huggingface_hub import constants, utils

    from transferkit.console import shows_bars  # rich is slow to import

    logger = logging.getLogger("huggingface_hub")
    level, unset = logger.level, constants.HF_HUB_DISABLE_PROGRESS_BARS is None
    hide = unset and not shows_bars() and not utils.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if hide:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if hide:
            utils.enable_progress_bars()


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into a sentence."""
    from huggingface_hub import errors

    repo, revision = parse(name)
    try:
        with _without_lines():
            yield
    except errors.GatedRepoError as error:
        raise UnknownName(
            f"{name} is open to those who have accepted its terms: accept them at {endpoint()}/{repo}, then give your "
            "token as HF_TOKEN."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UnknownName(
            f"There is no {name}, or it is private: check the name, or give a token that may read it as HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UnknownName(
            f"{PREFIX}{repo} has no revision {revision!r}: expected a branch, as main, a tag or a commit."
        ) from error
    except errors.HFValidationError as error:
        raise UnknownName(f"{name} is no name on the Hub: {first_line(error)}.") from error
    except ValueError as error:  # a card that the Hub does not accept
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from error
    except errors.LocalEntryNotFoundError as error:
        raise OSError(f"{name} is not in the cache, and {_describe(error.__cause__)}.") from error
    except OSError as error:
        if error.errno is not None and not isinstance(error, errors.HfHubHTTPError):
            raise
        raise OSError(f"{name}: {_describe(error)}.") from error
    except Exception as error:
        cause = (
            error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        )  # in a thread of an upload
        known = isinstance(cause, errors.HfHubHTTPError) or type(cause).__module__.startswith("httpx")  # or httpx2
        if not known:
            raise
        raise OSError(f"{name}: {_describe(cause)}.") from error


def endpoint() -> str:
    """The address of the Hub."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")


def _describe(error: BaseException | None) -> str:
    """What is wrong with the Hub or the way to it."""
    from huggingface_hub import errors

    if error is None or isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE does not let it be downloaded"
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
    if status == 401:
        return f"{endpoint()} does not know the token: make another one there, and give it as HF_TOKEN"
    if status == 403:
        return f"the token may not do that: it needs the permission at {endpoint()}/settings/tokens"
    if status:
        return f"{endpoint()} answered with status {status}: try again later"
    return f"{endpoint()} cannot be reached ({first_line(str(error), type(error).__name__)})"
