"""Techniques that change the bits of layers and nothing else, with the trained network as it is."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.plan import Plan
from ..propose.by_hand import Design, uniform
from .context import RATES, DesignContext, design
from .facts import EIGHT, SIXTEEN, eight_bits, sixteen_bits, trained_bits
from .kind import Marks, Steps, TechniqueKind


def int8_trained(context: DesignContext, rate: float = 1.0) -> Design:
    """Return the trained network in 8 bits, trained with fake quantization."""
    plan = uniform(context.space, 1.0, EIGHT, context.taught(rate, aware=True))
    return design(plan, f"teacher int8, trained{context.at(rate)}", INT8_WHILE.name)


def _nothing(context: DesignContext) -> Iterator[Steps]:
    yield from ()  # every study begins with the teacher


def _sixteen(context: DesignContext) -> Iterator[Steps]:
    yield (design(uniform(context.space, 1.0, SIXTEEN, Plan()), "teacher 16 bits"),)


def _int8(context: DesignContext) -> Iterator[Steps]:
    yield (design(uniform(context.space, 1.0, EIGHT, Plan()), "teacher int8"),)


def _int8_while(context: DesignContext) -> Iterator[Steps]:
    yield from ((int8_trained(context, rate),) for rate in RATES)


TEACHER = TechniqueKind("teacher", "the trained network as it is", _nothing, marks=Marks())
SIXTEEN_BITS = TechniqueKind(
    "16 bits",
    "every layer in 16 bits",
    _sixteen,
    needs=(sixteen_bits,),
    marks=Marks(frozenset({"bits"}), SIXTEEN),
)
INT8_AFTER = TechniqueKind(
    "int8 after training",
    "every layer in 8 bits, ranges from calibration data, no training",
    _int8,
    needs=(eight_bits,),
    marks=Marks(frozenset({"bits"}), EIGHT),
)
INT8_WHILE = TechniqueKind(
    "int8 while training",
    "every layer in 8 bits, trained with fake quantization, taught by the teacher",
    _int8_while,
    needs=(eight_bits, trained_bits),
    marks=Marks(frozenset({"bits"}), EIGHT, taught=True, tells=lambda trial, recovery: recovery.quantization_aware),
)
