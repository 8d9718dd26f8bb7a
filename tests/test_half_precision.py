"""Half precision is used only if the network's features stay the same."""

import keras
import numpy as np
import pytest

from transferkit import models
from transferkit.network import with_policy
from transferkit.training.planning import network_setup


@pytest.fixture
def fresh(tiny):
    keras.utils.set_random_seed(0)
    return models.load(tiny, "none")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_network_with_the_same_features_is_converted(fresh, listing, policy):
    half = network_setup.convert_precision(fresh, policy, listing.paths)
    assert half.model.get_layer("layer1.conv").compute_dtype == policy.removeprefix("mixed_")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    assert 0 < network_setup.measure_difference(fresh, half, pictures) < network_setup.TOLERANCE


def test_a_network_that_overflows_stays_in_float32(fresh, listing, capsys):
    norm = fresh.model.get_layer("layer1.bn")
    norm.gamma.assign(norm.gamma * 1e6)  # beyond float16's 65,504
    assert network_setup.convert_precision(fresh, "mixed_float16", listing.paths) is fresh
    assert "features in mixed_float16 overflow; training in float32" in capsys.readouterr().err


def test_the_difference_is_relative_to_the_spread(fresh):
    other = with_policy(fresh, "float32")
    norm = other.model.get_layer("layer2.bn")
    norm.gamma.assign(norm.gamma * 1.01)  # and with it, its offset being 0, what is pooled
    pictures = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("uint8")
    features = keras.Model(fresh.model.input, fresh.model.get_layer("pooled").output)(pictures).numpy()
    expected = 0.01 * np.sqrt((features**2).mean()) / features.std()
    assert network_setup.measure_difference(fresh, other, pictures) == pytest.approx(expected, rel=1e-3)
