"""Write a Keras model as an ONNX file, by tf2onnx, in about twice the memory of its weights.

tf2onnx copies constants many times, so the weights are inputs of the graph that it converts, and become the file's
initializers afterwards.
"""

import keras
import numpy as np

from transferkit.keras_internals import patch_tf2onnx

OPSET = 18


def write(model: keras.Model, path: str, metadata: dict[str, str], *, half: bool = False):
    """Write a functional model of one input and one output.

    Args:
        half: whether weights are stored in 16 bits; the runtime computes in 32.
        metadata: texts that ONNX Runtime returns as `get_modelmeta().custom_metadata_map`.
    """
    import onnx

    variables = [*model.trainable_variables, *model.non_trainable_variables]
    graph_model = _convert(model, variables)
    graph, names = graph_model.graph, {f"weight_{number}": each for number, each in enumerate(variables)}
    used = {name for node in graph.node for name in node.input}
    shown = [each for each in graph.input if each.name not in names]
    del graph.input[:]
    graph.input.extend(shown)
    for name, variable in names.items():
        if name in used:
            _add_weight(graph, name, np.asarray(variable), half)
    for key, text in metadata.items():
        graph_model.metadata_props.add(key=key, value=text)
    for value, dimensions in ((graph.input[0], ("n", "height", "width")), (graph.output[0], ("n",))):
        for dimension, name in zip(value.type.tensor_type.shape.dim, dimensions, strict=False):
            if not dimension.dim_value:
                dimension.dim_param = name
    onnx.save(graph_model, path)


def _add_weight(graph, name: str, value: np.ndarray, half: bool):
    from onnx import TensorProto, helper, numpy_helper

    if half and value.dtype == np.float32:
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), f"{name}_half"))
        graph.node.insert(0, helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    else:
        graph.initializer.append(numpy_helper.from_array(value, name))


def _convert(model: keras.Model, variables: list):
    """The ONNX model of a function of the pictures and all weights."""
    patch_tf2onnx()
    import tensorflow as tf
    import tf2onnx

    count = len(model.trainable_variables)
    signature = [tf.TensorSpec(model.input.shape, model.input.dtype, name=model.input.name)]
    signature += [
        tf.TensorSpec(each.shape, each.dtype, name=f"weight_{number}") for number, each in enumerate(variables)
    ]

    def answer(pictures, *weights):
        values, _ = model.stateless_call(weights[:count], weights[count:], pictures, training=False)
        return {model.output_names[0]: values}

    function = tf.function(answer, input_signature=signature)
    return tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)[0]
