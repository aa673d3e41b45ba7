"""The axis `recovery`: whether and how the student is taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..spec import Recovery, StudentSpec
from ..variables import Number, Option, Variable
from .base import AxisDefaults, Decision, Stage

METHOD = "recovery:method"
"""The variable that tells students that are taught from those that are not."""
NOT_TAUGHT, TAUGHT = "none", "full"
AWARE, POST_TRAINING = "aware", "post_training"
START = "recovery:start"
"""The variable that says whose weights a student begins with. A search draws what its study asks for."""
TEACHERS, NEW, EARLY = "teacher", "new", "early"
"""The teacher's, new random ones, and those that the teacher had early in its own training."""
LOW_BITS = 16
"""Layers below this width are quantized to integers; only those can be trained with fake quantization."""
NUMBERS = {
    "temperature": Number(1.0, 10.0, log=True),
    "alpha": Number(0.0, 1.0),
    "learning_rate": Number(0.003, 0.1, log=True),
    "feature_weight": Number(0.0, 1.0),
}


class RecoveryAxis(AxisDefaults):
    """Distillation temperature and alpha, learning rate, feature matching, and quantization-aware training.

    Every space knows whether and how a student is taught. A search decides how, where a study asks for this axis; else
    all its students are taught in the space's default way.
    """

    name = "recovery"
    stage: Stage = "teaching"
    always = True

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return whether the student is taught, and how."""
        default = context.recovery
        asked = self.name in context.axes
        found = [self._variable("method", (NOT_TAUGHT, TAUGHT), searched=(TAUGHT,))]
        for subject, bounds in NUMBERS.items():
            options = (getattr(default, subject),)
            held = () if asked else options
            found.append(Variable(self.name, subject, "teaching", "number", options, bounds=bounds, searched=held))
        found.append(self._variable("start", (TEACHERS, NEW, EARLY), searched=context.starts))
        if any(b < LOW_BITS for b in context.capabilities.latency_bits):
            usual = AWARE if default.quantization_aware else POST_TRAINING
            held = () if asked else (usual,)
            found.append(self._variable("quantization", (POST_TRAINING, AWARE), searched=held))
        return tuple(found)

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return what makes sense together: nothing about teaching without it, no awareness without low bits."""
        taught = any(v.name == METHOD and option != NOT_TAUGHT for v, option in decisions)
        low = any(width < LOW_BITS for width in spec.bits.values())
        found = []
        for variable, option in decisions:
            legal = option
            if variable.name != METHOD and not taught:
                legal = variable.options[0]
            elif variable.subject == "quantization" and not low:
                legal = POST_TRAINING
            found.append((variable, legal))
        return found

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the recovery, None for a student that is not taught."""
        chosen = {variable.subject: option for variable, option in decisions}
        if chosen.get("method", NOT_TAUGHT) == NOT_TAUGHT:
            return replace(spec, recovery=None)
        default = context.recovery
        wanted = chosen.get("quantization", POST_TRAINING)
        low = any(width < LOW_BITS for width in spec.bits.values())
        numbers = {name: float(chosen.get(name, getattr(default, name))) for name in NUMBERS}
        aware, start = wanted == AWARE and low, chosen.get("start", TEACHERS)
        taught = Recovery(**numbers, quantization_aware=aware, fresh=start == NEW, optimizer=default.optimizer)
        taught = replace(taught, ramp=default.ramp if spec.patterns else "", early=start == EARLY)
        return replace(spec, recovery=taught)

    def _variable(self, subject: str, options: tuple[Option, ...], searched: tuple[Option, ...] = ()) -> Variable:
        return Variable(self.name, subject, "teaching", "unordered", options, searched=searched)
