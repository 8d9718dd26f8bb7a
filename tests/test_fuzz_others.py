"""Thousands of damaged pictures, lists, shards, runs, feature files and caches: read or refused."""

import io
import shutil
import time

import numpy as np
import pytest
from pictures import encoded, exif, photo
from PIL import Image, features
from test_fuzz import damaged

import transferkit as tk
from transferkit.cache_folder import cache_folder
from transferkit.data import decode
from transferkit.data.audit import scan
from transferkit.data.audit.file_scan import scan_file
from transferkit.data.audit.scan import scan_files
from transferkit.data.sources import csv_list, shards
from transferkit.data.sources.resolve import list_given_splits
from transferkit.features.extract_job import extract_to
from transferkit.features.extraction import extract
from transferkit.features.feature_files import load_features
from transferkit.features.feature_spec import FeatureSpec
from transferkit.recipe import Data

MANY, SLOWEST = 10_000, 10  # seconds that one file may take
COUNTS = [30, pytest.param(MANY, marks=pytest.mark.slow)]


def sixteen_bits() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(400, dtype="uint16").reshape(20, 20) * 100).save(file, "PNG")
    return file.getvalue()


PICTURES = {
    "jpeg": lambda: encoded(photo(40, 30), exif=exif(6)),
    "progressive": lambda: encoded(photo(40, 30), progressive=True),
    "png": lambda: encoded(photo(40, 30).convert("RGBA"), "PNG"),
    "png, 16 bits": sixteen_bits,
    "gif": lambda: encoded(photo(40, 30), "GIF"),
    "bmp": lambda: encoded(photo(40, 30), "BMP"),
    "ppm": lambda: encoded(photo(40, 30), "PPM"),
    "tiff": lambda: encoded(photo(40, 30), "TIFF", compression="tiff_lzw"),
    "webp": lambda: encoded(photo(40, 30), "WEBP"),
    "jpeg2000": lambda: encoded(photo(40, 30), "JPEG2000"),
    "avif": lambda: encoded(photo(40, 30), "AVIF"),
}
CODECS = {"jpeg2000": "jpg_2000", "avif": "avif", "webp": "webp"}


def sentence(error: Exception):
    assert str(error) and "\n" not in str(error).strip() and "Traceback" not in str(error)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", PICTURES)
def test_pictures(tmp_path, kind, count):
    """`check` and what predicts agree on whether a picture can be read, and it is read in time."""
    if kind in CODECS and not features.check(CODECS[kind]):
        pytest.skip("this Pillow has no such codec")
    content, random, path = PICTURES[kind](), np.random.default_rng(count), tmp_path / "picture"
    for _ in range(count):
        path.write_bytes(damaged(content, random))
        started = time.perf_counter()
        found, why = scan_file(str(path)), decode.explain_unreadable(str(path))
        assert time.perf_counter() - started < SLOWEST
        assert "\n" not in found.reason + why
        assert bool(found.reason) == (why not in ("", "damaged")), (found.reason, why)


ROWS = [(label, number) for label in ("cat", "dog") for number in range(3)]
LISTS = {
    "list.csv": ["image,label,split", *(f"{label}/{n:03d}.jpg,{label},train" for label, n in ROWS)],
    "list.tsv": ["path\tclass\tpatient", *(f"{label}/{n:03d}.jpg\t{label}\t{n}" for label, n in ROWS)],
    "onehot.csv": ["id,cat,dog", *(f"{label}/{n:03d},{label == 'cat':d},{label == 'dog':d}" for label, n in ROWS)],
}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", LISTS)
def test_lists(data, name, count):
    path, random, text = data({}) / name, np.random.default_rng(count), "\n".join(LISTS[name])
    path.write_text(text)
    assert list_given_splits(Data(str(path)))
    for _ in range(count):
        path.write_bytes(damaged(text.encode(random.choice(("utf-8", "utf-16"))), random))
        for read in (lambda: list_given_splits(Data(str(path))), lambda: csv_list.read_paths(path)):
            started = time.perf_counter()
            try:
                read()
            except (ValueError, OSError) as error:
                assert str(error)
            assert time.perf_counter() - started < SLOWEST


@pytest.mark.parametrize("count", COUNTS)
def test_shards(data, tmp_path, count):
    root, random = data({}), np.random.default_rng(count)
    shards.pack_shards(list_given_splits(Data(str(root))), tmp_path / "packed")
    index = tmp_path / "packed" / shards.INDEX
    content = index.read_bytes()
    for _ in range(count):
        index.write_bytes(damaged(content, random))
        try:
            parts = shards.list_shard_splits(tmp_path / "packed")
        except ValueError as error:
            sentence(error)
            continue
        for part in parts.values():
            for path in part.paths:
                scan_file(path)


@pytest.mark.parametrize("count", COUNTS)
def test_runs(finished, tmp_path, count):
    """Each file of a run, damaged by itself; the model's own is fuzzed as weights are."""
    folder, random = tmp_path / "run", np.random.default_rng(count)
    shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("checkpoints", "*.png"))
    parts = {"classes.txt": "splits", "split.csv": "splits", "recipe.toml": "recipe", "metrics.json": "metrics"}
    parts |= {"history.csv": "history"}
    for name, part in parts.items():
        content = (folder / name).read_bytes()
        for _ in range(count // 5):
            (folder / name).write_bytes(damaged(content, random))
            try:
                getattr(tk.load_run(folder), part)
            except (ValueError, OSError, KeyError) as error:
                assert str(error)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_feature_files(tiny, listing, tmp_path, suffix, count):
    path, random = tmp_path / f"f{suffix}", np.random.default_rng(count)
    extract_to(path, FeatureSpec(tiny, "none", size=32), listing)
    content = path.read_bytes()
    for _ in range(count):
        path.write_bytes(damaged(content, random))
        try:
            found = load_features(path)
        except ValueError as error:
            sentence(error)
        else:
            assert found.features.dtype == np.float32 and len(found.labels) == len(found)


@pytest.mark.parametrize("count", COUNTS)
def test_caches(tiny, listing, count):
    """Whatever is in them, what comes out is what the pictures hold."""
    random, spec = np.random.default_rng(count), FeatureSpec(tiny, "none", size=32)
    looks, expected = scan_files(listing.paths), extract(listing.paths, spec)
    files = [cache_folder() / scan.FILE, *(cache_folder() / "features").glob("*.sqlite")]
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        for _ in range(count // 10):
            file.write_bytes(damaged(content, random))
            if file == files[0]:
                assert len(scan_files(listing.paths)) == len(looks)
            else:
                again = extract(listing.paths, spec)
                assert again.features.shape == expected.features.shape
        file.write_bytes(content)
