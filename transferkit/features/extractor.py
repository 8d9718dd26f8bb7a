"""`FeatureExtractor`: a scikit-learn transformer from pictures to features."""

import os

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from transferkit.console import quiet
from transferkit.data.sources.resolve import as_pictures
from transferkit.features.extraction import extract, feature_widths
from transferkit.features.feature_spec import FeatureSpec


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """Transform pictures to the features of a pretrained network, one row for each picture.

    Nothing is learned: `fit` checks the parameters and identifies the network and its weights. Features are cached in
    TRANSFERKIT_HOME by the content of a picture, so a grid search computes each once. The network is built when a
    picture is not in the cache, and shared within the process.

    Args:
        base: a network of `transferkit models`, a run folder, `keras:NAME`, a Keras model or the file of one.
        weights: of a network of `transferkit models`: "imagenet", a tag, "none" (fresh, from a fixed seed) or a file.
        layer: the name of a layer, a cut point or a prefix (`transferkit inspect` lists them), or a list of them, whose
            features are concatenated.
        pool: how maps become vectors: "avg", "max", "gem" or "flatten".
        crops: 1 (centre) or 5 (centre and corners), whose features are averaged.
        flip: whether to average over mirrored views too.
        l2: whether to divide the features of each layer by their Euclidean length.
        size: of the pictures in pixels: 224, or "192x320" (height x width); by default the network's own.
        channels: of the pictures, 1, 3 or 4; by default the network's own.
        fit_mode: how pictures fill that size, "crop", "squash" or "pad" (`--fit` of the commands); by default the
            network's own.
        pixels: what a foreign Keras model expects of pixels, a key of `pixels.CONVENTIONS`; "" to find out.
        cache: whether features are read from the cache folder and stored there.
        on_error: for a picture that cannot be read, "raise" an error or return a row of "nan".

    Attributes:
        identity_: identifies the network and its weights; `transform` raises an error if they have changed since `fit`.

    Example:
        >>> probe = make_pipeline(FeatureExtractor("resnet34", layer="layer3.5"), LogisticRegression())
        >>> probe.fit(train.paths, train.labels).score(val.paths, val.labels)
    """

    __module__ = "transferkit"  # its public name, which is in files and pickles

    fit_mode = None  # for files that were saved before this parameter existed

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
            UnknownName, FileNotFoundError, ValueError: the network, its weights or the pooling is not found.
        """
        self.identity_ = self.spec().identity()
        return self

    def transform(self, X) -> np.ndarray:
        """Extract the features of pictures.

        Args:
            X: a list of paths; a path (a picture, a folder, or what `--data` takes); a `Listing`; uint8 arrays of
                0..255, (n, height, width, channels) or (height, width, channels); or pictures of Pillow.

        Returns:
            (n, width), float32.

        Raises:
            UnknownName, FileNotFoundError: there is no such layer or path.
            ValueError: X is not pictures, one of them cannot be read, or the weights have changed since `fit`.
        """
        pictures = as_pictures(X, "X")
        with quiet():
            extraction = extract(pictures, self.fitted_spec(), cache=self.cache)
        for row, why in extraction.errors.items() if self.on_error == "raise" else ():
            raise ValueError(f"{pictures[row]} cannot be read: {why}; on_error='nan' returns a row of NaN instead.")
        features = np.full((len(pictures), *extraction.features.shape[1:]), np.nan, "float32")
        features[extraction.rows] = extraction.features
        return features

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """The names `pooled_0`, `pooled_1`... for each layer in order; `input_features` is not used."""
        spec = self.spec()
        names = [
            f"{layer}_{i}"
            for layer, width in zip(spec.layer, feature_widths(spec, cache=self.cache), strict=True)
            for i in range(width)
        ]
        return np.array(names, object)

    def spec(self) -> FeatureSpec:
        """The parameters as a `FeatureSpec`.

        Raises:
            UnknownName, ValueError: a parameter is not valid.
        """
        if self.pool == "none":
            raise ValueError("pool must not be 'none', as rows are vectors: 'flatten' keeps the same values.")
        if self.on_error not in ("raise", "nan"):
            raise ValueError(f"on_error must be 'raise' or 'nan', not {self.on_error!r}.")
        values = {name: value for name, value in self.get_params().items() if name not in ("cache", "on_error")}
        # a grid search over a NumPy array sets NumPy scalars
        values = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        values["fit"] = values.pop("fit_mode")
        layer = tuple(self.layer) if isinstance(self.layer, (list, tuple, np.ndarray)) else (self.layer,)
        base, weights = (os.fspath(v) if isinstance(v, os.PathLike) else v for v in (self.base, self.weights))
        return FeatureSpec(**values | {"layer": layer, "base": base, "weights": weights})

    def fitted_spec(self) -> FeatureSpec:
        """The same as `spec`, checked to mean the weights that `fit` saw.

        Raises:
            ValueError: the weights have changed since `fit`.
        """
        spec = self.spec()
        if hasattr(self, "identity_") and spec.identity() != self.identity_:
            raise ValueError(
                f"The weights of {spec.to_dict()['base']} have changed since this extractor was fitted: fit it again."
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
