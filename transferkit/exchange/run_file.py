"""Run an exported file by its own runtime, without transferkit: a script for a process of its own.

python run_file.py FILE PICTURES.npz ANSWERS.npz

PICTURES.npz has the arrays `picture_0`, `picture_1`, ... (height, width, channels), uint8. ANSWERS.npz gets `answers`
(n, classes) and `seconds` (n,), of the pictures one at a time.
"""

import os
import sys
import time

import numpy as np


def load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def load_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pictures):
        interpreter.set_tensor(given["index"], pictures)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


def load_savedmodel(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return lambda pictures: loaded.serve(tf.constant(pictures)).numpy()


def load_keras(path):
    import keras

    model = keras.saving.load_model(path, safe_mode=True)
    return lambda pictures: model.predict_on_batch(pictures.astype("float32"))


def main(path: str, given: str, written: str):
    """Load the file, run each picture after a first run that is not timed, and write the answers."""
    loaders = {".onnx": load_onnx, ".tflite": load_litert, ".keras": load_keras}
    run = load_savedmodel(path) if os.path.isdir(path) else loaders[os.path.splitext(path)[1]](path)
    answers, seconds, last = [], [], ()
    with np.load(given) as pictures:
        names = [f"picture_{number}" for number in range(len(pictures.files))]
        for name in names:
            picture = pictures[name][None]
            if picture.shape != last:
                run(picture)  # a new shape is compiled or planned
            last, start = picture.shape, time.perf_counter()
            answers.append(np.asarray(run(picture), "float32")[0])
            seconds.append(time.perf_counter() - start)
    np.savez(written, answers=np.stack(answers), seconds=np.array(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
