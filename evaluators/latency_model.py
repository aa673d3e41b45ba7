"""A model of one network's latency on one target, fitted to whole-network measurements of a few of its students.

A formula with physical terms (`latency_features`) carries it to students unlike any that was measured; near to those that
were, a correction learned from what the formula leaves over makes it precise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..spaces.context import SpaceContext
from ..spaces.spec import StudentSpec
from .latency_features import Features, Vector

Matrix = NDArray[np.float64]

SHRINKAGE = 12.0
"""What holds costs to their priors, over the square of the number of samples: at 24 samples as if the formula left 3 %
of a latency over and a term's share of it lay within 20 % of its prior. Chosen on measurements of held-out students of
ResNet-20 and MobileNetV2 (benchmarks/latency_model.py); half or twice as much is as good."""
UNKNOWN_ERROR = 0.5
"""Relative error while too few samples are there to hold some out: relative costs of layers are guessed then."""
FOLDS = 8
MEMORY = 400
"""Samples that a learner keeps at most: a fit grows with their cube."""
GROWTH = 1.25
"""A learner fits anew when it has this many times the samples of its last fit."""
_FEWEST_TO_CHECK = 4
_FEWEST_TO_CORRECT = 12
_SPREADS = (0.01, 0.02, 0.04, 0.08)
_NOISES = (0.01, 0.02, 0.04)


@dataclass(frozen=True, eq=False)
class Correction:
    """A Gaussian process over the logarithm of measured / formula (Rasmussen and Williams 2006, section 2.2), with
    a squared exponential kernel of length 1 over places.

    places: [samples, places] of what was measured. weights: [samples]. spread, noise: standard deviations of what a
    place and what a measurement adds."""

    places: Matrix
    weights: Vector
    spread: float
    noise: float

    def of(self, place: Vector) -> float:
        """log of the factor at this place."""
        return float(self.spread**2 * _kernel(place[None], self.places)[0] @ self.weights)

    @classmethod
    def fit(cls, places: Matrix, logs: Vector) -> Correction | None:
        """That of the largest marginal likelihood over a small grid; None where a correction explains nothing."""
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
        """With known deviations."""
        covariance = spread**2 * _kernel(places, places) + noise**2 * np.eye(len(logs))
        return cls(places, np.asarray(np.linalg.solve(covariance, logs), dtype=np.float64), spread, noise)


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Predicts latencies (ms) of students over one context.

    costs: [terms] ms for each unit of a term, none negative. samples: how many it was fitted to. relative_error,
    p90_error: half and nine tenths of held-out samples were off by at most this part of what was measured.
    rank_correlation: of held-out predictions with what was measured (Spearman). With fewer than four samples nothing is
    held out: errors are UNKNOWN_ERROR then and the correlation 0."""

    features: Features
    costs: Vector
    correction: Correction | None
    samples: int
    relative_error: float = UNKNOWN_ERROR
    p90_error: float = UNKNOWN_ERROR
    rank_correlation: float = 0.0

    def predict_ms(self, spec: StudentSpec) -> float:
        """The latency of the spec's file (ms): its median, as it was measured of the samples."""
        terms, place = self.features.of(spec)
        return self._predict(terms, place)

    def _predict(self, terms: Vector, place: Vector) -> float:
        factor = 0.0 if self.correction is None else self.correction.of(place)
        return float(terms @ self.costs * np.exp(factor))

    @classmethod
    def fit(cls, context: SpaceContext, samples: Sequence[tuple[StudentSpec, float]]) -> LatencyModel:
        """The model of these students with their latencies (ms). One sample only scales what layers cost elsewhere; from
        some ten on, it knows this network on this target. Raises ValueError without a sample."""
        features = Features(context)
        rows = [features.of(spec) for spec, _ in samples]
        return fit_rows(features, rows, [ms for _, ms in samples])


