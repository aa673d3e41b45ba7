"""The joint space: every decision that this task and this target really allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import UnknownName
from .axes.base import Axis, Ground, Parameter, Value
from .axes.bits import BitsAxis
from .axes.channels import ChannelAxis
from .axes.patterns import PatternAxis
from .axes.recovery import RecoveryAxis
from .axes.target import TargetAxis, settle
from .groups import LeftOut
from .plan import Plan, Recovery
from .target import Capabilities

AXES = ("width", "channels", "pattern", "bits", "recovery")
"""The axes a study file may name. `channels` refines `width`: each group moves on top of it."""


@dataclass(frozen=True)
class Space:
    """The joint space. `latent()` is what a sampler draws, `decode` the plan it stands for, `key` its digest.

    homes: the targets that each plan chooses from, name -> capabilities; empty where there is no such choice."""

    ground: Ground
    axes: tuple[Axis, ...]
    default_recovery: Recovery = field(default_factory=Recovery)
    homes: Mapping[str, Capabilities] = field(default_factory=dict)

    def latent(self) -> dict[str, Parameter]:
        """The few numbers a sampler draws: name -> parameter."""
        return {name: parameter for axis in self.axes for name, parameter in axis.parameters().items()}

    def decode(self, latent: Mapping[str, Value]) -> Plan:
        """The legal plan that `latent` stands for; every drawn value gives one."""
        plan = Plan(recovery=self.default_recovery)
        for axis in self.axes:
            if axis.parameters():
                plan = axis.apply(plan, latent)
        return self.settled(plan)

    def settled(self, plan: Plan) -> Plan:
        """`plan` as the target it chose can run it; see `homes.settle`."""
        return settle(plan, self.homes, [layer.name for layer in self.ground.layers], self.ground.bits)

    def key(self, plan: Plan) -> str:
        """A digest of the plan's canonical JSON."""
        return plan.key()

    def left_out(self) -> tuple[LeftOut, ...]:
        """What is not offered here, with the reason."""
        return tuple(entry for axis in self.axes for entry in axis.left_out())

    def uniform(self, width: float, bits: int, recovery: Recovery | None) -> Plan:
        """The plan that treats every group and layer alike: what a user would do by hand."""
        plan = ChannelAxis(self.ground).apply(Plan(), {"width": width})
        if bits < 32:
            axis = BitsAxis(self.ground)
            plan = axis.apply(plan, {f"bits_{i}": float(bits) for i in range(len(axis.regions()))})
        return Plan(plan.channels, plan.bits, {}, recovery)


def build_space(ground: Ground, axes: Sequence[str] = AXES, homes: Mapping[str, Capabilities] | None = None) -> Space:
    """The space over the named axes. homes: targets that each plan chooses from, name -> capabilities.

    Raises:
        UnknownName: an axis or a kept layer that does not exist.
    """
    for name in axes:
        if name not in AXES:
            raise UnknownName("axis", name, AXES)
    known = {layer.name for layer in ground.layers}
    for name in ground.keep:
        if name not in known:
            raise UnknownName("layer", name, known)
    chosen: list[Axis] = []
    if "width" in axes or "channels" in axes:
        chosen.append(ChannelAxis(ground, profile="channels" in axes))
    if "pattern" in axes:
        chosen.append(PatternAxis(ground))
    if "bits" in axes:
        chosen.append(BitsAxis(ground))
    if "recovery" in axes:
        chosen.append(RecoveryAxis(ground))
    if homes:
        chosen.append(TargetAxis(homes))
    return Space(ground, tuple(chosen), homes=homes or {})
