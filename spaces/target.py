"""A target: where the model will run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from .spec import DYNAMIC

T = TypeVar("T")

INT8_TOP = 127
"""The largest code of a weight in 8 bits, on a symmetric grid that is used up."""


def top_of(width: int, weight_top: int = INT8_TOP) -> int:
    """Return the largest code of a weight on a symmetric grid of some bits.

    Args:
        width: 8 or 4.
        weight_top: That of 8 bits, see `Capabilities`.
    """
    return weight_top if width == 8 else int(2 ** (width - 1) - 1)


PerTarget = Mapping[str, T]
"""A value for each target, by the target's name, in the order of the study's targets."""


@dataclass(frozen=True)
class Target:
    """A runtime on a device.

    Attributes:
        runtime: Name of the runtime, as `autocompress runtimes` lists it.
        device: "cpu", "cuda" or another device that the runtime knows.
        threads: Intra-op threads of the runtime.
        batch: Inputs per inference.
    """

    runtime: str = "onnxruntime"
    device: str = "cpu"
    threads: int = 1
    batch: int = 1

    @property
    def name(self) -> str:
        """The runtime, with the device where that is not the CPU: "openvino", "tensorrt@cuda"."""
        return self.runtime if self.device == "cpu" else f"{self.runtime}@{self.device}"


@dataclass(frozen=True)
class Capabilities:
    """What a runtime can really use on this device.

    Attributes:
        latency_bits: Bit-widths with a kernel that can be faster than 32.
        storage_bits: Bit-widths that run but only make the file smaller.
        channel_multiple: Channel counts worth having are multiples of this (of 8 where a group has at most 24
            channels).
        patterns: Sparsity patterns that can be faster.
        one_float: All float layers of a file run in one precision, so that 16 bits anywhere means 16 bits wherever
            it is not less.
        table_bits: Bit-widths besides 32 in which embeddings can be stored; their rows are looked up in so many bits.
        ways: Bit-width -> how activations of linear layers in so many bits can be quantized besides over known ranges,
            of `spec.DYNAMIC` and `spec.FLOAT`.
        recurrent: Kind of recurrent layer ("lstm", "gru" or "rnn") -> bit-width of its weights besides 32 -> the forms
            that there are, the better one first: `spec.DYNAMIC` has kernels in so many bits, with `spec.FLOAT` weights
            are only stored in them.
        one_input: Whether files are built for networks of one input alone, which is told before anything is built.
        weight_top: Largest code of weights that are multiplied in 8 bits. Where kernels would overflow with 127 it is
            less; files and fake quantization have this grid.
    """

    latency_bits: tuple[int, ...]
    storage_bits: tuple[int, ...]
    channel_multiple: int
    patterns: tuple[str, ...] = ()
    one_float: bool = False
    table_bits: tuple[int, ...] = ()
    ways: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    recurrent: Mapping[str, Mapping[int, tuple[str, ...]]] = field(default_factory=dict)
    one_input: bool = False
    weight_top: int = INT8_TOP

    def with_patterns(self, patterns: tuple[str, ...]) -> Capabilities:
        """Return the same with these patterns as those that can be faster."""
        return replace(self, patterns=patterns)

    @cached_property
    def runnable_bits(self) -> frozenset[int]:
        """All bit-widths that can be built."""
        return frozenset((*self.latency_bits, *self.storage_bits))


def width_on(can: Capabilities, width: int, allowed: Sequence[int] | None = None) -> int:
    """Return the bit-width that a target runs in place of `width`: itself, or the next wider one.

    Args:
        can: What the target can use.
        width: 32, 16, 8 or 4.
        allowed: The widths that a user allows besides 32, None for all.
    """
    runnable = can.runnable_bits if allowed is None else can.runnable_bits & set(allowed)
    return _next_wider(runnable, width)


def table_width_on(can: Capabilities, width: int, allowed: Sequence[int] | None = None) -> int:
    """Return the bit-width in which a target stores an embedding in place of `width`; see `width_on`."""
    return _next_wider({b for b in can.table_bits if allowed is None or b in allowed}, width)


def recurrent_width_on(can: Capabilities, kind: str, width: int, allowed: Sequence[int] | None = None) -> int:
    """Return the bit-width in which a target has a recurrent layer of this kind in place of `width`; see `width_on`."""
    return _next_wider({b for b in can.recurrent.get(kind, ()) if allowed is None or b in allowed}, width)


def _next_wider(runnable: Collection[int], width: int) -> int:
    return min(b for b in {32, *runnable} if b >= width)


def bits_on(
    can: Capabilities,
    bits: Mapping[str, int],
    layers: Sequence[str],
    tables: Collection[str] = (),
    recurrent: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Return the bits of all layers below 32 as a target runs them.

    Args:
        can: What the target can use.
        bits: Layer name -> bit-width, for layers that are not 32.
        layers: Names of all layers.
        tables: Names of embeddings, which `layers` does not hold.
        recurrent: Names of recurrent layers, which it does not hold either, with their kinds.
    """
    kinds = recurrent or {}
    stored = {table: table_width_on(can, width) for table, width in bits.items() if table in tables}
    stored |= {name: recurrent_width_on(can, kinds[name], width) for name, width in bits.items() if name in kinds}
    found = {layer: width_on(can, width) for layer, width in bits.items() if layer not in stored}
    if can.one_float and 16 in found.values():
        found = one_float_bits(found, layers)
    found |= stored
    return {layer: width for layer, width in found.items() if width < 32}


