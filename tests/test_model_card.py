"""MODEL_CARD.md: its front matter, its figures, and its lines of Python."""

import dataclasses
import hashlib
import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

import transferkit as tk
from transferkit import atomic, models
from transferkit.data.audit.scan import scan_files
from transferkit.network import with_fit
from transferkit.pixels import FITS
from transferkit.report import model_card


def read_card(run) -> tuple[dict, str]:
    """The front matter and the text."""
    _, front, text = (run.folder / "MODEL_CARD.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_front_matter(finished):
    front, _ = read_card(finished)
    assert front["library_name"] == "keras" and front["pipeline_tag"] == "image-classification"
    assert not {"license", "base_model"} & front.keys() and front["metrics"] == ["accuracy"]
    result = front["model-index"][0]["results"][0]
    assert result["metrics"] == [{"type": "accuracy", "value": finished.metrics["accuracy"]}]


def test_text(finished):
    _, text = read_card(finished)
    metrics = finished.metrics
    assert f"**{metrics['accuracy']:.1%}** right (95% interval: {metrics['ci95'][0]:.1%} to" in text
    assert "Pictures: 20 train, 4 val." in text and "fresh weights" in text
    for name, row in metrics["per_class"].items():
        assert f"| {name} | {row['n']} | {row['recall']:.1%} |" in text


def test_the_digest_is_of_the_content(finished, pets):
    paths = [path for _, part in finished.splits.items() for path in part.paths]
    scan_files(paths)
    digests = sorted(hashlib.sha1(Path(path).read_bytes()).digest() for path in paths)
    expected = hashlib.sha256(b"".join(digests)).hexdigest()
    assert model_card.digest_data(paths) == model_card.digest_data(paths[::-1]) == expected
    assert model_card.digest_data([*paths, "gone.jpg"]) == ""


@pytest.mark.parametrize(
    ("base", "weights", "licence"),
    [
        ("efficientnet_lite0", "imagenet", "apache-2.0"),
        ("resnet34", "imagenet", "bsd-3-clause+imagenet-terms"),
        ("resnet34", "none", ""),
        ("lenet5", "imagenet", ""),
        ("resnet34", "mine/resnet34.pth", ""),
    ],
)
def test_licence(base, weights, licence):
    assert model_card.find_licence(base, weights) == licence


def test_the_base_of_the_base(finished, tmp_path):
    """A run that continues a run has the first one's weights, and so their licence."""
    first, second = (shutil.copytree(finished.folder, tmp_path / name) for name in ("first", "second"))
    text = (first / "recipe.toml").read_text("utf-8")
    (first / "recipe.toml").write_text(
        text.replace('"tiny"', '"efficientnet_lite0"').replace('weights = "none"', 'weights = "imagenet"')
    )
    (second / "recipe.toml").write_text(text.replace('"tiny"', f'"{first}"'))
    assert model_card.find_base(tk.load_run(second)) == ("efficientnet_lite0", "imagenet")
    model_card.write_model_card(tk.load_run(second))
    assert read_card(tk.load_run(second))[0]["license"] == "apache-2.0"


def test_limits():
    row = {"recall": 0.5, "n": 4}
    figures = {
        "split": "val",
        "n": 40,
        "per_class": {"cat": row, "dog": {"recall": 0.9, "n": 36}, "fox": {"recall": 0, "n": 0}},
    }
    text = "\n".join(model_card.list_limits(figures, {"cat": 8, "dog": 90, "fox": 0}))
    for part in ("no test pictures", "40 pictures only", "cat has 8 training", "dog has 90", "cat: 50.0% of 4"):
        assert part in text
    figures |= {"split": "test", "n": 4000}
    text = "\n".join(model_card.list_limits(figures, {"cat": 800, "dog": 900}))
    assert "test pictures" not in text and "only" not in text and "unequal" not in text


def test_names_are_not_markdown(finished, tmp_path):
    copied = shutil.copytree(finished.folder, tmp_path / 'a "run": #1')
    metrics = atomic.read(copied / "metrics.json")
    metrics["per_class"] = {"a|b": metrics["per_class"]["cat"], "<i>": metrics["per_class"]["dog"]}
    atomic.write(copied / "metrics.json", metrics)
    model_card.write_model_card(tk.load_run(copied))
    front, text = read_card(tk.load_run(copied))
    assert front["model-index"][0]["name"] == 'a "run": #1'
    assert r"| a\|b |" in text and r"| \<i\> |" in text


@pytest.mark.parametrize("fit", FITS)
def test_its_python_classifies(finished, tmp_path, monkeypatch, capsys, fit):
    """The lines of plain Keras give the classes and nearly the probabilities of `predict`, for each fit."""
    copied = shutil.copytree(finished.folder, tmp_path / "run")
    models.save(dataclasses.replace(with_fit(finished.network, fit), temperature=2.0), copied / "model.keras")
    atomic.write(copied / "metrics.json", finished.metrics | {"temperature": 2.0})
    run = tk.load_run(copied)
    model_card.write_model_card(run)
    monkeypatch.chdir(copied)
    (code,) = re.findall(r"```python\n(.*?)```", read_card(run)[1], flags=re.S)
    for colour in ((200, 60, 60), (60, 60, 200)):
        picture = Image.new("RGB", (80, 48), colour)
        picture.paste((120, 200, 90), (0, 0, 30, 30))
        picture.save("picture.jpg", quality=95)
        expected = run.predict("picture.jpg")[0]
        exec(code, {})
        name, probability = capsys.readouterr().out.splitlines()[-1].split()
        assert name == expected["label"]
        assert float(probability) == pytest.approx(expected["probability"], abs=0.02)
