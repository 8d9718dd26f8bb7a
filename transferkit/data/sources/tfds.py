"""Pictures of TensorFlow Datasets: data prepared on this machine, written once as files. Nothing is downloaded."""

import hashlib
import os
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from transferkit import atomic
from transferkit.cache_folder import cache_folder
from transferkit.console import say, silenced, track
from transferkit.data import lazy_tensorflow
from transferkit.data.listing import Listing, listing_from_names
from transferkit.data.sources import tfds_checks
from transferkit.data.sources.folder_layout import SPLIT_NAMES
from transferkit.lookup import UnknownName, count_noun, suggest_nearest

PREFIX = "tfds:"
PACKAGES = ("tensorflow_datasets", "importlib_resources")  # of the extra `tfds`
SPELLING = re.compile(r"tfds:(?P<name>\w+(?:/[\w.\-]+)?)(?::(?P<version>\d+\.\d+\.\d+))?(?::(?P<split>\S+))?")
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"BM": ".bmp", b"RI": ".webp"}


def list_tfds_splits(data: str, data_dir: str = "") -> dict[str, Listing]:
    """The listings of `tfds:NAME[/CONFIG][:VERSION][:SPLIT]` by its splits; of one split, all is "train".

    The pictures are copied once, as they are encoded, to the cache folder.

    Args:
        data_dir: folder of prepared data; by default TFDS's own.

    Raises:
        UnknownName: TFDS is not installed or does not know the data set, or the data set does not have the split.
        FileNotFoundError: the data set is not prepared on this machine.
        ValueError: its examples are not pictures with one class each, or it is damaged.
    """
    match = SPELLING.fullmatch(data)
    if not match:
        raise ValueError(
            f"{data!r} is not a TFDS name: expected tfds:NAME, as in tfds:mnist or tfds:mnist:train[:80%]."
        )
    if not all(map(find_spec, PACKAGES)):
        raise UnknownName(f"{data} needs TensorFlow Datasets, an extra: pip install 'transferkit[tfds]'.")
    lazy_tensorflow.load()
    with silenced():
        import tensorflow_datasets as tfds

    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or tfds.core.constants.DATA_DIR).expanduser().absolute()
    folder = _find_prepared(root, match["name"], match["version"], tfds)
    builder = _open_builder(folder, tfds)
    splits = _find_splits(builder, match["split"])
    columns = _find_features(builder, tfds)
    # two folders may hold different data of one name, and a folder may be prepared again
    key = hashlib.sha256(os.fsencode(folder) + (folder / "dataset_info.json").read_bytes()).hexdigest()[:12]
    cache = cache_folder() / "data" / "tfds" / match["name"] / f"{folder.name}-{key}"
    parts = {}
    for name, split in splits.items():
        readable = re.sub(r"[^\w.]+", "_", split)[:40]  # the same of train[:50%] and train[50%:]
        split_folder = cache / f"{readable}-{hashlib.sha256(split.encode()).hexdigest()[:8]}"
        if not os.path.isfile(split_folder / "pictures.csv"):
            _copy_split(builder, split, columns, split_folder, tfds)
        if rows := atomic.read(split_folder / "pictures.csv"):
            parts[name] = listing_from_names(
                [str(split_folder / row["path"]) for row in rows], [row["label"] for row in rows]
            )
    return parts


def source_from_builder(builder) -> tuple[str, str]:
    """`data` and `data_dir` of `list_tfds_splits` for a builder of TFDS; a folder for an `ImageFolder`."""
    import tensorflow_datasets as tfds

    if isinstance(builder, tfds.folder_dataset.ImageFolder):
        return os.fspath(builder.data_dir), ""
    folder, config = Path(builder.data_dir), builder.builder_config
    name = f"{builder.name}/{config.name}" if config else builder.name
    return f"{PREFIX}{name}:{folder.name}", str(folder.parents[name.count("/") + 1])


