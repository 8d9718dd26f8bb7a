"""The methods of `transferkit explain` against finite differences, loops and arithmetic by hand."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

import transferkit as tk
from transferkit.explain import (
    activations,
    drawing,
    explanations,
    gradients,
    map_layers,
    maximisation,
    occlusion,
    sanity,
)
from transferkit.explain.methods import HEAT_METHODS, METHODS, find_function
from transferkit.lookup import UnknownName
from transferkit.network import copy_model

RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def model():
    """A network with norms, a shortcut around a layer, and a fused ReLU, on pictures of 12 pixels."""
    keras.utils.set_random_seed(3)
    pictures = keras.Input((12, 12, 3))
    x = keras.layers.Rescaling(1 / 64, -2.0, name="pixels")(pictures)
    x = keras.layers.Conv2D(6, 3, padding="same", name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU(name="relu")(x)
    y = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="second")(x)
    x = keras.layers.Add(name="sum")([x, y])
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(keras.layers.MaxPooling2D(name="small")(x))
    return keras.Model(pictures, keras.layers.Dense(4, kernel_initializer="glorot_normal", name="fc")(x), name="net")


@pytest.fixture(scope="module")
def pictures():
    return RANDOM.integers(0, 256, (3, 12, 12, 3)).astype("uint8")


CLASSES = np.array([1, 0, 3])


def scores(model, pictures, classes):
    return np.asarray(model(pictures, training=False))[range(len(classes)), classes]


def test_saliency_is_the_gradient_of_finite_differences(model, pictures):
    exact, x = copy_model(model, policy="float64"), pictures.astype("float64")
    found, step = gradients.input_gradients(model, pictures, CLASSES), 1 / 64  # exact in float32
    for place in [(0, 0, 0), (5, 7, 1), (11, 3, 2), (6, 6, 0)]:
        moved = np.zeros_like(x)
        moved[(slice(None), *place)] = step
        expected = (scores(exact, x + moved, CLASSES) - scores(exact, x - moved, CLASSES)) / (2 * step)
        np.testing.assert_allclose(found[(slice(None), *place)], expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(gradients.saliency(model, pictures, CLASSES), np.abs(found).max(-1), rtol=1e-5)


@pytest.mark.parametrize("layer", ["sum", "relu", "second"])
def test_weights_of_gradcam_are_finite_differences(model, pictures, layer):
    """Also of a layer that a shortcut goes around, which has no model from it to the logits."""
    exact, step = copy_model(model, policy="float64"), 1e-5
    maps = np.asarray(keras.Model(exact.input, exact.get_layer(layer).output)(pictures.astype("float64")))

    def score(changed):
        """The class scores with the layer's maps replaced."""
        found = keras.models.clone_model(exact, call_function=lambda each, *a, **k: each(*a, **k))
        found.set_weights(exact.get_weights())
        part = {name: exact.get_layer(name) for name in ("second", "sum", "small", "pooled", "fc")}
        x = np.asarray(keras.Model(exact.input, exact.get_layer("relu").output)(pictures.astype("float64")))
        x = changed if layer == "relu" else x
        y = changed if layer == "second" else part["second"](x)
        x = changed if layer == "sum" else part["sum"]([x, y])
        return np.asarray(part["fc"](part["pooled"](part["small"](x))))[range(3), CLASSES]

    places = maps.shape[1] * maps.shape[2]
    weights = [
        (score(maps + step * unit) - score(maps - step * unit)) / (2 * step * places) for unit in np.eye(maps.shape[3])
    ]
    expected = np.maximum(np.einsum("nhwk,kn->nhw", maps, np.array(weights)), 0)
    found = gradients.gradcam(model, pictures, CLASSES, layer=layer)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert expected.max() > 1e-3


