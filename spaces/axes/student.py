"""The axis `student`: which network a plan's student is cut from, the teacher or one of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..spec import StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision, Stage

TEACHER = "teacher"
"""The option that cuts a student from the teacher, as in a study without networks of the user's own."""

AT_WIDTH = "@"
"""Stands before the width in the name of a student that is a narrower form of another."""


def is_full_width(student: str) -> bool:
    """Tell whether a student is as its function makes it by itself."""
    return AT_WIDTH not in student


class StudentAxis(AxisDefaults):
    """One variable where the task brings networks of its own; its options are the teacher and their names.

    What other axes decide about the networks that a plan has not chosen counts for nothing: see `spaces.presence`.
    """

    name = "student"
    stage: Stage = "origin"
    always = True

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return one variable where there is a choice between networks."""
        names = tuple(network.name for network in context.networks if network.name)
        return (Variable(self.name, "", "origin", "unordered", (TEACHER, *names)),) if names else ()

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the chosen network."""
        return replace(spec, student=next((str(option) for _, option in decisions if option != TEACHER), ""))
