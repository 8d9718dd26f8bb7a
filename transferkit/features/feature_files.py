"""Read and write files of features: `.npz` for NumPy, `.parquet` for data frames, or a folder of parts."""

import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from transferkit import atomic, versions
from transferkit.features.feature_folder import ERRORS, FORMAT, LAYOUT, NOTE, FeatureFolder, open_folder
from transferkit.features.feature_spec import FeatureSpec
from transferkit.lookup import as_text, count_noun, first_line

SUFFIXES = (".npz", ".parquet")
TEXT_COLUMNS = ["path", "label", "split"]
MAX_COMPRESSION = 100  # times; features hardly compress, so a file that unpacks to more is malicious
EXPECTED = "expected a .npz or .parquet file, or a folder, that `transferkit extract` wrote"


@dataclass(frozen=True, repr=False)
class Features:
    """Features of pictures, one row for each picture.

    Attributes:
        features: (n, width), or (n, h, w, maps) of `--pool none`, float32.
        labels: (n,) int64, index into `classes`; -1 for a picture without a label.
        paths: (n,) of the pictures.
        splits: (n,) "train", "val" or "test"; all "train" if the source has no splits.
        classes: names in index order.
        note: metadata: the fields of `FeatureSpec.to_dict`, the shape, and what else `features.json` has.
    """

    features: np.ndarray
    labels: np.ndarray
    paths: np.ndarray
    splits: np.ndarray
    classes: tuple[str, ...]
    note: dict

    def __len__(self):
        return len(self.features)

    def __repr__(self):
        shape, spec = "x".join(map(str, self.features.shape[1:])), self.spec
        of = f"{spec.base} {', '.join(spec.layer)}"
        return (
            f"<Features: {count_noun(len(self), 'picture')} of {count_noun(len(self.classes), 'class')}, "
            f"{shape} features of {of}>"
        )

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec.from_dict(self.note)


def is_feature_file(path: str | os.PathLike) -> bool:
    """Whether a path has the suffix of a file of features, or is a folder of features."""
    return Path(path).suffix in SUFFIXES or (Path(path) / NOTE).is_file()


def load_features(path: str | os.PathLike) -> Features:
    """Read the features that `transferkit extract` wrote, all of them into memory.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: it is not a file or folder of features, is damaged, parts are missing, or a newer transferkit wrote
            it.

    Example:
        >>> pets = load_features("pets.npz")
        >>> LogisticRegression().fit(pets.features, pets.labels)
    """
    path = Path(as_text(path, "path"))
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: {EXPECTED}.")
    if not path.is_dir() and path.suffix not in SUFFIXES:
        raise ValueError(f"{path} holds no features: {EXPECTED}.")
    try:
        if path.suffix == ".npz":
            return _read_npz(path)
        return _read_parquet(path, _check_complete(open_folder(path)).parts if path.is_dir() else [path])
    except versions.NewerVersionError:
        raise
    except Exception as error:  # NumPy, its tokenizer, zipfile and Arrow raise nearly anything on damaged files
        reason = "it is damaged, or another program wrote it"
        if isinstance(error, (OSError, ValueError, zipfile.BadZipFile, pa.ArrowException)):
            reason = first_line(error, "it is truncated")
        raise ValueError(f"{path} holds no features that can be read ({reason}): {EXPECTED}.") from error


def _check(found: Features) -> Features:
    """Return the features; raise `ValueError` unless each array is as we write it: a file may come from anywhere."""
    count, features = len(found.features), found.features
    columns = {"labels": "i", "paths": "U", "splits": "U"}
    valid = {
        "features": features.dtype == np.float32 and features.ndim in (2, 3, 4) and features.size > 0,
        "classes": all(isinstance(name, str) for name in found.classes)
        and len(set(found.classes)) == len(found.classes),
        **{name: getattr(found, name).shape == (count,) for name in columns},
    }
    valid |= {name: valid[name] and getattr(found, name).dtype.kind == kind for name, kind in columns.items()}
    valid["labels"] &= found.labels.min() >= -1 and found.labels.max() < len(found.classes)
    valid["note"] = isinstance(found.spec.base, str) and all(isinstance(layer, str) for layer in found.spec.layer)
    if invalid := [name for name, is_valid in valid.items() if not is_valid]:
        raise ValueError(f"its {invalid[0]} are not as extract writes them")
    return found


