"""The values of `--base` and `--weights`, checked without Keras, so that a wrong one is answered at once."""

import os
from pathlib import Path

from transferkit import base_names, hub, zoo
from transferkit.lookup import UnknownName
from transferkit.weights.catalogue import WeightSet, find_weight_set, is_path, networks_with_weights
from transferkit.weights.local_files import find_weights

MOST_NAMED = 3
NOT_HERE = "weights not on this machine yet"  # of a plan, where fresh ones stand in for them


def is_named(base: str) -> bool:
    """Whether a base is an architecture by its name, and not a file: it can be built with fresh weights."""
    return zoo.is_network(base) or base_names.is_application(base)


def check_base(base: str, weights: str = "imagenet", pixels: str = ""):
    """Raise now what `models.load` would raise, as far as that shows without reading a file.

    Args:
        base, weights, pixels: as of `models.load`.

    Raises:
        UnknownName: the network, a knob of it or the weight set is not known, or an argument does not suit the others.
        FileNotFoundError: there is no file of that name.
        ValueError: the run folder has no network to load.
    """
    if base_names.is_application(base):
        name = f"{base_names.PREFIX}{base_names.find_application(base)}"
        if weights not in ("imagenet", "none"):
            _check_weights_file(weights, name)
    elif zoo.is_network(base):
        name = zoo.spell(base)
        if pixels:
            raise UnknownName(f"{base} has a pixel convention of its own: omit --pixels {pixels}.")
        if is_path(weights):
            _check_weights_path(weights, name)
        elif weights != "none":
            _check_knobs(name, find_weight_set(name.partition("(")[0], weights).tag)
    elif hub.is_hub(base):
        hub.check(base)
        _check_own_weights(base, weights)
    else:
        find_model(base, weights)


def _check_knobs(name: str, tag: str):
    if other := zoo.knobs_against_weights(name):
        bare = name.partition("(")[0]
        raise UnknownName(
            f"The weights {tag} do not suit {', '.join(other)}: expected {bare} without it, a file of weights of "
            f"{name}, or --weights none, which begins with fresh ones."
        )


def _check_weights_path(weights: str, name: str):
    if not os.path.exists(weights):
        raise FileNotFoundError(f"There is no {weights}: expected a file of weights of {name}, a tag or none.")


def _check_weights_file(weights: str, name: str):
    """Check the weights of a network of keras.applications, which has no tags."""
    path = Path(weights)
    if not path.is_file() and path.name == weights and not path.suffix:
        raise UnknownName(f"{name} has no weights called {weights!r}: expected imagenet, none or the path of a file.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: expected the weights of {name}, imagenet or none.")


def _check_own_weights(base: str, weights: str):
    if weights != "imagenet":
        raise UnknownName(f"{base} has weights of its own: omit --weights {weights}.")


def find_local(base: str) -> str:
    """The path of a base on this machine: of a name on the Hub, of what was downloaded; else the base itself.

    Raises:
        UnknownName, OSError, ValueError: as `hub.fetch`.
    """
    return str(hub.fetch(base)) if hub.is_hub(base) else base


def find_model(base: str, weights: str = "imagenet") -> Path:
    """The file or SavedModel folder of a base that is a path or a name on the Hub: of a run, or a Keras model.

    Raises:
        UnknownName, FileNotFoundError, ValueError: as `check_base`.
    """
    path = Path(find_local(base))
    if not path.exists():
        raise base_names.missing_base(base)
    _check_own_weights(base, weights)
    if not path.is_dir() or (path / "saved_model.pb").exists():
        return path
    model = path / "model.keras"
    if (path / "fold-1").exists():
        raise ValueError(f"{path} holds a run for each fold: take one of them, as {path / 'fold-1'}.")
    if (path / "recipe.toml").exists() and not model.exists():
        raise ValueError(f"{path} is not finished: transferkit finetune --resume {path} continues it.")
    if not model.exists():
        raise FileNotFoundError(f"There is no {model}: expected a run folder or the file of a Keras model.")
    return model


def find_absent_set(base: str, weights: str) -> WeightSet | None:
    """The public weight set that a checked base needs and that is not on this machine; None if it needs none."""
    if not zoo.is_network(base) or weights == "none" or is_path(weights):
        return None
    chosen = find_weight_set(zoo.spell(base).partition("(")[0], weights)
    return None if find_weights(chosen) else chosen


def describe_absent(tensors: int, origin: str) -> tuple[str, str]:
    """The lines of `Network.loaded` of a network whose fresh weights stand in for a set that is not here."""
    return f"0/{tensors} tensors loaded", f"{NOT_HERE} ({origin})"


def fetch_missing(base: str, weights: str):
    """Download what a checked base needs and is not on this machine: a public weight set, or a network on the Hub.

    Raises:
        OSError, ValueError: see `fetch_set` and `hub.fetch`.
    """
    if hub.is_hub(base):
        hub.fetch(base)
    elif absent := find_absent_set(base, weights):
        fetch_set(absent)


def fetch_set(chosen: WeightSet) -> Path:
    """Get the file of a weight set, as `fetch_weights` does.

    Raises:
        OSError: the download failed; the message names the networks whose weights are on this machine.
        ValueError: the file is not that of the catalogue.
    """
    from transferkit.weights.fetch import fetch_weights  # requests is slow to import

    try:
        return fetch_weights(chosen)
    except OSError as error:
        raise OSError(f"{error}{suggest_available()}") from error


def available_bases() -> list[str]:
    """The networks whose default weights are on this machine, the fastest first."""
    names = [name for name in networks_with_weights() if find_weights(find_weight_set(name))]
    return sorted(names, key=lambda name: zoo.variants()[name].multiply_adds)


def suggest_available() -> str:
    """ " efficientnet_lite0 is here: --base efficientnet_lite0.", or ""."""
    names = available_bases()[:MOST_NAMED]
    return f" {', '.join(names)} {'is' if len(names) == 1 else 'are'} here: --base {names[0]}." if names else ""
