"""The deconvnet: by hand, against receptive fields, and its sheet."""

import keras
import numpy as np
import pytest
from keras import layers

from transferkit import models
from transferkit.explain import deconvnet, deconvnet_sheet, drawing, explanations, geometry
from transferkit.lookup import UnknownName
from transferkit.network import find_output
from transferkit.zoo import layers as zoo_layers


def conv(kernel, bias=0.0, **more):
    """A convolution with a given kernel (h, w, inputs, outputs)."""
    kernel = np.array(kernel, "float32")
    values = keras.initializers.Constant(kernel), keras.initializers.Constant(bias)
    return layers.Conv2D(
        kernel.shape[3], kernel.shape[:2], kernel_initializer=values[0], bias_initializer=values[1], **more
    )


def chain(shape, *steps):
    x = pictures = keras.Input(shape)
    for step in steps:
        x = step(x)
    return keras.Model(pictures, x)


def test_three_layers_by_hand():
    """Kernel (1, -2) with bias 1, ReLU, pooling of two, kernel (3, -1): one line of five pixels.

    Forward: 4 1 2 5 3 -> 4-2, 1-4, 2-10, 5-6 + 1 = 3 -2 -7 0 -> 3 0 0 0 -> 3 0 -> 3*3 - 0 = 9.
    Back: 9 -> (27, -9) -> switches 0 and 2: 27 0 -9 0 -> rectified: 27 0 0 0 -> (1, -2) transposed: 27 -54 0 0 0.
    Plain backpropagation has the same answer here; the next test is where they differ.
    """
    model = chain(
        (1, 5, 1),
        conv([[[[1]], [[-2]]]], bias=1),
        layers.ReLU(),
        layers.MaxPooling2D((1, 2)),
        conv([[[[3]], [[-1]]]], name="top"),
    )
    found = deconvnet.project(model, "top", np.array([4, 1, 2, 5, 3]).reshape(1, 1, 5, 1), [0])
    assert found.strengths.tolist() == [9] and found.places.tolist() == [[0, 0]]
    assert found.values.ravel().tolist() == [27, -54, 0, 0, 0]


def test_the_sign_of_what_comes_back_decides_and_not_that_of_the_picture():
    """Where the picture's activation is 0 a positive signal passes, and a negative one stops where it is positive."""
    model = chain((1, 2, 1), layers.ReLU(), conv([[[[3]], [[-1]]]], bias=9, name="top"))
    found = deconvnet.project(model, "top", np.array([-5, 2]).reshape(1, 1, 2, 1), [0])
    assert found.strengths.tolist() == [7] and found.values.ravel().tolist() == [21, 0]


def test_an_activation_inside_a_convolution_is_the_same():
    first, second = (np.random.default_rng(0).normal(size=(3, 3, *sizes)) for sizes in ((2, 4), (4, 5)))
    pictures = np.random.default_rng(2).normal(size=(3, 8, 8, 2))
    apart = chain((8, 8, 2), conv(first, bias=0.1), layers.ReLU(), conv(second, bias=0.5, name="top"))
    inside = chain((8, 8, 2), conv(first, bias=0.1, activation="relu"), conv(second, bias=0.5, name="top"))
    values = [deconvnet.project(model, "top", pictures, [0, 3, 4]).values for model in (apart, inside)]
    assert abs(values[0]).max() > 1
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)


def test_of_equal_maxima_the_first_is_the_switch_and_shared_switches_add():
    model = chain((1, 4, 1), layers.MaxPooling2D((1, 2), 1), conv([[[[1]], [[10]], [[100]]]], name="top"))
    back = [
        deconvnet.project(model, "top", np.array(line).reshape(1, 1, 4, 1), [0]).values.ravel() / strength
        for line, strength in (([5, 5, 5, 5], 555), ([0, 7, 0, 1], 7 + 70 + 100))
    ]
    assert np.round(back[0], 4).tolist() == [1, 10, 100, 0]
    assert np.round(back[1], 4).tolist() == [0, 11, 0, 100]


