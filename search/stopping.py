"""When a search is done: how the hypervolume grew, how sure it is, and how likely a further hour moves the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .feasibility import Rules
from .pareto import hypervolume, non_dominated
from .trial import Trial

Points = NDArray[np.float64]
RESAMPLES = 60
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
    """hypervolume: of the front under the user's budget, as a share of what a model as accurate as the best would have
    that takes no time, with its 95 % band (low, high): accuracies are shares of so many examples, latencies have
    intervals. gains: when it grew beyond that band. searched_s: seconds of searching. chance: that a further hour
    moves it."""

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
            f"hypervolume under the budget {self.hypervolume:.3f} ({self.low:.3f} to {self.high:.3f}); the front has "
            f"stood still, but for noise, for {since}: a further hour moves it with a chance of about {self.chance:.0%}"
        )


class Patience:
    """Whether the front has stood still for as long as the user has patience: since the opening, and in this run.

    minutes: of patience, None for no end of it. searched_s: seconds of searching when this run began."""

    def __init__(self, rules: Rules, minutes: float | None, searched_s: float) -> None:
        self._rules, self._since_s = rules, searched_s
        self._limit_s = math.inf if minutes is None else 60 * minutes
        self._finished = -1
        self.outlook: Outlook | None = None

    def look(self, trials: Sequence[Trial], searched_s: float, opening: bool) -> None:
        """Take in the trials that ended. opening: whether what every study begins with is still under way."""
        if opening:
            self._since_s = searched_s
        finished = sum(trial.finished for trial in trials)
        if finished != self._finished:
            self._finished = finished
            self.outlook = outlook(trials, self._rules, searched_s)

    def is_over(self, searched_s: float) -> bool:
        """Whether to end."""
        moved_s = self.outlook.last_gain_s if self.outlook else 0.0
        return searched_s - max(moved_s, self._since_s) > self._limit_s


def outlook(trials: Sequence[Trial], rules: Rules, searched_s: float) -> Outlook | None:
    """How the front stands after these trials, in the order they ended; None before two were finished, or where
    accuracy and latency are not both objectives.

    The chance is that of a Poisson process whose rate is not known: k moves in the last T seconds give 1 - (T / (T +
    3600))^(k + 1/2), with Jeffreys' prior on the rate.
    """
    # what misses a budget, by the percentile that it is about, is no model that the user can take
    found = [t for t in trials if t.measurement is not None and _fits(t, rules)]
    if len(found) < 2 or not {"accuracy", "latency_ms"} <= set(rules.objectives):
        return None
    points = np.array([_point(t) for t in found])
    reference = _reference(points, _limits(trials, rules))
    if reference is None:
        return None
    spread = np.array([_spread(t, rules) for t in found])
    noise = np.random.default_rng(0).standard_normal((RESAMPLES, *points.shape)) * spread
    scale = (reference[0] - float(points[:, 0].min())) * reference[1]

    def volume(moved: Points) -> float:
        return hypervolume(moved.tolist(), reference) / scale

    gains: list[Gain] = []
    level, now, half = 0.0, 0.0, 0.0
    for count in range(1, len(found) + 1):
        if count > 1 and not _may_grow(points[:count]):
            continue
        front = non_dominated(points[:count].tolist())
        now = volume(points[front])
        half = 2 * float(np.std([volume(points[front] + n[front]) for n in noise]))
        if now - half > level:
            gains.append(Gain(float(found[count - 1].ended_s or 0.0), found[count - 1].number))
            level = now
    window_s = max(WINDOW * searched_s, 1.0)
    moves = sum(gain.at_s > searched_s - window_s for gain in gains)
    chance = 1 - (window_s / (window_s + HOUR_S)) ** (moves + 0.5)
    return Outlook(now, max(0.0, now - half), min(1.0, now + half), tuple(gains), searched_s, chance)


def _point(trial: Trial) -> list[float]:
    """What `outlook` is about: accuracy and the latency on the first target, lower is better."""
    assert trial.measurement is not None
    return [-min(file.accuracy for file in trial.measurement.files), trial.measurement.latency.p50_ms]


def _spread(trial: Trial, rules: Rules) -> list[float]:
    assert trial.measurement is not None
    accuracy, latency = -_point(trial)[0], trial.measurement.latency
    share = 0 <= accuracy <= 1
    error = math.sqrt(accuracy * (1 - accuracy) / max(1, rules.file_examples)) if share else 0.01 * abs(accuracy)
    return [error, (latency.high_ms - latency.low_ms) / 4]


def _fits(trial: Trial, rules: Rules) -> bool:
    assert trial.measurement is not None
    found = {trial.plan.target or rules.targets[0]: trial.measurement.latency}
    found |= {name: file.latency for name, file in trial.measurement.elsewhere.items()}
    at = rules.budget.percentile
    return all(latency.at(at) <= rules.budgets.get(name, math.inf) for name, latency in found.items())


def _limits(trials: Sequence[Trial], rules: Rules) -> list[float]:
    """The budget on the first target, or the largest where plans choose theirs, and the teacher's latency (ms)."""
    chosen = any(trial.plan.target for trial in trials)
    budgets = [ms for name, ms in rules.budgets.items() if chosen or name == rules.targets[0]]
    teachers = [t.measurement.latency.p50_ms for t in trials if t.measurement is not None and t.origin == "teacher"]
    return [*teachers, *([max(budgets)] if budgets else [])]


def _reference(points: Points, limits: Sequence[float]) -> tuple[float, float] | None:
    """The least accurate model within the limits, and their least: budgets and the teacher's latency (ms)."""
    limit = float(min(limits, default=points[:, 1].max()))
    within = points[points[:, 1] <= limit]
    if len(within) < 2 or within[:, 0].max() <= within[:, 0].min():
        return None
    return float(within[:, 0].max()) + 1e-9, limit * (1 + 1e-9)


def _may_grow(points: Points) -> bool:
    """Whether the last point is not dominated by an earlier one."""
    return not bool(np.any(np.all(points[:-1] <= points[-1], axis=1)))
