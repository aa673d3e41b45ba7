"""Kin: the measured student that a new one resembles most, whose weights it may begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...compression.inherit import distance
from ...spaces.groups import Group
from ...spaces.plan import Plan
from ..trial import Heritage, Trial
from .checkpoints import checkpoint_path

NEAR = 0.3
"""Students further apart than this have too little in common; see `compression.inherit.distance`."""


@dataclass(frozen=True)
class Kin:
    """The students of one study. folder: the study's. rungs: of a full recovery."""

    folder: Path
    groups: tuple[Group, ...]
    rungs: int

    def nearest(self, plan: Plan, ended: Sequence[Trial]) -> Heritage | None:
        """The heritage of the nearest student that was taught to the end, the most accurate of equally near ones; None
        when none is near."""
        best: tuple[float, float] | None = None
        found = None
        for trial in ended:
            if trial.measurement is None or trial.plan.recovery is None or len(trial.rungs) < self.rungs:
                continue
            apart = distance(plan, trial.plan, self.groups)
            rank = (round(apart, 3), -trial.measurement.accuracy)
            if apart <= NEAR and (best is None or rank < best):
                path = checkpoint_path(self.folder, trial.plan, self.rungs - 1, trial.heritage)
                if path.exists():
                    best, found = rank, Heritage(trial.number, trial.plan, path.name)
        return found
