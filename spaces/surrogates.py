"""Surrogates: what is predicted of a plan before it is measured. They propose and order; measurement decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .plan import Plan
from .space import Space
from .spec import StudentSpec
from .target import PerTarget


class LatencySurrogate(Protocol):
    """Predicts the latency of students on one target.

    Attributes:
        relative_error: Half of the predictions on students that were held out were off by at most this part of what
            was measured.
    """

    @property
    def relative_error(self) -> float:
        """See above."""
        ...

    def predict_ms(self, spec: StudentSpec) -> float:
        """Return the median latency in milliseconds."""
        ...


class LayerSurrogate(Protocol):
    """Predicts what each layer of a student takes on one target."""

    def layer_ms(self, spec: StudentSpec) -> list[float]:
        """Return milliseconds, layer by layer in the order in which they run."""
        ...


@dataclass(frozen=True)
class Surrogates:
    """What is known of a space before any student is trained. Either part may be empty where nothing is known.

    Attributes:
        sensitivity: Variable name -> what each of its options alone does to the teacher's outputs (KL divergence in
            nats, 0.0 for the first option).
        latency: A predictor for each target.
        layers: What tells the latency of single layers apart, for each target; for reports alone.
    """

    sensitivity: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    latency: PerTarget[LatencySurrogate] = field(default_factory=dict)
    layers: PerTarget[LayerSurrogate] = field(default_factory=dict)

    def harm(self, space: Space, plan: Plan) -> float:
        """Return the sum over all variables of what the plan's options do alone, in nats.

        Divergences do not really add up. The sum is good for an order among plans, not as a figure.
        """
        options = zip(space.network, space.indices(plan), strict=True)
        return sum(self.sensitivity[v.name][i] for v, i in options if v.name in self.sensitivity)

    def latency_for(self, target: str = "") -> LatencySurrogate | None:
        """Return what predicts latency for plans that name this target, or for files that all targets must run.

        Args:
            target: A target's name; empty for plans that name none.

        Returns:
            The predictor, None where too little is known.
        """
        if target:
            return self.latency.get(target)
        if len(self.latency) < 2:
            return next(iter(self.latency.values()), None)
        return Slowest(self.latency, {name: known.predict_ms(StudentSpec()) for name, known in self.latency.items()})


@dataclass(frozen=True)
class Slowest:
    """Predicts for one student that several targets must run.

    The prediction is that of the target where the student takes the largest part of the teacher's latency, told in
    milliseconds of the first target.

    Attributes:
        surrogates: A predictor for each target.
        teacher_ms: The teacher's latency on each target.
    """

    surrogates: PerTarget[LatencySurrogate]
    teacher_ms: PerTarget[float]

    @property
    def relative_error(self) -> float:
        """The largest error of all predictors."""
        return max(surrogate.relative_error for surrogate in self.surrogates.values())

    def predict_ms(self, spec: StudentSpec) -> float:
        """Return milliseconds on the first target, or what is as much of the teacher's latency there."""
        part = max(known.predict_ms(spec) / self.teacher_ms[name] for name, known in self.surrogates.items())
        return part * next(iter(self.teacher_ms.values()))