def test_integrated_gradients_are_complete(model, pictures):
    maps = gradients.integrated_gradients(model, pictures, CLASSES, baseline=(120, 110, 100), steps=300)
    blank = np.broadcast_to(np.array([120, 110, 100], "float32"), pictures.shape)
    expected = scores(model, pictures, CLASSES) - scores(model, blank, CLASSES)
    np.testing.assert_allclose(maps.sum((1, 2)), expected, rtol=0.02, atol=0.01)
    gaps = gradients.measure_completeness(model, pictures, CLASSES, maps, baseline=(120, 110, 100))
    np.testing.assert_allclose(gaps, np.abs(maps.sum((1, 2)) - expected) / np.abs(expected), rtol=1e-2, atol=1e-4)
    middles, blank = (0.125, 0.375, 0.625, 0.875), blank[0]  # of four steps
    way = np.stack([blank + part * (pictures[0] - blank) for part in middles])
    mean = gradients.input_gradients(model, way, CLASSES[[0] * 4]).mean(0)
    few = gradients.integrated_gradients(model, pictures[:1], CLASSES[:1], baseline=(120, 110, 100), steps=4)
    np.testing.assert_allclose(few[0], ((pictures[0] - blank) * mean).sum(-1), rtol=1e-3, atol=1e-5)
    half = gradients.measure_completeness(model, pictures, CLASSES, maps / 2, baseline=(120, 110, 100))
    assert (half > 0.4).all()


def test_guided_backpropagation_by_hand():
    """One hidden layer: only active units whose weight is positive pass their gradient."""
    pictures = keras.Input((2, 2, 1))
    hidden = keras.layers.Dense(9, activation="relu", name="hidden")(keras.layers.Flatten()(pictures))
    model = keras.Model(pictures, keras.layers.Dense(2, name="fc")(hidden))
    random = np.random.default_rng(0)
    first, bias, second = random.normal(size=(4, 9)), random.normal(size=9), random.normal(size=(9, 2))
    model.set_weights([first, bias, second, np.zeros(2)])
    x = random.normal(size=(1, 2, 2, 1))
    active = (x.ravel() @ first + bias > 0) & (second[:, 1] > 0)
    assert 0 < active.sum() < (x.ravel() @ first + bias > 0).sum()
    expected = np.abs(first[:, active] @ second[active, 1]).reshape(1, 2, 2)
    before = gradients.input_gradients(model, x, [1])
    np.testing.assert_allclose(gradients.guided(model, x, [1]), expected, rtol=1e-4)
    np.testing.assert_array_equal(gradients.input_gradients(model, x, [1]), before)  # the model is as it was
    assert model.get_layer("hidden").activation is keras.activations.relu


def test_guided_backpropagation_needs_a_relu():
    pictures = keras.Input((2, 2, 1))
    model = keras.Model(pictures, keras.layers.Dense(2)(keras.layers.Flatten()(pictures)), name="line")
    with pytest.raises(UnknownName, match="line has no ReLU, .* try --method saliency"):
        gradients.guided(model, np.zeros((1, 2, 2, 1)), [0])


def test_occlusion_is_a_loop_of_single_predictions(model, pictures):
    found = occlusion.occlusion(model, pictures, CLASSES, square=5, stride=3, baseline=(1, 2, 3), temperature=2.0)

    def probability(picture, label):
        return softmax(np.asarray(model(picture[None], training=False), "float64") / 2)[0, label]

    for picture, label, heat in zip(pictures.astype("float32"), CLASSES, found, strict=True):
        total, count = np.zeros((12, 12)), np.zeros((12, 12))
        for top in (0, 3, 6, 7):
            for left in (0, 3, 6, 7):
                hidden, place = picture.copy(), (slice(top, top + 5), slice(left, left + 5))
                hidden[place] = (1, 2, 3)
                total[place] += probability(picture, label) - probability(hidden, label)
                count[place] += 1
        np.testing.assert_allclose(heat, total / count, rtol=1e-3, atol=1e-5)


def test_squares_hide_every_pixel_and_fit():
    for shape, square, stride in (((12, 12), 5, 3), ((7, 20), 7, 1), ((9, 9), 4, 4)):
        hidden = np.zeros(shape)
        for top, left in occlusion.list_places(shape, square, stride):
            assert top + square <= shape[0] and left + square <= shape[1]
            hidden[top : top + square, left : left + square] += 1
        assert hidden.min() >= 1
    with pytest.raises(UnknownName, match="square of 13 pixels is larger than the picture of 12x14 .* at most 12"):
        occlusion.list_places((12, 14), 13, 2)
    with pytest.raises(UnknownName, match="stride of 6 pixels leaves gaps .* at most 5"):
        occlusion.list_places((12, 14), 5, 6)


