"""The accuracy model: predicts a metric from features, and says how sure it is.

Several kinds of regression are tried; the one that orders held-out plans of like latency best is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
FOLDS = 5
BANDS = 4
"""Plans are compared within so many bands of latency: that a faster one is worse is no news."""
MOST_FOR_KERNEL = 300
"""Plans that the kernel of a Gaussian process is fitted to."""
TREES = 60
FEWEST_FOR_TREES = 40
GROWTH = 1.2
"""The kind of model is chosen anew with this many times the plans of the last choice."""


@dataclass(frozen=True)
class AccuracyModel:
    """A fitted regression.

    Attributes:
        kind: "ridge", "gaussian process" or "trees".
        rank_correlation: Spearman's, of held-out predictions with what was measured, mean over bands of latency.
    """

    kind: str
    rank_correlation: float
    _fitted: Any
    _mean: Vector
    _spread: float

    def predict(self, features: Vector) -> tuple[Vector, Vector]:
        """Return the expected cost [n] of features [n, features], as it was fitted, and how uncertain it is [n]."""
        x = features - self._mean
        if self.kind == "trees":
            each = np.stack([tree.predict(x) for tree in self._fitted.estimators_])
            return each.mean(axis=0), np.maximum(each.std(axis=0), self._spread)
        mean, std = self._fitted.predict(x, return_std=True)
        # what one measurement is off by is no hope for any plan
        return mean, np.sqrt(np.maximum(std**2 - self._noise, 1e-12))

    @property
    def _noise(self) -> float:
        """The variance of one measurement about its plan."""
        if self.kind == "ridge":
            return float(1 / self._fitted.alpha_)
        return float(self._fitted.kernel_.k2.noise_level * self._fitted._y_train_std**2)


class AccuracyLearner:
    """Fits models; the kind of regression is chosen anew whenever there is a good deal more to learn from."""

    def __init__(self, seed: int) -> None:
        """Fit with this seed of random choices."""
        self._seed = seed
        self._makers: dict[str, Callable[[], Any]] = {}
        self._kind, self._rank, self._spread, self._chosen_at = "", 0.0, 0.0, 0

    def fit(self, features: Vector, costs: Vector, latency: Vector) -> AccuracyModel:
        """Return the kind of model that orders held-out plans best, fitted to all.

        Args:
            features: [n, features]. Their scales say how likely an effect is, and stay as they are.
            costs: What is predicted [n], lower is better.
            latency: Of each plan [n], to compare those of like latency.
        """
        mean = features.mean(axis=0)
        x = features - mean
        if not self._kind or len(costs) > GROWTH * self._chosen_at:
            self._choose(x, costs, latency)
        fitted = self._makers[self._kind]()
        _quiet_fit(fitted, x, costs)
        return AccuracyModel(self._kind, self._rank, fitted, mean, 0.3 * self._spread)

    def _choose(self, x: Vector, costs: Vector, latency: Vector) -> None:
        seed = self._seed
        self._makers = {"ridge": _ridge, "gaussian process": _process(x, costs, seed)}
        if len(costs) >= FEWEST_FOR_TREES:
            self._makers["trees"] = lambda: _trees(seed)
        held = {kind: _held_out(make, x, costs, seed) for kind, make in self._makers.items()}
        ranks = {kind: rank_correlation(found, costs, latency) for kind, found in held.items()}
        self._kind = max(ranks, key=lambda kind: ranks[kind])
        self._rank, self._chosen_at = ranks[self._kind], len(costs)
        self._spread = float(np.std(held[self._kind] - costs))


def rank_correlation(predicted: Vector, costs: Vector, latency: Vector) -> float:
    """Return the mean of Spearman's correlations within bands of like latency, each with five plans or more."""
    from scipy.stats import spearmanr

    bands = max(1, min(BANDS, len(costs) // 6))
    found = []
    for band in np.array_split(np.argsort(latency, kind="stable"), bands):
        if len(band) > 2 and np.ptp(costs[band]) > 0 and np.ptp(predicted[band]) > 0:
            found.append(float(spearmanr(predicted[band], costs[band]).statistic))
    return float(np.mean(found)) if found else 0.0


def _held_out(make: Callable[[], Any], x: Vector, y: Vector, seed: int) -> Vector:
    order = np.random.default_rng(seed).permutation(len(y))
    found = np.zeros(len(y))
    for part in np.array_split(order, min(FOLDS, len(y))):
        rest = np.setdiff1d(order, part)
        model = make()
        _quiet_fit(model, x[rest], y[rest])
        found[part] = model.predict(x[part])
    return found


def _quiet_fit(model: Any, x: Vector, y: Vector) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a kernel at the end of its range is still a kernel
        model.fit(x, y)


def _ridge() -> Any:
    from sklearn.linear_model import BayesianRidge

    return BayesianRidge(max_iter=100)


def _trees(seed: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.3, random_state=seed)


def _process(x: Vector, y: Vector, seed: int) -> Callable[[], Any]:
    """Return a maker of Gaussian processes whose kernel was fitted once, to some of the plans."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    some = np.random.default_rng(seed).permutation(len(y))[:MOST_FOR_KERNEL]
    typical = float(np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1)))) or 1.0
    kernel = (
        ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(1.0, (1e-3, 1e2))
        + ConstantKernel(0.5, (1e-4, 1e2)) * RBF(typical, (0.2 * typical, 20 * typical))
        + WhiteKernel(0.05, (1e-5, 1.0))
    )
    first = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    _quiet_fit(first, x[some], y[some])
    return lambda: GaussianProcessRegressor(first.kernel_, optimizer=None, normalize_y=True)
