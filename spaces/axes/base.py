"""The axis seam: one kind of decision. An axis makes variables and says what each option does to a student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from ..context import SpaceContext
from ..groups import LeftOut
from ..presence import first_where_absent
from ..spec import StudentSpec
from ..variables import Option, Variable

Decision = tuple[Variable, Option]
"""One of an axis's variables with its option."""
Stage = Literal["target", "origin", "structure", "network", "layers", "numbers", "ranges", "teaching"]
STAGES: tuple[Stage, ...] = ("target", "origin", "structure", "network", "layers", "numbers", "ranges", "teaching")
"""The order in which axes are applied: where it runs, which network it is cut from, which parts it has, how wide they
are, what its layers are made of, in which numbers it computes, over which ranges they are rounded, how it is taught."""


@runtime_checkable
class Axis(Protocol):
    """One kind of decision. Made without arguments; holds no state.

    Subclass `AxisDefaults` to write only what is different from the defaults, and register the class under the
    entry-point group `autocompress.axes`.

    Attributes:
        name: An identifier, the same as the entry point's; study files name the axis by it.
        stage: When it is applied; see STAGES.
        always: Whether it is part of every space, also where a study's `[space] axes` does not name it.
    """

    name: str
    stage: Stage
    always: bool

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return the decisions that this axis offers here, none where there is nothing to decide."""
        ...

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return what this axis does not offer here, and why."""
        ...

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return the nearest decisions that are legal beside those of the axes before this one.

        Args:
            context: What the space stands on.
            spec: What the axes of earlier stages decided.
            decisions: All variables of this axis, each with an option that it offers.
        """
        ...

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with these decisions in it.

        Args:
            context: What the space stands on.
            spec: What the axes of earlier stages decided.
            decisions: The variables of this axis that do not have their first option, after `repair`.
        """
        ...


class AxisDefaults:
    """What most axes have in common: they edit the network, are asked for by name, and mind what was dropped alone."""

    stage: Stage = "network"
    always: bool = False

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return nothing: everything is offered."""
        return ()

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return `decisions`, with the first option where nothing is left to decide about (see `spaces.presence`)."""
        return first_where_absent(context, spec, decisions)
