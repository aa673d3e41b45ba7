"""Spaces and guides without a network: many sites, costs that interact, damage that is known."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autocompress.spaces.axes.base import Ground
from autocompress.spaces.groups import Group, Member
from autocompress.spaces.layers import Layer
from autocompress.spaces.plan import Plan
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.surrogates import Guide
from autocompress.spaces.target import Capabilities


def chain(channels: Sequence[int], multiple: int = 16, bits: Sequence[int] = (32, 8), **more: object) -> Space:
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
    can = Capabilities(tuple(bits), (), multiple, one_float=bool(more.pop("one_float", False)))
    return build_space(Ground(tuple(layers), tuple(groups), can, min_fraction=0.2, **more))  # type: ignore[arg-type]


def _never(module: object, indices: list[int]) -> None:
    raise AssertionError("these groups have no network")


@dataclass(frozen=True)
class Clock:
    """Latency of layers one after the other: multiply-accumulates between what is left of both sides, less at few
    bits, and a price for each border between precisions."""

    space: Space
    relative_error: float = 0.05

    def predict_ms(self, plan: Plan) -> float:
        reads = {m.layer: g.name for g in self.space.ground.groups for m in g.members if m.side == "in"}
        full = {group.name: group.channels for group in self.space.ground.groups}
        total, before = 0.0, 32
        for layer in self.space.ground.layers:
            bits = plan.bits.get(layer.name, 32)
            part = plan.channels.get(layer.name, full.get(layer.name, 1)) / full.get(layer.name, 1)
            source = reads.get(layer.name)
            if source:
                part *= plan.channels.get(source, full[source]) / full[source]
            total += layer.macs * part * {32: 1.0, 16: 0.7, 8: 0.4, 4: 0.35}[bits] / 1e7
            total += (0.05 + 0.1 * (bits != before)) * layer.area * layer.shape[0] / 1e5
            before = bits
        return total


def guide_over(sites: Sites, seed: int, target: str = "here") -> Guide:
    """A guide with random damage that grows with compression, convex for most sites, and a `Clock`."""
    source = random.Random(seed)
    damage = {}
    for site in sites:
        scale, power = source.lognormvariate(-2.0, 1.0), source.uniform(0.7, 2.5)
        if site.kind == "bits":
            damage[site.name] = tuple(scale * 0.1 * (math.log2(32 / b)) ** power for b in site.options)  # type: ignore[operator]
        else:
            full = site.options[0]
            gone = [1 - o / full if site.kind == "channels" else (o.rate if o else 0.0) for o in site.options]  # type: ignore[operator,union-attr]
            damage[site.name] = tuple(scale * 4 * g**power for g in gone)
    return Guide(damage, {target: Clock(sites.space)})
