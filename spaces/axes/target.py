"""Several targets at once: one model for all of them, or a target that each plan chooses for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..groups import LeftOut
from ..plan import Plan
from ..target import Capabilities
from .base import Choice, Parameter, Value


def joint_capabilities(found: Sequence[Capabilities], any_of: bool) -> Capabilities:
    """What a space over several targets offers.

    any_of: each plan chooses one target, so whatever one of them can use is offered, and `settle` makes a plan legal
    for the one it chose. Otherwise a plan is built for all of them: bits that every target runs, as a latency
    decision where one gains by it. Channel counts suit every target either way.
    """
    if len(found) == 1:
        return found[0]
    runnable = [{*c.latency_bits, *c.storage_bits} for c in found]
    bits = set.union(*runnable) if any_of else set.intersection(*runnable)
    faster = bits & {b for c in found for b in c.latency_bits} | {32}
    return Capabilities(
        latency_bits=tuple(sorted(faster, reverse=True)),
        storage_bits=tuple(sorted(bits - faster, reverse=True)),
        channel_multiple=math.lcm(*(c.channel_multiple for c in found)),
        patterns=tuple(sorted({p for c in found for p in c.patterns})),
        one_float=not any_of and any(c.one_float for c in found),
    )


def settle(
    plan: Plan, homes: Mapping[str, Capabilities], layers: Sequence[str], allowed: Sequence[int] | None = None
) -> Plan:
    """`plan` as the target it chose can run it: bits without a kernel there become the next wider ones, and all float
    layers get one precision where the target knows no other way. layers: names of all layers. allowed: the bits that
    the user asked for, besides 32; None for all."""
    if plan.target not in homes:
        return plan
    can = homes[plan.target]
    runnable = {*can.latency_bits, *can.storage_bits}
    runnable = {32, *(runnable if allowed is None else runnable & set(allowed))}
    bits = {layer: min(b for b in runnable if b >= width) for layer, width in plan.bits.items()}
    if can.one_float and 16 in bits.values():
        bits = {layer: min(bits.get(layer, 32), 16) for layer in layers}
    bits = {layer: width for layer, width in bits.items() if width < 32}
    recovery = plan.recovery
    if recovery is not None and recovery.quantization_aware and all(b >= 16 for b in bits.values()):
        recovery = replace(recovery, quantization_aware=False)
    return replace(plan, bits=bits, recovery=recovery)


@dataclass(frozen=True)
class TargetAxis:
    """Which of the targets a plan's file is for. homes: name -> what that target can use."""

    homes: Mapping[str, Capabilities]
    name: str = "target"

    def parameters(self) -> dict[str, Parameter]:
        return {"target": Choice(tuple(self.homes))}

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan:
        return replace(plan, target=str(values["target"]))

    def left_out(self) -> tuple[LeftOut, ...]:
        return ()
