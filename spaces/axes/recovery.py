"""The axis `recovery`: whether the student is taught, which of its weights are, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..spec import ADAPTERS, TUNES, WITH_RANK, Recovery, StudentSpec
from ..variables import Number, Option, Variable
from .base import AxisDefaults, Decision, Stage

METHOD = "recovery:method"
"""The variable that tells students that are taught from those that are not, and says which weights are trained."""
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
AID_NUMBERS = {
    "attention_weight": Number(0.0, 5.0),
    "hidden_weight": Number(0.0, 1.0),
    "relation_weight": Number(0.0, 5.0),
}
"""Weights of what a teacher shows beside its outputs. Only a study that asks for one has it in its space."""

OF_PLACES = ("feature_weight", *AID_NUMBERS)
"""What compares places within a student with places within the teacher."""


class RecoveryAxis(AxisDefaults):
    """What is trained, temperature and alpha, learning rate, feature matching, aids, quantization-aware training.

    Every space knows whether and how a student is taught. A search decides how, where a study asks for this axis, but
    for the numbers that the study holds; else all its students are taught in the space's default way. Where a study
    offers no other way than to train all weights, the space is the one that it always was: no sampler's history is
    lost.
    """

    name = "recovery"
    stage: Stage = "teaching"
    always = True

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return whether the student is taught, and how."""
        default = context.recovery
        asked = self.name in context.axes
        others = tuple(way for way in TUNES if way != TAUGHT and way in context.ways)
        ways = context.ways if asked else context.ways[:1]
        found = [self._variable("method", (NOT_TAUGHT, TAUGHT, *others), searched=ways)]
        for subject, bounds in _numbers(context).items():
            options = (getattr(default, subject),)
            held = () if asked and subject not in context.held else options
            found.append(Variable(self.name, subject, "teaching", "number", options, bounds=bounds, searched=held))
        starts = (TEACHERS, NEW, *((EARLY,) if EARLY in context.starts else ()))
        found.append(self._variable("start", starts, searched=context.starts))
        if any(b < LOW_BITS for b in context.capabilities.latency_bits):
            usual = AWARE if default.quantization_aware else POST_TRAINING
            held = () if asked else (usual,)
            found.append(self._variable("quantization", (POST_TRAINING, AWARE), searched=held))
        return tuple(found)

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return what makes sense together.

        Nothing about teaching is decided without it, there is no awareness without low bits, and new or early weights
        are all trained: few of them have nothing to start from. Networks of the user's own have no early weights, and
        nothing within them stands for a place in the teacher.
        """
        taught = any(v.name == METHOD and option != NOT_TAUGHT for v, option in decisions)
        new = (NEW,) if spec.student else (NEW, EARLY)
        fresh = any(v.name == START and option in new for v, option in decisions)
        low = any(width < LOW_BITS for width in spec.bits.values())
        found = []
        for variable, option in decisions:
            legal = option
            if variable.name == METHOD and taught and (fresh or (option == ADAPTERS and _lacks_blocks(context, spec))):
                legal = TAUGHT
            elif (variable.name != METHOD and not taught) or (spec.student and _of_teacher(variable, option)):
                legal = variable.options[0]
            elif variable.subject == "quantization" and not low:
                legal = POST_TRAINING
            found.append((variable, legal))
        return found

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the recovery, None for a student that is not taught."""
        chosen = {variable.subject: option for variable, option in decisions}
        tune = str(chosen.get("method", NOT_TAUGHT))
        if tune == NOT_TAUGHT:
            return replace(spec, recovery=None)
        default = context.recovery
        wanted = chosen.get("quantization", POST_TRAINING)
        low = any(width < LOW_BITS for width in spec.bits.values())
        numbers = {name: float(chosen.get(name, getattr(default, name))) for name in _numbers(context)}
        aware, start = wanted == AWARE and low, chosen.get("start", TEACHERS)
        # which zeros come is for trained weights to say, and they come while all weights can make up for them
        gradual = bool(spec.patterns) and tune == TAUGHT and start == TEACHERS
        taught = Recovery(
            **numbers,
            quantization_aware=aware,
            fresh=start == NEW,
            optimizer=default.optimizer,
            tune=tune,
            rank=rank_of(tune, default.rank),
            ramp=default.ramp if gradual else "",
            early=start == EARLY,
            learned_steps=default.learned_steps and aware,
        )
        return replace(spec, recovery=taught)

    def _variable(self, subject: str, options: tuple[Option, ...], searched: tuple[Option, ...] = ()) -> Variable:
        return Variable(self.name, subject, "teaching", "unordered", options, searched=searched)


def _of_teacher(variable: Variable, option: Option) -> bool:
    """Tell whether a decision is about something that only students cut from the teacher have."""
    return variable.subject in OF_PLACES or (variable.name == START and option == EARLY)


def _lacks_blocks(context: SpaceContext, spec: StudentSpec) -> bool:
    """Tell whether a network of the user's own has no place for adapters; of a teacher that is asked before."""
    return bool(spec.student) and not context.only(spec.student).blocks


def rank_of(tune: str, rank: int) -> int:
    """Return the rank that a recovery has: the one asked for where it has updates of low rank, else the default.

    Students that are taught alike have one key, whatever rank others have.
    """
    return rank if tune in WITH_RANK else Recovery.rank


def _numbers(context: SpaceContext) -> dict[str, Number]:
    numbers = NUMBERS | {name: AID_NUMBERS[name] for name in (f"{aid}_weight" for aid in context.aids)}
    usual, times = numbers["learning_rate"], context.recovery.learning_rate / Recovery.learning_rate
    return numbers | {"learning_rate": replace(usual, low=usual.low * times, high=usual.high * times)}
