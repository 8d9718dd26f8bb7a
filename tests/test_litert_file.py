"""A LiteRT file in int8: a normalisation that is the same for each channel is in the quantisation of its input."""

import numpy as np
import pytest
from reference_weights import fill, pictures

from transferkit import zoo
from transferkit.exchange import litert_file
from transferkit.exchange.classifier import build_classifier
from transferkit.network import Network
from transferkit.pixels import Pixels

SAME, OF_IMAGENET = ((127.0,) * 3, (128.0,) * 3), (Pixels.mean, Pixels.std)


@pytest.mark.parametrize(("normalisation", "quantization"), [(SAME, (1 / 128, 127)), (OF_IMAGENET, (1, 0))])
def test_int8_answers_as_the_network(tmp_path, normalisation, quantization):
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    name = "simple_cnn"
    row = zoo.variant(name)
    pixels = Pixels(*normalisation, crop=row.pixels.crop, resize=row.pixels.resize)
    model = zoo.build(name, pixels=pixels, num_classes=3)
    fill(model)
    classifier = build_classifier(
        Network(model, pixels, ("a", "b", "c"), row.head, name), any_size=False, dtype="float32"
    )
    views = pictures(12, *pixels.shape).astype("uint8")
    expected = np.asarray(classifier(views.astype("float32")))
    litert_file.write(classifier, str(tmp_path / "file.tflite"), {}, "int8", views)
    assert np.array_equal(np.asarray(classifier(views.astype("float32"))), expected)  # it has its normalisation again

    interpreter = interpreters.Interpreter(model_path=str(tmp_path / "file.tflite"))
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] is np.uint8
    assert given["quantization"] == pytest.approx(quantization, rel=1e-6)
    found = []
    for view in views:
        interpreter.set_tensor(given["index"], view[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(answer["index"])[0])
    assert np.ptp(expected, axis=0).max() > 0.1
    assert np.abs(np.stack(found) - expected).max() < 0.1
