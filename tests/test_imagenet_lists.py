"""ImageNet's folders and lists: WordNet ids, class numbers in two orders, ground truth without names."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from transferkit.data import class_matching
from transferkit.data.sources import resolve
from transferkit.recipe import Data
from transferkit.weights import imagenet

TFDS = Path(find_spec("tensorflow_datasets").origin).parent
# the first lines of the development kit's ground truth, and what Caffe's val.txt says of the same pictures
TRUTH = (490, 361, 171, 822, 297, 482)
CAFFE = (65, 970, 230, 809, 516, 57)
NAMES = ("sea snake", "alp", "Shetland sheepdog", "soup bowl", "cradle", "garter snake")
IDS = ("n01751748", "n09193705", "n02105855", "n04263257", "n03125729", "n01735189")


@pytest.fixture
def labels(tmp_path):
    """labels(text, name) writes a list beside val/ with six pictures of ILSVRC2012 and gives their classes in order."""
    for number in range(1, 7):
        path = tmp_path / "val" / f"ILSVRC2012_val_{number:08}.JPEG"
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def read(text, name="val.txt", **knobs):
        (tmp_path / name).write_text(text)
        found, _ = resolve.find_labelled(Data(str(tmp_path / name), **knobs), imagenet.class_names(1000))
        assert [Path(path).name[-6] for path in found.paths] == [*"123456"]
        return tuple(found.classes[label] for label in found.labels)

    return read


def pictures(values, form="ILSVRC2012_val_{:08}.JPEG {}"):
    return "".join(form.format(number, value) + "\n" for number, value in enumerate(values, start=1))


def test_the_class_table_matches_other_sources():
    synsets = (TFDS / "datasets" / "imagenet2012" / "labels.txt").read_text().split()
    resized = (TFDS / "image_classification" / "imagenet_resized_labels.txt").read_text().split()
    assert list(imagenet.synsets()) == synsets and tuple(imagenet.synsets().values()) == imagenet.class_names(1000)
    assert imagenet.challenge_numbers() == dict(enumerate(resized, start=1))
    first = (TFDS / "datasets" / "imagenet2012" / "validation_labels.txt").read_text().split()[:6]
    assert tuple(first) == IDS == tuple(imagenet.challenge_numbers()[one] for one in TRUTH)
    assert tuple(imagenet.class_names(1000)[one] for one in CAFFE) == NAMES
    assert len(set(imagenet.class_names(1000))) == 1000


@pytest.mark.parametrize(
    "text",
    [
        pictures(IDS),
        pictures(CAFFE),
        pictures(CAFFE, "val/ILSVRC2012_val_{:08}.JPEG {}"),
        "image,label\n" + pictures(IDS, "ILSVRC2012_val_{:08},{}"),
        "image,label\n" + pictures(NAMES, "ILSVRC2012_val_{:08},{}"),
        "ImageId,PredictionString\n" + pictures(IDS, "ILSVRC2012_val_{0:08},{1} 85 1 499 272 {1} 3 4 50 60 "),
        "".join(f"{one}\n" for one in (*TRUTH, 13, 704)),
        "".join(f"{one}\n" for one in IDS),
    ],
)
def test_lists_of_labels(labels, text):
    assert labels(text) == NAMES


def test_a_ground_truth_in_another_folder(labels, tmp_path):
    (tmp_path / "devkit").mkdir()
    text = "".join(f"{one}\n" for one in TRUTH)
    with pytest.raises(ValueError, match="devkit has none: give their folder as --image-dir"):
        labels(text, "devkit/truth.txt")
    assert labels(text, "devkit/truth.txt", image_dir=str(tmp_path / "val")) == NAMES
    with pytest.raises(ValueError, match="line 1: '1001' is not a class of ILSVRC2012: expected 1 to 1000"):
        labels("1001\n2\n3\n4\n5\n6\n")


def test_ambiguous_class_numbers_are_refused(labels):
    with pytest.raises(ValueError, match="labels are numbers up to 1000, which count ImageNet's classes in one of sev"):
        labels(pictures((1000, *CAFFE[1:])))


def test_folders_of_ids(tmp_path, capsys):
    for name in ("n01440764", "n01443537_goldfish", "great_white_shark"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.JPEG").touch()
    found, _ = resolve.find_labelled(Data(str(tmp_path)), imagenet.class_names(1000))
    assert sorted(found.labels) == [0, 1, 2]
    assert "'n01440764' is 'tench'" in capsys.readouterr().err


def test_similar_ids_are_not_confused(capsys):
    class_matching.warn_similar_classes(imagenet.synsets(), "imagenet")
    assert not capsys.readouterr().err
    ids = {"n02113186": "Cardigan", "n02963159": "cardigan"}
    assert class_matching.match_classes(ids, imagenet.class_names(1000)) == ids


def test_ids_and_names_match_in_both_directions():
    assert class_matching.match_classes(["tench", "goldfish"], ["n01443537", "n01440764"]) == {
        "tench": "n01440764",
        "goldfish": "n01443537",
    }
    assert class_matching.match_classes(["n99999999", "n0144"], ["tench"]) == {}


def test_the_thousand_folders_of_imagenetv2():
    names = sorted(map(str, range(1000)))
    found = class_matching.match_classes(names, imagenet.class_names(1000))
    assert found["0"] == "tench" and found["2"] == "great white shark" and len(set(found.values())) == 1000
    assert class_matching.match_classes(names[:999], imagenet.class_names(1000)) == {}  # digits of another kind


def test_evaluate_on_folders_of_ids(cli, tmp_path):
    for hue, name in enumerate(("n01440764", "n01443537")):
        (tmp_path / "val" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (200 * hue, 90, 10)).save(tmp_path / "val" / name / "1.JPEG")
    status, out, err = cli("evaluate", "tiny", "--weights", "none", "--data", tmp_path / "val")
    assert (status, "goldfish" in out) == (0, True), err
