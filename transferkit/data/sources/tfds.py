"""Pictures of TensorFlow Datasets: prepared data on this machine, written once as files. Nothing is downloaded."""

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from transferkit import atomic
from transferkit.console import say, silenced, track
from transferkit.data.listing import Listing, listing_from_names
from transferkit.data.sources import tfds_checks
from transferkit.data.sources.folder_layout import SPLIT_NAMES
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
        ValueError: it is not of pictures with one class each, or it is damaged.
    """
    said = SPELLING.fullmatch(data)
    if not said:
        raise ValueError(f"{data!r} is no TFDS name: expected tfds:NAME, as in tfds:mnist or tfds:mnist:train[:80%].")
    with silenced():
        import tensorflow_datasets as tfds

    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or tfds.core.constants.DATA_DIR).expanduser().absolute()
    source = _prepared(root, said["name"], said["version"], tfds)
    builder = _opened(source, tfds)
    wanted = _splits(builder, said["split"])
    image, label = _features(builder, tfds)
    # two folders may hold different data of one name, and one folder other data than yesterday
    key = hashlib.sha256(os.fsencode(source) + (source / "dataset_info.json").read_bytes()).hexdigest()[:12]
    folder = home() / "data" / "tfds" / said["name"] / f"{source.name}-{key}"
    parts = {}
    for name, split in wanted.items():
        readable = re.sub(r"[^\w.]+", "_", split)[:40]  # the same of train[:50%] and train[50%:]
        place = folder / f"{readable}-{hashlib.sha256(split.encode()).hexdigest()[:8]}"
        if not os.path.isfile(place / "pictures.csv"):
            _copy(builder, split, image, label, place, tfds)
        if rows := atomic.read(place / "pictures.csv"):
            parts[name] = listing_from_names([str(place / row["path"]) for row in rows], [row["label"] for row in rows])
    return parts


def source_from_builder(builder) -> tuple[str, str]:
    """The source that a builder of TFDS reads, and its folder of prepared data."""
    import tensorflow_datasets as tfds

    if isinstance(builder, tfds.folder_dataset.ImageFolder):
        return os.fspath(builder.data_dir), ""
    folder, config = Path(builder.data_dir), builder.builder_config
    name = f"{builder.name}/{config.name}" if config else builder.name
    return f"{PREFIX}{name}:{folder.name}", str(folder.parents[name.count("/") + 1])


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


def _opened(folder: Path, tfds):
    """The builder of a prepared folder.

    Raises:
        ValueError: one of its files of facts is missing, damaged, or names a class that is none of TFDS's.
    """
    if why := tfds_checks.find_bad_metadata(folder, tfds):
        raise _damaged(folder, why)
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # of whatever kind TFDS's parsers raise
        why = f"its dataset_info.json or features.json is damaged or of a TFDS other than {tfds.__version__}"
        raise _damaged(folder, why) from error


def _damaged(folder: Path, why: str) -> ValueError:
    return ValueError(f"The TFDS data in {folder} cannot be read, {why}: prepare it again, or copy it again.")


def _splits(builder, split: str | None) -> dict[str, str]:
    """{our part: the split's name}.

    Raises:
        UnknownName: there is no such split.
        ValueError: it is no split, or one without pictures.
    """
    known = list(builder.info.splits)
    if split:
        unknown = [bare for term in split.split("+") if (bare := term.split("[")[0]) not in known]
        if unknown:
            bare = unknown[0]
            raise UnknownName(
                f"tfds:{builder.name} has no split {bare!r}; it has {', '.join(known)}.{nearest(known, bare)}"
            )
        if not _holds(builder, split):
            sizes = ", ".join(f"{name} ({builder.info.splits[name].num_examples:,} pictures)" for name in known)
            raise ValueError(
                f"The split {split!r} of tfds:{builder.name} cannot be read: expected one of {sizes}, a slice as "
                f"{known[0]}[:80%] or {known[0]}[10:20], or several joined by +."
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


def _holds(builder, split: str) -> bool:
    """Whether each term of a split is one that TFDS understands, and has pictures."""
    try:
        return all(builder.info.splits[term].num_examples > 0 for term in split.split("+"))
    except (ValueError, AssertionError, KeyError):
        return False


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

    if why := tfds_checks.find_bad_records(builder, [term.split("[")[0] for term in split.split("+")]):
        raise _damaged(Path(builder.data_dir), why)
    try:
        with suppress(FileExistsError), atomic.filled(place) as partial:
            # of the others none is decoded: they may be of any kind and size
            wanted = tfds.decode.PartialDecoding([image, label], {image: tfds.decode.SkipDecoding()})
            examples = builder.as_dataset(split=split, decoders=wanted, shuffle_files=False)
            _write(examples, builder, split, image, label, partial)
    except (ValueError, AssertionError, IndexError, errors.OpError):
        # TensorFlow's own words are of nodes and devices
        why = f"its records or classes of {split} are missing or damaged"
        raise _damaged(Path(builder.data_dir), why) from None


def _write(examples, builder, split: str, image: str, label: str, folder: Path):
    rows, unlabelled, classes = [], 0, builder.info.features[label]
    for number, example in enumerate(track(examples, max(int(examples.cardinality()), 0), f"copying {split}")):
        index, data = int(example[label]), bytes(example[image].numpy())
        if index < 0:
            unlabelled += 1
            continue
        path = folder / f"{number:07d}{SUFFIXES.get(data[:2], '.img')}"
        path.write_bytes(data)
        rows.append({"path": path.name, "label": classes.int2str(index)})
    if unlabelled:
        say(f"tfds:{builder.name}: {unlabelled} pictures of {split} have no class and are left out.")
    atomic.write(folder / "pictures.csv", rows)