def test_response_normalisation_is_left_out():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
    x = pictures = keras.Input((8, 8, 2))
    x = plain = conv(kernel, name="plain")(x)
    normed = layers.Identity(name="normed")(zoo_layers.local_response_norm(x, alpha=1.0))
    model = keras.Model(pictures, [plain, normed])
    seen = np.random.default_rng(1).normal(size=(2, 8, 8, 2))
    before, after = (deconvnet.project(model, layer, seen, [1, 3], [[0, 2], [5, 4]]) for layer in ("plain", "normed"))
    assert (abs(after.strengths) < abs(before.strengths) / 1.5).all()
    scaled = [each.values / each.strengths[:, None, None, None] for each in (before, after)]
    np.testing.assert_allclose(*scaled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("nin", "stage1"),
        ("resnet20_cifar", "stage1"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("zfnet", "conv3"),
                ("alexnet_paper", "conv4"),
                ("vgg11_lrn", "conv3_2"),
                ("googlenet_paper", "inception_3a"),
                ("resnet18", "stage2"),
                ("efficientnet_lite0", "stage2"),
            )
        ),
    ],
)
def test_a_projection_vanishes_outside_the_receptive_field(name, layer):
    network = models.load(name, "none")
    pixels = network.pixels
    pictures = np.random.default_rng(0).integers(0, 256, (1, *pixels.shape, pixels.channels))
    record = next(each for each in geometry.measure_layers(network.model, pixels.shape) if each.name == layer)
    place = [side // 2 for side in record.output[:2]]
    maps = np.argmax(
        np.asarray(keras.Model(network.model.input, find_output(network.model, layer))(pictures))[0, *place]
    )
    found = deconvnet.project(network.model, layer, pictures, [maps], [place])
    seen = np.zeros(pictures.shape[1:3], bool)
    rows, columns = (slice(*np.clip(span.at(at), 0, None)) for span, at in zip(record.spans, place, strict=True))
    seen[rows, columns] = True
    assert not seen.all() and abs(found.values[0, seen]).max() > 0
    assert abs(found.values[0, ~seen]).max() == 0


def test_the_strongest_pictures_of_each_map(finished, listing, pets):
    network = finished.network
    paths = [*listing.paths, str(pets / "nothing.jpg")]
    strengths, rows, errors = deconvnet_sheet.find_strongest(network, "stage2", paths)
    assert list(errors) == [paths[-1]]
    assert strengths.shape == rows.shape == (9, 16) and len(paths) - 1 not in rows
    assert (np.diff(strengths, axis=0) <= 0).all() and all(len(set(column)) == 9 for column in rows.T)
    found = deconvnet_sheet.project_strongest(network, "stage2", paths, [3, 1])
    assert [each.map for each in found] == [3, 1]
    for each in found:
        np.testing.assert_allclose(each.strengths, strengths[:, each.map], rtol=1e-3, atol=1e-5)
        assert each.paths == tuple(paths[row] for row in rows[:, each.map])
        assert each.patches.shape == each.projections.shape == (9, 7, 7, 3)
    assert len(deconvnet_sheet.draw_sheet(found, "stage2", "tiny").subfigs) == 2
    most = np.argsort(-strengths.mean(0))[:2]
    assert [each.map for each in deconvnet_sheet.project_strongest(network, "stage2", paths, 2)] == most.tolist()


def test_a_strip_has_the_strongest_maps_of_each_picture(finished, listing):
    network, layer = finished.network, "stage2"
    found = explanations.explain_paths(network, listing.paths[:9], "deconvnet", layer=layer)[0]
    assert len(found) == 9 and [each.path for each in found] == list(listing.paths[:9])
    views = np.stack([each.picture for each in found])
    maps = np.asarray(keras.Model(network.model.input, find_output(network.model, layer))(views.astype("float32")))
    for each, largest in zip(found, maps.max((1, 2)), strict=True):
        assert list(each.maps) == np.argsort(-largest, kind="stable")[:8].tolist()
        np.testing.assert_allclose(list(each.maps.values()), np.sort(largest)[::-1][:8], rtol=1e-3, atol=1e-5)
    second = [list(each.maps)[1] for each in found]
    alone = deconvnet.project(network.model, layer, views, second).values
    np.testing.assert_allclose([each.values[1] for each in found], alone, rtol=1e-3, atol=1e-6)
    one = explanations.explain_paths(network, listing.paths[:2], "deconvnet", layer=layer, unit=5)[0]
    assert [list(each.maps) for each in one] == [[5], [5]] and one[0].values.shape == (1, 32, 32, 3)


def test_more_than_nine_pictures_are_a_sheet(finished, listing):
    found = explanations.explain_paths(finished.network, listing.paths, "deconvnet")[0]
    expected = deconvnet_sheet.project_strongest(finished.network, "stage2", listing.paths, 9)
    assert [each.label for each in found] == [f"map {each.map}" for each in expected]
    np.testing.assert_allclose(found[3].values, expected[3].projections, rtol=1e-4, atol=1e-6)
    assert found[0].layer == "stage2" and len(drawing.draw_sheet(found).axes) == 2 * 9


def test_what_has_no_way_back_is_named(finished, listing):
    lenet = models.load("lenet5", "none")
    with pytest.raises(UnknownName, match=r"no way back through features.squash1.tanh, which is Activation \(tanh\)"):
        deconvnet_sheet.project_strongest(lenet, "c3", listing.paths)
    gate = chain((4, 4, 3), conv(np.ones((1, 1, 3, 3)), activation="sigmoid", name="gate"))
    with pytest.raises(UnknownName, match=r"no way back through gate, which is Conv2D \(sigmoid\)"):
        deconvnet.check_projectable(gate, "gate")
    x = keras.Input((4, 4, 3))
    squeeze = keras.Model(x, layers.Multiply(name="scale")([x, layers.GlobalAveragePooling2D(keepdims=True)(x)]))
    with pytest.raises(UnknownName, match="no way back through scale, which is Multiply"):
        deconvnet.check_projectable(squeeze, "scale")
    with pytest.raises(UnknownName, match="pooled of .* gives a vector of 16 numbers, not a map"):
        deconvnet_sheet.project_strongest(finished.network, "pooled", listing.paths)
    with pytest.raises(UnknownName, match="has no map 16: expected 0 to 15"):
        deconvnet_sheet.project_strongest(finished.network, "stage2", listing.paths, [16])
    with pytest.raises(UnknownName, match="has no map 16: expected 0 to 15"):
        explanations.explain_paths(finished.network, listing.paths[:2], "deconvnet", unit=16)
    with pytest.raises(UnknownName, match="deconvnet explains no class: omit 'cat'"):
        explanations.explain_paths(finished.network, listing.paths, "deconvnet", class_name="cat")
    with pytest.raises(ValueError, match="The picture cannot be read"):
        deconvnet_sheet.project_strongest(finished.network, "stage2", ["nothing.jpg"])
