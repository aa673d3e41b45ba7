"""Sites: a plan as one choice at each of the places where it decides. Solvers, exchanges and crossovers work on these.

A site is a group (how many channels), a region (how many bits) or a layer (which pattern). Its first option leaves the
teacher as it is; each later one compresses more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .axes.bits import BitsAxis
from .axes.channels import ChannelAxis
from .axes.patterns import PatternAxis
from .plan import Pattern, Plan
from .space import Space

Option = int | Pattern | None
RATES = (0.3, 0.5, 0.7, 0.8, 0.9)
"""Rates of unstructured zeros that a site tells apart."""


@dataclass(frozen=True)
class Site:
    """One place where a plan decides.

    kind: what is decided. owner: the group's name, the region's number or the layer's name. options: channel counts,
    bit-widths, or patterns (None is dense). depth: 0 at the input, 1 at the output. inner: inside a block, for a
    group that no residual stream holds. layers: names of those it is about, in order of execution.
    """

    kind: Literal["channels", "bits", "pattern"]
    owner: str
    options: tuple[int, ...] | tuple[Pattern | None, ...]
    depth: float
    inner: bool
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique within a space: "channels:layer1.0.conv1", "bits:2", "pattern:fc"."""
        return f"{self.kind}:{self.owner}"


class Sites:
    """The sites of one space, found once. Iterates over them: channels, then bits, then patterns, each in order of
    execution."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.all = tuple(_find(space))
        self._at: list[dict[Option, int]] = [{option: i for i, option in enumerate(site.options)} for site in self.all]

    def __iter__(self) -> Iterator[Site]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def assemble(self, choices: Sequence[int], like: Plan) -> Plan:
        """The legal plan that takes option `choices[i]` at the i-th site; recovery and target are those of `like`."""
        channels: dict[str, int] = {}
        bits: dict[str, int] = {}
        patterns: dict[str, Pattern] = {}
        for site, choice in zip(self.all, choices, strict=True):
            option = site.options[choice]
            if choice == 0 or option is None:
                continue
            if isinstance(option, Pattern):
                patterns[site.owner] = option
            elif site.kind == "bits":
                bits |= dict.fromkeys(site.layers, option)
            else:
                channels[site.owner] = option
        for axis in self.space.axes:
            if isinstance(axis, BitsAxis):
                bits = axis.settled(bits)
        recovery = like.recovery
        if recovery is not None and recovery.quantization_aware and all(b >= 16 for b in bits.values()):
            recovery = replace(recovery, quantization_aware=False)
        plan = replace(like, channels=channels, bits=bits, patterns=patterns, recovery=recovery)
        return self.space.settled(plan)

    def choices(self, plan: Plan) -> tuple[int, ...]:
        """The option that `plan` takes at each site, the nearest one where it takes none of them."""
        return tuple(self._choice(site, at, plan) for site, at in zip(self.all, self._at, strict=True))

    def _choice(self, site: Site, at: Mapping[Option, int], plan: Plan) -> int:
        now: Option
        if site.kind == "channels":
            now = plan.channels.get(site.owner, site.options[0])
        elif site.kind == "bits":
            now = plan.bits.get(site.layers[0], site.options[0])
        else:
            now = plan.patterns.get(site.owner)
        return at[now] if now in at else min(at.values(), key=lambda i: _apart(site.options[i], now))


def _find(space: Space) -> list[Site]:
    order = {layer.name: layer.depth for layer in space.ground.layers}
    found: list[Site] = []
    for axis in space.axes:
        if not axis.parameters():
            continue
        if isinstance(axis, ChannelAxis):
            for group, counts in axis.groups():
                layers = sorted({m.layer for m in group.members if m.layer in order}, key=order.__getitem__)
                inner = group.kind == "inner"
                found.append(Site("channels", group.name, counts[::-1], group.depth, inner, tuple(layers)))
        elif isinstance(axis, BitsAxis):
            for number, region in enumerate(axis.regions()):
                if region and len(axis.offered_in(region)) > 1:
                    depth = sum(layer.depth for layer in region) / len(region)
                    names = tuple(layer.name for layer in region)
                    found.append(Site("bits", str(number), axis.offered_in(region), depth, False, names))
        elif isinstance(axis, PatternAxis):
            options: list[Pattern | None] = [None]
            if "unstructured" in axis.offered():
                options += [Pattern("unstructured", rate) for rate in RATES]
            if "2:4" in axis.offered():
                options.append(Pattern("2:4", 0.5))
            found += [Site("pattern", la.name, tuple(options), la.depth, False, (la.name,)) for la in axis.layers()]
    kinds = ("channels", "bits", "pattern")
    return sorted(found, key=lambda site: kinds.index(site.kind))


def _apart(a: Option, b: Option) -> float:
    if isinstance(a, Pattern) and isinstance(b, Pattern):
        return abs(a.rate - b.rate) + (a.kind != b.kind)
    return abs(a - b) if isinstance(a, int) and isinstance(b, int) else 1.0
