"""The diagram of a network, and the files that `inspect` writes."""

import xml.etree.ElementTree

import pytest
from PIL import Image
from reference_weights import without_weights

from transferkit.explain import diagram
from transferkit.explain.inspection import inspect


def blocks(name):
    with without_weights():
        return {block.name: block for block in diagram.list_blocks(inspect(name))}


@pytest.mark.parametrize(
    ("words", "counted"),
    [
        ("aaab", ["3x a", "b"]),
        ("abcabcabc", ["3x (a, b, c)"]),
        ("xabab", ["x", "2x (a, b)"]),
        ("abc", ["a", "b", "c"]),
        ("", []),
    ],
)
def test_repetitions_are_counted(words, counted):
    assert diagram._count_repeats(list(words)) == counted


def test_the_boxes_of_a_residual_network():
    found = blocks("resnet50")
    assert list(found) == ["pictures", "stem", *(f"stage{stage}" for stage in range(1, 5)), "pooled", "fc"]
    assert found["stem"].parts == ("7x7 64/2", "max 3x3/2") and found["stage4"].output == (7, 7, 2048)
    assert found["stage3"].parts[-1] == "5x (1x1 256, 3x3 256, 1x1 1024)"


def test_a_model_without_cut_points_has_a_box_for_each_size():
    sizes = [block.output for block in blocks("keras:ResNet50").values()]
    assert [size[0] for size in sizes[1:6]] == [112, 56, 28, 14, 7] and sizes[-1] == (1000,)


def test_every_size_and_name_is_written(tmp_path):
    with without_weights():
        inspection = inspect("alexnet")
    figure = diagram.draw_diagram(inspection)
    texts = "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)
    for block in diagram.list_blocks(inspection):
        assert block.name in texts and "x".join(map(str, block.output)) in texts
    for axes in figure.axes:  # each box is inside its line
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        for box in axes.patches:
            corners = box.get_xy()
            assert left <= corners[:, 0].min() and corners[:, 0].max() <= right
            assert bottom <= corners[:, 1].min() and corners[:, 1].max() <= top


def test_the_command(cli, pets):
    status, out, _ = cli("inspect", "lenet5", "--diagram", "lenet.svg")
    assert (status, out) == (0, "The diagram of lenet5 is lenet.svg\n")
    assert xml.etree.ElementTree.parse("lenet.svg").getroot().tag.endswith("svg")
    picture = next((pets / "cat").iterdir())
    status, out, err = cli("inspect", "lenet5", "--receptive-field", "c3", picture)
    assert status == 0 and "theoretical field  14 x 14 pixels" in out and "it has no public ones" in err
    with Image.open("receptive-field.png") as figure:
        assert figure.size == (1152, 600)
    status, _, err = cli("inspect", "lenet5", "--receptive-field", "c5", picture, "--size", "28", "--overwrite")
    assert status == 2 and "at least 32 pixels" in err


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--diagram", "a.gif"], 2, "must be an .svg, .pdf or .png file in an existing folder, not a.gif"),
        (["--diagram", "no/a.svg"], 2, "must be an .svg, .pdf or .png file in an existing folder"),
        (["nin", "--diagram", "a.svg"], 2, "--diagram shows one network: omit nin."),
        (["nin", "--step-by-step"], 2, "--step-by-step shows one network: omit nin."),
        (["--out", "a.png"], 2, "--out is the figure of --receptive-field"),
        (["--receptive-field", "c3", "no.png"], 2, "There is no picture no.png"),
        (["--receptive-field", "c33", "bad.png"], 2, "Did you mean 'c3'"),
        (
            ["--receptive-field", "f6", "good.png"],
            2,
            "f6 of lenet5 gives a vector of 84 numbers, not a map of height x width",
        ),
        (["--receptive-field", "c3", "bad.png"], 1, "bad.png cannot be read"),
        (["--receptive-field", "c3", "good.png", "--out", "good.png"], 2, "good.png exists"),
    ],
)
def test_errors(cli, tmp_path, words, status, sentence):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.new("L", (32, 32)).save(tmp_path / "good.png")
    found, out, err = cli("inspect", "lenet5", *words)
    assert (found, out) == (status, "") and sentence in " ".join(err.split())
