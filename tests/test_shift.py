"""Pictures that look unlike the training pictures."""

import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import folder
from scipy.stats import binom
from sklearn.neighbors import NearestNeighbors

from transferkit.evaluation import shift
from transferkit.evaluation.shift import WIDTH, Shift


def drawn(n, seed, width=40, offset=0.0):
    return (np.random.default_rng(seed).normal(size=(n, width)) + offset).astype("float32")


def fitted(train, held_out):
    bank = shift.embed(train)
    return Shift(bank.astype("float16"), np.sort(shift.measure_distances(shift.embed(held_out), bank)))


def test_distances_are_those_of_scikit_learn():
    bank, queries = shift.embed(drawn(700, 1)), shift.embed(drawn(600, 2))
    expected = NearestNeighbors(n_neighbors=1).fit(bank).kneighbors(queries)[0][:, 0]
    assert shift.measure_distances(queries, bank) == pytest.approx(expected, abs=1e-4)


def test_the_projection_keeps_distances():
    features = drawn(60, 3, width=1280)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    before, after = (np.linalg.norm(each[:30] - each[30:], axis=1) for each in (unit, shift.embed(features)))
    assert np.abs(after / before - 1).max() < 0.25 and abs((after / before).mean() - 1) < 0.03


def test_five_in_a_hundred_of_the_same_kind_are_unlike_on_average():
    shares = []
    for seed in range(60):
        draws = drawn(300, seed)
        shares.append((fitted(draws[:100], draws[100:139]).measure(draws[139:]) > 1).mean())
    assert np.mean(shares) == pytest.approx(0.05, abs=0.012)  # rank 38 of 39: 1 of 20 draws is beyond it


def test_the_probability_is_as_drawn():
    """Beta-binomial, against draws of both the threshold and the new pictures; with a large sample, binomial."""
    generator, m, n, count = np.random.default_rng(0), 39, 50, 6
    found = Shift(np.zeros((1, WIDTH)), np.arange(m, dtype="float32"))
    thresholds = np.sort(generator.uniform(size=(20_000, m)), 1)[:, found.rank - 1]
    counts = (generator.uniform(size=(20_000, n)) > thresholds[:, None]).sum(1)
    assert found.probability(count, n) == pytest.approx((counts >= count).mean(), abs=0.012)
    large = Shift(np.zeros((1, WIDTH)), np.arange(99_999, dtype="float32"))
    assert large.probability(9, 100) == pytest.approx(binom.sf(8, 100, 0.05), rel=0.01)


def test_other_pictures_are_clear_and_the_same_kind_is_not():
    train = drawn(500, 1, offset=1.0)
    found = fitted(train[:300], train[300:])
    assert found.summarise(found.measure(drawn(40, 2, offset=-1.0)))["clear"]
    assert not found.summarise(found.measure(drawn(40, 3, offset=1.0)))["clear"]
    assert found.summarise(np.zeros(0))["share"] == 0


def test_features_of_groups_are_those_of_each_group(finished, pets):
    """A picture that cannot be read is in no group, and moves no other into the next one."""
    cats, dogs = (sorted(map(str, (pets / name).glob("*.jpg")))[:3] for name in ("cat", "dog"))
    found = shift.compute_features(finished.network, ([cats[0], "gone.jpg", *cats[1:]], dogs), "")
    for features, paths in zip(found, (cats, dogs), strict=True):
        (alone,) = shift.compute_features(finished.network, (paths,), "")
        assert features.shape == alone.shape and np.allclose(features, alone, atol=1e-4)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_the_threshold_is_on_the_scale_of_the_saved_network(spread, monkeypatch):
    """A network that was trained again places the same pictures closer together, or farther apart."""

    def compute(network, groups, what):
        return [1 + network.spread * drawn(len(paths), "thn".index(paths[0][0])) for paths in groups]

    monkeypatch.setattr(shift, "compute_features", compute)
    evaluated, saved = (SimpleNamespace(model=object(), spread=size) for size in (0.1, 0.1 * spread))
    train, held_out, new = ([f"{letter}{number}" for number in range(400)] for letter in "thn")
    found = shift.fit_shift(evaluated, saved, train, held_out)
    assert (found.measure(compute(saved, [new], "")[0]) > 1).mean() == pytest.approx(0.05, abs=0.03)
    assert np.isfinite(shift.fit_shift(evaluated, saved, train[:1], held_out).held_out).all()


def test_a_run_has_a_small_file_and_predict_a_column(finished, pets, cli, tmp_path):
    assert (finished.folder / shift.FILE).stat().st_size < 2e6
    strange = folder(tmp_path / "strange", {"none": 3})
    status, out, err = cli("predict", finished.folder, pets, strange, "--format", "csv")
    assert status == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert len(rows) == 27 and all(float(row["unlike"]) >= 0 for row in rows)
    _, out, _ = cli("predict", finished.folder / "model.keras", pets, strange, "--json")
    assert [row["unlike"] for row in json.loads(out)] == [float(row["unlike"]) for row in rows]
    assert [row["unlike"] for row in finished.predict([row["path"] for row in rows])] == pytest.approx(
        [float(row["unlike"]) for row in rows]
    )


def test_a_line_names_the_most_unlike_pictures(finished, pets, cli, monkeypatch):
    load = shift.load_shift
    closer = lambda run: dataclasses.replace(load(run), held_out=np.full(400, 1e-9, "float32"))  # noqa: E731
    monkeypatch.setattr(shift, "load_shift", closer)
    status, _, err = cli("predict", finished.folder, pets, "--json")
    assert status == 0
    assert "look unlike the training pictures; of pictures of the same kind, 5% do: " in " ".join(err.split())
    status, out, err = cli("evaluate", finished.folder, "--data", pets, "--json")
    assert status == 0
    found = json.loads(out)["unlike"]
    assert found["clear"] and found["share"] == found["count"] / 24 and found["p"] < 0.001
    assert "the figures of validation do not hold for them" in " ".join(err.split())


def test_a_run_without_the_file_and_one_with_a_damaged_file(finished, pets, cli, monkeypatch, tmp_path):
    missing = tmp_path / "earlier"
    missing.mkdir()
    (missing / "model.keras").write_bytes((finished.folder / "model.keras").read_bytes())
    status, out, err = cli("predict", missing / "model.keras", pets, "--format", "csv")
    assert status == 0 and out.splitlines()[0] == "path,label,probability,error"
    (missing / shift.FILE).write_bytes(b"PK damaged")
    status, out, err = cli("predict", missing / "model.keras", pets, "--format", "csv")
    assert status == 0 and out.splitlines()[0] == "path,label,probability,error"
    assert "shift.npz cannot be read" in err and "delete it" in err