def test_activations_are_those_of_the_unfolded_network(model, pictures):
    names = ["first", "norm", "small"]
    plain = keras.Model(model.input, [model.get_layer(name).output for name in names])(pictures, training=False)
    (alone,) = activations.activations(model, pictures, names[2:])
    np.testing.assert_allclose(alone, plain[2], rtol=1e-3, atol=1e-4)
    for found, expected in zip(activations.activations(model, pictures, names), plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    maps = np.zeros((2, 2, 3))
    maps[..., 1], maps[0, 0, 2] = -1, 3
    assert activations.rank_maps(maps).tolist() == [1, 2, 0]


def test_filters_are_the_kernels(model):
    kernel = model.get_layer("first").get_weights()[0]
    np.testing.assert_array_equal(activations.filters(model)[4], kernel[..., 4])
    with pytest.raises(UnknownName, match="kernels of second have 6 channels, .* filters of first"):
        activations.filters(model, layer="second")
    with pytest.raises(UnknownName, match=r"fc of net gives \(4,\) and is no convolution: the first is first"):
        activations.filters(model, layer="fc")


def test_maximised_pictures_raise_their_unit_more_than_others(model):
    pictures, found = maximisation.maximise(model, [0, 2], steps=30, jitter=1, shape=(12, 12, 3))
    logits = np.asarray(model(pictures))
    own = found[:, 1] - found[:, 0]
    assert (own > 0.3).all()
    np.testing.assert_allclose(found[:, 1], logits[[0, 1], [0, 2]], rtol=1e-3, atol=1e-3)
    assert pictures.min() >= 0 and pictures.max() <= 255
    with pytest.raises(UnknownName, match="fc has 4 units, 0 to 3, not 4"):
        maximisation.maximise(model, [4], layer="fc")


def test_cascade_randomises_from_the_top_and_leaves_the_network_alone(model, pictures):
    before, seen = model.get_weights(), []

    def explain(copy):
        seen.append(copy.get_weights())
        return gradients.saliency(copy, pictures, CLASSES)

    found = sanity.randomise_cascade(model, explain)
    # the kernel, gamma, beta, ... of each layer in the order of `weights`: first, norm, second, fc
    assert [name for name, _ in found] == ["fc", "second", "norm", "first"]
    assert np.array_equal(seen[1][0], before[0]) and not np.array_equal(seen[1][-2], before[-2])
    assert not np.array_equal(seen[-1][0], before[0])
    np.testing.assert_allclose(np.sort(seen[-1][0].ravel()), np.sort(before[0].ravel()))
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[-1][1].max() < 0.9
    constant = sanity.randomise_cascade(model, lambda copy: np.abs(pictures[..., 0] - 9.0))
    assert all(np.allclose(values, 1) for _, values in constant)


def test_correlation_of_a_constant_map_is_none():
    ramp = np.arange(9.0).reshape(1, 3, 3)
    assert sanity.correlate(ramp, np.zeros((1, 3, 3))) == [0]
    np.testing.assert_allclose(sanity.correlate(ramp, -np.exp(ramp)), 1)


def test_deletion_begins_with_the_picture_and_ends_with_the_blank(model, pictures):
    maps = RANDOM.random((3, 12, 12))
    deletion, insertion = sanity.deletion_curves(model, pictures, CLASSES, maps, baseline=7.0)
    assert deletion.shape == insertion.shape == (3, sanity.POINTS + 1)
    whole = softmax(np.asarray(model(pictures)), axis=1)[range(3), CLASSES]
    blank = softmax(np.asarray(model(np.full_like(pictures, 7))), axis=1)[range(3), CLASSES]
    np.testing.assert_allclose(deletion[:, 0], whole, rtol=1e-3)
    np.testing.assert_allclose(deletion[:, -1], blank, rtol=1e-3)
    np.testing.assert_allclose(insertion[:, -1], whole, rtol=1e-3)
    half = pictures.astype("float32")  # by hand, at half of the pixels
    half[maps >= np.median(maps, axis=(1, 2), keepdims=True)] = 7
    middle = softmax(np.asarray(model(half)), axis=1)[range(3), CLASSES]
    np.testing.assert_allclose(deletion[:, sanity.POINTS // 2], middle, rtol=1e-3)
    np.testing.assert_allclose(sanity.areas(np.array([[1.0, 0.5, 0.0]])), 0.5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_in_its_module(method):
    assert callable(find_function(method))


def test_a_layer_without_a_map_names_the_last_map(model, pictures):
    with pytest.raises(UnknownName, match="fc of net gives a vector of 4 numbers, .* the last map is small"):
        gradients.gradcam(model, pictures, CLASSES, layer="fc")
    with pytest.raises(UnknownName, match="Did you mean 'small'"):
        map_layers.find_map(model, "smal")


def test_nested_models_are_explained(pictures):
    """A base within a model, which other tools cannot look into."""
    inside = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Conv2D(4, 3, activation="relu", name="inner")])
    x = keras.layers.Rescaling(1 / 255)(outside := keras.Input((12, 12, 3)))
    x = keras.layers.GlobalAveragePooling2D()(inside(x))
    nested = keras.Model(outside, keras.layers.Dense(3, name="scores")(x))
    found = tk.explain_pictures(nested, list(pictures), class_name=2)
    assert len(found) == 3 and found[0].path is None and found[0].layer == "stage1"
    maps = np.asarray(inside(np.stack([each.picture for each in found]) / 255.0))
    weights = nested.get_layer("scores").get_weights()[0][:, 2] / 100  # of the mean over 10 x 10 places
    np.testing.assert_allclose([each.values for each in found], np.maximum(maps @ weights, 0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_explained_and_drawn(finished, pets, method):
    needs = METHODS[method].needs_pictures
    options = {"steps": 4} if "steps" in METHODS[method].options else {}
    found = tk.explain_pictures(finished, sorted(pets.rglob("*.jpg"))[:2] if needs else (), method, **options)
    figure = found[0].draw()
    text = " ".join(axes.get_title() for axes in figure.axes) + str(figure.get_suptitle())
    if METHODS[method].kind == "heat":
        assert found[0].label in text and METHODS[method].scale in [axes.get_ylabel() for axes in figure.axes]
        assert found[0].heat.shape == found[0].picture.shape[:2] == (32, 32)
        assert 0 < found[0].probability <= 1 and found[0].predicted == found[0].label
    if found[0].layer:
        assert found[0].layer in text


def test_options_of_another_method_are_refused(finished, pets):
    for method, options, message in (
        ("gradcam", {"square": 5}, "gradcam takes no square: occlusion does"),
        ("gradcm", {}, "Did you mean 'gradcam'"),
        ("occlusion", {"baseline": "white"}, "baseline is mean or black, not 'white'"),
        ("occlusion", {"stride": 0}, "stride must be a whole number of at least 1, not 0"),
        ("filters", {"class_name": "cat"}, "filters explains no class"),
        ("maximise", {"unit": 2}, "give a layer too"),
        ("occlusion", {"square": 99}, "larger than the picture of 32x32"),
        ("gradcam", {"class_name": "dgo"}, "Did you mean 'dog'"),
        ("gradcam", {"class_name": 2}, "2 classes, 0 to 1, not 2"),
    ):
        with pytest.raises(UnknownName, match=message):
            tk.explain_pictures(finished, pets, method, **options)


def test_sanity_of_each_heat_method(finished, pets):
    views = explanations.read_views(finished.network, sorted(pets.rglob("*.jpg"))[:2])
    result = explanations.check_sanity(finished.network, views, "gradcam")
    assert [row["layer"] for row in result["randomised"]] == ["fc", "layer2.conv", "layer1.conv"]
    assert all(-1 <= row["correlation"] <= 1 for row in result["randomised"])
    assert len(result["curves"]["deletion"]) == sanity.POINTS + 1
    figure = drawing.draw_sanity(result, "gradcam")
    assert "gradcam on 2 pictures" in figure.get_suptitle()
    assert "activations" not in HEAT_METHODS
    with pytest.raises(UnknownName, match="needs a method that gives heat maps, not filters"):
        explanations.check_sanity(finished.network, views, "filters")
