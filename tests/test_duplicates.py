"""Duplicates and near-duplicates stay on one side of drawn splits; given splits are not changed."""

import csv
import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import QUICK
from pictures import encoded, folder, photo
from PIL import Image, ImageDraw, ImageEnhance
from scipy import ndimage
from scipy.spatial import cKDTree

import transferkit as tk
from transferkit.console import quiet
from transferkit.data import folds as shares
from transferkit.data.audit import duplicate_groups, duplicate_search, problems
from transferkit.data.audit.alignment import compare_aligned
from transferkit.data.audit.file_scan import FileScan
from transferkit.data.audit.scan import scan_files
from transferkit.features import leaderboard, probe_scores
from transferkit.features.feature_spec import FeatureSpec
from transferkit.recipe import Recipe
from transferkit.training import run_job
from transferkit.training.planning import plan_completion, planner

SIDE = "on one side of the split"


def again(data: bytes, quality=70) -> bytes:
    """A near copy."""
    return encoded(Image.open(io.BytesIO(data)), quality=quality)


def burst(count: int) -> list[bytes]:
    """Frames each of which is nearly the next one, and unlike the third from it."""
    scenes = [np.asarray(photo(64, 48, seed=500 + n), "float64") - 128 for n in range(2 + count // 16)]
    places = [divmod(n, 16) for n in range(count)]
    angles = [(at, np.pi / 32 * step) for at, step in places]  # in equal steps, as a straight line's are not
    frames = [scenes[at] * np.cos(angle) + scenes[at + 1] * np.sin(angle) + 128 for at, angle in angles]
    return [encoded(Image.fromarray(frame.clip(0, 255).astype("uint8"))) for frame in frames]


@pytest.fixture(scope="module")
def doubled(tmp_path_factory):
    """Two classes of 30 pictures; 12 of `a` are three exact and three near pairs, 4 of `b` are a burst."""
    root = folder(tmp_path_factory.mktemp("doubled") / "pictures", {"a": 24, "b": 26})
    for number in range(6):
        one = root / "a" / f"{2 * number:03d}.jpg"
        data = one.read_bytes() if number < 3 else again(one.read_bytes())
        (root / "a" / f"x{number}.jpg").write_bytes(data)
    for number, data in enumerate(burst(4)):
        (root / "b" / f"burst{number}.jpg").write_bytes(data)
    return root


def leaks(parts) -> int:
    parts = dict(parts)
    looks = {path: one for part in parts.values() for path, one in zip(part.paths, scan_files(part.paths), strict=True)}
    return sum(one.kind == "leak" for one in problems.find_problems(parts, looks))


def test_pictures_of_folders_are_large_enough(doubled):
    """Below 32 pixels nothing is a near copy, and the tests here would say nothing."""
    listing = duplicate_groups.mark_duplicates(tk.list_images(doubled))
    sets = [name for name in listing.duplicate_sets if name]
    assert len(sets) == 16 and len(set(sets)) == 7 and sets.count(listing.duplicate_sets[-1]) == 4
    assert {name for name, path in zip(listing.duplicate_sets, listing.paths, strict=True) if "/x" in path} == set(
        "123456"
    )


def test_sets_of_duplicates():
    def look(digest, print_=b"", **facts):
        return FileScan(digest, "JPEG", "RGB", 64, 48, fingerprint=print_, **facts)

    flat = bytes(288)
    looks = [look(b"a"), look(b""), look(b"b", flat), look(b"a"), look(b""), look(b"c", flat), look(b"d"), look(b"d")]
    assert duplicate_groups.find_duplicate_sets(looks, [0, 0, 0, 1, 1, 1, 1, 1]) == ("1", "", "", "1", "", "", "2", "2")
    damaged = [look(b"a", reason="cut short"), look(b"a", reason="cut short"), look(b"b")]
    assert duplicate_groups.find_duplicate_sets(damaged, [0, 0, 0]) == ("", "", "")
    assert duplicate_groups.find_duplicate_sets([], []) == ()


def test_a_listing_without_duplicates_is_unchanged(listing):
    assert duplicate_groups.mark_duplicates(listing) == listing
    assert duplicate_groups.mark_duplicates(replace(listing, duplicate_sets=("1",) * 24)) == listing, (
        "what was found before is forgotten"
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_drawn_split_has_no_leaks(doubled, seed, capsys):
    train, val = tk.list_images(doubled).split(0.2, seed=seed)
    splits = tk.find_splits(doubled, seed=seed)
    assert leaks(splits.items()) == 0 < leaks({"train": train, "val": val}.items())
    assert splits.val.counts() == val.counts() == {"a": 6, "b": 6}
    assert capsys.readouterr().err.count(f"16 pictures in 7 sets of duplicates or near-duplicates stay {SIDE}.") == 1


def test_without_duplicates_nothing_is_printed_or_changed(pets, capsys):
    splits = tk.find_splits(pets, seed=4)
    assert (splits.train, splits.val) == tk.list_images(pets).split(0.2, seed=4)
    assert "duplicates" not in capsys.readouterr().err


def test_training_reports_duplicates_once(doubled, tiny, capsys):
    wanted = Recipe().override(base=tiny, weights="none", data=str(doubled), size=32)
    plan = planner.make_plan(wanted)
    said = capsys.readouterr().err
    assert said.count(f"16 pictures in 7 sets of duplicates or near-duplicates stay {SIDE}.") == 1
    assert "in another split too" not in said and leaks(plan.splits.items()) == 0
    planner.make_plan(wanted, plan.splits)
    assert "duplicates" not in capsys.readouterr().err, "a split that is given was not drawn here"


def test_a_given_split_is_not_changed(doubled, tiny, tmp_path, capsys):
    for name, numbers in (("train", "012"), ("val", "0x")):
        for label in "ab":
            (tmp_path / "data" / name / label).mkdir(parents=True)
            for n in numbers:
                source = doubled / label / ("001.jpg" if n == "x" else f"00{n}.jpg")
                shutil.copy(source, tmp_path / "data" / name / label / f"{n}{'001' if n == 'x' else ''}.jpg")
    wanted = Recipe().override(base=tiny, weights="none", data=str(tmp_path / "data"), size=32)
    plan = planner.make_plan(wanted)
    said = capsys.readouterr().err
    assert "4 of the 4 validation pictures are in another split too" in said and "sets of" not in said
    assert len(plan.splits.train) == 6 and len(plan.splits.val) == 4
    planner.make_plan(wanted.override(folds=2))  # which shares out train and val anew
    said = capsys.readouterr().err
    assert "8 pictures in 4 sets of duplicates or near-duplicates stay together in the folds." in said
    assert "in another split too" not in said


def test_folds_and_their_splits(doubled, tiny, tmp_path, capsys, monkeypatch):
    given, met = tk.find_splits(doubled, seed=1), []
    monkeypatch.setattr(run_job, "_train_and_evaluate", lambda job: met.append(job.splits) or stop())

    def stop():
        raise MemoryError("the machine went down")

    for _ in range(2):
        with pytest.raises(MemoryError):
            if not met:
                tk.finetune(tiny, given.train, given.val, out=tmp_path / "run", **QUICK, folds=3)
            else:  # what the folds are made of is read, not found again
                monkeypatch.setattr(
                    shares.duplicate_groups, "find_duplicate_sets", lambda *_: pytest.fail("it looked again")
                )
                monkeypatch.setattr(plan_completion.folds, "mark_pool_duplicates", lambda splits, _: splits)
                run_job.resume(tmp_path / "run")
    assert met[0] == met[1] and leaks(met[0].items()) == 0
    said = capsys.readouterr().err
    assert "16 pictures in 7 sets of duplicates or near-duplicates stay together in the folds." in said
    assert "in another split too" not in said
    pool = shares.pool_train_and_val(tk.load_run(tmp_path / "run").splits)
    for held in shares.hold_out_folds(pool, 3, QUICK["seed"]):
        assert leaks(shares.fold_splits(pool, held, 0.2, QUICK["seed"]).items()) == 0


@pytest.mark.slow
def test_the_csv_column_of_a_run(doubled, tiny, tmp_path):
    splits = tk.find_splits(doubled)
    run = tk.finetune(tiny, splits.train, splits.val, out=tmp_path / "run", **QUICK | {"epochs": 1, "head_epochs": 0})
    with open(run.folder / "split.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "split", "copies"]
    assert {row["path"]: row["copies"] for row in rows} == {
        path: name for _, part in splits.items() for path, name in zip(part.paths, part.duplicate_sets, strict=True)
    }
    again = tk.load_run(run.folder).splits
    assert (again.train, again.val) == (splits.train, splits.val)


def test_a_class_of_duplicates_only_is_split_with_a_warning(tmp_path, tiny, capsys):
    root = folder(tmp_path / "data", {"a": 6, "b": 1})
    shutil.copy(root / "b" / "000.jpg", root / "b" / "001.jpg")
    plan = planner.make_plan(Recipe().override(base=tiny, weights="none", data=str(root), size=32))
    said = capsys.readouterr().err
    assert plan.splits.val.counts() == {"a": 1, "b": 1} and "sets of" not in said and "a set of" not in said
    assert "1 of the 2 validation pictures is in another split too" in said


@pytest.mark.parametrize("rest", [0, 5, 20])
def test_a_burst_of_most_of_a_class(tmp_path, rest):
    """It is in pieces: on both sides, and but for the frames beside a cut none is nearly one of the other side."""
    root = folder(tmp_path / "data", {"a": rest, "b": 30})
    (root / "a").mkdir(exist_ok=True)
    for number, data in enumerate(burst(40)):
        (root / "a" / f"burst{number}.jpg").write_bytes(data)
    listing = tk.list_images(root)
    marked = duplicate_groups.mark_duplicates(listing)
    sizes = sorted(marked.duplicate_sets.count(name) for name in set(marked.duplicate_sets) if name)
    assert len(sizes) >= 7 and sizes[-1] <= (40 + rest) // 10
    for seed in range(4):
        plain, splits = dict(zip(("train", "val"), listing.split(0.2, seed=seed), strict=True)), {}
        splits["train"], splits["val"] = marked.split(0.2, seed=seed)
        assert splits["val"].counts() == plain["val"].counts()
        assert leaks(splits.items()) < leaks(plain.items()), seed


def test_a_burst_of_less_than_half_of_a_class_is_whole(tmp_path):
    root = folder(tmp_path / "data", {"a": 12, "b": 20})
    for number, data in enumerate(burst(10)):
        (root / "a" / f"burst{number}.jpg").write_bytes(data)
    for seed in range(4):
        splits = tk.find_splits(root, seed=seed)
        assert leaks(splits.items()) == 0 and splits.val.counts() == {"a": 4, "b": 4}


def test_the_folds_of_a_probe(doubled, cli, monkeypatch):
    seen, judged = [], probe_scores.cross_validate
    monkeypatch.setattr(leaderboard, "cross_validate", lambda *a, **k: seen.append(judged(*a, **k)) or seen[-1])
    words = ("probe", "--base", "tiny", "--weights", "none", "--data", doubled, "--folds", 3)
    status, out, err = cli(*words, "--json")
    assert status == 0 and json.loads(out)[0]["base"] == "tiny"
    assert err.count("16 pictures in 7 sets of duplicates or near-duplicates stay together in the folds.") == 1
    listing = tk.list_images(doubled)
    for fold in range(3):
        held = seen[0].fold_of == fold
        assert leaks({"train": listing.take(np.flatnonzero(~held)), "val": listing.take(np.flatnonzero(held))}) == 0
    with quiet():
        leaderboard.compare([FeatureSpec("tiny", "none")], listing, folds=3)
    assert seen[1].fold_of.tolist() == seen[0].fold_of.tolist()


def test_a_classifier_holds_out_no_duplicates(doubled, tiny, monkeypatch):
    seen = []

    def spy(wanted, splits):
        seen.append(dict(splits.items()))
        raise MemoryError

    monkeypatch.setattr(planner, "make_plan", spy)
    listing = tk.list_images(doubled)
    arrays = [np.asarray(Image.open(path)) for path in listing.paths]
    for pictures in (listing, arrays):
        with pytest.raises(MemoryError):
            tk.FineTuner(tiny, weights="none").fit(pictures, listing.labels)
    for parts in seen:
        assert not set(parts["train"].duplicate_sets) & set(parts["val"].duplicate_sets) - {""} and any(
            parts["train"].duplicate_sets
        )
    assert leaks(seen[0].items()) == 0


COPIES = {
    "crop": lambda image: image.crop((2, 2, image.width - 2, image.height - 2)),
    "turned": lambda image: image.rotate(1.5, Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "smaller": lambda image: image.resize((96, 72)),
}


def is_near(tmp_path, one: Image.Image, other: Image.Image) -> bool:
    for name, image in {"one": one, "other": other}.items():
        image.save(tmp_path / f"{name}.png")
    return bool(
        duplicate_search.find_near_duplicates(scan_files([str(tmp_path / f"{n}.png") for n in ("one", "other")]))
    )


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_changed_copies_are_near(tmp_path, change):
    for seed in range(3):
        image = photo(200, 150, seed=seed)
        assert is_near(tmp_path, image, change(image)) and not is_near(tmp_path, image, change(photo(200, 150, seed=9)))


def test_a_picture_that_differs_in_one_place_is_another(tmp_path):
    """As icons do, whose luminances correlate by over 0.9."""
    icons = []
    for eyes in ((60, 70), (60, 80)):
        image = Image.new("RGB", (160, 160), "white")
        brush = ImageDraw.Draw(image)
        brush.ellipse((20, 20, 140, 140), fill="orange", outline="black", width=4)
        for left in (50, 90):
            brush.ellipse((left, eyes[0], left + 20, eyes[1]), fill="black")
        icons.append(image)
    assert is_near(tmp_path, icons[0], icons[0].resize((100, 100))) and not is_near(tmp_path, *icons)
    luma = [np.asarray(image.convert("L").resize((16, 16)), float).ravel() for image in icons]
    assert np.corrcoef(luma)[0, 1] > 0.9


def test_alignment_against_scipy():
    """A picture that scipy moved by less than a pixel is laid back; one that changed in a block is not."""
    random = np.random.default_rng(0)
    smooth = np.stack([ndimage.gaussian_filter(random.normal(size=(64, 64)), 6) for _ in range(20)])
    matrix, shift = np.array([[1.01, 0.02], [-0.02, 0.99]]), np.array([0.3, -0.4])
    place = np.array([31.5, 31.5])
    moved = np.stack([ndimage.affine_transform(one, matrix, place - matrix @ place + 4 * shift) for one in smooth])
    first, second = (a.reshape(20, 16, 4, 16, 4).mean((2, 4)) for a in (smooth, moved))
    first, second = ((a - a.mean((1, 2), keepdims=True)) / a.std((1, 2), keepdims=True) for a in (first, second))
    difference, motion = compare_aligned(first.astype("float32"), (0.8 * second + 0.1).astype("float32"), 3)
    corners = np.array([(y, x) for y in (-7.5, 7.5) for x in (-7.5, 7.5)])
    exact = np.linalg.norm(corners @ (matrix - np.eye(2)).T + shift, axis=1).max()
    assert difference.max() < 0.15 and np.abs(motion - exact).max() < 0.25
    second[:, 6:8, 6:8] += 1
    assert compare_aligned(first.astype("float32"), second.astype("float32"), 3)[0].min() > 0.5


def test_candidates_are_those_of_a_tree(monkeypatch):
    monkeypatch.setattr(duplicate_search, "BLOCK", 5000)  # several blocks
    random = np.random.default_rng(0)
    points = random.normal(size=(500, 27))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[1::5] = points[::5] + random.normal(0, 0.08, (100, 27))
    found = duplicate_search._find_candidates(points.astype("float32"))
    expected = cKDTree(points).query_pairs(duplicate_search.REACH)
    assert set(map(tuple, found.tolist())) == expected and len(found) == len(expected) > 50


def test_a_picture_has_at_most_16_candidates_after_it_the_nearest():
    points = np.linspace(0, 0.5, 40, dtype="float32")[:, None] * np.eye(1, 27, dtype="float32")
    found = duplicate_search._find_candidates(points)
    assert [tuple(pair) for pair in found[:16]] == [(0, other) for other in range(1, 17)]
    assert np.bincount(found[:, 0]).tolist() == [16] * 24 + list(range(15, 0, -1))
