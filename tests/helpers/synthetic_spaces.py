"""Spaces and surrogates without a network: many variables, costs that interact, harm that is known."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autocompress.spaces.axes.registry import DEFAULT
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.groups import Group, Member
from autocompress.spaces.layers import Layer
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.spaces.target import Capabilities
from autocompress.spaces.variables import Variable


def chain(
    channels: Sequence[int],
    multiple: int = 16,
    bits: Sequence[int] = (32, 8),
    axes: Sequence[str] = DEFAULT,
    one_float: bool = False,
    **more: object,
) -> Space:
    """A chain of 3 x 3 convolutions with these output channels, of which all but the last can shrink; four areas."""
    layers, groups = [], []
    last = len(channels) - 1
    for i, count in enumerate(channels):
        before = channels[i - 1] if i else 3
        area = 1024 >> (2 * (4 * i // len(channels)))
        weights = before * count * 9
        layers.append(Layer(f"c{i}", "conv", i / last, weights, weights * area, area, (count, before, 3, 3)))
    for i, count in enumerate(channels[:-1]):
        pairs = tuple((r, r) for r in range(count))
        members = (Member(f"c{i}", "out", pairs, _never), Member(f"c{i + 1}", "in", pairs, _never))
        groups.append(Group(f"c{i}", count, 1, i / last, ("inner", "stream")[i % 2], members, torch.ones(count)))
    can = Capabilities(tuple(bits), (), multiple, one_float=one_float)
    context = SpaceContext(tuple(layers), tuple(groups), can, min_fraction=0.2, **more)  # type: ignore[arg-type]
    return build_space(context, axes)


def _never(module: object, indices: list[int]) -> None:
    raise AssertionError("these groups have no network")


@dataclass(frozen=True)
class LayerByLayer:
    """Latency of layers one after the other: multiply-accumulates between what is left of both sides, less at few
    bits, and a price for each border between precisions."""

    space: Space
    relative_error: float = 0.05

    @functools.cached_property
    def _reads(self) -> dict[str, str]:
        return {m.layer: g.name for g in self.space.context.groups for m in g.members if m.side == "in"}

    @functools.cached_property
    def _full(self) -> dict[str, int]:
        return {group.name: group.channels for group in self.space.context.groups}

    def predict_ms(self, spec: StudentSpec) -> float:
        full, total, before = self._full, 0.0, 32
        for layer in self.space.context.layers:
            bits = spec.bits.get(layer.name, 32)
            part = spec.channels.get(layer.name, full.get(layer.name, 1)) / full.get(layer.name, 1)
            source = self._reads.get(layer.name)
            if source:
                part *= spec.channels.get(source, full[source]) / full[source]
            total += layer.macs * part * {32: 1.0, 16: 0.7, 8: 0.4, 4: 0.35}[bits] / 1e7
            total += (0.05 + 0.1 * (bits != before)) * layer.area * layer.shape[0] / 1e5
            before = bits
        return total


def surrogates_over(space: Space, seed: int, target: str = "here") -> Surrogates:
    """Random harm that grows with compression, convex for most variables, and `LayerByLayer`."""
    source = random.Random(seed)
    sensitivity = {}
    for variable in space.network:
        scale, power = source.lognormvariate(-2.0, 1.0), source.uniform(0.7, 2.5)
        sensitivity[variable.name] = tuple(scale * x**power for x in _compression(variable))
    return Surrogates(sensitivity, {target: LayerByLayer(space)})


def _compression(variable: Variable) -> list[float]:
    if variable.axis == "bits":  # bits do less harm than narrow groups
        return [0.4 * math.log2(1 / part) for part in variable.parts]
    return [3.0 * (1 - part) for part in variable.parts]
