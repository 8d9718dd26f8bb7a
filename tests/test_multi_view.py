"""Views of the papers' tests against Pillow and torchvision, probabilities over views against single predictions."""

import json

import numpy as np
import pytest
import record_views
from PIL import Image
from reference_weights import fill
from scipy.special import softmax
from test_geometry import smooth

from transferkit import zoo
from transferkit.data import geometry, paper_crops
from transferkit.evaluation import multi_view
from transferkit.lookup import UnknownName
from transferkit.network import Network
from transferkit.pixels import Pixels

PIXELS = Pixels(crop=record_views.CROP, resize=record_views.RESIZE)
RECORDED = json.loads(record_views.PATH.read_text())


def whole_then_cropped(picture, factor):
    """The picture at a scale, as the papers resize it before they crop."""
    image = Image.fromarray(picture)
    side = round(56 * factor)
    width, height = image.size
    size = (side, side * height // width) if width < height else (side * width // height, side)
    return image.resize(size, Image.Resampling.BILINEAR)


def off(views, expected):
    return np.abs(views.astype(int) - np.stack(expected).astype(int)).max()


@pytest.mark.parametrize("shape", [(90, 130), (200, 120), (100, 100)])
def test_googlenets_crops(shape):
    picture = np.asarray(smooth(*shape[::-1]))
    views = geometry.cut_crops(picture, np.array(shape), PIXELS, paper_crops.GOOGLENET)
    expected = []
    for factor in (256 / 224, 288 / 224, 320 / 224, 352 / 224):
        image, side = whole_then_cropped(picture, factor), round(56 * factor)
        for third in (0, 0.5, 1):
            left, top = round((image.width - side) * third), round((image.height - side) * third)
            square = image.crop((left, top, left + side, top + side))
            for y, x in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)):
                y, x = round((side - 56) * y), round((side - 56) * x)
                expected.append(np.asarray(square.crop((x, y, x + 56, y + 56))))
            expected.append(np.asarray(square.resize((56, 56), Image.Resampling.BILINEAR)))
    assert views.shape == (72, 56, 56, 3)
    crops = [i for i in range(72) if i % 6 < 5]
    assert off(views[crops], [expected[i] for i in crops]) <= 2
    wholes = range(5, 72, 6)  # resized once here, and twice by the papers
    assert off(views[wholes], [expected[i] for i in wholes]) <= 12


def test_vggs_grid():
    picture = np.asarray(smooth(130, 90))
    views = geometry.cut_crops(picture, np.array((90, 130)), PIXELS, paper_crops.VGG)
    image = whole_then_cropped(picture, 384 / 224)
    corners = [
        (round((image.height - 56) * y / 4), round((image.width - 56) * x / 4)) for y in range(5) for x in range(5)
    ]
    expected = [np.asarray(image.crop((x, y, x + 56, y + 56))) for y, x in corners]
    assert views.shape == (75, 56, 56, 3) and off(views[25:50], expected) <= 2


@pytest.fixture(scope="module")
def network():
    model = zoo.build("resnet20_cifar", pixels=PIXELS, num_classes=3)
    fill(model)
    return Network(model, PIXELS, tuple("abc"), "fc", "resnet20_cifar", minimum=8)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("pictures"), []
    for number, shape in enumerate([(90, 130), (120, 70), (64, 64)]):
        paths.append(str(folder / f"{number}.png"))
        smooth(*shape).save(paths[-1])
    (folder / "bad.png").write_bytes(b"none")
    return [*paths[:2], str(folder / "bad.png"), paths[2]]


def probabilities(network, views):
    return softmax(np.asarray(network.model(views, training=False), "float64"), axis=1)


@pytest.mark.parametrize("name", ["1", "10", "144"])
def test_probabilities_are_averaged_over_the_crops(network, paths, name):
    found, rows = multi_view.predict_crops(network, paths, name)
    assert list(rows) == [0, 1, 3]
    crops, mirrored = multi_view.CROPS[name]
    for probability, path in zip(found, (paths[row] for row in rows), strict=True):
        image = Image.open(path)
        views = geometry.cut_crops(np.asarray(image), np.array(image.size[::-1]), PIXELS, crops)
        views = np.concatenate((views, views[:, :, ::-1])) if mirrored else views
        assert len(views) == int(name)
        np.testing.assert_allclose(probability, probabilities(network, views).mean(0), atol=1e-4)


def test_a_dense_evaluation_sees_whole_pictures(network, paths):
    found, rows = multi_view.predict_dense(network, paths, (48, 64))
    assert list(rows) == [0, 1, 3]
    for probability, path in zip(found, (paths[row] for row in rows), strict=True):
        image, each = Image.open(path), []
        for scale in (48, 64):
            short = min(image.size)
            size = [side * scale // short for side in image.size]
            view = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
            each.append(probabilities(network, np.stack((view, view[:, ::-1]))))
        np.testing.assert_allclose(probability, np.concatenate(each).mean(0), atol=1e-4)
    with pytest.raises(UnknownName, match="scales must be at least"):
        multi_view.predict_dense(network, paths, (48, 4))


def test_ten_crops_are_torchvisions():
    picture = record_views.draw_waves()
    views = geometry.cut_crops(np.asarray(picture), np.array((90, 130)), PIXELS, multi_view.CROPS["10"][0])
    mirrored = views[[1, 0, 3, 2, 4], :, ::-1]  # torchvision cuts the corners of the mirror image
    views = np.concatenate((views, mirrored))[:, :: record_views.STEP, :: record_views.STEP]
    assert views.shape == (10, 7, 7, 3) and off(views, RECORDED["crops"]) <= 2


def test_whole_pictures_are_torchvisions(tmp_path):
    record_views.draw_waves().save(tmp_path / "waves.png")
    ((row, views),) = multi_view._read_whole([str(tmp_path / "waves.png")], PIXELS, record_views.SCALES)
    assert row == 0 and [list(view.shape[1::-1]) for view in views] == RECORDED["sizes"]
    for view, expected in zip(views, RECORDED["wholes"], strict=True):
        assert off(view[:: record_views.STEP, :: record_views.STEP], expected) <= 1


def test_of_a_very_long_picture_the_middle_is_seen(tmp_path):
    picture = np.asarray(smooth(500, 20))
    Image.fromarray(picture).save(tmp_path / "long.png")
    ((_, (view,)),) = multi_view._read_whole([str(tmp_path / "long.png")], PIXELS, (20,))
    assert np.array_equal(view, picture[:, 210:290])


@pytest.mark.slow
def test_dense_evaluation_is_torchvisions(tmp_path):
    """AlexNet, whose dense layers become convolutions: at these sizes its map of scores has several places."""
    pixels = Pixels(crop=224, resize=256)
    model = zoo.build("alexnet", pixels=pixels, num_classes=3)
    fill(model)
    record_views.draw_waves(390, 270).save(tmp_path / "waves.png")
    network = Network(model, pixels, tuple("abc"), "classifier.6", "alexnet")
    found, _ = multi_view.predict_dense(network, [str(tmp_path / "waves.png")], record_views.DENSE_SCALES)
    np.testing.assert_allclose(found, [RECORDED["dense"]], atol=1e-3)
