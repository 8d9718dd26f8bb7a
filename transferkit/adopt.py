"""Any Keras model made into a network."""

import keras

PREFIX = "keras:"
SUFFIXES = (".keras", ".h5")


def adopted(model, pixels, *, source):
    raise NotImplementedError


def application(base, weights, pixels):
    raise NotImplementedError


def from_file(path, pixels):
    raise ValueError(f"{path} holds no transferkit.json")


def load_keras(path):
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a Keras file: {first}") from error
