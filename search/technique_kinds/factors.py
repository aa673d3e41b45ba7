"""Techniques that put two small layers in the place of one, trained on labels alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...spaces.axes.factors import FactorsAxis
from ...spaces.factors import RANK, SEPARABLE
from ...spaces.plan import Plan
from ...spaces.variables import Option
from .context import DesignContext, design
from .facts import SpaceFacts
from .kind import Steps, TechniqueKind

PARTS = (0.75, 0.5, 0.35, 0.25, 0.12)
"""Of the weights of a layer, what its two parts may have: about so many, for each layer by itself."""
USUAL_PART = 0.5
"""Where no budget says how small they must be."""


def _needs(kind: str, otherwise: str) -> Callable[[SpaceFacts], str]:
    """Return the need of layers that may have parts of a kind."""

    def missing(facts: SpaceFacts) -> str:
        offered = facts.options.get(FactorsAxis.name, ())
        if not offered:
            return "no axis of this study factors layers"
        return "" if any(str(option).partition(":")[0] == kind for option in offered) else otherwise

    return missing


def _plan(context: DesignContext, kind: str, part: float) -> Plan:
    """Return the plan in which layers that can have two parts of this kind, those nearest to a size."""
    choices: dict[str, Option] = {}
    for variable in context.space.of(FactorsAxis.name):
        fit = [i for i, family in enumerate(variable.families) if family == kind]
        if fit:
            nearest = min(fit, key=lambda i: abs(variable.parts[i] - part))
            choices[variable.name] = variable.options[nearest]
    return context.taught(on_labels=True).changed(choices)


def _low_rank(context: DesignContext) -> Iterator[Steps]:
    plans = {plan: part for part in PARTS if context.space.spec(plan := _plan(context, RANK, part)).factors}
    if context.fits is None:
        found = sorted(plans, key=lambda plan: abs(plans[plan] - USUAL_PART))
    else:
        found = [plan for plan in plans if context.fits(context.space.spec(plan))] or list(plans)[-1:]
    for plan in found:
        yield (design(plan, f"low rank, about {plans[plan]:.0%} of weights"),)


def _separable(context: DesignContext) -> Iterator[Steps]:
    yield (design(_plan(context, SEPARABLE, 0.0), "separable convolutions"),)


LOW_RANK = TechniqueKind(
    "low rank",
    "linear layers and pointwise convolutions are two of low rank each, trained on labels alone",
    _low_rank,
    needs=(_needs(RANK, "no layer is smaller as two layers of low rank"),),
    narrows=True,
)
SEPARABLE_CONVOLUTIONS = TechniqueKind(
    "separable convolutions",
    "convolutions are a depthwise and a pointwise one each, trained on labels alone",
    _separable,
    needs=(_needs(SEPARABLE, "no convolution of this network can be separable"),),
)
