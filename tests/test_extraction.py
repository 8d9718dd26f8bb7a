"""Extracted features equal those of the network, for every source of pictures."""

import random
import shutil

import keras
import numpy as np
import pytest
from pictures import encoded, photo

from transferkit import models
from transferkit.data import geometry, pipeline
from transferkit.features import extraction, feature_model
from transferkit.features.extraction import extract
from transferkit.features.feature_model import load_feature_model
from transferkit.features.feature_spec import FeatureSpec, cache_key
from transferkit.lookup import UnknownName
from transferkit.network import find_output
from transferkit.zoo import variant


def spec(**words):
    return FeatureSpec("tiny", "none", **words)


def by_hand(listing, layer, pool):
    """The same from plain Keras and NumPy, batch norm and all."""
    with feature_model._fixed_random_state():
        model = feature_model._load_network(spec()).model
    pictures = np.concatenate([np.asarray(batch) for batch, _ in views(listing)])
    maps = np.asarray(keras.Model(model.input, find_output(model, layer))(pictures, training=False))
    if maps.ndim == 2:
        return maps
    ways = {
        "avg": lambda x: x.mean((1, 2)),
        "max": lambda x: x.max((1, 2)),
        "gem": lambda x: (np.maximum(x, 1e-6) ** 3).mean((1, 2)) ** (1 / 3),
        "flatten": lambda x: x.reshape(len(x), -1),
        "none": lambda x: x,
    }
    return ways[pool](maps)


def views(listing):
    return pipeline.evaluation_dataset(listing.paths, variant("tiny").pixels, batch_size=8)


@pytest.mark.parametrize("pool", ["avg", "max", "gem", "flatten", "none"])
def test_poolings(listing, pool):
    found = extract(listing.paths, spec(layer=("layer1",), pool=pool))
    expected = by_hand(listing, "layer1", pool)
    assert found.features.shape == expected.shape and found.features.dtype == np.float32
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)


def test_several_layers_are_concatenated(listing):
    found = extract(listing.paths, spec(layer=("pooled", "stage1"), pool="max"))
    assert found.features.shape == (24, 16 + 8)
    np.testing.assert_allclose(found.features[:, :16], by_hand(listing, "pooled", "max"), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.features[:, 16:], by_hand(listing, "stage1", "max"), rtol=1e-4, atol=1e-5)


def test_l2_makes_the_features_of_each_layer_of_length_one(listing):
    plain = extract(listing.paths, spec(layer=("stage1", "stage2"))).features
    found = extract(listing.paths, spec(layer=("stage1", "stage2"), l2=True))
    assert found.reused == 24, "the cache keeps what is before"
    np.testing.assert_allclose(np.linalg.norm(found.features[:, :8], axis=1), 1, rtol=1e-5)
    ratio = plain[:, 8:] / np.linalg.norm(plain[:, 8:], axis=1, keepdims=True)
    np.testing.assert_allclose(found.features[:, 8:], ratio, rtol=1e-5)


def test_views_are_averaged(listing):
    """The mean over the corners, the centre and their mirror images of what each gives alone."""
    whole = load_feature_model(spec())
    batches = pipeline.multi_crop_dataset(listing.paths, whole.pixels, geometry.FIVE_CROPS, batch_size=24)
    ((crops, _),) = batches.as_numpy_iterator()
    assert crops.shape == (24, 5, 32, 32, 3) and len({crop.tobytes() for crop in crops[0]}) == 5
    both = np.concatenate([crops, crops[:, :, :, ::-1]], axis=1)
    (each,) = keras.tree.flatten(whole.model(both.reshape(-1, 32, 32, 3)))
    each = np.asarray(each).reshape(24, 10, -1)
    found = extract(listing.paths, spec(crops=5, flip=True)).features
    np.testing.assert_allclose(found, each.mean(1), rtol=1e-4, atol=1e-5)
    flipped = extract(listing.paths, spec(flip=True)).features
    np.testing.assert_allclose(flipped, each[:, [4, 9]].mean(1), rtol=1e-4, atol=1e-5)


