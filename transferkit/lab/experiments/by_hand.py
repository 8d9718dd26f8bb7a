"""Convolution by hand."""

import numpy as np
from matplotlib.figure import Figure

from transferkit.lab.experiment import Experiment, Finding


def compare_flipped() -> Finding:
    """A convolution flips its kernel on both axes, Keras' layer does not: with the flipped kernel they agree."""
    import keras
    from scipy.signal import convolve2d

    random = np.random.default_rng(0)
    picture, kernel = random.normal(size=(12, 12)).astype("float32"), random.normal(size=(3, 3)).astype("float32")
    exact = convolve2d(picture, kernel, mode="valid")

    def layer(values):
        return np.asarray(keras.ops.conv(picture[None, ..., None], values[..., None, None], padding="valid"))[0, ..., 0]

    maps = {"convolution": exact, "layer": layer(kernel), "layer, kernel flipped": layer(kernel[::-1, ::-1])}
    apart = {name: float(np.abs(values - exact).max()) for name, values in maps.items()}
    figure = Figure((9, 3), layout="constrained")
    for place, (name, values) in zip(figure.subplots(1, 3), maps.items(), strict=True):
        place.imshow(values, cmap="PuOr_r", vmin=-8, vmax=8)
        place.set_title(f"{name}\nlargest difference {apart[name]:.1e}", fontsize=9)
        place.set_axis_off()
    return Finding(
        f"With a kernel that is not symmetric, Keras' layer differs from the convolution by up to {apart['layer']:.2f}"
        f", and by {apart['layer, kernel flipped']:.0e} once the kernel is flipped on both axes.",
        ("computed by", "largest difference from the convolution"),
        [(name, f"{value:.2g}") for name, value in apart.items()],
        figure,
    )


EXPERIMENTS = {
    "flipped-kernel": Experiment(compare_flipped, "Is a convolutional layer a convolution?"),
}
