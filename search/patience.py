"""When a search is done: how the hypervolume grew, how sure it is, and how likely a further hour moves the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray

from .pareto import hypervolume
from .record import Trial
from .rules import Rules

Points = NDArray[np.float64]
RESAMPLES = 200
HOUR_S = 3600.0
WINDOW = 0.5
"""The latest part of the search that says how often the front still moves: early gains come easily."""


@dataclass(frozen=True)
class Gain:
    """When the front moved, in seconds of searching, and by which trial."""

    at_s: float
    number: int


@dataclass(frozen=True)
class Outlook:
    """hypervolume: of the front at the user's budget, as a share of what an instant model as good as the best would
    have, with its 95 % band (low, high): accuracies are those of so many examples, latencies have intervals. gains:
    when it grew beyond that band. searched_s: seconds of searching. chance: that a further hour moves it."""

    hypervolume: float
    low: float
    high: float
    gains: tuple[Gain, ...]
    searched_s: float
    chance: float

    @property
    def last_gain_s(self) -> float:
        """When the front last moved, in seconds of searching."""
        return max((gain.at_s for gain in self.gains), default=0.0)

    def line(self) -> str:
        """For a report."""
        since = f"{(self.searched_s - self.last_gain_s) / 60:.0f} of {self.searched_s / 60:.0f} minutes"
        return (
            f"hypervolume at the budget {self.hypervolume:.3f} ({self.low:.3f} to {self.high:.3f}); the front has not "
            f"moved beyond its noise for {since}: a further hour moves it with a chance of about {self.chance:.0%}"
        )


def outlook(trials: Sequence[Trial], rules: Rules, searched_s: float) -> Outlook | None:
    """How the front stands after these trials, in the order they ended; None before two were finished, or where
    accuracy and latency are not both objectives.

    The chance is that of a Poisson process whose rate is not known: k moves in the last T seconds give 1 - (T / (T +
    3600))^(k + 1/2), with Jeffreys' prior on the rate.
    """
    found = [t for t in trials if t.measurement is not None and t.ended_s is not None]
    if len(found) < 2 or not {"accuracy", "latency_ms"} <= set(rules.objectives):
        return None
    points = np.array([_point(t, rules) for t in found])
    spread = np.array([_spread(t, rules) for t in found])
    reference = _reference(points, found, rules)
    if reference is None:
        return None
    scale = (reference[0] - float(points[:, 0].min())) * reference[1]
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((RESAMPLES, *points.shape)) * spread
    gains: list[Gain] = []
    level = -math.inf
    band = (0.0, 0.0)
    last = 0.0
    for count in range(1, len(found) + 1):
        if count > 1 and not _may_grow(points[:count]):
            continue
        last = hypervolume(points[:count].tolist(), reference) / scale
        if last <= level:
            continue
        resampled = [hypervolume((points[:count] + n[:count]).tolist(), reference) / scale for n in noise[:40]]
        half = 2 * float(np.std(resampled))
        if last - half > level:
            gains.append(Gain(float(found[count - 1].ended_s or 0.0), found[count - 1].number))
            level = last
    resampled = [hypervolume((points + n).tolist(), reference) / scale for n in noise]
    cuts = quantiles(resampled, n=40)
    band = (min(cuts[0], last), max(cuts[-1], last))
    window_s = max(WINDOW * searched_s, 1.0)
    moves = sum(gain.at_s > searched_s - window_s for gain in gains)
    chance = 1 - (window_s / (window_s + HOUR_S)) ** (moves + 0.5)
    return Outlook(last, *band, tuple(gains), searched_s, chance)


def _point(trial: Trial, rules: Rules) -> list[float]:
    """Accuracy and latency on the first target, lower is better; several targets: the worst latency to budget."""
    assert trial.measurement is not None
    return [-min(file.accuracy for file in trial.measurement.files), trial.measurement.latency.p50_ms]


def _spread(trial: Trial, rules: Rules) -> list[float]:
    assert trial.measurement is not None
    accuracy, latency = -_point(trial, rules)[0], trial.measurement.latency
    share = 0 <= accuracy <= 1
    error = math.sqrt(accuracy * (1 - accuracy) / max(1, rules.examples)) if share else 0.01 * abs(accuracy)
    return [error, (latency.high_ms - latency.low_ms) / 4]


def _reference(points: Points, found: Sequence[Trial], rules: Rules) -> tuple[float, float] | None:
    """The user's budget, else the teacher's latency, else the slowest; and the least accurate of those within it."""
    limit = rules.budgets.get(rules.targets[0])
    if limit is None:
        limit = max(
            (p[1] for p, t in zip(points, found, strict=True) if t.origin == "teacher"), default=points[:, 1].max()
        )
    within = points[points[:, 1] <= limit]
    if len(within) < 2 or within[:, 0].max() <= within[:, 0].min():
        return None
    return float(within[:, 0].max()) + 1e-9, limit * (1 + 1e-9)


def _may_grow(points: Points) -> bool:
    """Whether the last point is not dominated by an earlier one."""
    return not bool(np.any(np.all(points[:-1] <= points[-1], axis=1)))
