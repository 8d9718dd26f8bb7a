"""Wrong command lines: each answer is short, says what was meant, and comes before TensorFlow is imported."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from pictures import folder

from transferkit import base_names, path_kinds
from transferkit.commands import arguments, flag_names, group
from transferkit.data.formats import SUFFIXES

LINES = {
    # names of other libraries
    "finetune --data pets --base mobilenetv2": "Did you mean 'keras:MobileNetV2'?",
    "finetune --data pets --base EfficientNet-B0": "Did you mean 'keras:EfficientNetB0'?",
    "finetune --data pets --base tf_efficientnet_b0.ns_jft_in1k": "Did you mean 'keras:EfficientNetB0'?",
    "finetune --data pets --base convnext": "'keras:ConvNeXtTiny', 'keras:ConvNeXtSmall' or 'keras:ConvNeXtBase'",
    "finetune --data pets --base resnet-34": "Did you mean 'resnet34'?",
    "finetune --data pets --base resnet50.a1_in1k": "give --base resnet50 --weights a1_in1k",
    "finetune --data pets --base vit_b_16": "'vit_b_16' is not among the networks here",
    "finetune --data pets --base yolov8n-cls.pt": "resnet18, efficientnet_lite0",
    "finetune --data pets --base keras:resnet-50": "Did you mean keras:ResNet50?",
    "finetune --data pets --base resnet43": "Did you mean 'resnet34'? `transferkit models` lists",
    "finetune --data pets --base resnet18(stam=small)": "Did you mean 'stem'?",
    "finetune --data pets --base resnet18 --teacher inception_v1": "Did you mean 'googlenet'?",
    "probe --data pets --base resnet18,vgg-16": "Did you mean 'vgg16'?",
    "inspect densenet_121": "Did you mean 'keras:DenseNet121'?",
    "weights fetch resnet43": "Did you mean 'resnet34'?",
    "models --filter rasnet18": "`transferkit models` lists all",
    # what is not there
    "predict runs/old-9 cat.jpg": "Did you mean 'runs/old-2'? The newest run is runs/new-1.",
    "predict runs/nothing cat.jpg": "The newest runs are runs/new-1 and runs/old-2.",
    "predict new-1 cat.jpg": "Did you mean 'runs/new-1'?",
    "predict rnus/new-1 cat.jpg": "Did you mean 'runs/new-1'?",
    "evaluate elsewhere/run.keras": "The newest runs are runs/new-1",
    "finetune --resume runs/old": "Did you mean 'runs/old-2'?",
    "finetune --data pest": "Did you mean 'pets'?",
    "finetune --data pets/catt": "Did you mean 'pets/cat'?",
    "predict resnet18 ct.jpg": "Did you mean 'cat.jpg'?",
    "train --data pets --recipe resnet20": "`transferkit train --help` lists all",
    "finetune --data pets --batch-size x": "'x' is not a valid whole number",
    "finetune --data pets --lr x": "'x' is not a valid number",
    "finetune --data pets --unfreeze top": "head, last-stage, last-2, all, or the name of a layer, not 'top'.",
    # in each other's place
    "predict pets runs/old-2": "transferkit predict runs/old-2 pets",
    "predict cat.jpg": "cat.jpg is a picture, not a network: transferkit predict runs/new-1 cat.jpg",
    "predict runs cat.jpg": "transferkit predict runs/new-1 cat.jpg",
    "predict weights.pth cat.jpg": "--weights weights.pth",
    "evaluate pets --data runs/old-2": "transferkit evaluate runs/old-2 --data pets",
    "evaluate runs/old-2 --data cat.jpg": "transferkit predict runs/old-2 cat.jpg",
    "finetune --data runs/old-2": "transferkit finetune --base runs/old-2 --data FOLDER",
    "finetune --base pets": "transferkit finetune --data pets",
    "finetune --base 'my pets' --data resnet18": "transferkit finetune --base resnet18 --data 'my pets'",
    "finetune --data resnet18": "transferkit finetune --base resnet18 --data FOLDER",
    "extract --base pets --data resnet18 --out x.npz": "--base resnet18 --data pets --out x.npz",
    "inspect pets": "transferkit check pets looks at pictures",
    "check runs/old-2": "transferkit evaluate runs/old-2",
    "similar cat.jpg feats.npz": "transferkit similar feats.npz cat.jpg",
    "similar pets cat.jpg": "transferkit extract --data pets --out FEATURES.npz",
    "data preview runs/old-2": "transferkit data preview FOLDER",
    # flags of other tools
    "finetune --data pets --learning-rate 0.1": "it is --lr here",
    "finetune --data pets -lr 0.1": "finetune has no -lr: it is --lr here",
    "finetune --data pets --batch_size=8": "it is --batch-size here",
    "finetune --data pets --imgsz 64": "it is --size here",
    "finetune --data pets --freeze 10": "it is --unfreeze",
    "finetune --data pets --format json": "--json prints JSON",
    "finetune --data pets --dropout 0.5": "--base 'alexnet(dropout=0.3)'",
    "finetune --data pets --loss mse": "the loss is cross-entropy",
    "finetune --data pets --top 3": "predict and similar take --top",
    "finetune --data pets --epoks 3": "Did you mean --epochs",
    "finetune --data pets --optimizer adam": "Did you mean 'adamw'?",
    "finetune --data pets --precision fp16": "Did you mean 'mixed_float16'?",
    "predict runs/old-2 --source cat.jpg": "give SOURCE... without a flag",
    "evaluate --model runs/old-2 --data pets": "give NETWORK... without a flag",
    # what has no flag
    "finetune pets": "transferkit finetune --data pets",
    "finetune resnet18 pets": "transferkit finetune --base resnet18 --data pets",
    "train epochs=5 data=pets model=resnet18": "transferkit train --epochs 5 --data pets --base resnet18",
    "finetune --data pets --json out.json": "--json > out.json",
    "models resnet": "`transferkit models --help`",
    # commands of other tools
    "fit --data pets": "`transferkit finetune --data FOLDER`",
    "val runs/old-2": "`transferkit evaluate RUN --data FOLDER`",
    "classify cat.jpg": "`transferkit predict RUN PICTURE`",
    "export runs/old-2": "--to onnx",
    "lr_find --data pets": "it is `transferkit lr-find`",
    "pets": "transferkit finetune --data pets",
    "data prewiew pets": "Did you mean 'preview'?",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two runs, pictures, and files whose names tell what they are."""
    root = tmp_path_factory.mktemp("place")
    folder(root / "pets", {"cat": 1, "dog": 1})
    folder(root / "my pets", {"cat": 1})
    for name in ("cat.jpg", "feats.npz", "weights.pth"):
        (root / name).touch()
    for day, name in enumerate(("old-2", "new-1")):
        recipe = root / "runs" / name / "recipe.toml"
        recipe.parent.mkdir(parents=True)
        recipe.touch()
        subprocess.run(["touch", "-d", f"2024-01-0{day + 1}", recipe], check=True)
    return root


