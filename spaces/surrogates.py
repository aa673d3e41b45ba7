"""A guide: what is known of a space before any student is trained. It proposes and orders; measurement decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .plan import Plan
from .sites import Sites


class LatencyGuess(Protocol):
    """Predicts latency. relative_error: half of the predictions on plans that were held out were off by at most this
    part of what was measured."""

    @property
    def relative_error(self) -> float: ...

    def predict_ms(self, plan: Plan) -> float: ...


@dataclass(frozen=True)
class Guide:
    """damage: site name -> what each of its options alone does to the teacher's outputs (nats, the first option 0).
    latency: target name -> predictor. Either may be empty where nothing is known."""

    damage: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    latency: Mapping[str, LatencyGuess] = field(default_factory=dict)

    def damage_of(self, sites: Sites, plan: Plan) -> float:
        """The sum over all sites of what the plan's options do alone (nats). Damages do not really add up: good for an
        order among plans, not as a figure."""
        options = zip(sites, sites.choices(plan), strict=True)
        return sum(self.damage[site.name][i] for site, i in options if site.name in self.damage)