def test_corners_are_torchvisions():
    """FiveCrop of the resized picture, on a picture whose resize changes nothing."""
    picture = np.random.default_rng(0).integers(0, 256, (37, 50, 3)).astype("uint8")
    pixels = load_feature_model(spec()).pixels
    found = geometry.cut_crops(picture, np.array([37, 50]), pixels, geometry.FIVE_CROPS)
    corners = [(0, 0), (0, 18), (5, 0), (5, 18), (2, 9)]
    for crop, (top, left) in zip(found, corners, strict=True):
        assert np.array_equal(crop, picture[top : top + 32, left : left + 32])


def test_arrays_and_their_files_have_the_same_features(listing, tmp_path):
    pictures = [np.asarray(photo(40 + i, 36, seed=i)) for i in range(5)]
    for i, picture in enumerate(pictures):
        (tmp_path / f"{i}.png").write_bytes(encoded(photo(40 + i, 36, seed=i), "PNG"))
        assert picture.shape == (36, 40 + i, 3)
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    from_files, from_arrays = (extract(some, spec()).features for some in (paths, pictures))
    np.testing.assert_allclose(from_arrays, from_files, rtol=1e-4, atol=1e-5)
    again = extract(pictures, spec())
    assert again.reused == 5 and np.array_equal(again.features, from_arrays)


def test_grey_and_alpha_arrays_become_rgb():
    grey = np.random.default_rng(0).integers(0, 256, (36, 36, 1)).astype("uint8")
    clear = np.concatenate([np.repeat(grey, 3, 2), np.zeros_like(grey)], axis=2)  # of which nothing is seen
    white = np.full((36, 36, 3), 255, "uint8")
    found = extract([grey, np.repeat(grey, 3, 2), clear, white], spec()).features
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[3], rtol=1e-5)


def test_the_cache_key_is_the_content_and_not_the_name(listing, tmp_path):
    first = extract(listing.paths[:10], spec())
    assert (first.reused, list(first.rows)) == (0, list(range(10)))
    moved = tmp_path / "moved.jpg"
    shutil.copyfile(listing.paths[3], moved)
    again = extract([*listing.paths[:10], str(moved), listing.paths[12], listing.paths[12]], spec())
    assert again.reused == 11
    np.testing.assert_allclose(again.features[:10], first.features, rtol=1e-6)
    assert np.array_equal(again.features[10], first.features[3])
    assert np.array_equal(again.features[11], again.features[12]), "and computes what is there twice once"


def test_changed_content_is_computed_anew(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encoded(photo(40, 40, 1), "PNG"))
    before = extract([str(path)], spec()).features
    path.write_bytes(encoded(photo(40, 40, 2), "PNG"))
    after = extract([str(path)], spec())
    assert after.reused == 0 and not np.allclose(before, after.features)


def test_nothing_is_cached_without_a_cache(listing, tmp_path):
    extract(listing.paths[:2], spec(), cache=False)
    assert not (tmp_path / "home" / "features").exists()


