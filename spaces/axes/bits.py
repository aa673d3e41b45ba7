"""The axis `bits`: the precision of each layer, decided by region.

Layers that alternate between int8 and fp32 run slower than fp32 on CPUs (every border costs a conversion of the
whole feature map), so neighbours of one resolution share one decision.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..context import SpaceContext
from ..groups import LeftOut
from ..layers import Layer
from ..presence import absent_layers, first_where_absent
from ..spec import DYNAMIC, FLOAT, StudentSpec
from ..target import Capabilities, one_float_bits, recurrent_width_on, table_width_on, width_on
from ..variables import Option, Variable
from .base import AxisDefaults, Decision, Stage

MIN_REGIONS = 4
MAX_REGIONS = 6
FULL = 32
TABLE = "table"
"""The role of the variable over embeddings."""
RECURRENT = "recurrent"
"""The role of the variables of recurrent layers."""


class BitsAxis(AxisDefaults):
    """One variable for each region of the network; regions are runs of layers with one output area."""

    name = "bits"
    stage: Stage = "numbers"

    def variables(self, context: SpaceContext) -> tuple[Variable, ...]:
        """Return a variable for each region that has a choice of bit-widths, 32 first."""
        coupled = any(can.one_float for can in (context.capabilities, *context.targets.values()))
        found = []
        for region in regions(context):
            widths = tuple(b for b in _allowed(context) if b not in _never_paying(context, region))
            if region and len(widths) > 1:
                work = Counter[str]()
                for layer in region:
                    work[layer.kind] += layer.macs
                found.append(
                    Variable(
                        axis=self.name,
                        subject=region[0].name,
                        role=max(work, key=lambda kind: work[kind]),
                        kind="ordered",
                        options=widths,
                        parts=tuple(width / FULL for width in widths),
                        layers=tuple(layer.name for layer in region),
                        depth=sum(layer.depth for layer in region) / len(region),
                        coupled=coupled,
                    )
                )
        tables = (variable for part in context.parts() for variable in _of_tables(self.name, part))
        return (*found, *tables, *_of_recurrent(self.name, context))

    def left_out(self, context: SpaceContext) -> tuple[LeftOut, ...]:
        """Return bit-widths without a faster kernel, and those that were measured not to pay, with their ratios."""
        if context.bits is not None:
            gone, why = context.capabilities.runnable_bits - set(_allowed(context)), "the study does not allow it"
        else:
            gone = context.capabilities.runnable_bits - set(_allowed(context))
            why = "makes files smaller but has no faster kernel on this target; offered when size counts"
        left = (*(LeftOut(f"{b} bits", why) for b in sorted(gone)), *_frozen_kinds(context), *context.no_tables)
        left = (*left, *context.no_recurrent, *_recurrent_left_out(context))
        stored = context.capabilities.table_bits
        if context.tables and not stored:
            return (*left, LeftOut("bits of embeddings", "no form of files here looks rows up in fewer than 32 bits"))
        if context.tables and context.bits is not None and not set(stored) & set(context.bits):
            return (*left, LeftOut("bits of embeddings", _not_allowed(stored)))
        return left

    def repair(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return bit-widths that the chosen target runs: the next wider one, and one precision for float layers."""
        can = context.capabilities_of(spec.target)
        kinds = {layer.name: layer.kind for layer in context.recurrent}
        tables = {table.name for table in context.tables}
        found: list[tuple[Variable, int]] = []
        others: list[tuple[Variable, int]] = []
        for variable, option in first_where_absent(context, spec, decisions):
            if variable.subject in tables:
                others.append((variable, table_width_on(can, int(option), context.bits)))
            elif variable.subject in kinds:
                kind = kinds[variable.subject]
                others.append((variable, recurrent_width_on(can, kind, int(option), context.bits)))
            else:
                found.append((variable, width_on(can, int(option), context.bits)))
        if can.one_float and any(width == 16 for _, width in found):
            found = [(variable, min(width, 16)) for variable, width in found]
        return [(variable, width if width in variable.options else FULL) for variable, width in (*found, *others)]

    def apply(self, context: SpaceContext, spec: StudentSpec, decisions: Sequence[Decision]) -> StudentSpec:
        """Return `spec` with the bits of all layers that it has in regions that do not run in 32."""
        bits, can = dict(spec.bits), context.capabilities_of(spec.target)
        gone = absent_layers(context, spec)
        kinds = {layer.name: layer.kind for layer in context.recurrent}
        tables = {table.name for table in context.tables}
        others: dict[str, int] = {}
        ways = dict(spec.activations)
        for variable, width in decisions:
            layers = [layer for layer in variable.layers if layer not in gone]
            recurrent = variable.subject in kinds
            held = others if variable.subject in tables or recurrent else bits
            held |= dict.fromkeys(layers, int(width))
            if recurrent:
                ways |= dict.fromkeys(layers, _form(can, kinds[variable.subject], width))
        if can.one_float and 16 in bits.values():
            bits = one_float_bits(bits, [layer.name for layer in context.layers if layer.name not in gone])
        return replace(spec, bits=bits | others, activations=ways)


def regions(context: SpaceContext) -> tuple[tuple[Layer, ...], ...]:
    """Return at most MAX_REGIONS runs of layers of each network, in order of execution, without the layers kept."""
    return tuple(region for part in context.parts() for region in _regions(part))


