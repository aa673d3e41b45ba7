"""The axis `pattern`: zeros inside the weights, which keep every layer's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..groups import LeftOut
from ..layers import Layer
from ..plan import Pattern, Plan
from .base import Choice, Ground, Number, Parameter, Value

KINDS = ("unstructured", "2:4")
MIN_WEIGHTS = 512
"""Smaller layers stay dense: their zeros save nothing."""


@dataclass(frozen=True)
class PatternAxis:
    """One kind of pattern for the network and, for unstructured zeros, a rate that slopes along the depth."""

    ground: Ground
    name: str = "pattern"

    def offered(self) -> tuple[str, ...]:
        """The kinds that can be chosen besides dense."""
        if self.ground.patterns is not None:
            return tuple(k for k in KINDS if k in self.ground.patterns)
        faster = self.ground.capabilities.patterns
        return KINDS if self.ground.storage_counts else tuple(k for k in KINDS if k in faster)

    def layers(self) -> tuple[Layer, ...]:
        """The layers that can take a pattern."""
        return tuple(
            layer for layer in self.ground.layers if layer.weights >= MIN_WEIGHTS and layer.name not in self.ground.keep
        )

    def parameters(self) -> dict[str, Parameter]:
        if not self.offered() or not self.layers():
            return {}
        found: dict[str, Parameter] = {"pattern": Choice(("dense", *self.offered()))}
        if "unstructured" in self.offered():
            found |= {"pattern_rate": Number(0.3, 0.9), "pattern_slope": Number(-0.5, 0.5)}
        return found

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan:
        kind = values.get("pattern", "dense")
        if kind == "dense":
            return replace(plan, patterns={})
        patterns = {}
        for layer in self.layers():
            rate = 0.5
            if kind == "unstructured":
                slope = float(values["pattern_slope"]) * (2 * layer.depth - 1)
                rate = round(min(0.95, max(0.05, float(values["pattern_rate"]) * (1 + slope))), 2)
            patterns[layer.name] = Pattern(str(kind), rate)
        return replace(plan, patterns=patterns)

    def left_out(self) -> tuple[LeftOut, ...]:
        why = "zeros have no faster kernel on this target; offered when size counts"
        return tuple(LeftOut(f"pattern {k}", why) for k in KINDS if k not in self.offered())
