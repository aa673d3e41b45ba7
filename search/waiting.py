"""The waiting room: students at their rungs, and whose turn it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

import numpy as np

from .promotion import Promotion, Standing, best_of_rung
from .trainings import trained
from .trial import Trial

ENOUGH_LOOKS = 16
"""So many students that were looked at before and after a training tell whether the first look can be trusted."""
TRUSTED = 0.4
"""The partial tau of first looks, see `look_tau`, from which on the look decides who is trained."""


class WaitingRoom:
    """Holds the students of a study that wait. Its length is their number."""

    def __init__(self, promotion: Promotion, waiting: Sequence[Trial]) -> None:
        """Begin with those that wait already.

        Args:
            promotion: How students go from rung to rung.
            waiting: Students that an earlier run of the study left at their rungs.
        """
        self._promotion = promotion
        self._waiting = {trial.number: trial for trial in waiting}
        self._standings: dict[tuple[int, int], tuple[object, tuple[object, ...], Standing]] = {}
        self._nobody: dict[int, tuple[int, int, int]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._waiting.values())

    def enter(self, trial: Trial) -> None:
        """Let a student wait from now on."""
        self._waiting[trial.number] = trial

    def next(self, ended: Sequence[Trial], running: Sequence[Trial], left_s: float | None) -> Trial | None:
        """Take out the student that should go on now.

        Students are looked at from the highest rung down: what is nearly done comes first.

        Args:
            ended: Trials that ended.
            running: Trials that run.
            left_s: Given when time is left and no new students can be begun. Then any student that can come to its end
                within these seconds may go on, the best of the highest rung first.

        Returns:
            The student; None while none should go on.
        """
        everyone = [*ended, *running, *self._waiting.values()]
        last = len(self._promotion.rungs)
        for trial in self._waiting.values():
            unseen = trial.first_look is None and not trial.rungs
            if len(trial.rungs) == last or trial.to_its_end or unseen or not self._promotion.halves:
                return self._waiting.pop(trial.number)
        for level in range(last - 1, -1, -1):
            here = [t for t in self._waiting.values() if len(t.rungs) == level]
            if left_s is not None:
                here = [t for t in here if self._seconds_left(t, ended) < left_s]
            if not here:
                continue
            if level == 0 and not (self._promotion.first_looks and trusted(everyone)):
                return self._waiting.pop(here[0].number)
            eta = 1 if left_s is not None else self._promotion.eta
            number = self._best(level, everyone, {t.number for t in here}, eta)
            if number is not None:
                return self._waiting.pop(number)
        return None

    def _best(self, level: int, everyone: Sequence[Trial], here: set[int], eta: int) -> int | None:
        reached = [t for t in everyone if len(t.rungs) >= level and (level or t.first_look is not None)]
        stands = len(reached), len(here), eta
        if self._nobody.get(level) == stands:  # nobody came to this rung or left it since nobody was to go on
            return None
        standings = [self._standing(t, level) for t in reached if t.gate]
        gone_on = {t.number for t in reached if t.number not in here}
        fixed = {t.number for t in reached if t.to_its_end}
        number = best_of_rung(standings, gone_on - fixed, fixed, eta, self._promotion.examples_at(level))
        if number is None:
            self._nobody[level] = stands
        return number

    def _standing(self, trial: Trial, level: int) -> Standing:
        # asked of all trials each time that a job ends: nearly all stand where they stood
        told = (trial.gate_bytes, trial.first_look, *trial.rungs[max(0, level - 2) : level])
        kept = self._standings.get((trial.number, level))
        if kept is None or kept[0] is not trial.gate or kept[1] != told:
            kept = trial.gate, told, self._promotion.standing(trial, level)
            self._standings[trial.number, level] = kept
        return kept[2]

    def seconds_of_a_trial(self, ended: Sequence[Trial]) -> float:
        """Return the seconds that a student usually takes from its proposal to its file; 0 while that is unknown."""
        spent = [sum(t.seconds.values()) for t in trained(ended)]
        return median(spent) if spent else 0.0

    def seconds_to_build(self, ended: Sequence[Trial]) -> float:
        """Return the seconds that a student usually takes beside its training; infinite while that is unknown."""
        spent = [sum(t.seconds.values()) - t.seconds.get("training", 0.0) for t in trained(ended)]
        return median(spent) if spent else math.inf

    def _seconds_left(self, trial: Trial, ended: Sequence[Trial]) -> float:
        done = self._promotion.rungs[len(trial.rungs) - 1] if trial.rungs else 0.0
        taught = trained(ended)
        training = median([t.seconds.get("training", 0.0) for t in taught] or [0.0])
        rest = median([sum(t.seconds.values()) - t.seconds.get("training", 0.0) for t in taught] or [0.0])
        return training * (1 - done) + rest


def trusted(trials: Sequence[Trial]) -> bool:
    """Tell whether first looks have been seen to order students as a training does."""
    tau = look_tau(trials)
    return tau is not None and tau >= TRUSTED


def look_tau(trials: Sequence[Trial]) -> float | None:
    """Return Kendall's tau of first looks with the metrics after the first rung, beyond what latencies already say.

    Large students are better before and after: what counts is the partial tau (Kendall 1942, Biometrika 32, p. 277).

    Returns:
        The partial tau; None while too few students are known.
    """
    known = [
        (t.first_look, t.rungs[0], next(iter(t.gate.values())).p50_ms)
        for t in trials
        if t.first_look is not None and t.rungs and t.gate
    ]
    if len(known) < ENOUGH_LOOKS:
        return None
    from scipy import stats  # takes seconds to import

    look, after, latency = np.array(known, float).T
    together, with_look, with_after = (
        float(stats.kendalltau(a, b).statistic) for a, b in ((look, after), (look, latency), (after, latency))
    )
    if not np.isfinite(together):
        return None
    if not np.isfinite(with_look) or not np.isfinite(with_after):
        return together  # all of one latency
    rest = (1 - with_look**2) * (1 - with_after**2)
    return (together - with_look * with_after) / math.sqrt(rest) if rest > 1e-9 else 0.0
