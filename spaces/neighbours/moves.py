"""Moves: plans next to a plan, layer by layer. They refine what a low-dimensional description found."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ..axes.base import Number
from ..axes.bits import BitsAxis
from ..axes.channels import ChannelAxis
from ..axes.patterns import PatternAxis
from ..axes.recovery import RecoveryAxis
from ..axes.target import TargetAxis
from ..plan import Pattern, Plan
from ..sites import Sites
from ..space import Space
from ..surrogates import Guide
from .exchange import Exchange

EXCHANGE_SHARE = 0.5
"""Part of the moves that are exchanges, where a guide tells what to exchange."""

T = TypeVar("T")


@dataclass(frozen=True)
class Mover:
    """Draws neighbours of plans within a space. guide: what is known of damage and latency, for exchanges."""

    space: Space
    guide: Guide | None = None

    def move(self, plan: Plan, random_: random.Random) -> Plan:
        """A legal plan that differs from `plan` in one decision, or in some that pay for each other; `plan` itself
        when the space allows no move."""
        if self._exchange is not None and random_.random() < EXCHANGE_SHARE:
            swapped = self._exchange.swap(plan, random_)
            if swapped != plan:
                return swapped
        kinds: list[Callable[[Plan, random.Random], Plan]] = []
        for axis in self.space.axes:
            if not axis.parameters():
                continue
            if isinstance(axis, ChannelAxis):
                kinds += [self._one_group, self._two_groups]
            elif isinstance(axis, BitsAxis):
                kinds.append(self._one_region)
            elif isinstance(axis, PatternAxis):
                kinds.append(self._one_pattern)
            elif isinstance(axis, RecoveryAxis):
                kinds.append(self._recovery)
            elif isinstance(axis, TargetAxis):
                kinds.append(self._target)
        random_.shuffle(kinds)
        for kind in kinds:
            moved = self.space.settled(kind(plan, random_))
            if moved != plan:
                return moved
        return plan

    @functools.cached_property
    def _exchange(self) -> Exchange | None:
        return None if self.guide is None else Exchange(Sites(self.space), self.guide)

    def _one_group(self, plan: Plan, random_: random.Random) -> Plan:
        return self._step_groups(plan, random_, (random_.choice((-1, 1)),))

    def _two_groups(self, plan: Plan, random_: random.Random) -> Plan:
        return self._step_groups(plan, random_, (1, -1))

    def _step_groups(self, plan: Plan, random_: random.Random, steps: tuple[int, ...]) -> Plan:
        channels = dict(plan.channels)
        axis = self._axis(ChannelAxis)
        pool = list(axis.groups())
        random_.shuffle(pool)
        for step in steps:
            for i, (group, choices) in enumerate(pool):
                at = choices.index(channels.get(group.name, group.channels)) + step
                if 0 <= at < len(choices):
                    channels[group.name] = choices[at]
                    del pool[i]
                    break
        full = {group.name: group.channels for group, _ in axis.groups()}
        return replace(plan, channels={k: v for k, v in channels.items() if v < full[k]})

    def _one_region(self, plan: Plan, random_: random.Random) -> Plan:
        axis = self._axis(BitsAxis)
        region = random_.choice([r for r in axis.regions() if r and len(axis.offered_in(r)) > 1])
        now = plan.bits.get(region[0].name, 32)
        width = random_.choice([b for b in axis.offered_in(region) if b != now])
        bits = {**plan.bits, **{layer.name: width for layer in region}}
        moved = replace(plan, bits=axis.settled(bits))
        if moved.recovery is not None and all(b >= 16 for b in moved.bits.values()):
            moved = replace(moved, recovery=replace(moved.recovery, quantization_aware=False))
        return moved

    def _one_pattern(self, plan: Plan, random_: random.Random) -> Plan:
        axis = self._axis(PatternAxis)
        layer = random_.choice(axis.layers())
        patterns = dict(plan.patterns)
        kind = random_.choice(("dense", *axis.offered()))
        if kind == "dense":
            patterns.pop(layer.name, None)
        else:
            rate = 0.5 if kind == "2:4" else random_.choice((0.3, 0.5, 0.6, 0.7, 0.8, 0.9))
            patterns[layer.name] = Pattern(kind, rate)
        return replace(plan, patterns=patterns)

    def _recovery(self, plan: Plan, random_: random.Random) -> Plan:
        """Another way to teach: one number is drawn anew near its old value, or quantization awareness flips."""
        if plan.recovery is None:
            return plan
        axis = self._axis(RecoveryAxis)
        values = {
            "temperature": plan.recovery.temperature,
            "alpha": plan.recovery.alpha,
            "learning_rate": plan.recovery.learning_rate,
            "feature_weight": plan.recovery.feature_weight,
            "quantization": "aware" if plan.recovery.quantization_aware else "post_training",
        }
        name = random_.choice(list(axis.parameters()))
        parameter = axis.parameters()[name]
        if isinstance(parameter, Number):
            old = float(values[name])
            near = old * 2 ** random_.uniform(-1, 1) if parameter.log else old + random_.uniform(-0.25, 0.25)
            values[name] = min(parameter.high, max(parameter.low, near))
        else:
            values[name] = random_.choice([o for o in parameter.options if o != values[name]])
        return axis.apply(plan, values)

    def _target(self, plan: Plan, random_: random.Random) -> Plan:
        others = [name for name in self.space.homes if name != plan.target]
        return replace(plan, target=random_.choice(others))

    def _axis(self, kind: type[T]) -> T:
        return next(axis for axis in self.space.axes if isinstance(axis, kind))