def write_feature_file(folder: FeatureFolder, out: Path):
    """Concatenate the parts of a folder to one file, with one part in memory at a time, and its errors beside it.

    Raises:
        OSError: it could not be written; the parts are kept.
    """
    _check_complete(folder)
    errors = folder.path / ERRORS
    if errors.exists():  # first: once `out` exists, the same command does nothing more
        atomic.write(errors_path(out), lambda path: shutil.copyfile(errors, path))
    atomic.write(out, lambda path: (_write_npz if out.suffix == ".npz" else _write_parquet)(folder, path))
    if not errors.exists():
        errors_path(out).unlink(missing_ok=True)


def errors_path(out: Path) -> Path:
    """The file that names the pictures that could not be read."""
    return out.with_name(f"{out.name}.errors.csv") if out.suffix in SUFFIXES else out / ERRORS


def _check_complete(folder: FeatureFolder) -> FeatureFolder:
    """Return the folder; raise `ValueError` if parts are missing."""
    if missing := len(folder.missing_parts()):
        count = len(folder.parts)
        raise ValueError(
            f"{folder.path} has {count - missing} of {count} parts: the same `transferkit extract` writes the others."
        )
    return folder


def _write_parquet(folder: FeatureFolder, path: Path):
    schema = parquet.read_schema(folder.parts[0])
    schema = schema.with_metadata({"transferkit": schema.metadata[b"transferkit"]})
    with parquet.ParquetWriter(path, schema, **LAYOUT) as writer:
        for part in folder.parts:
            writer.write_table(parquet.read_table(part))


def _write_npz(folder: FeatureFolder, path: Path):
    shape = (sum(parquet.read_metadata(part).num_rows for part in folder.parts), *folder.note["shape"])
    columns = _concatenate(
        [_read_columns(parquet.read_table(part, columns=TEXT_COLUMNS), folder.note) for part in folder.parts]
    )
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_2_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for part in folder.parts:
                member.write(_read_vectors(parquet.read_table(part, columns=["features"]), folder.note).tobytes())
        columns |= {"classes": np.array(folder.note["classes"], str), "note": np.array(json.dumps(folder.note))}
        for name, array in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_npz(path: Path) -> Features:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > MAX_COMPRESSION * path.stat().st_size:
            raise ValueError("it unpacks to more than a hundred times its size")
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    note = json.loads(str(arrays.pop("note")))
    with versions.reading(path, note, FORMAT):
        return _check(Features(**arrays | {"classes": tuple(note["classes"])}, note=note))


def _read_parquet(path: Path, files: list[Path]) -> Features:
    """The features of a file, or of the parts of the folder `path`."""
    note = json.loads(parquet.read_schema(files[0]).metadata[b"transferkit"])
    with versions.reading(path, note, FORMAT):
        columns = _concatenate([_read_part(file, note) for file in files])
        return _check(Features(**columns, classes=tuple(note["classes"]), note=note))


def _read_part(file: Path, note: dict) -> dict[str, np.ndarray]:
    table = _read_table(file)
    return _read_columns(table, note) | {"features": _read_vectors(table, note)}


def _read_table(path: Path) -> pa.Table:
    """Read a Parquet file some rows at a time: in a malicious one, a few bytes may stand for a billion rows."""
    tables, size = [], 0
    with parquet.ParquetFile(path) as file:
        plain = pa.schema(map(_without_dictionary, file.schema_arrow))
        for batch in file.iter_batches(batch_size=1024):
            tables.append(pa.Table.from_batches([batch]).cast(plain))
            size += tables[-1].nbytes
            if size > MAX_COMPRESSION * path.stat().st_size:
                raise ValueError("it unpacks to more than a hundred times its size")
    return pa.concat_tables(tables) if tables else plain.empty_table()


def _without_dictionary(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _read_vectors(table: pa.Table, note: dict) -> np.ndarray:
    """The features (n, ...) of a table."""
    chunks = [chunk.flatten().to_numpy() for chunk in table["features"].chunks]
    return np.concatenate(chunks or [np.zeros(0, "float32")]).reshape(-1, *note["shape"])


def _read_columns(table: pa.Table, note: dict) -> dict[str, np.ndarray]:
    """The other columns of a table; labels as indices of the classes."""
    index = {None: -1} | {name: label for label, name in enumerate(note["classes"])}
    texts = {name: table[name].to_pylist() for name in TEXT_COLUMNS}
    return {
        "labels": np.array([index[name] for name in texts["label"]], "int64"),
        "paths": np.array(texts["path"], str),
        "splits": np.array(texts["split"], str),
    }


def _concatenate(pieces: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
