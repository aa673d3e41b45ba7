"""The axis `bits`: the precision of each layer, decided by region.

Layers that alternate between int8 and fp32 run slower than fp32 on CPUs (every border costs a conversion of the
whole feature map), so neighbours of one resolution share one decision.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..groups import LeftOut
from ..layers import Layer
from ..plan import Plan
from .base import Choice, Ground, Parameter, Value

MIN_REGIONS = 4
MAX_REGIONS = 6


@dataclass(frozen=True)
class BitsAxis:
    """One choice of bits for each region of the network; regions are runs of layers with one output area."""

    ground: Ground
    name: str = "bits"

    def offered(self) -> tuple[int, ...]:
        """The bit-widths that can be chosen somewhere, widest first."""
        frozen = [self.frozen(region) for region in self.regions() if region]
        return tuple(b for b in self._allowed() if not frozen or any(b not in gone for gone in frozen))

    def offered_in(self, region: Sequence[Layer]) -> tuple[int, ...]:
        """The bit-widths that can be chosen for this region, widest first."""
        frozen = self.frozen(region)
        return tuple(b for b in self._allowed() if b not in frozen)

    def frozen(self, region: Sequence[Layer]) -> frozenset[int]:
        """The bit-widths that were measured to pay for no kind of layer in this region. None where size counts, or
        where the user named the bits."""
        ground = self.ground
        if ground.knobs is None or ground.storage_counts or ground.bits is not None:
            return frozenset()
        gone = set()
        for bits in set(self._allowed()) - {32}:
            # where all float layers run in one precision, the network decides as one
            where = ground.layers if ground.capabilities.one_float and bits == 16 else region
            if where and all(ground.knobs.is_dead(layer.kind, bits) for layer in where):
                gone.add(bits)
        return frozenset(gone)

    def _allowed(self) -> tuple[int, ...]:
        capabilities = self.ground.capabilities
        runnable = {*capabilities.latency_bits, *capabilities.storage_bits}
        if self.ground.bits is not None:
            return tuple(sorted(runnable & {32, *self.ground.bits}, reverse=True))
        return tuple(sorted(runnable if self.ground.storage_counts else capabilities.latency_bits, reverse=True))

    def regions(self) -> tuple[tuple[Layer, ...], ...]:
        """At most MAX_REGIONS runs of layers, in order of execution."""
        runs: list[list[Layer]] = []
        for layer in self.ground.layers:
            if runs and runs[-1][-1].area == layer.area:
                runs[-1].append(layer)
            else:
                runs.append([layer])
        while len(runs) < MIN_REGIONS and len(longest := max(runs, key=len)) >= 4:
            at, half = runs.index(longest), len(longest) // 2  # little change of resolution: parts by depth
            runs[at : at + 1] = [longest[:half], longest[half:]]
        while len(runs) > MAX_REGIONS:
            pairs = range(len(runs) - 1)
            i = min(pairs, key=lambda k: _macs(runs[k]) + _macs(runs[k + 1]))
            runs[i : i + 2] = [runs[i] + runs[i + 1]]
        return tuple(tuple(layer for layer in run if layer.name not in self.ground.keep) for run in runs)

    def parameters(self) -> dict[str, Parameter]:
        choices = {f"bits_{i}": self.offered_in(region) for i, region in enumerate(self.regions()) if region}
        return {name: Choice(tuple(map(str, bits))) for name, bits in choices.items() if len(bits) > 1}

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan:
        """Values for regions where they are frozen, as of one width everywhere, stand for 32 bits."""
        bits = {}
        for i, region in enumerate(self.regions()):
            width = int(values.get(f"bits_{i}", 32))
            bits.update(dict.fromkeys((layer.name for layer in region), 32 if width in self.frozen(region) else width))
        return replace(plan, bits=self.settled(bits))

    def settled(self, bits: Mapping[str, int]) -> dict[str, int]:
        """`bits` as a plan holds them: without 32, and with one precision for all float layers where the target
        knows no other way."""
        if self.ground.capabilities.one_float and 16 in bits.values():
            named = {layer.name: bits.get(layer.name, 32) for layer in self.ground.layers}
            bits = {name: min(width, 16) for name, width in named.items()}
        return {name: width for name, width in bits.items() if width < 32}

    def left_out(self) -> tuple[LeftOut, ...]:
        gone = set(self.ground.capabilities.storage_bits) - set(self._allowed())
        why = "makes files smaller but has no faster kernel on this target; offered when size counts"
        return (*(LeftOut(f"{b} bits", why) for b in sorted(gone)), *self._frozen_kinds())

    def _frozen_kinds(self) -> tuple[LeftOut, ...]:
        knobs = self.ground.knobs
        regions: dict[tuple[int, str], list[str]] = {}
        for i, region in enumerate(self.regions()):
            for pair in itertools.product(sorted(self.frozen(region)), sorted({layer.kind for layer in region})):
                regions.setdefault(pair, []).append(str(i))
        found = []
        for (bits, kind), where in sorted(regions.items()):
            time = knobs.bits_time(kind, bits) if knobs else None
            if time is not None:
                r = time.ratio
                share = f"{r.value:.2f} ({r.low:.2f} to {r.high:.2f}) of the time of 32 bits on {time.target}"
                name = f"{'int' if bits < 16 else ''}{bits}{'' if bits < 16 else ' bits'} for {kind} layers"
                found.append(LeftOut(name, f"{share}; frozen in {_words('region', where)}"))
        return tuple(found)


def _words(noun: str, numbers: Sequence[str]) -> str:
    return f"{noun}{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _macs(run: list[Layer]) -> int:
    return sum(layer.macs for layer in run)