def fit_rows(features: Features, rows: Sequence[tuple[Vector, Vector]], measured_ms: Sequence[float]) -> LatencyModel:
    """`LatencyModel.fit` for students whose terms and places are known."""
    if not rows:
        raise ValueError("a latency model needs at least one sample, got none; measure a spec first")
    terms, places = (np.stack(part) for part in zip(*rows, strict=True))
    ms = np.array(measured_ms, dtype=np.float64)
    model = _fit(features, terms, places, ms)
    if len(ms) < _FEWEST_TO_CHECK:
        return model
    folds = np.random.default_rng(0).permutation(len(ms)) % min(FOLDS, len(ms))
    guessed = np.empty(len(ms))
    for fold in range(folds.max() + 1):
        held, kept = folds == fold, folds != fold
        part = _fit(features, terms[kept], places[kept], ms[kept], model.correction)
        guessed[held] = [part._predict(t, p) for t, p in zip(terms[held], places[held], strict=True)]
    off = np.abs(guessed / ms - 1)
    return replace(
        model,
        relative_error=float(np.median(off)),
        p90_error=float(np.quantile(off, 0.9)),
        rank_correlation=_rank_correlation(guessed, ms),
    )


def _fit(features: Features, terms: Matrix, places: Matrix, ms: Vector, like: Correction | None = None) -> LatencyModel:
    """like: whose deviations to take, to save looking for them."""
    costs = _costs(terms, ms, features.prior)
    correction = None
    if len(ms) >= _FEWEST_TO_CORRECT:
        logs = np.log(ms / (terms @ costs))
        correction = Correction.given(places, logs, like.spread, like.noise) if like else Correction.fit(places, logs)
    return LatencyModel(features, costs, correction, len(ms))


def _costs(terms: Matrix, ms: Vector, prior: Vector) -> Vector:
    """Non-negative costs with small relative errors, each near its prior by what it usually adds to the latency."""
    from scipy.optimize import nnls

    shares = terms / ms[:, None]
    near = prior / np.median(shares @ prior)
    usual = np.sqrt((shares**2).mean(axis=0))
    live = usual > 0  # of terms that no sample has, nothing is learned
    held = np.sqrt(SHRINKAGE) / len(ms) * usual[live]
    left = np.vstack([shares[:, live], np.diag(held)])
    right = np.concatenate([np.ones(len(ms)), held * near[live]])
    costs = near.copy()
    costs[live], _ = nnls(left, right, maxiter=100 * left.shape[1])
    return costs


def _rank_correlation(a: Vector, b: Vector) -> float:
    """Spearman's, with mean ranks for ties; 0 where one of both does not vary."""
    one, other = (np.searchsorted(np.sort(v), v, "left") + np.searchsorted(np.sort(v), v, "right") for v in (a, b))
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _kernel(a: Matrix, b: Matrix) -> Matrix:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-np.maximum(squares, 0.0) / 2))


class LatencyLearner:
    """A latency model that goes on learning: samples are added as they are measured, and it is fitted anew when they
    have grown by a quarter."""

    def __init__(self, context: SpaceContext, samples: Sequence[tuple[StudentSpec, float]] = ()) -> None:
        self._features = Features(context)
        self._rows: dict[str, tuple[Vector, Vector]] = {}
        self._ms: dict[str, float] = {}
        self._model: LatencyModel | None = None
        self._new = 0
        for spec, ms in samples:
            self.add(spec, ms)

    def __len__(self) -> int:
        return len(self._ms)

    def add(self, spec: StudentSpec, ms: float) -> None:
        """One more sample, or a better one of a shape that was measured before."""
        key = spec.shape_key()
        if key not in self._rows:
            self._rows[key] = self._features.of(spec)
        self._new += key not in self._ms
        self._ms.pop(key, None)
        self._ms[key] = ms
        if len(self._ms) > MEMORY:  # the earliest were spread over the space; the latest lie where a search looks
            forgotten = list(self._ms)[MEMORY // 4]
            del self._ms[forgotten], self._rows[forgotten]

    @property
    def model(self) -> LatencyModel:
        """The model of all samples up to the last fit. Raises ValueError before the first sample."""
        if self._model is None or self._new >= (GROWTH - 1) * self._model.samples:
            self._new = 0
            rows = [self._rows[key] for key in self._ms]
            self._model = fit_rows(self._features, rows, list(self._ms.values()))
        return self._model

    @property
    def relative_error(self) -> float:
        """See LatencyModel; UNKNOWN_ERROR before the first sample."""
        return self.model.relative_error if self._ms else UNKNOWN_ERROR

    def predict_ms(self, spec: StudentSpec) -> float:
        """See LatencyModel. Raises ValueError before the first sample."""
        return self.model.predict_ms(spec)
