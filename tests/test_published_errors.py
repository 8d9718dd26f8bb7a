"""The errors that the papers report: the file, and `transferkit models --published`."""

import json

import pytest

from transferkit import zoo
from transferkit.zoo.published import published_errors


@pytest.mark.parametrize("line", published_errors(), ids=lambda line: f"{line.network}-{line.views}")
def test_lines(line):
    """Each is of a network here, by its own name, with errors that can be."""
    assert zoo.spell(line.network) == line.network
    assert 1989 <= line.year <= 2020 and line.source and line.data
    errors = [error for error in (line.top5, line.top1) if error is not None]
    assert errors == sorted(errors) and errors and all(0 < error < 100 for error in errors)


def test_a_line_is_there_once():
    keys = [(line.network, line.data, line.views) for line in published_errors()]
    assert len(set(keys)) == len(keys)


def find(name, views):
    return next(line for line in published_errors() if (line.network, line.views) == (name, views))


def test_what_the_papers_say_of_their_figures():
    """Simonyan's text: LRN does not help; He's: plain nets are worse; Springenberg's: a stride alone loses a little."""
    assert find("vgg11_lrn", "dense").top1 > find("vgg11", "dense").top1
    assert find("plain34", "10 crops").top1 - find("resnet34(shortcut=a)", "10 crops").top1 == pytest.approx(3.51)
    for name in ("allcnn_a", "allcnn_b", "allcnn_c"):
        assert find(f"{name}(variant=strided)", "one").top1 > find(f"{name}(variant=base)", "one").top1
        assert find(f"{name}(variant=base)", "one").top1 > find(name, "one").top1


def test_command(cli):
    document = json.loads(cli("models", "--filter", "zfnet", "--json")[1])
    assert [each["top1"] for each in document[0]["published"]] == [38.4, 37.5]
    status, out, _ = cli("models", "--filter", "zfnet", "--published")
    assert status == 0 and "zfnet(widths=b)" in out and "37.5" in out and "16" in out
    status, out, err = cli("models", "--filter", "efficientnet", "--published")
    assert (status, out) == (0, "") and "No published errors of these networks are recorded." in err
