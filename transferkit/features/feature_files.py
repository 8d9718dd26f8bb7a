"""Features in a file: `.npz` for NumPy, `.parquet` for data frames, or the folder of a job's parts."""

import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from transferkit import atomic
from transferkit.features.part_files import ERRORS, LAYOUT, NOTE, Job, open_job
from transferkit.features.spec import FeatureSpec
from transferkit.lookup import first_line

SUFFIXES = (".npz", ".parquet")
TEXTS = ["path", "label", "split"]
PACKED = 100  # times smaller than what it holds may a file be: features hardly get smaller
EXPECTED = "expected a .npz or .parquet file of `transferkit extract`, or a folder of it"


@dataclass(frozen=True)
class Features:
    """Features of pictures, a row each.

    Attributes:
        features: (n, width), or (n, h, w, maps) of `--pool none`, float32.
        labels: (n,) int64, index into `classes`; -1 where there is none.
        paths: (n,) of the pictures.
        splits: (n,) "train", "val" or "test"; all "train" where the source has no splits.
        classes: names in index order.
        note: what was extracted from which network; `FeatureSpec.of(note)` is the record of it.
    """

    features: np.ndarray
    labels: np.ndarray
    paths: np.ndarray
    splits: np.ndarray
    classes: tuple[str, ...]
    note: dict

    def __len__(self):
        return len(self.features)

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec.of(self.note)


def is_features(path: str | os.PathLike) -> bool:
    """Whether a path looks like what `transferkit extract` writes."""
    return Path(path).suffix in SUFFIXES or (Path(path) / NOTE).is_file()


def load_features(path: str | os.PathLike) -> Features:
    """Read what `transferkit extract` wrote, all of it into memory.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is no such file or folder, is damaged, or parts are missing.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: {EXPECTED}.")
    if not path.is_dir() and path.suffix not in SUFFIXES:
        raise ValueError(f"{path} holds no features: {EXPECTED}.")
    try:
        if path.suffix == ".npz":
            return _checked(_from_npz(path))
        return _checked(_from_parquet(_complete(open_job(path)).parts if path.is_dir() else [path]))
    except Exception as error:  # NumPy, its tokenizer, zipfile and Arrow raise nearly anything on damaged files
        plain = isinstance(error, (OSError, ValueError, zipfile.BadZipFile, pa.ArrowException))
        said = "it is damaged, or of another make" if not plain else first_line(error, "it is cut short")
        raise ValueError(f"{path} holds no features that can be read ({said}): {EXPECTED}.") from error


def _checked(found: Features) -> Features:
    """The same; `ValueError` unless each part is what we write: a file may come from anywhere."""
    count, features = len(found.features), found.features
    columns = {"labels": "i", "paths": "U", "splits": "U"}
    right = {
        "features": features.dtype == np.float32 and features.ndim in (2, 3, 4) and features.size > 0,
        "classes": all(isinstance(name, str) for name in found.classes)
        and len(set(found.classes)) == len(found.classes),
        **{name: getattr(found, name).shape == (count,) for name in columns},
    }
    right |= {name: right[name] and getattr(found, name).dtype.kind == kind for name, kind in columns.items()}
    right["labels"] &= found.labels.min() >= -1 and found.labels.max() < len(found.classes)
    right["note"] = isinstance(found.spec.base, str) and all(isinstance(layer, str) for layer in found.spec.layer)
    if wrong := [name for name, one in right.items() if not one]:
        raise ValueError(f"its {wrong[0]} are none that extract writes")
    return found


def write_file(job: Job, out: Path):
    """Put the parts of a finished job together as `out`, a part in memory at a time, and its errors beside it.

    Raises:
        OSError: it could not be written; the parts stay.
    """
    _complete(job)
    errors = job.folder / ERRORS
    if errors.exists():  # first: once `out` is there, the same command does nothing more
        atomic.write(errors_of(out), lambda path: shutil.copyfile(errors, path))
    atomic.write(out, lambda path: (_write_npz if out.suffix == ".npz" else _write_parquet)(job, path))
    if not errors.exists():
        errors_of(out).unlink(missing_ok=True)


def errors_of(out: Path) -> Path:
    """Where the pictures are named that could not be read."""
    return out.with_name(f"{out.name}.errors.csv") if out.suffix in SUFFIXES else out / ERRORS


def _complete(job: Job) -> Job:
    """The job itself; `ValueError` if parts are missing."""
    if missing := len(job.missing()):
        raise ValueError(
            f"{job.folder} has {len(job.parts) - missing} of {len(job.parts)} parts: the same `transferkit extract` "
            "goes on with it."
        )
    return job


def _write_parquet(job: Job, path: Path):
    schema = parquet.read_schema(job.parts[0])
    schema = schema.with_metadata({"transferkit": schema.metadata[b"transferkit"]})
    with parquet.ParquetWriter(path, schema, **LAYOUT) as writer:
        for part in job.parts:
            writer.write_table(parquet.read_table(part))


def _write_npz(job: Job, path: Path):
    shape = (sum(parquet.read_metadata(part).num_rows for part in job.parts), *job.note["shape"])
    rest = _joined([_columns(parquet.read_table(part, columns=TEXTS), job.note) for part in job.parts])
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_2_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for part in job.parts:
                member.write(_vectors(parquet.read_table(part, columns=["features"]), job.note).tobytes())
        rest |= {"classes": np.array(job.note["classes"], str), "note": np.array(json.dumps(job.note))}
        for name, array in rest.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _from_npz(path: Path) -> Features:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > PACKED * path.stat().st_size:
            raise ValueError("it unpacks to more than a hundred times its size")
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    note = json.loads(str(arrays.pop("note")))
    return Features(**arrays | {"classes": tuple(note["classes"])}, note=note)


def _from_parquet(files: list[Path]) -> Features:
    note = json.loads(parquet.read_schema(files[0]).metadata[b"transferkit"])
    tables = [_table(file) for file in files]
    columns = _joined([_columns(table, note) | {"features": _vectors(table, note)} for table in tables])
    return Features(**columns, classes=tuple(note["classes"]), note=note)


def _table(path: Path) -> pa.Table:
    """A Parquet file, some rows at a time: one value that stands for a billion rows takes a few bytes there."""
    tables, size = [], 0
    with parquet.ParquetFile(path) as file:
        plain = pa.schema(map(_expanded, file.schema_arrow))
        for batch in file.iter_batches(batch_size=1024):
            tables.append(pa.Table.from_batches([batch]).cast(plain))
            size += tables[-1].nbytes
            if size > PACKED * path.stat().st_size:
                raise ValueError("it unpacks to more than a hundred times its size")
    return pa.concat_tables(tables) if tables else plain.empty_table()


def _expanded(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _vectors(table: pa.Table, note: dict) -> np.ndarray:
    """The features (n, ...) of a table."""
    chunks = [chunk.flatten().to_numpy() for chunk in table["features"].chunks]
    return np.concatenate(chunks or [np.zeros(0, "float32")]).reshape(-1, *note["shape"])


def _columns(table: pa.Table, note: dict) -> dict[str, np.ndarray]:
    """The other columns of a table; labels as positions in the classes."""
    index = {None: -1} | {name: label for label, name in enumerate(note["classes"])}
    texts = {name: table[name].to_pylist() for name in TEXTS}
    return {
        "labels": np.array([index[name] for name in texts["label"]], "int64"),
        "paths": np.array(texts["path"], str),
        "splits": np.array(texts["split"], str),
    }


def _joined(pieces: list[dict]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
