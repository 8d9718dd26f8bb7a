"""Training from scratch: recipes by name, learning rates by batch size, initialisation as in the papers."""

import dataclasses
import json
import re
from functools import partial

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from transferkit import models, recipe, recipe_files, rules, runs, zoo
from transferkit.data.augment import augmentation
from transferkit.data.example_digits import write_digits
from transferkit.lookup import UnknownName
from transferkit.network import Network, for_inference, with_head, with_policy
from transferkit.pixels import Pixels
from transferkit.training.planning import advice, network_setup
from transferkit.weights import assign
from transferkit.weights.assign import tensor_names
from transferkit.weights.weight_files import Weights
from transferkit.zoo import layers, vgg
from transferkit.zoo.knobs import choose
from transferkit.zoo.variant import Variant

PAPERS = ("alexnet", "vgg", "googlenet", "resnet", "resnet_cifar", "lenet", "allcnn")
QUICK = ["--size", "32", "--epochs", "2", "--batch-size", "8", "--lr", "0.01"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """160 digits to train on, 40 to look at once."""
    root = tmp_path_factory.mktemp("digits") / "digits"
    write_digits(root, most=200)
    return root


FACTS = rules.RuleInputs(
    pictures=100_000,
    smallest_class=1000,
    shorter_side=300,
    pixels=Pixels(),
    minimum_size=1,
    has_gpu=False,
    can_fit_head=False,
    head_layers=("pooled",),
)


@pytest.mark.parametrize("name", recipe_files.list_recipes())
def test_every_recipe_names_a_network_and_its_source(name):
    path = recipe_files.find_recipe(name)
    loaded, text = recipe_files.load(path), path.read_text("utf-8")
    assert loaded.model.base == recipe.AUTO or zoo.spell(loaded.model.base) == loaded.model.base
    augmentation.parse_augmentation(loaded.augment.augment or "none")
    about = text.partition("\n[")[0]
    assert all(line.startswith("#") for line in about.splitlines())
    assert f"--recipe {name} " in about or f"--quality {name} " in about
    if name in PAPERS:
        assert re.search(r'"[A-Z].+" \((19|20)\d\d\)', about.replace("\n# ", " "))


def test_the_papers_recipes_are_there():
    assert set(PAPERS) <= set(recipe_files.list_recipes())


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_recipe_sets_all_training_knobs(name):
    """But for channels, which are the network's, and the rate, which follows the batch."""
    loaded = recipe_files.load(recipe_files.find_recipe(name))
    resolved, choices = rules.choose_knobs(loaded, FACTS)
    assert (resolved.model.weights, resolved.train.head_epochs) == ("none", 0)
    assert not list(advice.find_ineffective_knobs(loaded.train, resolved.train))
    assert {choice.knob for choice in choices} & {"size", "augment", "batch_size", "epochs", "weight_decay"} == set()


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"lr_per": "0.1/256", "batch_size": 256, "optimizer": "sgd_l2"}, 0.1),
        ({"lr_per": "0.1/256", "batch_size": 1024, "optimizer": "sgd"}, 0.4),
        ({"lr_per": "1e-1/256", "batch_size": 64, "optimizer": "lars"}, 0.05),
        ({"lr_per": "0.002/32", "batch_size": 128, "optimizer": "adamw"}, 0.004),
        ({"lr_per": "0.1/256", "batch_size": 64, "lr": 0.3}, 0.3),
    ],
)
def test_the_learning_rate_scales_with_the_batch_size(knobs, expected):
    resolved, choices = rules.choose_knobs(recipe.Recipe().override(**knobs), FACTS)
    assert resolved.train.lr == pytest.approx(expected)
    reasons = [choice.reason for choice in choices if choice.knob == "lr"]
    assert all("for 256 pictures, in proportion" in reason for reason in reasons) or knobs["optimizer"] == "adamw"


