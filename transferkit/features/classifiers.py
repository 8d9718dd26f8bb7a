"""scikit-learn's classifiers for features; each chooses its regularisation strength on its training pictures.

A new classifier is a function and a row of `CLASSIFIERS`. All parts are of scikit-learn, so skops loads what
`fit_classifier` returns without trusting any other type.

Features of several layers are first brought to one scale (`fit_block_scaler`), so that each layer has the same weight
and one grid of strengths suits every network.
"""

import warnings
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import get_scorer, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from transferkit.lookup import look_up

LOGREG_CS = np.logspace(-1, 4, 11)  # on features of mean square length 1 the best was 10 to 100
DEFAULT_C = 30.0  # if nothing can be held out: within a point of the best on eleven draws of four sets
RIDGE_ALPHAS = np.logspace(5, -6, 12)
FOLDS = 5
MAX_TRIALS = len(LOGREG_CS) * FOLDS  # of `logreg`
LARGE_SET = 1000  # pictures, from which one held-out part chooses as well as folds
SMALL_ARRAY = 10_000_000  # numbers; on smaller arrays threads wait for each other: 33 s became 2 s with one thread


def logreg(shape, cv, seed, class_weight=None, advance: Callable | None = None):
    """Multinomial logistic regression, L2, L-BFGS (Kornblith et al. 2019, supplement), its strength chosen by log-loss.

    The paper chooses it by accuracy. On few pictures that leaves many ties, which the strongest penalty wins, and its
    probabilities are near chance. With `class_weight="balanced"` classes have equal weight, in the log-loss too.
    advance(1) is called as a strength has been tried on a fold, at most `MAX_TRIALS` times.
    """
    # The penalty depends on lengths, so PCA to as many axes as pictures loses nothing; L-BFGS is faster at mean 0.
    axes = PCA(svd_solver="full") if shape[0] < shape[1] else StandardScaler(with_std=False)
    if cv is None:
        return make_pipeline(axes, LogisticRegression(C=DEFAULT_C, class_weight=class_weight, max_iter=1000))
    # It starts each strength from the solution of the one before, which takes a fourth of the time of a grid search.
    modern = {"l1_ratios": (0.0,), "use_legacy_attributes": False}  # the default of scikit-learn 1.10; 1.8 warns
    score = _balanced_log_loss if class_weight else get_scorer("neg_log_loss")

    def scoring(estimator, features, labels):
        if advance:
            advance(1)
        return score(estimator, features, labels)

    regression = LogisticRegressionCV(
        Cs=LOGREG_CS, cv=cv, max_iter=1000, class_weight=class_weight, scoring=scoring, **modern
    )
    return make_pipeline(axes, regression)


def _balanced_log_loss(estimator, features, labels) -> float:
    """The negative log-loss with equal weight for each class, as a scorer of scikit-learn."""
    weights = compute_sample_weight("balanced", labels)
    return -log_loss(labels, estimator.predict_proba(features), sample_weight=weights, labels=estimator.classes_)


def svm(shape, cv, seed):
    """Linear support vector machine on features of length 1 (Razavian et al. 2014, section 3)."""
    machine = LinearSVC(dual="auto", random_state=seed)
    return make_pipeline(Normalizer(), _grid_search(machine, {"C": np.logspace(-2, 3, 6)}, cv))


