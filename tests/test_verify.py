"""`transferkit verify`: the views and logits of a run against Pillow and plain Keras in another process."""

import json

import numpy as np
import pytest

from transferkit.data import geometry
from transferkit.exchange import reference
from transferkit.exchange import verify as verification
from transferkit.pixels import Pixels


@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
@pytest.mark.parametrize("crop", [48, (40, 56)])
def test_the_reference_fits_pictures_as_predict(fit, crop, pets, tmp_path):
    pixels = Pixels(crop=crop, resize=54, fit=fit)
    request = {"size": pixels.shape, "resize": pixels.uncropped, "fit": fit, "interpolation": "bilinear"}
    request |= {"channels": 3, "background": pixels.background}
    for path in sorted(pets.rglob("*.png"))[:4]:
        expected = geometry.evaluation_view(path.read_bytes(), pixels).numpy()
        view = reference.read_view(path, request)
        assert np.abs(view.astype("int16") - expected).max() <= 1


@pytest.mark.slow  # starts TensorFlow in another process
def test_a_run_is_verified_and_keeps_the_figures(cli, finished):
    status, printed, _ = cli("verify", finished.folder, "--json")
    figures = json.loads(printed)
    assert not status
    assert figures["agreement"] == 1
    assert figures["probability_difference"] < 0.01
    assert json.loads((finished.folder / verification.VERIFICATION).read_text()) == figures


def test_a_wrong_geometry_is_found(finished):
    paths = list(finished.held_out.paths)[:4]
    shape = (len(paths), *finished.network.pixels.shape, 3)
    logits = np.zeros((len(paths), len(finished.classes)), "float32")
    found = verification.compare(finished.network, paths, np.zeros(shape, "uint8"), logits)
    assert not found.is_right
