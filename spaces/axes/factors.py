"""The axis `factors`: layers in two smaller parts, of low rank, or depthwise and pointwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..factors import RANK, SEPARABLE, Factor
from ..groups import LeftOut
from ..layers import Layer
from ..presence import first_where_absent
from ..spec import StudentSpec
from ..variables import Option, Variable
from .base import AxisDefaults, Decision, Stage

WHOLE = "whole"
MIN_CHANNELS = 32
"""Layers with fewer inputs or outputs stay whole: their parts would hardly be smaller."""
SHARES = (1 / 2, 1 / 4, 1 / 8)
"""Ranks over the largest that a layer may have."""
STEP = 16
"""Ranks are multiples of it, as kernels take so many channels at a time."""
PAYS = 0.9
"""Of a layer's weights, what its parts have at most: with more, a second layer costs what its arithmetic saves."""


class FactorsAxis(AxisDefaults):
    """One variable for each layer that can be two smaller ones.

    Linear layers and convolutions over one position get a rank, other convolutions become separable. The rank is the
    one of the whole layer; where its channels were removed, and so high a rank would not pay any more, it stays whole.
    """

    name = "factors"
    stage: Stage = "layers"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for each layer whose parts would be smaller than itself."""
        return tuple(
            Variable(
                axis=self.name,
                subject=layer.name,
                role=layer.kind,
                kind="ordered",
                options=(WHOLE, *map(word_of, factors)),
                parts=(1.0, *(factor.part(layer.shape) for factor in factors)),
                families=("", *(factor.kind for factor in factors)),
                layers=(layer.name,),
                depth=layer.depth,
            )
            for layer in context.layers
            if (factors := _factors(layer)) and layer.name not in context.keep
        )

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return how many layers stay whole, by the reason."""
        found: dict[str, int] = {}
        for layer in context.layers:
            reason = "kept as asked" if layer.name in context.keep else _why_whole(layer)
            if reason:
                found[reason] = found.get(reason, 0) + 1
        return tuple(LeftOut(f"factors of {n} layer{'s' * (n > 1)}", reason) for reason, n in found.items())

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return `decisions`, with whole layers where those are gone, or where channels left too little to save."""
        decisions = first_where_absent(context, spec, decisions)
        asked = {variable.subject for variable, option in decisions if option != WHOLE}
        if not asked or not spec.channels:
            return decisions
        shapes = _shapes(context, spec, asked)
        return [(v, _paying(o, shapes[v.subject]) if v.subject in asked else o) for v, o in decisions]

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the parts of layers that are not whole."""
        found = {variable.subject: factor_of(str(option)) for variable, option in decisions if option != WHOLE}
        return replace(spec, factors={**spec.factors, **found})


def word_of(factor: Factor) -> str:
    """Return the option that stands for what becomes of a layer: "rank:64" or "separable"."""
    return f"{RANK}:{factor.rank}" if factor.kind == RANK else factor.kind


def factor_of(option: str) -> Factor:
    """Return what `word_of` wrote."""
    kind, _, rank = option.partition(":")
    return Factor(kind, int(rank or 0))


def _factors(layer: Layer) -> list[Factor]:
    """Return what may become of a layer, the largest first."""
    if _why_whole(layer):
        return []
    return [Factor(SEPARABLE)] if layer.kind == "conv" else _ranks(layer)


def _why_whole(layer: Layer) -> str | None:
    """Return why a layer cannot be two smaller ones, None where it can."""
    if layer.shared_with:
        return "something else reads their weights too, which would have to be stored beside the parts"
    if layer.groups > 1:
        return "convolutions in groups have few weights for each output already"
    if min(layer.shape[:2]) < MIN_CHANNELS:
        return f"with fewer than {MIN_CHANNELS} inputs or outputs, two layers are hardly smaller than one"
    return None if layer.kind == "conv" or _ranks(layer) else "no rank makes two layers smaller than one"


def _ranks(layer: Layer) -> list[Factor]:
    most = min(layer.shape[:2])
    ranks = dict.fromkeys(max(STEP, round(share * most / STEP) * STEP) for share in SHARES)
    return [factor for factor in (Factor(RANK, rank) for rank in ranks) if factor.part(layer.shape) < PAYS]


def _paying(option: Option, shape: tuple[int, ...]) -> Option:
    return option if factor_of(str(option)).part(shape) < PAYS else WHOLE


def _shapes(context: SpaceContext, spec: StudentSpec, names: set[str]) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of weights as removed channels leave them, of channels with as many indices each."""
    lost = {name: [0.0, 0.0] for name in names}
    for group in context.groups:
        share = 1 - spec.channels.get(group.name, group.channels) / group.channels
        for member in group.members if share else ():
            if member.layer in lost:
                for side in {"out": (0,), "in": (1,), "both": (0, 1)}[member.side]:
                    lost[member.layer][side] += share * len(member.pairs)
    whole = {layer.name: layer.shape for layer in context.layers if layer.name in names}
    return {
        name: (*(max(1, round(n - gone)) for n, gone in zip(shape[:2], lost[name], strict=True)), *shape[2:])
        for name, shape in whole.items()
    }
