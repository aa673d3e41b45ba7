"""The axis `pattern`: zeros inside the weights, which keep every layer's shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..groups import LeftOut
from ..spec import BLOCK, Pattern, StudentSpec
from ..variables import Variable
from .base import AxisDefaults, Decision, Stage

KINDS = ("unstructured", "2:4")
"""What is offered where size counts, or where it is faster on a target."""
ASKED = (BLOCK,)
"""What is offered only where a study names it: no runtime here has a faster kernel for it."""
RATES = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Rates of zeros that may be anywhere, and of blocks of them."""
MIN_WEIGHTS = 512
"""Smaller layers stay dense: their zeros save nothing."""
DENSE = "dense"


class PatternAxis(AxisDefaults):
    """One variable for each layer: dense, zeros at some rate (single ones or blocks), or two in every four weights."""

    name = "pattern"
    stage: Stage = "numbers"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for each layer that is large enough and not kept as it is."""
        kinds = offered_kinds(context)
        patterns = [Pattern("unstructured", rate) for rate in RATES if "unstructured" in kinds]
        patterns += [Pattern("2:4", 0.5)] if "2:4" in kinds else []
        patterns += [Pattern(BLOCK, rate) for rate in RATES if BLOCK in kinds]
        patterns.sort(key=lambda p: p.rate)
        if not patterns:
            return ()
        return tuple(
            Variable(
                axis=self.name,
                subject=layer.name,
                role=layer.kind,
                kind="ordered",
                options=(DENSE, *map(word_of, patterns)),
                parts=(1.0, *(1.0 - p.rate for p in patterns)),
                families=("", *(p.kind for p in patterns)),
                layers=(layer.name,),
                depth=layer.depth,
            )
            for layer in context.layers
            if layer.weights >= MIN_WEIGHTS and layer.name not in context.keep
        )

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return the kinds of patterns that no layer may have."""
        why = "zeros have no faster kernel on this target; offered when size counts"
        if context.patterns is not None:
            why = "the study does not allow it"
        return tuple(LeftOut(f"pattern {kind}", why) for kind in KINDS if kind not in offered_kinds(context))

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the patterns of layers that are not dense."""
        patterns = {variable.subject: pattern_of(str(option)) for variable, option in decisions}
        return replace(spec, patterns={**spec.patterns, **patterns})


def offered_kinds(context: SpaceContext) -> tuple[str, ...]:
    """Return the kinds of patterns that can be chosen besides dense."""
    if context.patterns is not None:
        return tuple(kind for kind in (*KINDS, *ASKED) if kind in context.patterns)
    if context.storage_counts:
        return KINDS
    return tuple(kind for kind in KINDS if kind in context.capabilities.patterns)


def word_of(pattern: Pattern) -> str:
    """Return the option that stands for a pattern: "unstructured:0.5", "block:4x1:0.5" or "2:4"."""
    return pattern.kind if pattern.kind == "2:4" else f"{pattern.kind}:{pattern.rate:g}"


def pattern_of(option: str) -> Pattern:
    """Return the pattern that `word_of` wrote."""
    if option == "2:4":
        return Pattern("2:4", 0.5)
    kind, _, rate = option.rpartition(":")
    return Pattern(kind, float(rate))
