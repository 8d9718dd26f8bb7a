"""scikit-learn's classifiers for features, each of which chooses its own strength from the pictures it learns from.

A new one is a function and a row of `CLASSIFIERS`. All parts are scikit-learn's own, so what `fitted` returns is loaded
by skops without being told to trust anything.

Features of several layers are first brought to one scale (`block_scale`), so that each layer has the same say and one
grid of strengths suits every network.
"""

import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier, RidgeClassifierCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from transferkit.lookup import pick

STRENGTHS = np.logspace(-1, 4, 11)  # C of logreg; on features of mean square length 1 the best one was 10 to 100
USUAL = 30.0  # C where nothing can be held out: within a point of the best on eleven draws of four sets
PENALTIES = np.logspace(5, -6, 12)  # of ridge
FOLDS = 5
MANY = 1000  # pictures, from where one part held out chooses as well as folds
SMALL = 10_000_000  # numbers; in products of less, threads wait for each other: 33 s became 2 s beside other processes


def logreg(shape, held_out, seed, class_weight=None):
    """Multinomial logistic regression, L2, L-BFGS (Kornblith et al. 2019, supplement), its strength chosen by log-loss.

    Theirs is chosen by accuracy, which of few pictures leaves many ties: the strongest penalty won them, and gave
    probabilities near chance. With `class_weight` "balanced", each class counts as much, in that log-loss too.
    """
    # The penalty sees lengths alone, so as many axes as pictures lose nothing; L-BFGS is faster where the mean is 0.
    axes = PCA(svd_solver="full") if shape[0] < shape[1] else StandardScaler(with_std=False)
    if held_out is None:
        return make_pipeline(axes, LogisticRegression(C=USUAL, class_weight=class_weight, max_iter=1000))
    # It starts each strength where the one before ended, a fourth of the time that a grid search takes.
    now = {"l1_ratios": (0.0,), "use_legacy_attributes": False}  # scikit-learn 1.10 takes it for granted, 1.8 warns
    words = {"class_weight": class_weight, "scoring": _balanced_log_loss if class_weight else "neg_log_loss"}
    return make_pipeline(axes, LogisticRegressionCV(Cs=STRENGTHS, cv=held_out, max_iter=1000, **words, **now))


def _balanced_log_loss(estimator, features, labels) -> float:
    """The negative log-loss in which each class counts as much, as scikit-learn's scorers are called."""
    weights = compute_sample_weight("balanced", labels)
    return -log_loss(labels, estimator.predict_proba(features), sample_weight=weights, labels=estimator.classes_)


def svm(shape, held_out, seed):
    """Linear support vector machine on features of length 1 (Razavian et al. 2014, section 3)."""
    machine = LinearSVC(dual="auto", random_state=seed)
    return make_pipeline(Normalizer(), _searched(machine, {"C": np.logspace(-2, 3, 6)}, held_out))


