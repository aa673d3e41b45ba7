"""What a method found by when: hypervolume over simulated time, as a share of the reference front's."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .executor import Found
from .landscape import Floats, Landscape, row

MOMENTS = 100


@dataclass(frozen=True)
class Curve:
    """One run of one method.

    Attributes:
        problem: Name of the landscape.
        method: Name of the method.
        seed: Of the landscape and of the search.
        shares: Parts of the reference's hypervolume at MOMENTS moments evenly spread over the whole time, the last at
            its end.
        trials: Number of finished trials.
        wall_s: Seconds that the search itself took.
        trainings: How many full trainings, with a gate and a file each, the whole time is worth; 0 where not known.
    """

    problem: str
    method: str
    seed: int
    shares: tuple[float, ...]
    trials: int
    wall_s: float
    trainings: float = 0.0

    @property
    def end(self) -> float:
        """The share at the end of the time."""
        return self.shares[-1]

    @property
    def area(self) -> float:
        """The mean share over the whole time."""
        return statistics.fmean(self.shares)

    def at(self, part: float) -> float:
        """Return the share after a part of the time, or at the last moment before it that is known."""
        moment = math.floor(part * len(self.shares) + 1e-9)
        return self.shares[moment - 1] if moment else 0.0

    def after(self, trainings: float) -> float | None:
        """Return the share after the time that so many trainings take, None where the run is not that long."""
        return self.at(trainings / self.trainings) if 0 < trainings <= self.trainings + 1e-9 else None

    def passes(self, share: float) -> float | None:
        """Return the part of the time after which this share is reached and not lost again; None for never."""
        below = [i for i, s in enumerate(self.shares) if s < share]
        first = below[-1] + 1 if below else 0
        return (first + 1) / len(self.shares) if first < len(self.shares) else None


def hypervolume(points: Floats, landscape: Landscape) -> float:
    """Return the hypervolume of points [k, 2] of (latency_ms, error) up to the landscape's reference point."""
    import moocore

    if not len(points):
        return 0.0
    return float(moocore.hypervolume(points, ref=[landscape.budget_ms, landscape.worst_error]))


def shares(found: Sequence[Found], landscape: Landscape, reference: Floats, horizon_s: float) -> tuple[float, ...]:
    """Return, at each moment, the true hypervolume of the front that a user would be given.

    The front is chosen by what was measured and scored by the truth, so that lucky measurements do not count.

    Args:
        found: Finished trials.
        landscape: What they are worth.
        reference: The known front [k, 2]; hypervolumes are told as parts of its own.
        horizon_s: The whole time.
    """
    whole = hypervolume(reference, landscape)
    measured = np.array([(f.latency_ms, 1 - f.accuracy) for f in found]).reshape(-1, 2)
    truth = np.array([true_point(f, landscape) for f in found]).reshape(-1, 2)
    clocks = np.array([f.clock_s for f in found])
    values: list[float] = []
    before = -1
    for moment in range(1, MOMENTS + 1):
        known = int((clocks <= horizon_s * moment / MOMENTS).sum())
        if known != before:
            values.append(hypervolume(truth[:known][non_dominated(measured[:known])], landscape) / whole)
            before = known
        else:
            values.append(values[-1])
    return tuple(values)


def true_point(found: Found, landscape: Landscape) -> tuple[float, float]:
    """Return (latency_ms, error) of a finished trial without any noise of measuring."""
    part = 0.0 if found.spec.recovery is None else 1.0
    return float(landscape.latency_ms(row(landscape, found.spec))[0]), landscape.error(found.spec, part)


def non_dominated(points: Floats) -> list[int]:
    """Return the indices of the points that no other beats; lower is better."""
    order = np.lexsort((points[:, 1], points[:, 0]))
    kept, best = [], np.inf
    for i in order:
        if points[i, 1] < best:
            kept.append(int(i))
            best = points[i, 1]
    return kept
