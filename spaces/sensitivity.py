"""Sensitivity: how much a teacher's answers suffer from single decisions, and what that says of the options of a site.

Damage is the mean over inputs of the Kullback-Leibler divergence of the softmax outputs, KL(teacher || student), in
nats. It is measured without any training (`compression/sensitivity.py`), so it orders decisions; it does not promise
an accuracy, and damages of several decisions do not add up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from .plan import Pattern
from .sites import Site, Sites

Kind = Literal["bits", "channels", "patterns"]
KINDS: tuple[Kind, ...] = ("bits", "channels", "patterns")
TINY_NATS = 1e-9
"""Smaller damages are rounding errors: they count as this where a logarithm is taken."""


class Decision(NamedTuple):
    """One decision alone. owner: a layer's name, a group's for channels. option: bits, a count, or a pattern."""

    kind: Kind
    owner: str
    option: int | Pattern


@dataclass(frozen=True)
class Sensitivity:
    """What was measured, in nats.

    bits: layer -> width -> damage. channels: group -> channels kept -> damage, the full count with 0 among them.
    patterns: layer -> pattern -> damage. inputs: how many the damages are means over.
    """

    bits: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    channels: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    patterns: Mapping[str, Mapping[Pattern, float]] = field(default_factory=dict)
    inputs: int = 0

    @classmethod
    def of(cls, found: Mapping[Decision, float], inputs: int) -> Sensitivity:
        """A table of `found`, owners in its order."""
        tables: dict[Kind, dict[str, dict[Any, float]]] = {kind: {} for kind in KINDS}
        for (kind, owner, option), nats in found.items():
            tables[kind].setdefault(owner, {})[option] = nats
        return cls(tables["bits"], tables["channels"], tables["patterns"], inputs)

    def decisions(self) -> dict[Decision, float]:
        """All that was measured, one by one."""
        tables: dict[Kind, Mapping[str, Mapping[Any, float]]]
        tables = {"bits": self.bits, "channels": self.channels, "patterns": self.patterns}
        return {
            Decision(kind, owner, option): nats
            for kind, table in tables.items()
            for owner, options in table.items()
            for option, nats in options.items()
        }

    def damage(self, sites: Sites) -> dict[str, tuple[float, ...]]:
        """Site name -> the damage (nats) of each of its options alone, as `Guide.damage` wants it.

        The first option does none, and no later one less than an option that compresses less: a smaller figure there
        is noise. What a region's bits do is the sum over its layers; a layer that was not measured counts 0. Counts
        that were not measured lie between their neighbours, see `at_count`. Sites of which nothing is known are left
        out.
        """
        found = {}
        for site in sites:
            damages = self._damages(site)
            if damages is not None:
                found[site.name] = damages
        return found

    def at_count(self, group: str, count: float) -> float:
        """The damage (nats) of keeping `count` channels of `group`, never less than that of a larger count. Between
        two measured counts the logarithm of the damage is linear in the count; below the full count the damage falls
        to 0 in a straight line; under the smallest measured count it is that one's.

        Raises KeyError for a group that was not measured."""
        counts = sorted(self.channels[group], reverse=True)
        steps = _rising(self.channels[group][c] for c in counts)
        for (high, less), (low, more) in itertools.pairwise(zip(counts, steps, strict=True)):
            if low <= count:
                part = min(1.0, max(0.0, (high - count) / (high - low)))
                if less == 0.0 or part in (0.0, 1.0):
                    return less + part * (more - less)
                ends = math.log(max(less, TINY_NATS)), math.log(max(more, TINY_NATS))
                return min(more, max(less, math.exp(ends[0] + part * (ends[1] - ends[0]))))
        return steps[-1]

    def weight(self, kind: Kind, owner: str) -> float:
        """One figure (nats) to compare owners by: a group's damage with half of its channels, a layer's with the least
        bits that were measured for all layers, or with the pattern that harms it most."""
        if kind == "channels":
            return self.at_count(owner, max(self.channels[owner]) / 2)
        if kind == "patterns":
            return max(self.patterns[owner].values())
        shared = set.intersection(*map(set, self.bits.values()))
        return self.bits[owner][min(shared)] if shared else max(self.bits[owner].values())

    def order(self, kind: Kind) -> tuple[str, ...]:
        """Groups ("channels") or layers from least to most sensitive, by `weight`."""
        owners = {"bits": self.bits, "channels": self.channels, "patterns": self.patterns}[kind]
        return tuple(sorted(owners, key=lambda owner: self.weight(kind, owner)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "inputs": self.inputs,
            "bits": {layer: {str(b): x for b, x in widths.items()} for layer, widths in self.bits.items()},
            "channels": {group: {str(c): x for c, x in counts.items()} for group, counts in self.channels.items()},
            "patterns": {
                layer: [{"kind": p.kind, "rate": p.rate, "nats": x} for p, x in found.items()]
                for layer, found in self.patterns.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Sensitivity:
        """The inverse of `to_dict`. Raises KeyError, TypeError, ValueError or AttributeError for other data."""
        return cls(
            bits=_numbered(data["bits"]),
            channels=_numbered(data["channels"]),
            patterns={
                layer: {Pattern(str(p["kind"]), float(p["rate"])): _nats(p["nats"]) for p in found}
                for layer, found in data["patterns"].items()
            },
            inputs=int(data["inputs"]),
        )

    def _damages(self, site: Site) -> tuple[float, ...] | None:
        if site.kind == "channels":
            if site.owner not in self.channels:
                return None
            return (0.0, *_rising(self.at_count(site.owner, _count(option)) for option in site.options[1:]))
        if site.kind == "bits":
            known = [self.bits[layer] for layer in site.layers if layer in self.bits]
            if not known:
                return None
            return (0.0, *_rising(sum(_at(widths, _count(b)) for widths in known) for b in site.options[1:]))
        found = self.patterns.get(site.owner)
        if found is None or any(option not in found for option in site.options[1:]):
            return None
        patterns = [option for option in site.options[1:] if isinstance(option, Pattern)]
        # two of four is half: it stands behind 90 % of unstructured zeros among the options, but does less damage
        return (0.0, *(max(found[p] for p in patterns if p == q or _is_less(p, q)) for q in patterns))


def _is_less(a: Pattern, b: Pattern) -> bool:
    """Whether `a` surely removes less than `b`: freely chosen zeros, no more of them."""
    return a.kind == "unstructured" and a.rate <= b.rate


def _at(widths: Mapping[int, float], width: int) -> float:
    """Of the nearest width measured that is no wider, or of the narrowest; 0 where nothing was measured."""
    narrower = [w for w in widths if w <= width]
    return widths[max(narrower)] if narrower else widths[min(widths)] if widths else 0.0


def _rising(damages: Iterable[float]) -> tuple[float, ...]:
    """Each the largest up to there, and none below 0."""
    return tuple(max(0.0, d) for d in itertools.accumulate(damages, max))


def _count(option: object) -> int:
    assert isinstance(option, int)
    return option


def _numbered(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    return {owner: {int(option): _nats(x) for option, x in options.items()} for owner, options in table.items()}


def _nats(value: Any) -> float:
    number = float(value)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"a damage of {number}; allowed: finite numbers from 0")
    return number