def knn(shape, held_out, seed):
    """Nearest neighbours by cosine; the nearer one is, the more its vote counts."""
    numbers = [k for k in (1, 3, 5, 10, 20, 50) if k <= max(1, shape[0] // 3)]
    return _searched(KNeighborsClassifier(1, metric="cosine", weights="distance"), {"n_neighbors": numbers}, held_out)


def ridge(shape, held_out, seed):
    """Least squares to +-1, the L2 penalty chosen by the error with one left out, in closed form; blind to groups."""
    # By accuracy, scikit-learn 1.9.1 takes the first penalty wherever there are two classes: it scores each with 1.
    return RidgeClassifierCV(alphas=PENALTIES) if held_out else RidgeClassifier()


CLASSIFIERS = {"logreg": logreg, "svm": svm, "knn": knn, "ridge": ridge}


def check(name: str):
    """Raise `UnknownName` unless a classifier is called that."""
    pick(CLASSIFIERS, name, "classifier")


def build(name: str, shape: tuple[int, int], labels, groups=None, *, seed: int = 0, **options):
    """A scikit-learn estimator, not fitted, that chooses its strength inside `fit`.

    Args:
        name: of `CLASSIFIERS`.
        shape: (n, d) of the features it is for.
        labels: their labels (n,). Where a class has one picture, or one group, alone, nothing can be held out to choose
            by, and scikit-learn's own strength stays.
        groups: (n,) or None; what has the same one stays on one side of what is held out. The estimator is then for
            these very rows.
        seed: of what is held out.
        options: of that classifier.

    Raises:
        UnknownName: no classifier is called that.
    """
    make, held_out = pick(CLASSIFIERS, name, "classifier"), _held_out(np.asarray(labels), groups, seed)
    return make(shape, held_out, seed, **options)


def fitted(name: str, features, labels, groups=None, *, widths=None, seed: int = 0, **options):
    """`build` on features brought to one scale, fitted, and without the search: only what predicts, of types that skops
    trusts.

    Args:
        features: (n, d), of finite numbers.
        widths: of the layers whose features stand side by side in `features`; by default one of d.
        options: of that classifier.

    Raises:
        UnknownName: no classifier is called that.
        ValueError: there is one class.
    """
    features, labels = np.asarray(features, "float64"), np.asarray(labels)
    if len(classes := np.unique(labels)) < 2:
        raise ValueError(f"All {len(labels)} pictures are of class {classes[0]}: a classifier needs two classes.")
    scaler = block_scale(features, widths or (features.shape[1],))
    estimator = build(name, features.shape, labels, groups, seed=seed, **options)
    with _steady(features):
        learnt = _without_search(estimator.fit(scaler.transform(features), labels))
    return Pipeline([("scale", scaler), *(learnt.steps if isinstance(learnt, Pipeline) else [(name, learnt)])])


def block_scale(features: np.ndarray, widths) -> StandardScaler:
    """A fitted scaler that divides each layer's features by one number: together they have a mean square distance of 1
    from their mean, to which each layer adds the same.

    Args:
        features: (n, d).
        widths: of the layers, d in all.
    """
    spread = np.concatenate(
        [
            np.full(block.shape[1], np.sqrt(block.var(0).sum() * len(widths)))
            for block in np.split(features, np.cumsum(widths)[:-1], axis=1)
        ]
    )
    scaler = StandardScaler(with_mean=False).fit(features)  # of each feature by itself; of each layer it is set
    scaler.scale_ = np.where(spread > 0, spread, 1.0)
    scaler.var_ = scaler.scale_**2
    return scaler


def _held_out(labels, groups, seed):
    """What the strength is chosen on: folds, or of many pictures one part of a fifth; None where a class has one
    picture, or one group, alone."""
    n = len(labels)
    classes, counts = np.unique(labels, return_counts=True)
    if groups is None:
        if counts.min() < 2:
            return None
        if n >= MANY:
            share = max(0.2, len(classes) / n)  # scikit-learn wants as many as there are classes
            return StratifiedShuffleSplit(1, test_size=share, random_state=seed)
        return StratifiedKFold(min(FOLDS, counts.min()), shuffle=True, random_state=seed)
    groups = np.asarray(groups)
    least = min(len(np.unique(groups[labels == one])) for one in classes)
    if least < 2:
        return None
    splitter = StratifiedGroupKFold(min(FOLDS, least), shuffle=True, random_state=seed)
    pairs = [(train, held) for train, held in splitter.split(labels, labels, groups) if len(held)]
    whole = [pair for pair in pairs if len(np.unique(labels[pair[0]])) == len(classes)]
    return whole[: 1 if n >= MANY else FOLDS] or None


def _searched(estimator, grid, held_out):
    return GridSearchCV(estimator, grid, cv=held_out, scoring="accuracy") if held_out else estimator


def _without_search(estimator):
    if isinstance(estimator, Pipeline):
        return Pipeline([*estimator.steps[:-1], (estimator.steps[-1][0], _without_search(estimator[-1]))])
    if hasattr(estimator, "coefs_paths_"):
        del estimator.coefs_paths_  # 45 times the classifier
        return estimator.set_params(cv=None, scoring="accuracy")  # skops knows no splitter; `score` is as of others
    return getattr(estimator, "best_estimator_", estimator)


@contextmanager
def _steady(features):
    # 1,000 iterations are the protocol's budget, and what they reach is what is judged: nothing for a user to act on.
    with warnings.catch_warnings(), threadpool_limits(1 if features.size < SMALL else None):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
