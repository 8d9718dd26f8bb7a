"""Pictures of TensorFlow Datasets: prepared data on this machine, written once as files. Nothing is downloaded."""

import csv
import hashlib
import os
import re
import shutil
from collections import Counter
from pathlib import Path

from transferkit.atomic import write
from transferkit.console import say, track
from transferkit.data.listing import SPLIT_NAMES, Listing, from_names
from transferkit.lookup import UnknownName, nearest
from transferkit.weights.fetch import home

PREFIX = "tfds:"
SPELLING = re.compile(r"tfds:(?P<name>\w+(?:/[\w.\-]+)?)(?::(?P<version>\d+\.\d+\.\d+))?(?::(?P<split>\S+))?")
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp", b"RI": ".webp"}


def find_parts(data: str, data_dir: str = "") -> dict[str, Listing]:
    """The listings of `tfds:NAME[/CONFIG][:VERSION][:SPLIT]` by its splits; of one split, all is "train".

    The pictures are copied once, as they are encoded, to the cache folder.

    Args:
        data_dir: folder of prepared data; by default TFDS's own.

    Raises:
        UnknownName: TFDS knows no such data set, or it has no such split.
        FileNotFoundError: it is not prepared on this machine.
        ValueError: it is not of pictures with one class each.
    """
    said = SPELLING.fullmatch(data)
    if not said:
        raise ValueError(f"{data!r} is no TFDS name: expected tfds:NAME, as in tfds:mnist or tfds:mnist:train[:80%].")
    import tensorflow_datasets as tfds

    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or tfds.core.constants.DATA_DIR).expanduser().absolute()
    prepared = _prepared(root, said["name"], said["version"], tfds)
    builder = tfds.builder_from_directory(str(prepared))
    wanted = _splits(builder, said["split"])
    image, label = _features(builder, tfds)
    # two folders may hold different data of one name, and one folder other data than yesterday
    key = hashlib.sha256(os.fsencode(prepared) + (prepared / "dataset_info.json").read_bytes()).hexdigest()[:12]
    folder = home() / "data" / "tfds" / said["name"] / f"{prepared.name}-{key}"
    parts = {}
    for name, split in wanted.items():
        place = folder / re.sub(r"[^\w.]+", "_", split)
        if not (place / "pictures.csv").is_file():
            _copy(builder, split, image, label, place, tfds)
        with open(place / "pictures.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows:
            parts[name] = from_names([str(place / row["path"]) for row in rows], [row["label"] for row in rows])
    return parts


def _prepared(root: Path, name: str, version: str | None, tfds) -> Path:
    """The folder of the newest prepared version.

    Raises:
        UnknownName, FileNotFoundError: as `find_parts`.
    """
    found = [path.parent for path in (root / name).glob("*/dataset_info.json")]
    configs = sorted({path.parent.parent.name for path in (root / name).glob("*/*/dataset_info.json")})
    if not found and len(configs) == 1:
        return _prepared(root, f"{name}/{configs[0]}", version, tfds)
    if not found and configs:
        some = " or ".join(f"tfds:{name}/{config}" for config in configs)
        raise UnknownName(f"tfds:{name} is prepared in {len(configs)} forms: say {some}.")
    found = [path for path in found if version in (None, path.name)]
    if found:
        return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    builders = tfds.list_builders(with_community_datasets=False)
    here = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    if name.split("/")[0] not in (*builders, *here):
        raise UnknownName(f"TFDS knows no data set called {name!r}.{nearest([*builders, *here], name)}")
    raise FileNotFoundError(
        f"tfds:{name} is not prepared on this machine: looked for {root / name / (version or 'VERSION')}"
        f"/dataset_info.json; where there is a network, `tfds build {name} --data_dir {root}` prepares it."
    )


def _splits(builder, split: str | None) -> dict[str, str]:
    """{our part: the split's name}."""
    known = list(builder.info.splits)
    if split:
        unknown = [bare for term in split.split("+") if (bare := term.split("[")[0]) not in known]
        if unknown:
            bare = unknown[0]
            raise UnknownName(
                f"tfds:{builder.name} has no split {bare!r}; it has {', '.join(known)}.{nearest(known, bare)}"
            )
        return {"train": split}
    found = {}
    for name in known:
        if name.lower() in SPLIT_NAMES:
            found.setdefault(SPLIT_NAMES[name.lower()], name)
    left = [name for name in known if name not in found.values()]
    if left:
        say(f"tfds:{builder.name}: its splits {', '.join(left)} are left out; tfds:{builder.name}:{left[0]} takes one.")
    return found


def _features(builder, tfds) -> tuple[str, str]:
    """Names of the picture and of its class.

    Raises:
        ValueError: there is not one of each.
    """
    features = builder.info.features
    kinds = {"picture": tfds.features.Image, "class": tfds.features.ClassLabel}
    found = {what: [name for name in features if isinstance(features[name], kind)] for what, kind in kinds.items()}
    keys = builder.info.supervised_keys or ()
    named = [name for names in found.values() for name in names if name in keys]
    if len(named) == 2:
        return tuple(named)
    for what, names in found.items():
        if len(names) != 1:
            raise ValueError(
                f"tfds:{builder.name} has {len(names)} features that are a {what}, expected one; it has "
                f"{', '.join(f'{name} ({type(features[name]).__name__})' for name in features)}."
            )
    return found["picture"][0], found["class"][0]


def _copy(builder, split: str, image: str, label: str, place: Path, tfds):
    """Write a split's pictures and `pictures.csv`, all of them or no folder."""
    from tensorflow import errors

    skip = {image: tfds.decode.SkipDecoding()}
    try:
        examples = builder.as_dataset(split=split, decoders=skip, shuffle_files=False)
    except (ValueError, AssertionError, errors.OpError) as error:
        raise ValueError(
            f"The split {split} of tfds:{builder.name} cannot be read: {str(error).splitlines()[0]}"
        ) from None
    names, rows, unlabelled = builder.info.features[label].names, [], Counter()
    partial = place.with_name(f".{os.getpid()}.{place.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    count = int(examples.cardinality())
    for number, example in enumerate(track(examples, max(count, 0), f"copying {split}")):
        index, data = int(example[label]), bytes(example[image].numpy())
        if index < 0:
            unlabelled[split] += 1
            continue
        path = partial / f"{number:07d}{SUFFIXES.get(data[:2], '.img')}"
        path.write_bytes(data)
        rows.append({"path": path.name, "label": names[index]})
    if unlabelled:
        say(f"tfds:{builder.name}: {unlabelled[split]} pictures of {split} have no class and are left out.")
    write(partial / "pictures.csv", rows)
    if not place.exists():  # another process may have been quicker
        os.replace(partial, place)
    shutil.rmtree(partial, ignore_errors=True)