def knn(shape, cv, seed):
    """Nearest neighbours by cosine; the votes are weighted by nearness."""
    numbers = [k for k in (1, 3, 5, 10, 20, 50) if k <= max(1, shape[0] // 3)]
    return _grid_search(KNeighborsClassifier(1, metric="cosine", weights="distance"), {"n_neighbors": numbers}, cv)


def ridge(shape, cv, seed):
    """Least squares to +-1; the L2 penalty is chosen by the leave-one-out error, which ignores groups."""
    # With scoring by accuracy, scikit-learn 1.9.1 scores every penalty with 1 if there are two classes.
    return RidgeClassifierCV(alphas=RIDGE_ALPHAS) if cv else RidgeClassifier()


CLASSIFIERS = {"logreg": logreg, "svm": svm, "knn": knn, "ridge": ridge}


def check_name(name: str):
    """Raise `UnknownName` unless it is the name of a classifier."""
    look_up(CLASSIFIERS, name, "classifier")


def build_classifier(name: str, shape: tuple[int, int], labels, groups=None, *, seed: int = 0, **options):
    """Build a scikit-learn estimator that chooses its strength in `fit`.

    Args:
        name: a key of `CLASSIFIERS`.
        shape: (n, d) of the features.
        labels: (n,). If a class has a single picture, or a single group, nothing can be held out, and the estimator
            keeps its default strength.
        groups: (n,) or None; pictures of one group are held out together. The estimator is then for these rows only.
        seed: of what is held out.
        options: arguments of that classifier.

    Raises:
        UnknownName: there is no such classifier.
    """
    make_estimator = look_up(CLASSIFIERS, name, "classifier")
    return make_estimator(shape, _find_cv(np.asarray(labels), groups, seed), seed, **options)


def fit_classifier(name: str, features, labels, groups=None, *, widths=None, seed: int = 0, **options):
    """Fit a classifier and keep only what predicts, without the search: a pipeline of types that skops trusts.

    Args:
        name: a key of `CLASSIFIERS`.
        features: (n, d), finite, of any scale.
        labels: (n,), numbers or names.
        groups: (n,) or None; pictures of one group are held out together.
        widths: of the layers whose features are concatenated; by default one layer.
        seed: of what is held out.
        options: arguments of that classifier.

    Raises:
        UnknownName: there is no such classifier.
        ValueError: there is only one class.

    Example:
        >>> fit_classifier("logreg", features, labels).predict_proba(others)
    """
    features, labels = np.asarray(features, "float64"), np.asarray(labels)
    if len(classes := np.unique(labels)) < 2:
        raise ValueError(f"All pictures are of class {classes[0]}: a classifier needs two classes.")
    scaler = fit_block_scaler(features, widths or (features.shape[1],))
    estimator = build_classifier(name, features.shape, labels, groups, seed=seed, **options)
    with _fit_context(features):
        fitted = _without_search(estimator.fit(scaler.transform(features), labels))
    return Pipeline([("scale", scaler), *(fitted.steps if isinstance(fitted, Pipeline) else [(name, fitted)])])


def fit_block_scaler(features: np.ndarray, widths) -> StandardScaler:
    """Fit a scaler that divides the features of each layer by one number.

    The mean square distance of the scaled features from their mean is then 1, and each layer contributes equally.

    Args:
        features: (n, d).
        widths: of the layers, d in total.
    """
    spread = np.concatenate(
        [
            np.full(block.shape[1], np.sqrt(block.var(0).sum() * len(widths)))
            for block in np.split(features, np.cumsum(widths)[:-1], axis=1)
        ]
    )
    scaler = StandardScaler(with_mean=False).fit(features)  # computes a scale for each feature, replaced below
    scaler.scale_ = np.where(spread > 0, spread, 1.0)
    scaler.var_ = scaler.scale_**2
    return scaler


def _find_cv(labels, groups, seed):
    """The splitter that the strength is chosen on: folds, or a held-out fifth of many pictures.

    None if a class has a single picture or a single group.
    """
    n = len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if groups is None:
        if counts.min() < 2:
            return None
        if n >= LARGE_SET:
            fraction = max(0.2, len(classes) / n)  # scikit-learn needs at least one picture for each class
            return StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
        return StratifiedKFold(min(FOLDS, counts.min()), shuffle=True, random_state=seed)
    groups = np.asarray(groups)
    fewest = min(len(np.unique(groups[labels == label])) for label in classes)
    if fewest < 2:
        return None
    splitter = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    pairs = [(train, test) for train, test in splitter.split(labels, labels, groups) if len(test)]
    complete = [pair for pair in pairs if len(np.unique(labels[pair[0]])) == len(classes)]
    return complete[: 1 if n >= LARGE_SET else FOLDS] or None


def _grid_search(estimator, grid, cv):
    return GridSearchCV(estimator, grid, cv=cv, scoring="accuracy") if cv else estimator


def _without_search(estimator):
    if isinstance(estimator, Pipeline):
        return Pipeline([*estimator.steps[:-1], (estimator.steps[-1][0], _without_search(estimator[-1]))])
    if hasattr(estimator, "coefs_paths_"):
        del estimator.coefs_paths_  # 45 times the size of the classifier
        return estimator.set_params(cv=None, scoring="accuracy")  # skops trusts no splitter
    return getattr(estimator, "best_estimator_", estimator)


@contextmanager
def _fit_context(features):
    """Limit the threads, and hide that 1,000 iterations, the protocol's budget, may not converge."""
    with warnings.catch_warnings(), threadpool_limits(1 if features.size < SMALL_ARRAY else None):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
