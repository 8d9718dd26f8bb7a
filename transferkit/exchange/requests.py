"""What is asked of an export, checked before TensorFlow is loaded."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

from transferkit.exchange.targets import TARGETS, Target
from transferkit.lookup import UnknownName, look_up


def name_file(base: str, to: str) -> str:
    """The default path of an export: `pets.onnx` for `runs/pets`, `resnet34` for the SavedModel of that network.

    Example:
        >>> name_file("runs/pets", "onnx")
        'pets.onnx'
    """
    name = os.path.basename(os.path.normpath(base)).removesuffix(".keras")
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-")
    return f"{stem}{TARGETS[to].suffix or '-savedmodel'}"


def check_request(to: str, dtype: str, out: str | os.PathLike) -> Target:
    """The row of a format.

    Raises:
        UnknownName: the format or the dtype is not known or not possible, a package is missing, or the path has another
            ending.
        FileExistsError: there is something at the path.
        FileNotFoundError: its folder does not exist.
    """
    target, path = look_up(TARGETS, to, "format"), Path(out)
    if dtype not in target.dtypes:
        raise UnknownName(f"{to} is written in {' or '.join(target.dtypes)}, not in {dtype}.")
    if missing := [package for package in target.packages if not find_spec(package)]:
        raise UnknownName(
            f"{to} needs {missing[0].replace('_', '-')}, which is not installed: pip install 'transferkit[{to}]'."
        )
    if target.suffix and path.suffix != target.suffix:
        raise UnknownName(f"{to} writes a file that ends in {target.suffix}, not {path}.")
    if path.exists():
        raise FileExistsError(f"{path} exists: give another path, or delete it.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.absolute().parent} to write {path.name} into.")
    return target