def _find_prepared(root: Path, name: str, version: str | None, tfds) -> Path:
    """Find the folder of the newest prepared version.

    Raises:
        UnknownName, FileNotFoundError: as `list_tfds_splits`.
    """
    found = [path.parent for path in (root / name).glob("*/dataset_info.json")]
    configs = sorted({path.parent.parent.name for path in (root / name).glob("*/*/dataset_info.json")})
    if not found and len(configs) == 1:
        return _find_prepared(root, f"{name}/{configs[0]}", version, tfds)
    if not found and configs:
        some = " or ".join(f"tfds:{name}/{config}" for config in configs)
        raise UnknownName(f"tfds:{name} is prepared in {len(configs)} forms: say {some}.")
    found = [path for path in found if version in (None, path.name)]
    if found:
        return max(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    builders = tfds.list_builders(with_community_datasets=False)
    here = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    if name.split("/")[0] not in (*builders, *here):
        raise UnknownName(f"TFDS knows no data set called {name!r}.{suggest_nearest([*builders, *here], name)}")
    raise FileNotFoundError(
        f"tfds:{name} is not prepared on this machine: looked for {root / name / (version or 'VERSION')}"
        f"/dataset_info.json; where there is a network, `tfds build {name} --data_dir {root}` prepares it."
    )


def _open_builder(folder: Path, tfds):
    """The builder of a prepared folder.

    Raises:
        ValueError: one of its metadata files is missing or damaged, or names a class that TFDS does not have.
    """
    if reason := tfds_checks.find_bad_metadata(folder, tfds):
        raise _damaged(folder, reason)
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # TFDS's parsers raise nearly anything
        reason = f"its dataset_info.json or features.json is damaged or of a TFDS other than {tfds.__version__}"
        raise _damaged(folder, reason) from error


def _damaged(folder: Path, reason: str) -> ValueError:
    return ValueError(f"The TFDS data in {folder} cannot be read, {reason}: prepare it again, or copy it again.")


def _find_splits(builder, split: str | None) -> dict[str, str]:
    """The data set's splits by "train", "val" and "test".

    Raises:
        UnknownName: the data set does not have the split.
        ValueError: the split cannot be parsed, or has no pictures.
    """
    known = list(builder.info.splits)
    if split:
        unknown = [bare for term in split.split("+") if (bare := term.split("[")[0]) not in known]
        if unknown:
            bare = unknown[0]
            raise UnknownName(
                f"tfds:{builder.name} has no split {bare!r}; it has {', '.join(known)}.{suggest_nearest(known, bare)}"
            )
        if not _has_pictures(builder, split):
            sizes = ", ".join(
                f"{name} ({count_noun(builder.info.splits[name].num_examples, 'picture')})" for name in known
            )
            raise ValueError(
                f"The split {split!r} of tfds:{builder.name} cannot be read: expected one of {sizes}, a slice as "
                f"{known[0]}[:80%] or {known[0]}[10:20], or several joined by +."
            )
        return {"train": split}
    found: dict[str, str] = {}
    for name in known:
        if name.lower() in SPLIT_NAMES:
            found.setdefault(SPLIT_NAMES[name.lower()], name)
    skipped = [name for name in known if name not in found.values()]
    if skipped:
        names = ", ".join(skipped)
        say(f"tfds:{builder.name}: its splits {names} are skipped; tfds:{builder.name}:{skipped[0]} takes one.")
    return found


def _has_pictures(builder, split: str) -> bool:
    """Whether TFDS understands each term of a split, and each has pictures."""
    try:
        return all(builder.info.splits[term].num_examples > 0 for term in split.split("+"))
    except (ValueError, AssertionError, KeyError):
        return False


def _find_features(builder, tfds) -> tuple[str, str]:
    """The names of the features that are the picture and its class.

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


def _copy_split(builder, split: str, columns: tuple[str, str], folder: Path, tfds):
    """Write a split's pictures and `pictures.csv` to a new folder, whole or not at all.

    Args:
        columns: names of the features that are the picture and its class.
    """
    from tensorflow import errors

    image, label = columns
    if reason := tfds_checks.find_bad_records(builder, [term.split("[")[0] for term in split.split("+")]):
        raise _damaged(Path(builder.data_dir), reason)
    try:
        with suppress(FileExistsError), atomic.new_folder(folder) as partial:
            # other features are not decoded: they may be of any type and size
            decoders = tfds.decode.PartialDecoding([image, label], {image: tfds.decode.SkipDecoding()})
            examples = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
            _write_pictures(examples, builder, split, columns, partial)
    except (ValueError, AssertionError, IndexError, errors.OpError):
        # TensorFlow's own message is about nodes and devices
        reason = f"its records or classes of {split} are missing or damaged"
        raise _damaged(Path(builder.data_dir), reason) from None


def _write_pictures(examples, builder, split: str, columns: tuple[str, str], folder: Path):
    image, label = columns
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
        say(f"tfds:{builder.name}: skipped {count_noun(unlabelled, 'picture')} of {split} without a class.")
    atomic.write(folder / "pictures.csv", rows)
