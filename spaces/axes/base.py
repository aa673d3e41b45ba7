"""The space seam: an axis is one kind of decision. It says which numbers it has and what they make of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..groups import Group, LeftOut
from ..layers import Layer
from ..plan import Plan
from ..target import Capabilities
from ..target_profile import Knobs

Value = float | str


@dataclass(frozen=True)
class Number:
    """A real number in [low, high], drawn evenly on a linear or logarithmic scale."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of a few options without order."""

    options: tuple[str, ...]


Parameter = Number | Choice


@dataclass(frozen=True)
class Ground:
    """What a space stands on: the teacher's layers and groups, and what the target can really use.

    keep: layers the user wants left as they are. min_fraction: smallest part of a group's channels that may stay.
    storage_counts: file size is an objective or a constraint, so that choices that only make files smaller count.
    knobs: what bits and channels were measured to win on the target; None where that is not known.
    sensitivity: group name -> how much the teacher suffers when it shrinks, beside the others, -1 (least) to 1; None
    where that is not known.
    """

    layers: tuple[Layer, ...]
    groups: tuple[Group, ...]
    capabilities: Capabilities
    keep: frozenset[str] = frozenset()
    min_fraction: float = 0.1
    storage_counts: bool = False
    bits: tuple[int, ...] | None = None
    patterns: tuple[str, ...] | None = None
    knobs: Knobs | None = None
    sensitivity: Mapping[str, float] | None = None

    def multiple(self, group: Group) -> int:
        """The counts of this group worth having are multiples of it: the largest that any of its kinds of layers
        asks for."""
        if self.knobs is None:
            return self.capabilities.channel_multiple
        touched = {member.layer for member in group.members}
        kinds = {layer.kind for layer in self.layers if layer.name in touched}
        multiples = [self.knobs.multiple(kind, self.capabilities) for kind in kinds]
        return max(multiples, default=self.capabilities.channel_multiple)


class Axis(Protocol):
    """One kind of decision. Built from a Ground; holds no state that changes.

    name: what study files call it. parameters(): the numbers a sampler draws, empty when there is nothing to
    decide. apply(plan, values): the plan with this axis's decisions in it; `values` has a value for each parameter.
    left_out(): what this axis does not offer here, and why.
    """

    @property
    def name(self) -> str: ...

    def parameters(self) -> dict[str, Parameter]: ...

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan: ...

    def left_out(self) -> tuple[LeftOut, ...]: ...
