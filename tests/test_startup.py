"""The first second: wrong names and missing weights are answered, and pictures counted, before TensorFlow is loaded."""

import json
import logging
import subprocess
import sys
import tempfile

import pytest

import transferkit as tk
from transferkit import bases, models
from transferkit.data.sources.resolve import find_splits
from transferkit.lookup import UnknownName
from transferkit.recipe import Recipe
from transferkit.training import doctor
from transferkit.training.planning import planner, recipe_checks
from transferkit.weights import local_files

NO_TENSORFLOW = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras"):
            raise ImportError(f"{name} is imported")

from transferkit import commands
sys.meta_path.insert(0, Refuse())
for words in [line.split("|") for line in sys.argv[1:]]:
    try:
        commands.main(words)
    except SystemExit as end:
        print(end.code, file=sys.stderr)
"""


def test_wrong_names_are_answered_without_tensorflow(pets, tmp_path):
    data = f"--data|{pets}"
    lines = {
        f"finetune|--base|resnt34|{data}": "called 'resnt34'",
        f"train|--base|lenet5(foo=3)|{data}": "called 'foo'",
        f"finetune|--base|keras:foo|{data}": "called 'foo'",
        f"finetune|--weights|foo|{data}": "called 'foo'",
        f"finetune|--recipe|foo|{data}": "called 'foo'",
        f"finetune|--augment|flop|{data}": "called 'flop'",
        f"finetune|--unfreeze|all,all|{data}": "unfreeze must be",
        f"finetune|--time|soon|{data}": "time must be",
        f"finetune|--soup|2|--keep|last|{data}": "soup 2 averages",
        f"finetune|--teacher|foo|{data}": "called 'foo'",
        f"predict|resnt34|{pets}": "called 'resnt34'",
        f"evaluate|resnt34|{data}": "called 'resnt34'",
        f"extract|--base|resnt34|--out|x.npz|{data}": "called 'resnt34'",
        f"probe|--base|resnt34|{data}": "called 'resnt34'",
        f"lr-find|--base|resnt34|{data}": "called 'resnt34'",
        "inspect|resnt34": "called 'resnt34'",
        f"data|preview|{pets}|--augment|flop": "called 'flop'",
    }
    done = subprocess.run(
        [sys.executable, "-c", NO_TENSORFLOW, *lines], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    answers = [line for line in done.stderr.splitlines() if line != "2"]
    assert done.stderr.splitlines().count("2") == len(lines), done.stderr
    for words, answer in zip(lines.values(), answers, strict=True):
        assert answer.startswith("Error: ") and words in answer


def test_pictures_are_read_before_tensorflow_is_loaded(pets, tmp_path):
    """With weights on this machine, all that fails is the import of TensorFlow, after the pictures."""
    words = f"finetune|--base|lenet5|--weights|none|--data|{pets}"
    done = subprocess.run([sys.executable, "-c", NO_TENSORFLOW, words], capture_output=True, text=True, cwd=tmp_path)
    first, second, error, status = done.stderr.splitlines()
    assert (first, second) == (f"Looking at 24 pictures in {pets} ...", "Loading TensorFlow ...")
    assert "tensorflow" in error and status == "1"


def test_the_first_line_comes_before_slow_imports(pets, tmp_path):
    """scikit-learn takes two seconds to import; a command that needs it has said by then what it looks at."""
    script = NO_TENSORFLOW.replace(
        '("tensorflow", "keras")', '("tensorflow", "keras", "sklearn", "scipy", "matplotlib")'
    )
    base = f"efficientnet_lite0|--weights|none|--data|{pets}"
    lines = [f"evaluate|{base}", f"extract|--base|{base}|--out|x.npz", f"finetune|--base|{base}"]
    done = subprocess.run([sys.executable, "-c", script, *lines], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.count("Looking at ") == len(lines), done.stderr


@pytest.fixture
def without_a_network(monkeypatch):
    """No weights but those of efficientnet_lite0 and of no package, and no server."""
    from transferkit.weights import fetch

    here = {"efficientnet_lite0"}

    def find(weight_set):
        return weight_set.file if weight_set.network in here else None

    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    for module in (bases, local_files, fetch):
        monkeypatch.setattr(module, "find_weights", find)
    monkeypatch.setattr(fetch.requests, "get", refuse)
    return monkeypatch


def test_a_plan_needs_no_weights(cli, pets, without_a_network):
    status, out, err = cli("finetune", "--base", "resnet18", "--data", pets, "--dry-run", "--json")
    assert status == 0 and "Downloading" not in err
    plan = json.loads(out)
    assert plan["weights"] == [
        "head 1000 -> 2 new; 0/102 tensors loaded",
        "weights not on this machine yet (47 MB from torchvision)",
    ]
    assert {choice["knob"]: choice["value"] for choice in plan["chosen"]}["start"] == "probe"  # as with the weights


def test_missing_weights_are_said_before_pictures_are_read(cli, pets, without_a_network):
    from transferkit.data.audit import before_training
    from transferkit.weights import fetch

    def unreachable(*args, **kwargs):
        raise fetch.requests.ConnectionError("no network")

    without_a_network.setattr(fetch.requests, "get", unreachable)
    without_a_network.setattr(fetch, "PAUSES", ())
    without_a_network.setattr(before_training, "scan_files", None)
    status, _, err = cli("finetune", "--base", "resnet18", "--data", pets)
    assert status == 1 and "no connection. Put the file in" in err
    assert err.endswith(" efficientnet_lite0 is here: --base efficientnet_lite0.\n")


def test_bases_on_this_machine_are_listed_the_fastest_first(monkeypatch):
    monkeypatch.setattr(
        bases, "find_weights", lambda weight_set: weight_set.network in ("vgg16", "resnet18", "alexnet")
    )
    assert bases.available_bases() == ["alexnet", "resnet18", "vgg16"]
    assert bases.suggest_available() == " alexnet, resnet18, vgg16 are here: --base alexnet."
    monkeypatch.setattr(bases, "find_weights", lambda weight_set: None)
    assert bases.suggest_available() == ""


@pytest.mark.parametrize("where", ["home", "keras"])
def test_weights_of_keras_are_kept_in_the_cache_folder(tmp_path, monkeypatch, where):
    """They are found in Keras' own folder too, and nothing is downloaded for a plan."""
    asked = []

    def get_file(fname, origin, *, cache_dir, **kwargs):
        asked.append(cache_dir)
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "home"))
    expected = tmp_path / "home" / "keras"
    if where == "home":
        stand_in = models.load_for_training("keras:MobileNet", "imagenet", download=False)
        assert stand_in.loaded[1] == "weights not on this machine yet (from keras.applications)" and not asked
    else:
        expected = tmp_path / "keras"
        (expected / "models").mkdir(parents=True)
        (expected / "models" / "mobilenet_1_0_224_tf.h5").write_text("")
    with pytest.raises(OSError, match=r"put the file into \S+home/keras/models"):
        models.load("keras:MobileNet")
    assert asked == [str(expected)]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"folds": 1}, "folds must be 2 or more"),
        ({"folds": 2, "per_class": 3}, "omit --fraction and --per-class"),
        ({"milestones": "1,2"}, "milestones must be increasing"),
        ({"refit": "on", "keep": "best"}, "refit on leaves no"),
        ({"base": "lenet5", "weights": "none", "pixels": "raw"}, "pixel convention of its own"),
        ({"base": "auto", "weights": "none"}, "compares networks with ImageNet weights"),
    ],
)
def test_contradictions_show_in_the_recipe_alone(knobs, words):
    with pytest.raises(UnknownName, match=words):
        recipe_checks.check_recipe(Recipe().override(**knobs))
    recipe_checks.check_recipe(Recipe())  # open knobs contradict nothing


