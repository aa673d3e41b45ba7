"""The axis `bits`: the precision of each layer, decided by region.

Layers that alternate between int8 and fp32 run slower than fp32 on CPUs (every border costs a conversion of the
whole feature map), so neighbours of one resolution share one decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .axis import Choice, Ground, Parameter, Value
from .groups import LeftOut
from .layers import Layer
from .plan import Plan

MIN_REGIONS = 4
MAX_REGIONS = 6


@dataclass(frozen=True)
class BitsAxis:
    """One choice of bits for each region of the network; regions are runs of layers with one output area."""

    ground: Ground
    name: str = "bits"

    def offered(self) -> tuple[int, ...]:
        """The bit-widths that can be chosen, widest first."""
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
        options = tuple(str(b) for b in self.offered())
        if len(options) < 2:
            return {}
        return {f"bits_{i}": Choice(options) for i, region in enumerate(self.regions()) if region}

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan:
        bits = {}
        for i, region in enumerate(self.regions()):
            width = int(values.get(f"bits_{i}", 32))
            bits.update({layer.name: width for layer in region})
        return replace(plan, bits=self.settled(bits))

    def settled(self, bits: Mapping[str, int]) -> dict[str, int]:
        """`bits` as a plan holds them: without 32, and with one precision for all float layers where the target
        knows no other way."""
        if self.ground.capabilities.one_float and 16 in bits.values():
            named = {layer.name: bits.get(layer.name, 32) for layer in self.ground.layers}
            bits = {name: min(width, 16) for name, width in named.items()}
        return {name: width for name, width in bits.items() if width < 32}

    def left_out(self) -> tuple[LeftOut, ...]:
        gone = set(self.ground.capabilities.storage_bits) - set(self.offered())
        why = "makes files smaller but has no faster kernel on this target; offered when size counts"
        return tuple(LeftOut(f"{b} bits", why) for b in sorted(gone))


def _macs(run: list[Layer]) -> int:
    return sum(layer.macs for layer in run)