def ways_on(
    can: Capabilities,
    bits: Mapping[str, int],
    activations: Mapping[str, str],
    recurrent: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return how activations of layers are quantized on a target, for those that are not over known ranges.

    Args:
        can: What the target can use.
        bits: Layer name -> bit-width as the target runs it, for layers that are not 32.
        activations: Layer name -> how they were to be quantized; what the target cannot do is left out.
        recurrent: Names of recurrent layers with their kinds; of each the form is taken that the target has.
    """
    found = {}
    for layer, way in activations.items():
        kind, width = (recurrent or {}).get(layer), bits.get(layer, 32)
        there = can.ways.get(width, ()) if kind is None else can.recurrent.get(kind, {}).get(width, ())
        if way in there:
            found[layer] = way
        elif kind is not None and there:
            found[layer] = there[0]
    return found


def one_float_bits(bits: Mapping[str, int], layers: Sequence[str]) -> dict[str, int]:
    """Return the bits of a file whose float layers all run in 16: those that have more get 16."""
    return {layer: min(bits.get(layer, 32), 16) for layer in layers}


def joint_capabilities(found: Sequence[Capabilities], any_of: bool) -> Capabilities:
    """Return what a space over several targets offers.

    Args:
        found: The capabilities of each target.
        any_of: Whether each plan chooses one target. Then whatever one of them can use is offered, and `Space.repair`
            makes a plan legal for the one it chose. Otherwise a plan is built for all of them: it has bits that every
            target runs, as a latency decision where one target gains by it. A recurrent layer in such bits has the
            best form of any target; files for the others have the one that is theirs, see `ways_on`.

    Returns:
        The joint capabilities. Channel counts suit every target either way.
    """
    if len(found) == 1:
        return found[0]
    runnable = [c.runnable_bits for c in found]
    bits = frozenset.union(*runnable) if any_of else frozenset.intersection(*runnable)
    faster = bits & {b for c in found for b in c.latency_bits} | {32}
    stored = [frozenset(c.table_bits) for c in found]
    tables = frozenset.union(*stored) if any_of else frozenset.intersection(*stored)
    return Capabilities(
        latency_bits=tuple(sorted(faster, reverse=True)),
        storage_bits=tuple(sorted(bits - faster, reverse=True)),
        channel_multiple=math.lcm(*(c.channel_multiple for c in found)),
        patterns=tuple(sorted({p for c in found for p in c.patterns})),
        one_float=not any_of and any(c.one_float for c in found),
        table_bits=tuple(sorted(tables, reverse=True)),
        ways=_joint_ways([c.ways for c in found], any_of),
        recurrent=_joint_recurrent([c.recurrent for c in found], any_of),
        one_input=any(c.one_input for c in found),
        weight_top=min(c.weight_top for c in found),
    )


def _joint_recurrent(
    found: Sequence[Mapping[str, Mapping[int, tuple[str, ...]]]], any_of: bool
) -> dict[str, dict[int, tuple[str, ...]]]:
    joint: dict[str, dict[int, tuple[str, ...]]] = {}
    for kind in dict.fromkeys(kind for each in found for kind in each):
        each = [target.get(kind, {}) for target in found]
        for width in sorted({width for forms in each for width in forms}):
            if any_of or all(width in forms for forms in each):
                known = dict.fromkeys(form for forms in each for form in forms.get(width, ()))
                joint.setdefault(kind, {})[width] = tuple(sorted(known, key=lambda form: form != DYNAMIC))
    return joint


def _joint_ways(found: Sequence[Mapping[int, tuple[str, ...]]], any_of: bool) -> dict[int, tuple[str, ...]]:
    joint = {}
    for width in sorted({width for ways in found for width in ways}):
        each = [ways.get(width, ()) for ways in found]
        known = dict.fromkeys(way for ways in each for way in ways)
        joint[width] = tuple(way for way in known if any_of or all(way in ways for ways in each))
    return {width: ways for width, ways in joint.items() if ways}