@pytest.mark.parametrize("text", ["0.1", "0.1/0", "0.1/256/2", "a/b", "-0.1/256", "0.1/2.5"])
def test_an_invalid_lr_per_is_refused(text):
    with pytest.raises(UnknownName, match="lr_per must be like 0.1/256, not"):
        recipe.Recipe().override(lr_per=text)


def test_train_takes_a_papers_recipe(cli, digits):
    words = ("train", "--recipe", "lenet", "--data", digits, "--dry-run")
    plan = json.loads(cli(*words, "--json", "--batch-size", "8", "--epochs", "3")[1])
    train, model = plan["recipe"]["train"], plan["recipe"]["model"]
    assert model["base"] == "lenet5(c3=table, subsampling=trainable)"
    assert (model["weights"], train["head_epochs"], train["epochs"]) == ("none", 0, 3)
    assert (train["lr"], train["batch_size"]) == (0.005, 8)
    assert "0.02 for 32 pictures, in proportion to the batch" in [choice["reason"] for choice in plan["chosen"]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--recipe", "lennet"], "No recipe is called 'lennet'. Did you mean 'lenet'?"),
        (["--recipe", "lenet", "--lr-per", "0.1"], "lr_per must be like 0.1/256, not '0.1'."),
        (["--recipe", "lenet", "--size", "16"], "needs pictures of at least 32 pixels, not 16"),
    ],
)
def test_wrong_usage_is_one_sentence(cli, digits, words, sentence):
    status, _, err = cli("train", "--data", digits, *words)
    assert status == 2
    assert sentence in err


@pytest.mark.slow
def test_train_from_scratch_by_rules(cli, tiny, pets, tmp_path):
    status, out, err = cli("train", "--base", tiny, "--data", pets, *QUICK)
    assert status == 0, err
    assert "the run is in runs/train-tiny-pets-1" in out
    assert "head alone" not in out
    saved = recipe_files.load(tmp_path / "runs" / "train-tiny-pets-1" / "recipe.toml")
    assert (saved.model.weights, saved.train.head_epochs, saved.train.start) == ("none", 0, "fresh")


@pytest.mark.slow
def test_a_recipe_trains_lenet_on_digits(cli, digits):
    status, out, err = cli(
        "train", "--recipe", "lenet", "--data", digits, "--epochs", "8", "--batch-size", "8", "--json"
    )
    assert status == 0, err
    figures = json.loads(out)
    assert (figures["split"], figures["n"]) == ("test", 40)
    assert figures["accuracy"] >= 0.5


def test_fresh_blocks_are_the_identity():
    """Goyal et al. 2017, section 5.1."""
    for name, last in (("resnet18", "bn2"), ("resnet50", "bn3"), ("resnet50_paper", "bn3")):
        model = zoo.build(f"{name}(zero_init=true)", pixels=Pixels(), num_classes=2)
        norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
        zero = {layer.name for layer in norms if not np.asarray(layer.gamma).any()}
        assert zero == {layer.name for layer in norms if layer.name.endswith(last)}


@pytest.mark.slow
def test_auxiliary_heads_are_trained_and_not_saved(tmp_path):
    network = models.load_for_training("googlenet(aux=true)", "none", size=15)
    network = with_head(network, ("cat", "dog", "cow"))
    assert {name: logits.shape[-1] for name, logits in network.model.output.items()} == {
        "logits": 3, "aux2": 3, "aux1": 3,
    }  # fmt: skip
    pictures = np.random.default_rng(0).integers(0, 256, (2, 15, 15, 3)).astype("float32")
    for kernel in (network.model.get_layer(name).kernel for name in ("fc", "aux1.fc2", "aux2.fc2")):
        kernel.assign(keras.random.normal(kernel.shape, seed=1))
    models.save(network, tmp_path / "model.keras")
    plain = models.load_file(tmp_path / "model.keras")
    assert plain.model.output_shape == (None, 3)
    assert not [layer for layer in plain.model.layers if layer.name.startswith("aux")]
    expected = network.model(pictures, training=False)["logits"]
    np.testing.assert_allclose(plain.model(pictures, training=False), expected, rtol=1e-4, atol=1e-5)
    assert for_inference(network).model.output is network.model.output["logits"]


