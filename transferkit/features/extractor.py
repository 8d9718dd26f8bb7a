"""Features of pictures as a scikit-learn transformer."""

import os

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from transferkit.console import quiet
from transferkit.features.extraction import extract, shapes_of
from transferkit.features.inputs import pictures_of
from transferkit.features.spec import FeatureSpec, identity


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """Pictures to the features of a pretrained network, a row each.

    Nothing is learnt: `fit` looks at the parameters alone, and tells which network and weights they mean. Features are
    kept in the cache folder (TRANSFERKIT_HOME) by the content of a picture, so a grid search computes each once; the
    network is built when a picture is new, and shared within the process.

    Args:
        base: a network of `transferkit models`, a run folder, `keras:NAME`, a Keras model or the file of one.
        weights: "imagenet", a tag, "none" or a file.
        layer: the name of a layer, a cut point or a prefix (`transferkit inspect` lists them), or several of them,
            whose features are put side by side.
        pool: what becomes of maps: "avg", "max", "gem" or "flatten".
        crops: 1, or 5 to average over the corners too.
        flip: whether to average over mirrored views too.
        l2: whether the features of each layer are divided by their length.
        size: side of the pictures in pixels, or "192x320", height x width; by default the network's own.
        channels: of the pictures; by default the network's own.
        fit_mode: how pictures fill that size, "crop", "squash" or "pad" (`--fit` of the commands: `fit` is a method
            here); by default the network's own.
        pixels: what a foreign Keras model expects of pixels, where it does not show.
        cache: whether features are kept in the cache folder, and taken from it.
        on_error: of a picture that cannot be read, "raise" an error or make a row of "nan".

    Attributes:
        identity_: the network and its weights, as a digest: `transform` refuses others that have come in their place.

    Example:
        >>> probe = make_pipeline(FeatureExtractor("resnet34", layer="layer3.5"), LogisticRegression())
        >>> probe.fit(train.paths, train.labels).score(held.paths, held.labels)
    """

    __module__ = "transferkit"  # its public name, which files and pickles hold

    fit_mode = None  # of a file that was saved before this parameter was there

    def __init__(
        self,
        base="resnet34",
        *,
        weights="imagenet",
        layer="pooled",
        pool="avg",
        crops=1,
        flip=False,
        l2=False,
        size=None,
        channels=None,
        fit_mode=None,
        pixels="",
        cache=True,
        on_error="raise",
    ):
        self.base = base
        self.weights = weights
        self.layer = layer
        self.pool = pool
        self.crops = crops
        self.flip = flip
        self.l2 = l2
        self.size = size
        self.channels = channels
        self.fit_mode = fit_mode
        self.pixels = pixels
        self.cache = cache
        self.on_error = on_error

    def fit(self, X=None, y=None):
        """Check the parameters. X and y are not used.

        Raises:
            UnknownName, FileNotFoundError, ValueError: there is no such network, weights or pooling.
        """
        self.identity_ = identity(self.spec())
        return self

    def transform(self, X) -> np.ndarray:
        """The features of pictures.

        Args:
            X: paths, uint8 arrays (n, height, width, channels) of 0..255, or a `Listing`.

        Returns:
            (n, width), float32.

        Raises:
            UnknownName: there is no such layer.
            ValueError: X holds no pictures, one of them cannot be read, or the weights are others than at `fit`.
        """
        pictures = pictures_of(X)
        with quiet():
            found = extract(pictures, self.fitted_spec(), cache=self.cache)
        for row, why in found.errors.items() if self.on_error == "raise" else ():
            raise ValueError(f"{pictures[row]} cannot be read: {why}; on_error='nan' makes it a row of NaN.")
        features = np.full((len(pictures), *found.features.shape[1:]), np.nan, "float32")
        features[found.rows] = found.features
        return features

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """`pooled_0`, `pooled_1`... of each layer in turn; the argument is not used."""
        spec = self.spec()
        names = [
            f"{layer}_{i}"
            for layer, (width,) in zip(spec.layer, shapes_of(spec, cache=self.cache), strict=True)
            for i in range(width)
        ]
        return np.array(names, object)

    def spec(self) -> FeatureSpec:
        """The parameters as the record that the rest of transferkit knows.

        Raises:
            UnknownName, ValueError: one of them cannot be.
        """
        if self.pool == "none":
            raise ValueError("pool must make vectors of maps: 'flatten' keeps all that 'none' does.")
        if self.on_error not in ("raise", "nan"):
            raise ValueError(f"on_error must be 'raise' or 'nan', not {self.on_error!r}.")
        words = {name: value for name, value in self.get_params().items() if name not in ("cache", "on_error")}
        # a grid of NumPy's has numbers of NumPy's
        words = {name: value.item() if isinstance(value, np.generic) else value for name, value in words.items()}
        words["fit"] = words.pop("fit_mode")
        layer = tuple(self.layer) if isinstance(self.layer, (list, tuple, np.ndarray)) else (self.layer,)
        base, weights = (os.fspath(one) if isinstance(one, os.PathLike) else one for one in (self.base, self.weights))
        return FeatureSpec(**words | {"layer": layer, "base": base, "weights": weights})

    def fitted_spec(self) -> FeatureSpec:
        """`spec`, of the very weights that `fit` saw.

        Raises:
            ValueError: others have come in their place.
        """
        spec = self.spec()
        if hasattr(self, "identity_") and identity(spec) != self.identity_:
            raise ValueError(
                f"The weights of {spec.told()['base']} are others than when this extractor was fitted: fit it again."
            )
        return spec

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags
