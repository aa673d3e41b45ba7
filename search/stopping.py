"""When a search is done: how the hypervolume grew, how sure it is, and since when the front stands still."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..evaluators.measurement import Latency
from .feasibility import Limits
from .objectives import is_latency, objective_value
from .trial import Origin, Trial

Points = NDArray[np.float64]
RESAMPLES = 60


@dataclass(frozen=True)
class Gain:
    """A move of the front.

    Attributes:
        at_s: When it moved, in seconds of searching.
        number: Of the trial that moved it.
    """

    at_s: float
    number: int


@dataclass(frozen=True)
class Standing:
    """How the front stood once a trial had made it larger.

    Attributes:
        at_s: When that was, in seconds of searching.
        number: Of the trial.
        trials: How many had ended by then, whatever became of them.
        volume: The front's hypervolume under the user's budget, as a share; see `Outlook`.
        low: Lower end of its 95 % band.
        high: Upper end of the band.
        gain: Whether it grew beyond that band.
    """

    at_s: float
    number: int
    trials: int
    volume: float
    low: float
    high: float
    gain: bool


@dataclass(frozen=True)
class Outlook:
    """How the front stands.

    Attributes:
        hypervolume: Of the front under the user's budget, as a share of what a model as accurate as the best would
            have that takes no time.
        low: Lower end of its 95 % band. Metrics have standard errors, and so have ratios to the teacher's latency.
        high: Upper end of the band.
        gains: When it grew beyond that band.
        searched_s: Seconds of searching.
        budgeted: Whether there is a budget; without one, latencies up to the teacher's count.
    """

    hypervolume: float
    low: float
    high: float
    gains: tuple[Gain, ...]
    searched_s: float
    budgeted: bool = True

    @property
    def last_gain_s(self) -> float:
        """When the front last moved, in seconds of searching."""
        return max((gain.at_s for gain in self.gains), default=0.0)

    def line(self) -> str:
        """Return one line for a report."""
        since = f"{(self.searched_s - self.last_gain_s) / 60:.0f} of {self.searched_s / 60:.0f} minutes"
        under = "the budget" if self.budgeted else "the teacher's latency"
        return (
            f"hypervolume under {under} {self.hypervolume:.3f} ({self.low:.3f} to {self.high:.3f}); the front has "
            f"stood still, but for noise, for {since}"
        )


class Patience:
    """Tells whether the front has stood still for as long as the user has patience.

    Only time since the initial design counts, and only time of this run.

    Attributes:
        outlook: How the front stood when a trial finished last.
    """

    def __init__(
        self,
        limits: Limits,
        objectives: Sequence[str],
        file_examples: int,
        minutes: float | None,
        searched_s: float,
    ) -> None:
        """Watch a study.

        Args:
            limits: What the study asks of a model.
            objectives: Of the study.
            file_examples: Examples that a file is judged on.
            minutes: Of patience, None for no end of it.
            searched_s: Seconds of searching when this run began.
        """
        self._limits, self._objectives, self._examples = limits, objectives, file_examples
        self._since_s = searched_s
        self._limit_s = math.inf if minutes is None else 60 * minutes
        self._ended = self._finished = -1
        self._opening = False
        self.outlook: Outlook | None = None

    def look(self, trials: Sequence[Trial], searched_s: float, opening: bool) -> None:
        """Take in how the study stands; called several times a second, also where no trial has ended since.

        Args:
            trials: Those that ended.
            searched_s: Seconds of searching.
            opening: Whether what every study begins with is still under way.
        """
        if opening or self._opening:  # a job may have taken long since it was seen last
            self._since_s = searched_s
        self._opening = opening
        if len(trials) == self._ended:
            return
        self._ended = len(trials)
        finished = sum(trial.finished for trial in trials)
        if finished != self._finished:
            self._finished = finished
            self.outlook = outlook(trials, self._limits, self._objectives, self._examples, searched_s)

    def seen(self, searched_s: float) -> Outlook | None:
        """Return how the front stands after so many seconds of searching: what ended since left it as it was."""
        return None if self.outlook is None else replace(self.outlook, searched_s=searched_s)

    def is_over(self, searched_s: float) -> bool:
        """Tell whether to end."""
        moved_s = self.outlook.last_gain_s if self.outlook else 0.0
        return searched_s - max(moved_s, self._since_s) > self._limit_s


def outlook(
    trials: Sequence[Trial], limits: Limits, objectives: Sequence[str], file_examples: int, searched_s: float
) -> Outlook | None:
    """Return how the front stands after these trials.

    Args:
        trials: In the order they ended.
        limits: What the study asks of a model.
        objectives: Of the study.
        file_examples: Examples that a file is judged on.
        searched_s: Seconds of searching.

    Returns:
        The outlook; None before two trials were finished, or where accuracy and latency are not both objectives.
    """
    standings = growth(trials, limits, objectives, file_examples)
    if not standings:
        return None
    gains = [Gain(standing.at_s, standing.number) for standing in standings if standing.gain]
    last = standings[-1]
    return Outlook(last.volume, last.low, last.high, tuple(gains), searched_s, bool(limits.budgets))


def growth(trials: Sequence[Trial], limits: Limits, objectives: Sequence[str], file_examples: int) -> list[Standing]:
    """Return how the front's volume grew, trial by trial; see `outlook` for the arguments.

    Returns:
        One standing for each trial that may have made it larger; none before two trials were finished, or where
        accuracy and latency are not both objectives.
    """
    # what misses a budget, by the percentile that it is about, is no model that the user can take
    places = [i for i, t in enumerate(trials) if t.measured and _meets_budgets(t, limits)]
    found = [trials[i] for i in places]
    if len(found) < 2 or "accuracy" not in objectives or not any(map(is_latency, objectives)):
        return []
    points = np.array([_point(t) for t in found])
    reference = _reference(points, _most_ms(trials, limits))
    if reference is None:
        return []
    noise: dict[int, Points] = {}  # of points that were ever on the front
    scale = (reference[0] - float(points[:, 0].min())) * reference[1]

    standings: list[Standing] = []
    level = 0.0
    front: list[int] = []
    for place, point in enumerate(points):
        if any(bool(np.all(points[i] <= point)) for i in front):
            continue
        front = [*(i for i in front if not np.all(point <= points[i])), place]
        now = float(_volumes(points[front][None], reference)[0]) / scale
        noise[place] = _noise(found[place], file_examples)
        redrawn = points[front] + np.stack([noise[i] for i in front], axis=1)
        half = 2 * float(np.std(_volumes(redrawn, reference))) / scale
        gain = now - half > level
        level = now if gain else level
        trial = found[place]
        low, high = max(0.0, now - half), min(1.0, now + half)
        standings.append(Standing(float(trial.ended_s or 0.0), trial.number, places[place] + 1, now, low, high, gain))
    return standings


def _latency(trial: Trial) -> Latency:
    """Return the latency that the outlook is about: on the plan's own target, or the first of those it is built for."""
    return next(iter(trial.measured.values())).latency


def _point(trial: Trial) -> list[float]:
    """Return what the outlook is about, lower is better: the metric and the latency (ms)."""
    return [-objective_value("accuracy", trial.measured), _latency(trial).p50_ms]


def _noise(trial: Trial, file_examples: int) -> Points:
    """Draw what may be wrong with a trial's point [resamples, 2]: the same draw however many trials come after it."""
    normal = np.random.default_rng([0, trial.number]).standard_normal((RESAMPLES, 2))
    return np.asarray(normal * _spread(trial, file_examples))


def _spread(trial: Trial, file_examples: int) -> list[float]:
    """Return the standard errors of a point: what is not known of the calibration moves all points alike."""
    accuracy, latency = -_point(trial)[0], _latency(trial)
    error = min(trial.measured.values(), key=lambda file: file.accuracy).accuracy_sd
    if error is None:
        share = 0 <= accuracy <= 1
        error = math.sqrt(accuracy * (1 - accuracy) / max(1, file_examples)) if share else 0.01 * abs(accuracy)
    return [error, latency.p50_ms * (latency.ratio_high - latency.ratio_low) / (4 * latency.ratio)]


def _meets_budgets(trial: Trial, limits: Limits) -> bool:
    return limits.meets_latency({name: file.latency for name, file in trial.measured.items()})


def _most_ms(trials: Sequence[Trial], limits: Limits) -> list[float]:
    """Return what bounds latency (ms): the teacher's own, and the budget.

    It is the budget on the first target, or the largest one where plans choose their target.
    """
    chosen = any(trial.spec.target for trial in trials)
    budgets = [ms for name, ms in limits.budgets.items() if chosen or name == limits.targets[0]]
    teachers = [_latency(t).p50_ms for t in trials if t.measured and t.origin is Origin.TEACHER]
    return [*teachers, *([max(budgets)] if budgets else [])]


def _reference(points: Points, limits: Sequence[float]) -> tuple[float, float] | None:
    """Return the reference point: the least accurate model within the limits (ms), and the least of these."""
    limit = float(min(limits, default=points[:, 1].max()))
    within = points[points[:, 1] <= limit]
    if len(within) < 2 or within[:, 0].max() <= within[:, 0].min():
        return None
    return float(within[:, 0].max()) + 1e-9, limit * (1 + 1e-9)


def _volumes(points: Points, reference: tuple[float, float]) -> Points:
    """Return the hypervolumes [sets] of points [sets, points, 2] up to the reference point."""
    cost, ms = np.minimum(points[..., 0], reference[0]), np.minimum(points[..., 1], reference[1])
    order = np.argsort(ms, axis=1)
    ms = np.take_along_axis(ms, order, axis=1)
    best = np.minimum.accumulate(np.take_along_axis(cost, order, axis=1), axis=1)
    widths = np.diff(ms, axis=1, append=reference[1])
    return np.asarray((widths * (reference[0] - best)).sum(axis=1))
