"""Warm starts: the measured student that a new one resembles most, whose weights it may begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...compression.warm_start import distance
from ...spaces.graph.block import Block
from ...spaces.groups import Group
from ...spaces.network import Network
from ...spaces.spec import StudentSpec
from ..objectives import objective_value
from ..store.layout import checkpoints_folder
from ..trial import Trial, WarmStart
from .checkpoints import checkpoint_path

NEAR = 0.3
"""Students further apart than this have too little in common; see `compression.warm_start.distance`."""


def start_at(folder: Path, trial: Trial, rungs: int) -> WarmStart:
    """Return the start at the weights that a trial's training ended with.

    Args:
        folder: The study's folder.
        trial: It was taught to its end.
        rungs: Number of rungs of a full recovery.
    """
    return WarmStart(trial.number, trial.spec, checkpoint_path(folder, trial.spec, rungs - 1, trial.warm_start).name)


@dataclass(frozen=True)
class WarmStarts:
    """The students of one study that others may start from.

    Attributes:
        folder: The study's folder.
        groups: The teacher's groups of channels.
        rungs: Number of rungs of a full recovery.
        blocks: The teacher's blocks.
        students: What was found in students of the user's own, by name.
    """

    folder: Path
    groups: tuple[Group, ...]
    rungs: int
    blocks: tuple[Block, ...] = ()
    students: Mapping[str, Network] = field(default_factory=dict)

    def nearest(self, spec: StudentSpec, ended: Sequence[Trial]) -> WarmStart | None:
        """Return the nearest student that was taught to the end, the most accurate of equally near ones.

        Args:
            spec: The student that looks for a start.
            ended: The trials that ended.

        Returns:
            The start; None when none is near.
        """
        if spec.recovery is not None and (spec.recovery.fresh or spec.recovery.early):
            return None  # it begins with weights of its own
        if spec.structure().recovery is not None:
            return None  # the weights around its adapters are the teacher's
        own = self.students.get(spec.student)
        groups, blocks = (self.groups, self.blocks) if own is None else (own.groups, own.blocks)
        best: tuple[bool, float, float] | None = None
        found = None
        for trial in ended:
            if trial.technique or not trial.measured or trial.spec.recovery is None or len(trial.rungs) < self.rungs:
                continue
            if _lasting(trial.spec) != _lasting(spec):
                continue
            apart = distance(spec, trial.spec, groups, blocks)
            other_inputs = trial.spec.size != spec.size
            rank = (other_inputs, round(apart, 3), -objective_value("accuracy", trial.measured))
            if apart <= NEAR and (best is None or rank < best):
                start = start_at(self.folder, trial, self.rungs)
                if (checkpoints_folder(self.folder) / start.checkpoint).exists():
                    best, found = rank, start
        return found


def _lasting(spec: StudentSpec) -> StudentSpec:
    """Return what students must have in common for one to begin with weights of the other.

    Weights are of the same shape whatever the size of inputs.
    """
    return replace(spec.structure(), dropped=(), factors={}, size=0)
