"""The correction of a latency formula near students that were measured: a Gaussian process over what it leaves over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .latency_features import Vector

Matrix = NDArray[np.float64]

_SPREADS = (0.01, 0.02, 0.04, 0.08)
_NOISES = (0.01, 0.02, 0.04)


# scikit-learn's GaussianProcessRegressor is as accurate here (median error 3.5 / 2.8 / 1.6 % at 24 / 64 / 400 samples,
# these 3.7 / 3.0 / 1.6 %), but takes 140 to 220 us for a prediction and 15 / 14 / 190 ms for a fit; these 16 to 30 us
# and 0.3 / 0.9 / 20 ms. A solver asks for tens of thousands of predictions, and each fit holds out eight times.
@dataclass(frozen=True, eq=False)
class Correction:
    """A Gaussian process over the logarithm of measured / formula (Rasmussen and Williams 2006, section 2.2).

    Its kernel is a squared exponential of length 1 over places.

    Attributes:
        places: Of what was measured, [samples, places].
        weights: Of the samples, [samples].
        spread: Standard deviation of what a place adds.
        noise: Standard deviation of what a measurement adds.
    """

    places: Matrix
    weights: Vector
    spread: float
    noise: float

    def of(self, place: Vector) -> float:
        """Return the logarithm of the factor at this place."""
        return float(self.spread**2 * _kernel(place[None], self.places)[0] @ self.weights)

    @classmethod
    def fit(cls, places: Matrix, logs: Vector) -> Correction | None:
        """Return the correction of the largest marginal likelihood over a small grid of deviations.

        Args:
            places: Of what was measured, [samples, places].
            logs: Logarithms of measured / formula, [samples].

        Returns:
            The correction, None where one explains nothing.
        """
        values, vectors = np.linalg.eigh(_kernel(places, places))
        turned = vectors.T @ logs
        best: tuple[float, float, float] | None = None
        for noise in _NOISES:
            for spread in (0.0, *_SPREADS):
                variances = spread**2 * np.maximum(values, 0.0) + noise**2
                likelihood = -0.5 * float((turned**2 / variances).sum() + np.log(variances).sum())
                if best is None or likelihood > best[0]:
                    best = likelihood, spread, noise
        assert best is not None
        _, spread, noise = best
        return cls.given(places, logs, spread, noise) if spread else None

    @classmethod
    def given(cls, places: Matrix, logs: Vector, spread: float, noise: float) -> Correction:
        """Return the correction with known deviations; see `fit` for the arguments."""
        covariance = spread**2 * _kernel(places, places) + noise**2 * np.eye(len(logs))
        return cls(places, np.asarray(np.linalg.solve(covariance, logs), dtype=np.float64), spread, noise)


def _kernel(a: Matrix, b: Matrix) -> Matrix:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / 2))
