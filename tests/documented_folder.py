"""What the command lines and the code of the documents name: photographs, lists, networks and finished runs.

Networks whose public weights are not on this machine stand for themselves only where no weights are needed; elsewhere
one of the extra `pretrained` takes their place. Trainings are made small.
"""

import re
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import transferkit as tk
from transferkit.data.example_digits import write_digits
from transferkit.weights.catalogue import weight_sets
from transferkit.weights.local_files import find_weights

NO_WEIGHTS = ("inspect", "models", "weights", "train", "lab", "data", "check")  # commands that do without
STAND_INS = {"resnet34": "efficientnet_lite0", "resnet50": "efficientnet_lite0", "resnet18": "efficientnet_lite1"}
STAND_INS |= {"vgg16": "efficientnet_lite2"}
QUICK = {"epochs": 2, "size": 64, "seed": 0, "refit": "off"}
SIDE = 100  # pixels of a photograph


def write_photographs(folder: Path, classes: dict[str, range]):
    """Write parts of scikit-learn's two photographs, a palace and a flower, as JPEG files in class folders."""
    for (name, numbers), photograph in zip(classes.items(), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in numbers:
            row, column = divmod(number, 6)
            part = photograph[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            Image.fromarray(part).save(folder / name / f"{number:02d}.jpg", quality=95)


def make_folder(place: Path) -> Path:
    """Write what is named into an empty folder, with finished runs: runs/pets is runs/a, runs/simple_cnn is runs/b."""
    for name, numbers in {"pets": range(16), "more-pets": range(16, 24), "new": range(16, 24)}.items():
        write_photographs(place / name, {"cat": numbers, "dog": numbers})
    for number in range(0, 16, 3):  # wrong labels, so that a run makes mistakes
        cat, dog = (place / "pets" / label / f"{number:02d}.jpg" for label in ("cat", "dog"))
        other = dog.read_bytes()
        cat.replace(dog)
        cat.write_bytes(other)
    write_photographs(place / "birds", {"crow": range(10), "gull": range(10)})
    write_photographs(place / "imagenet" / "train", {"n01440764": range(8), "n01443537": range(8)})
    write_photographs(place / "imagenet" / "val", {"n01440764": range(8, 12), "n01443537": range(8, 12)})
    write_digits(place / "digits", most=100)
    (place / "holiday").mkdir()
    for name, source in {
        "cat.jpg": "cat/20",
        "tabby.jpg": "cat/21",
        "dog.jpg": "dog/20",
        "holiday/1.jpg": "dog/21",
    }.items():
        (place / name).write_bytes((place / "more-pets" / f"{source}.jpg").read_bytes())
    rows = [
        f"{path.relative_to(place)},{path.parent.name},{int(path.stem) // 4}" for path in place.glob("pets/*/*.jpg")
    ]
    (place / "list.csv").write_text("\n".join(["image,label,patient", *rows, ""]))
    (place / "my.toml").write_text('[model]\nbase = "simple_cnn"\n[train]\nepochs = 2\n')
    layers = [keras.Input((64, 64, 3)), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Conv2D(8, 3, strides=2, activation="relu") for _ in range(3)]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")]
    keras.Sequential(layers).save(place / "my.keras")
    runs = place / "runs"
    tk.finetune("efficientnet_lite0", place / "pets", out=runs / "pets", unfreeze="head", **QUICK)
    tk.finetune("simple_cnn", place / "pets", out=runs / "simple_cnn", **QUICK | {"weights": "none"})
    shutil.copytree(runs / "pets", runs / "a")
    shutil.copytree(runs / "simple_cnn", runs / "b")
    return place


def names() -> dict:
    """The names that code in the documents uses and does not define."""
    files = [Image.open(path) for path in ("cat.jpg", "dog.jpg", "holiday/1.jpg")]
    pictures, labels = np.stack([np.asarray(file.resize((64, 64))) for file in files] * 8), np.array([0, 1, 1] * 8)
    return {
        "tk": tk,
        "np": np,
        "Image": Image,
        "pictures": pictures,
        "images": pictures,
        "labels": labels,
        "frame": pictures[0],
    }


def with_stand_ins(text: str) -> str:
    """The text with other networks for those whose weights are not here."""
    missing = {name: other for name, other in STAND_INS.items() if not any(map(find_weights, weight_sets(name)))}
    return re.sub(rf"\b({'|'.join(missing)})\b(?![(_])", lambda match: missing[match[0]], text) if missing else text


def make_small(line: str) -> list[str]:
    """The words after `transferkit` of a command line, with stand-ins, small if it trains."""
    command = shlex.split(line)[1]
    words = shlex.split(line if command in NO_WEIGHTS else with_stand_ins(line), comments=True)[1:]
    if command not in ("finetune", "train") or {"--resume", "--dry-run"} & set(words):
        return words
    if "--time" in words:
        words[words.index("--time") + 1] = "30s"
    needs = {"size": "64"} if {"--time", "--quality"} & set(words) else {"size": "64", "epochs": "2"}
    if command == "finetune" and "--recipe" not in words:
        needs["base"] = with_stand_ins("resnet34")  # the default
    return words + [word for knob, value in needs.items() if f"--{knob}" not in words for word in (f"--{knob}", value)]