def test_unreadable_pictures_shift_nothing(listing, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    gone = str(tmp_path / "gone.jpg")
    whole = extract(listing.paths[:4], spec(), cache=False).features
    mixed = [str(bad), listing.paths[0], gone, *listing.paths[1:3], str(bad), listing.paths[3]]
    for _ in range(2):  # computed, then from the cache
        found = extract(mixed, spec())
        assert list(found.rows) == [1, 3, 4, 6]
        np.testing.assert_allclose(found.features, whole, rtol=1e-4, atol=1e-5)
        assert found.errors.keys() == {0, 2, 5}
        assert found.errors[0] == "not a known picture format" and "No such file" in found.errors[2]


def test_no_picture_can_be_read(tmp_path):
    found = extract([str(tmp_path / "gone.jpg")], spec(layer=("stage1", "pooled")))
    assert found.features.shape == (0, 24) and len(found.errors) == 1 and len(found.rows) == 0
    assert extract([], spec()).features.shape == (0, 16)


def test_blocks_are_joined_in_order(listing, monkeypatch, tmp_path):
    whole = extract(listing.paths, spec(), cache=False)
    monkeypatch.setattr(extraction, "BLOCK", 5)
    paths = [*listing.paths[:7], str(tmp_path / "gone.jpg"), *listing.paths[7:]]
    found = extract(paths, spec(), cache=False)
    np.testing.assert_allclose(found.features, whole.features, rtol=1e-4, atol=1e-5)
    assert list(found.errors) == [7] and list(found.rows) == [i for i in range(25) if i != 7]


def test_the_cache_kind_is_network_weights_layer_and_views():
    plain = spec()
    others = [spec(pool="max"), spec(crops=5), spec(flip=True), spec(size=48), FeatureSpec("resnet18", "none")]
    assert len({cache_key(one, "pooled") for one in (plain, *others)} | {cache_key(plain, "stage1")}) == 7
    assert cache_key(plain, "pooled") == cache_key(spec(l2=True, layer=("stage1", "pooled")), "pooled")


def test_identity_is_of_the_weights(tmp_path, finished):
    weights = [tmp_path / f"{i}.weights.h5" for i in range(2)]
    for path in weights:
        models.create("tiny", weights="none").save_weights(path)
    first, second = (FeatureSpec("tiny", str(path)).identity() for path in weights)
    assert first != second
    weights[0].write_bytes(weights[1].read_bytes())
    assert FeatureSpec("tiny", str(weights[0])).identity() == second
    run = FeatureSpec(str(finished.folder)).identity()
    assert run == FeatureSpec(str(finished.folder / "model.keras")).identity() != second


def test_a_run_a_file_and_a_keras_model_are_bases(listing, finished):
    expected = extract(listing.paths, FeatureSpec(str(finished.folder)), cache=False).features
    model = finished.network.model
    found = extract(listing.paths, FeatureSpec(model, size=32, pixels="raw"), cache=False).features
    assert found.shape == expected.shape == (24, 16)
    np.testing.assert_allclose(found, expected, rtol=0.2, atol=0.2)  # it does not know the crop of the run's note
    by_file = FeatureSpec(str(finished.folder / "model.keras"))
    assert np.array_equal(extract(listing.paths, by_file, cache=False).features, expected)


def test_fresh_weights_are_reproducible_and_keep_the_global_seed(listing):
    random.seed(5)
    load_feature_model(spec(pool="max"))
    drawn = random.random()
    random.seed(5)
    assert random.random() == drawn
    first = extract(listing.paths[:3], spec(), cache=False).features
    feature_model._build.cache_clear()
    np.testing.assert_allclose(extract(listing.paths[:3], spec(), cache=False).features, first, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"pool": "agv"}, "No pooling is called 'agv'. Did you mean 'avg'?"),
        ({"crops": 3}, r"crops must be 1 \(centre\) or 5"),
        ({"layer": ()}, "layer must be one or more names of layers"),
        ({"layer": ("stage1", "stage1")}, "layer must not name a layer twice"),
        ({"layer": ("stage1", "stage2"), "pool": "none"}, "as maps have several shapes"),
    ],
)
def test_invalid_settings_are_one_sentence(words, sentence):
    with pytest.raises(ValueError, match=sentence):
        spec(**words)


def test_an_unknown_layer_lists_the_nearest(listing):
    with pytest.raises(UnknownName, match=r"No layer of tiny is called 'stage3'. Did you mean 'stage2'\?"):
        extract(listing.paths, spec(layer=("stage3",)))
    with pytest.raises(ValueError, match="keeps the positions of 'stage1', which differ between views"):
        extract(listing.paths, spec(layer=("stage1",), pool="flatten", flip=True))
