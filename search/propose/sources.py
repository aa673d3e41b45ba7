"""Sources of proposals: each gets a share by what its trials lately added to the front."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from ..trial import Origin, Trial
from .compound import SCALE
from .learned.source import SHARED

COMPOUND = "compound"
EXPECTED = {"learned": 8.0, "sampler": 1.0, "levels": 1.0, COMPOUND: 1.0}
"""What sources are expected to gain before they have gained anything, against each other."""
LEVELS = "levels by role"
"""The label of uniform designs that give each role a level, which had to earn their trials."""
FLOOR = 0.04
"""Least share of a source: what gains nothing now may gain later."""
MEMORY = 0.96
"""What one trial's gain weighs after the next one."""
FIRST_TRIALS = 4.0
"""So many trials stand behind what is expected of a source before it has had any."""


class Sources:
    """Says which source proposes next: in proportion to the hypervolume that each gained per trial, discounted."""

    def __init__(self, expected: Mapping[str, float]) -> None:
        """Begin with what is expected of each source.

        Args:
            expected: Name -> gain per trial, against those of the others.
        """
        self._expected = dict(expected)
        self._gained = dict.fromkeys(expected, 0.0)
        self._trials = dict.fromkeys(expected, 0.0)
        self._all_gained, self._all_trials = 0.0, 0.0

    def credit(self, name: str, gain: float) -> None:
        """Note what a finished trial of a source added to the front's hypervolume."""
        if name not in self._expected:
            return
        for known in self._expected:
            self._gained[known] *= MEMORY
            self._trials[known] *= MEMORY
        self._gained[name] += gain
        self._trials[name] += 1
        self._all_gained, self._all_trials = MEMORY * self._all_gained + gain, MEMORY * self._all_trials + 1

    def shares(self, names: Sequence[str]) -> dict[str, float]:
        """Return the share of each of these sources, together 1."""
        usual = self._all_gained / self._all_trials if self._all_gained > 0 else 1.0
        mean = sum(self._expected.values()) / max(1, len(self._expected))
        rates = {
            name: (self._gained[name] + FIRST_TRIALS * usual * self._expected[name] / mean)
            / (self._trials[name] + FIRST_TRIALS)
            for name in names
        }
        total = sum(rates.values()) or 1.0
        floored = {name: max(FLOOR, rate / total) for name, rate in rates.items()}
        return {name: share / sum(floored.values()) for name, share in floored.items()}

    def draw(self, names: Sequence[str], random_: random.Random) -> str:
        """Return the source that proposes next, of these."""
        shares = self.shares(names)
        return random_.choices(list(shares), list(shares.values()))[0]


class Gains:
    """Tells what each finished trial adds to the hypervolume of latency and cost that is there."""

    def __init__(self, limit_ms: float | None = None, floor: float | None = None) -> None:
        """Begin with no trial.

        Args:
            limit_ms: Largest latency that is allowed; None for any.
            floor: Largest cost of the metric that is allowed; None for any. See `learned.known.reference_point`.
        """
        self._limit_ms, self._floor = limit_ms, floor
        self._front: list[tuple[float, float]] = []  # by rising latency; what is beaten adds nothing
        self._slowest_ms, self._told = 0.0, 0

    def of(self, ms: float, cost: float) -> float:
        """Return what this trial added, and take it in.

        The hypervolume reaches to the limit, or to the slowest trial so far, and to the worst cost on the front so far
        that the user allows.

        Args:
            ms: Its latency.
            cost: Of its metric, lower is better.
        """
        import numpy as np

        from .learned.improvement import added, staircase
        from .learned.known import worst_of_interest

        known, slowest_ms, others = self._front, self._slowest_ms, self._told > 1
        points = np.array([*known, (ms, cost)])
        kept = staircase(points[:, 0], points[:, 1], (np.inf, np.inf))
        self._front = list(zip(*(end.tolist() for end in kept), strict=True))
        self._slowest_ms, self._told = max(slowest_ms, ms), self._told + 1
        if not others:
            return 0.0
        points = points[:-1]
        most_ms = slowest_ms if self._limit_ms is None else min(slowest_ms, self._limit_ms)
        reference = most_ms, worst_of_interest(points[:, 1], self._floor)
        front = staircase(points[:, 0], points[:, 1], reference)
        return float(added(np.array([ms]), np.array([cost]), front, reference)[0])


def source_of(trial: Trial) -> str:
    """Return the name of the source that proposed a trial; empty for what every study begins with."""
    if trial.origin is Origin.LEARNED and trial.label != SHARED:
        return "learned"
    if trial.label == LEVELS:
        return "levels"
    if trial.origin is Origin.SEARCH and SCALE in (trial.latent or {}):
        return COMPOUND
    return "sampler" if trial.origin is Origin.SEARCH and trial.latent is not None else ""