def halfway(x, num_classes, *, aux):
    """Two convolutions, each with a head of GoogLeNet's names."""
    heads = {}
    for name, width in (("aux1", 8), ("aux2", 8), ("logits", 16)):
        x = layers.relu(layers.conv(x, width, 3, 2, bias=0.0, name=f"{name}.conv"), name=f"{name}.relu")
        features = keras.layers.GlobalAveragePooling2D(name="pooled" if name == "logits" else f"{name}.pool")(x)
        heads[name] = layers.head(features, num_classes, name="fc" if name == "logits" else f"{name}.fc2")
    return {name: heads[name] for name in ("logits", "aux2", "aux1")} if aux else heads["logits"]


@pytest.fixture
def aux(monkeypatch):
    """The network in the table, its heads for training on."""
    knobs, heads = choose("aux"), {"aux2": 0.3, "aux1": 0.3}
    row = Variant(halfway, "fc", 0, 0, 16, Pixels(crop=32, resize=37), knobs=knobs, auxiliary_heads=heads)
    monkeypatch.setitem(zoo.variants(), "halfway", dataclasses.replace(row, fixed_with=("aux", True)))
    return "halfway(aux=true)"


@pytest.mark.parametrize("precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_auxiliary_losses_through_the_command(cli, aux, pets, tmp_path, precision):
    """Every head learns; what is saved and measured is the logits."""
    words = ("--base", aux, "--data", pets, "--out", "run", "--precision", precision, "--json", *QUICK)
    status, out, err = cli("train", *words)
    assert status == 0, err
    run = runs.load_run(tmp_path / "run")
    assert run.network.model.output_shape == (None, 2)
    kept = load_file(tmp_path / "run" / "checkpoints" / "best.safetensors")
    heads = [tensor for tensor in kept.values() if tensor.shape[-1] == 2 and tensor.ndim == 2]
    assert len(heads) == 3 and all(head.any() for head in heads)
    assert json.loads(out)["accuracy"] == run.metrics["accuracy"]
    network = with_policy(models.load_for_training(aux, "none"), precision)
    heads = [network.model.get_layer(name) for name in ("fc", "aux1.fc2", "aux2.fc2")]
    assert {head.compute_dtype for head in heads} == {"float32"}


def column(blocks, seed, name="column"):
    """A column of VGG's table 1 with hidden layers of 8 units in place of 4096."""
    keras.utils.set_random_seed(seed)
    pictures = keras.Input((None, None, 3), name="pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vgg, "classifier", small_classifier)
        logits = vgg.build_logits(
            pictures,
            5,
            blocks=blocks,
            convolve=vgg.plain_conv,
            activation="relu",
            pool="max",
            pool_size=2,
            dropout=0.5,
            convolutional_head=False,
        )
    return keras.Model(pictures, logits, name=name)


def small_classifier(x, num_classes, side, names, **_):
    x = keras.layers.GlobalAveragePooling2D()(x)
    for name, units in zip(names[::3], (8, 8, num_classes), strict=True):
        x = keras.layers.Dense(units, name=name)(x)
    return x


@pytest.mark.parametrize("name", ["vgg13", "vgg16", "vgg16c", "vgg19"])
def test_deeper_networks_are_initialised_from_net_a(name, monkeypatch):
    """Section 3.1: the first four convolutions and the three dense layers; what is between stays fresh."""
    row = zoo.variant(name)
    blocks = {"vgg13": vgg.B, "vgg16": vgg.D, "vgg16c": vgg.C, "vgg19": vgg.E}[name]
    small, deep = column(vgg.A, seed=1), column(blocks, seed=2, name=name)
    fresh = {name: np.array(variable) for name, (_, variable) in tensor_names(deep).items()}
    its = {name: np.array(variable) for name, (_, variable) in tensor_names(small).items()}
    monkeypatch.setattr(assign, "find_similar_networks", lambda *_: ["vgg11"])  # of which these have fewer units
    loaded = assign.load_or_grow_weights(deep, Weights(its, "keras"), source="a.keras")
    assert loaded[0] == f"14/{len(fresh)} tensors loaded"
    layers = list(row.grown)
    assert [small.get_layer(row.grown[layer]).filters for layer in layers[:4]] == [64, 128, 256, 256]
    for tensor, (layer, variable) in tensor_names(deep).items():
        kind = tensor.rpartition(".")[2]
        expected = its[f"{row.grown[layer.name]}.{kind}"] if layer.name in layers else fresh[tensor]
        np.testing.assert_array_equal(variable, expected)


@pytest.mark.slow
def test_growing_through_a_run_folder(monkeypatch, tmp_path):
    """As `train --base deep --weights RUN`; a file of the deep net itself is taken whole, and none grows unasked."""
    monkeypatch.setattr(vgg, "classifier", small_classifier)
    for name, blocks, grows in (
        ("seed", vgg.A, {}),
        ("deep", vgg.B, {"grows_from": "seed", "grown": vgg.layers_from_a(vgg.B)}),
    ):
        knobs = {"convolve": vgg.plain_conv, "activation": "relu", "dropout": 0.5, "convolutional_head": False}
        build = partial(vgg.build_logits, blocks=blocks, **knobs)
        count = column(blocks, seed=0).count_params()
        row = Variant(build, "classifier.6", count, 0, 8, Pixels(crop=32, resize=32), classes=5, **grows)
        monkeypatch.setitem(zoo.variants(), name, row)
    seed, fresh = models.load("seed", "none"), models.load("deep", "none")
    models.save(seed, tmp_path / "model.keras")
    with pytest.raises(ValueError, match="does not fit deep: it looks like seed"):
        models.load("deep", tmp_path)
    grown = models.load_for_training("deep", str(tmp_path))
    assert grown.loaded == ("14/26 tensors loaded", "grown from seed, the other tensors are fresh")
    assert not network_setup.can_fit_head(grown) and network_setup.can_fit_head(models.load("seed", str(tmp_path)))
    place, first = grown.model.get_layer("features.10"), seed.model.get_layer("features.6")
    np.testing.assert_array_equal(place.kernel, first.kernel)
    models.save(fresh, tmp_path / "deep.keras")
    assert models.load_for_training("deep", str(tmp_path / "deep.keras")).loaded == ("26/26 tensors loaded",)


def test_layer_names_of_the_columns_are_torchvisions():
    """A's are features.0, 3, 6, 8 ...; the layers of those names are convolutions of as many maps."""
    deep = column(vgg.D, seed=0)
    convolutions = {layer.name for layer in deep.layers if isinstance(layer, keras.layers.Conv2D)}
    assert set(vgg.convolution_names(vgg.D).values()) == convolutions
    assert list(vgg.convolution_names(vgg.A).values())[:4] == ["features.0", "features.3", "features.6", "features.8"]


def test_a_grown_network_reports_fresh_tensors():
    """Of another head, too."""
    pictures = keras.Input((None, None, 3))
    logits = keras.layers.Dense(4, name="fc")(keras.layers.GlobalAveragePooling2D()(pictures))
    words = ("14/32 tensors loaded", "grown from vgg11, the other tensors are fresh")
    network = Network(keras.Model(pictures, logits), Pixels(), tuple("abcd"), "fc", "vgg16", words)
    assert with_head(network, ("x", "y")).loaded == ("head 4 -> 2 new; 12/2 tensors loaded", words[1])