def test_a_plan_of_listings_prints_no_count(tiny, pets, capsys):
    splits = find_splits(pets)
    planner.make_plan(Recipe().override(base=tiny, weights="none", size=32), splits)
    assert "Looking at" not in capsys.readouterr().err


def test_no_command_says_what_to_do_first(cli):
    status, out, err = cli()
    assert (status, err) == (0, "") and len(out.splitlines()) < 10
    for words in ("transferkit demo", "transferkit check", "transferkit finetune", "transferkit predict", "--help"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.slow
def test_doctor_ends_with_a_verdict(cli):
    status, out, _ = cli("doctor")
    assert status == 0 and out.splitlines()[-1] == "Everything works."
    assert "training       works: " in out and tk.__version__ in out.splitlines()[0]


def test_doctor_counts_problems(cli, monkeypatch, tmp_path):
    def broken():
        raise RuntimeError("no such kernel\nat line 3")
        yield

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRANSFERKIT_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setattr(doctor, "_examine_training", broken)
    broken.__name__ = "_examine_training"
    status, out, _ = cli("doctor")
    assert status == 1 and out.splitlines()[-1].startswith("2 problems: ")
    assert out.endswith("; training fails: RuntimeError: no such kernel.\n")
    assert len(json.loads(cli("doctor", "--json")[1])["problems"]) == 2


def test_tensorflow_does_not_warn_of_several_models(monkeypatch):
    import keras

    from transferkit.explain.batches import compiled

    def weigh(picture):
        return picture

    logger, messages = logging.getLogger("tensorflow"), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    monkeypatch.setattr(logger, "handlers", [handler])
    compiled(weigh)
    names = f"{keras.Model.make_predict_function.__qualname__}.<locals>.step", weigh.__qualname__, "mine"
    for name in names:
        logger.error("5 out of the last 9 calls to %s triggered tf.function retracing.", f"<function {name} at 0x1>")
    logger.error("Assets written to: %s", f"{tempfile.gettempdir()}/x/assets")
    assert len(messages) == 1 and "mine" in messages[0]
