"""The axis `depth`: blocks of the network kept or dropped, such as residual blocks, attention and feed-forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..graph.block import Block
from ..groups import LeftOut
from ..spec import StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision, Stage

KEPT, DROPPED = "kept", "dropped"


class DepthAxis(AxisDefaults):
    """One variable for each block that a shortcut leads past."""

    name = "depth"
    stage: Stage = "structure"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for each block that may go, in order of execution."""
        return tuple(
            Variable(
                axis=self.name,
                subject=block.name,
                role=block.role,
                kind="ordered",
                options=(KEPT, DROPPED),
                parts=(1.0, 0.0),
                families=("", DROPPED),  # not a size that a whole network could have
                layers=block.layers,
                depth=block.depth,
                coupled=True,
            )
            for block in context.blocks
            if _why_kept(context, block) is None
        )

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return the blocks that always stay, with the reasons; all of a network without any."""
        if not context.blocks:
            return (LeftOut("depth", "no part of the network that has layers has a shortcut past it"),)
        reasons = {block.name: _why_kept(context, block) for block in context.blocks}
        left = tuple(LeftOut(name, reason) for name, reason in reasons.items() if reason is not None)
        if len(left) < len(reasons):
            return left
        why = "; ".join(dict.fromkeys(entry.reason for entry in left))
        return (LeftOut("depth", f"no block may go: {why}"), *left)

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the names of the blocks that go."""
        return replace(spec, dropped=(*spec.dropped, *(variable.subject for variable, _ in decisions)))


def _why_kept(context: SpaceContext, block: Block) -> str | None:
    """Return why a block cannot be dropped, None where it can."""
    kept = sorted(context.keep & set(block.layers))
    if kept:
        return f"kept as asked ({kept[0]})"
    if any(part.blocks and block == part.blocks[-1] for part in context.parts()):
        return "the last block before the output stays: what reads it knows nothing else"
    return None