@pytest.mark.parametrize("line", LINES)
def test_the_answer_says_what_was_meant(cli, monkeypatch, place, line):
    monkeypatch.chdir(place)
    status, out, err = cli(*shlex.split(line))
    answer = err.strip().splitlines()[-1]
    assert (status, out) == (2, "")
    assert answer.startswith("Error: ") and LINES[line] in answer
    assert len(answer) <= 300
    assert err.count("Error") == 1 and "Traceback" not in err


def test_the_answers_need_nothing_heavy(place):
    """In one process, which imports neither TensorFlow nor Keras nor NumPy for them."""
    code = f"""
        import shlex, sys
        from transferkit import commands
        for line in {list(LINES)!r}:
            try:
                commands.main(shlex.split(line))
            except SystemExit:
                found = {{"tensorflow", "keras", "numpy"}} & set(sys.modules)
                assert not found, (line, found)
    """
    program = re.sub("^        ", "", code, flags=re.M)
    done = subprocess.run([sys.executable, "-c", program], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "similar feats.npz cat.jpg pets",
        "finetune --base resnet18 --data tfds:none",
        "evaluate runs/old-2 --data pets",
        "predict resnet18 feats.npz -",
        "predict model.keras missing.jpg pets",
        "probe --base resnet18(stem=small),keras:VGG16 --data pets",
        "finetune --base runs/old-2 --data resnet18 --help",
        "check resnet18",
        "extract --data pets/cat/000.jpg --out one.npz",
        "train --data pets --base auto --unfreeze layer4",
    ],
)
def test_right_command_lines_pass(monkeypatch, place, tmp_path, line):
    """Networks and pictures where they belong; `resnet18` is also a folder of pictures."""
    monkeypatch.chdir(shutil.copytree(place, tmp_path / "place"))
    folder(Path("resnet18"), {"cat": 1})
    Path("model.keras").touch()
    assert arguments.check(group, shlex.split(line)) is None


def test_a_group_alone_shows_its_help(cli):
    status, _, err = cli("data")
    assert status == 2 and err.startswith("Usage: ") and "Error" not in err


def test_the_tables_name_what_exists():
    parameters = [each for command in every_command(group) for each in command.params]
    flags = {flag for each in parameters for flag in each.opts}
    meant = [*flag_names.COUNTERPARTS.values(), *flag_names.SHORT.values()]
    assert {ours.partition(" ")[0] for ours in meant} <= flags
    assert not {f"--{name}" for name in flag_names.NO_COUNTERPART} & flags
    choices = {(each.name, value) for each in parameters for value in getattr(each.type, "choices", ())}
    assert {(name, ours) for (name, _), ours in flag_names.VALUES.items()} <= choices
    for _, _, names in (*base_names.ELSEWHERE, *((0, 0, names) for names in base_names.ALIASES.values())):
        for name in names:
            base_names.check_name(name)
    commands_named = {
        word for text in flag_names.COMMANDS.values() for word in re.findall("transferkit ([a-z-]+)", text)
    }
    assert {name for name in commands_named if not name.startswith("-")} <= set(group.commands)


def every_command(command):
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from every_command(inner)


def test_the_networks_of_keras_and_the_suffixes_of_pictures_are_known():
    assert set(base_names.APPLICATIONS) == {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(path_kinds.PICTURES) == SUFFIXES


def test_kinds_of_paths(place, finished, pets):
    kinds = [path_kinds.find_kind(path) for path in (finished.folder, pets, pets / "cat", pets / "cat" / "000.jpg")]
    assert kinds == ["run", "pictures", "pictures", "picture"]
    assert path_kinds.find_kind(place / "runs") == "runs"
    assert path_kinds.find_kind(place) == "pictures"  # which has runs in it, and other folders
    assert (
        path_kinds.find_kind(place / "nothing") == path_kinds.find_kind("x" * 5000) == path_kinds.find_kind("\0") == ""
    )
