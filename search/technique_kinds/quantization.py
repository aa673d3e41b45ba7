"""Techniques that change the bits of layers and nothing else, with the trained network as it is."""

from __future__ import annotations

from collections.abc import Iterator

from ...spaces.axes.bits import RECURRENT
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.spec import DYNAMIC, FLOAT
from ...spaces.variables import Option, Variable
from ..propose.by_hand import Design, uniform
from .context import RATES, DesignContext, design
from .facts import EIGHT, SIXTEEN, eight_bits, sixteen_bits, trained_bits, way
from .kind import Marks, Steps, TechniqueKind

FOUR = 4


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


def _dynamic(context: DesignContext) -> Iterator[Steps]:
    plan = _in_linear_layers(context, EIGHT, DYNAMIC)
    if plan is not None:
        yield (design(plan, "linear layers int8, dynamic"),)


def _weight_only(context: DesignContext) -> Iterator[Steps]:
    for bits in (FOUR, EIGHT):
        plan = _in_linear_layers(context, bits, FLOAT)
        if plan is not None:
            yield (design(plan, f"linear layers int{bits}, weights only"),)


def _in_linear_layers(context: DesignContext, bits: int, wanted: str) -> Plan | None:
    """Return the plan of all regions of linear layers in so many bits in this way; None where there are none."""
    space = context.space
    choices: dict[str, Option] = {}
    for variable in (v for v in space.of("ranges") if wanted in v.options):
        precision = space.variable(f"bits:{variable.subject}")
        if precision is not None and bits in precision.options:
            choices |= {precision.name: bits, variable.name: wanted}
    choices |= {v.name: bits for v in space.of("bits") if _becomes(space, v, bits, wanted)}
    plan = space.repair(Plan(choices))
    return plan if space.spec(plan).activations else None


def _becomes(space: Space, variable: Variable, bits: int, wanted: str) -> bool:
    """Tell whether a recurrent layer in so many bits is quantized in this way."""
    if variable.role != RECURRENT or bits not in variable.options:
        return False
    return wanted in space.spec(space.repair(Plan({variable.name: bits}))).activations.values()


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
DYNAMIC_INT8 = TechniqueKind(
    "dynamic quantization",
    "linear layers, and LSTM layers where bits decide about them, in 8 bits over ranges of each batch, no training",
    _dynamic,
    needs=(way(DYNAMIC), eight_bits),
    way=DYNAMIC,
)
WEIGHT_ONLY = TechniqueKind(
    "weight-only quantization",
    "regions of linear layers in 4 or 8 bits by groups of weights, their inputs in float, no training",
    _weight_only,
    needs=(way(FLOAT),),
    way=FLOAT,
)
