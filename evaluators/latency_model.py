"""A model of one network's latency on one target, fitted to whole-network measurements of a few of its students.

A formula with physical terms (`latency_features`) carries it to students unlike any that was measured; near to those
that were, a correction learned from what the formula leaves over makes it precise (`latency_correction`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..spaces.context import SpaceContext
from ..spaces.spec import StudentSpec
from .latency_correction import Correction, Matrix
from .latency_features import Features, Vector

SHRINKAGE = 12.0
"""What holds costs to their priors, over the square of the number of samples: at 24 samples as if the formula left 3 %
of a latency over and a term's share of it lay within 20 % of its prior. Chosen on measurements of held-out students of
ResNet-20 and MobileNetV2 (benchmarks/latency_model.py); half or twice as much is as good."""
LEAST_MS = 1e-6
"""No prediction is below this: replaced modules may take more off than there is."""
UNKNOWN_ERROR = 0.5
"""Relative error while too few samples are there to hold some out: relative costs of layers are guessed then."""
FOLDS = 8
MEMORY = 400
"""Samples that a learner keeps at most: a fit grows with their cube."""
GROWTH = 1.25
"""A learner fits anew when it has this many times the samples of its last fit."""
_FEWEST_TO_CHECK = 4
_FEWEST_TO_CORRECT = 12


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Predicts latencies (ms) of students over one context.

    With fewer than four samples nothing is held out: the errors are UNKNOWN_ERROR then, and the correlation is 0.

    Attributes:
        features: The terms of the formula.
        costs: Milliseconds for each unit of a term, [terms], none negative.
        correction: Near students that were measured; None with few samples, or where it explains nothing.
        samples: How many the model was fitted to.
        relative_error: Half of the held-out samples were off by at most this part of what was measured.
        p90_error: Nine tenths of them were off by at most this part.
        rank_correlation: Of held-out predictions with what was measured (Spearman).
    """

    features: Features
    costs: Vector
    correction: Correction | None
    samples: int
    relative_error: float = UNKNOWN_ERROR
    p90_error: float = UNKNOWN_ERROR
    rank_correlation: float = 0.0

    def predict_ms(self, spec: StudentSpec) -> float:
        """Return the median latency (ms) of the file of this student."""
        terms, place = self.features.of(spec)
        return self.predict_row(terms, place)

    def predict_row(self, terms: Vector, place: Vector) -> float:
        """Return the latency (ms) of a student whose terms and place are known; see `Features.of`."""
        factor = 0.0 if self.correction is None else self.correction.of(place)
        return max(LEAST_MS, float(terms @ self.costs)) * float(np.exp(factor))

    def layer_ms(self, spec: StudentSpec) -> list[float]:
        """Return what each layer takes of `predict_ms` (ms), by its part of usual costs; see `Features.by_layer`."""
        total_ms = self.predict_ms(spec)
        return [total_ms * float(part) for part in self.features.by_layer(spec)]

    @classmethod
    def fit(cls, context: SpaceContext, samples: Sequence[tuple[StudentSpec, float]]) -> LatencyModel:
        """Return the model of measured students.

        One sample only scales what layers cost elsewhere; from some ten on, the model knows this network on this
        target.

        Args:
            context: What the students are students of.
            samples: Students with their latencies (ms).

        Raises:
            ValueError: There is no sample.
        """
        features = Features(context)
        rows = [features.of(spec) for spec, _ in samples]
        return fit_rows(features, rows, [ms for _, ms in samples])


def fit_rows(features: Features, rows: Sequence[tuple[Vector, Vector]], measured_ms: Sequence[float]) -> LatencyModel:
    """Return the model of students whose terms and places are known.

    Args:
        features: What told the terms and places.
        rows: Terms [terms] and place [places] of each student.
        measured_ms: Their latencies.

    Raises:
        ValueError: There is no row.
    """
    if not rows:
        raise ValueError("a latency model needs at least one sample, got none; measure a student first")
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
        guessed[held] = [part.predict_row(t, p) for t, p in zip(terms[held], places[held], strict=True)]
    off = np.abs(guessed / ms - 1)
    return replace(
        model,
        relative_error=float(np.median(off)),
        p90_error=float(np.quantile(off, 0.9)),
        rank_correlation=_rank_correlation(guessed, ms),
    )


class LatencyLearner:
    """A latency model that goes on learning.

    Samples are added as they are measured, and the model is fitted anew when they have grown by a quarter.
    """

    def __init__(self, context: SpaceContext, samples: Sequence[tuple[StudentSpec, float]] = ()) -> None:
        """Begin with some samples.

        Args:
            context: What the students are students of.
            samples: Students with their latencies (ms).
        """
        self._features = Features(context)
        self._rows: dict[str, tuple[Vector, Vector]] = {}
        self._ms: dict[str, float] = {}
        self._model: LatencyModel | None = None
        self._new = 0
        for spec, ms in samples:
            self.add(spec, ms)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._ms)

    def add(self, spec: StudentSpec, ms: float) -> None:
        """Add a sample, or a better one of a shape that was measured before.

        Args:
            spec: The student.
            ms: Its latency.
        """
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
        """The model of all samples up to the last fit.

        Raises:
            ValueError: There is no sample yet.
        """
        if self._model is None or self._new >= (GROWTH - 1) * self._model.samples:
            self._new = 0
            rows = [self._rows[key] for key in self._ms]
            self._model = fit_rows(self._features, rows, list(self._ms.values()))
        return self._model

    @property
    def relative_error(self) -> float:
        """The model's; UNKNOWN_ERROR before the first sample."""
        return self.model.relative_error if self._ms else UNKNOWN_ERROR

    def predict_ms(self, spec: StudentSpec) -> float:
        """Return the median latency (ms) of the file of this student.

        Raises:
            ValueError: There is no sample yet.
        """
        return self.model.predict_ms(spec)

    def layer_ms(self, spec: StudentSpec) -> list[float]:
        """Return what each layer of this student takes (ms); see `LatencyModel.layer_ms`.

        Raises:
            ValueError: There is no sample yet.
        """
        return self.model.layer_ms(spec)


def _fit(features: Features, terms: Matrix, places: Matrix, ms: Vector, like: Correction | None = None) -> LatencyModel:
    # like: whose deviations to take, to save looking for them
    costs = _costs(terms, ms, features.prior)
    correction = None
    if len(ms) >= _FEWEST_TO_CORRECT:
        logs = np.log(ms / np.maximum(terms @ costs, LEAST_MS))
        correction = Correction.given(places, logs, like.spread, like.noise) if like else Correction.fit(places, logs)
    return LatencyModel(features, costs, correction, len(ms))


def _costs(terms: Matrix, ms: Vector, prior: Vector) -> Vector:
    """Return non-negative costs with small relative errors, each near its prior by what it usually adds."""
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
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0  # Spearman's is not defined where one of both does not vary
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)