def _regions(context: SpaceContext) -> tuple[tuple[Layer, ...], ...]:
    runs: list[list[Layer]] = []
    for layer in context.layers:
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
    return tuple(tuple(layer for layer in run if layer.name not in context.keep) for run in runs)


def _of_tables(axis: str, context: SpaceContext) -> tuple[Variable, ...]:
    """Return one variable over all embeddings of a network that are not kept; layers behind them compute as before."""
    tables = [table for table in context.tables if table.name not in context.keep]
    asked = (b for b in context.capabilities.table_bits if context.bits is None or b in context.bits)
    widths = (FULL, *sorted(asked, reverse=True))
    if not tables or len(widths) == 1:
        return ()
    return (
        Variable(
            axis=axis,
            subject=tables[0].name,
            role=TABLE,
            kind="ordered",
            options=widths,
            parts=tuple(width / FULL for width in widths),
            layers=tuple(table.name for table in tables),
            depth=tables[0].depth,
        ),
    )


def _of_recurrent(axis: str, context: SpaceContext) -> tuple[Variable, ...]:
    """Return a variable for each recurrent layer that is not kept and has a choice."""
    found = []
    for layer in context.recurrent:
        widths = (FULL, *_recurrent_widths(context, layer.kind))
        if layer.name not in context.keep and len(widths) > 1:
            found.append(
                Variable(
                    axis=axis,
                    subject=layer.name,
                    role=RECURRENT,
                    kind="ordered",
                    options=widths,
                    parts=tuple(width / FULL for width in widths),
                    layers=(layer.name,),
                    depth=layer.depth,
                )
            )
    return tuple(found)


def _recurrent_widths(context: SpaceContext, kind: str) -> tuple[int, ...]:
    # weights that are only stored in few bits count where size does, as with other layers
    forms = context.capabilities.recurrent.get(kind, {})
    if context.bits is not None:
        return tuple(sorted(set(forms) & set(context.bits), reverse=True))
    return tuple(sorted((b for b in forms if context.storage_counts or DYNAMIC in forms[b]), reverse=True))


def _recurrent_left_out(context: SpaceContext) -> list[LeftOut]:
    found = []
    for layer in context.recurrent:
        forms = context.capabilities.recurrent.get(layer.kind, {})
        if not forms:
            why = f"not every target has a form of files with {layer.kind} layers in fewer than 32 bits"
            found.append(LeftOut(layer.name, why))
        elif context.bits is not None and not _recurrent_widths(context, layer.kind):
            found.append(LeftOut(layer.name, _not_allowed(forms)))
        elif not _recurrent_widths(context, layer.kind):
            why = f"no target has a kernel that runs {layer.kind} layers in fewer bits: files would only be smaller"
            found.append(LeftOut(layer.name, f"{why}; offered when size counts"))
    return found


def _not_allowed(there: Iterable[int]) -> str:
    return f"the study does not allow the bits that files here can have for it: {', '.join(map(str, sorted(there)))}"


def _form(can: Capabilities, kind: str, width: Option) -> str:
    return can.recurrent.get(kind, {}).get(int(width), (FLOAT,))[0]


def _allowed(context: SpaceContext) -> tuple[int, ...]:
    """Return the bit-widths that may be chosen somewhere, widest first."""
    can = context.capabilities
    if context.bits is not None:
        return tuple(sorted(can.runnable_bits & {FULL, *context.bits}, reverse=True))
    return tuple(sorted(can.runnable_bits if context.storage_counts else can.latency_bits, reverse=True))


def _never_paying(context: SpaceContext, region: Sequence[Layer]) -> frozenset[int]:
    """Return the bit-widths that were measured to pay for no kind of layer in this region.

    There are none where size counts, or where the user named the bits.
    """
    profile = context.profile
    if profile is None or context.storage_counts or context.bits is not None:
        return frozenset()
    gone = set()
    for bits in set(_allowed(context)) - {FULL}:
        # where all float layers run in one precision, the network decides as one
        one_float = any(can.one_float for can in (context.capabilities, *context.targets.values()))
        where = context.layers if one_float and bits == 16 else region
        if where and all(profile.never_pays(layer.kind, bits) for layer in where):
            gone.add(bits)
    return frozenset(gone)


def _frozen_kinds(context: SpaceContext) -> list[LeftOut]:
    frozen: dict[tuple[int, str], list[str]] = {}
    for region in regions(context):
        pairs = itertools.product(sorted(_never_paying(context, region)), sorted({layer.kind for layer in region}))
        for pair in pairs:
            frozen.setdefault(pair, []).append(region[0].name)
    found = []
    for (bits, kind), where in sorted(frozen.items()):
        time = context.profile.bits_time(kind, bits) if context.profile else None
        if time is not None:
            r = time.ratio
            share = f"{r.value:.2f} ({r.low:.2f} to {r.high:.2f}) of the time of 32 bits on {time.target}"
            name = f"{'int' if bits < 16 else ''}{bits}{'' if bits < 16 else ' bits'} for {kind} layers"
            found.append(LeftOut(name, f"{share}; left at 32 from {', '.join(where)}"))
    return found


def _macs(run: list[Layer]) -> int:
    return sum(layer.macs for layer in run)
