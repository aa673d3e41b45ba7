"""The axis `target`: which of the targets a plan's file is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..spec import StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision, Stage


class TargetAxis(AxisDefaults):
    """One variable where each plan chooses a target; its options are the targets' names."""

    name = "target"
    stage: Stage = "target"
    always = True

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return one variable where there is a choice between targets."""
        names = tuple(context.targets)
        return (Variable(self.name, "", "deployment", "unordered", names),) if len(names) > 1 else ()

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` for the chosen target, the first one where nothing else was chosen."""
        chosen = next((str(option) for _, option in decisions), next(iter(context.targets), ""))
        return replace(spec, target=chosen)
