"""Probes: what a target really gains, measured on the teacher before the search begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...errors import BudgetError
from ...evaluators.measurement import Latency
from ...spaces.axes.bits import BitsAxis
from ...spaces.axes.patterns import KINDS, PatternAxis
from ...spaces.plan import Pattern, Plan
from ...spaces.space import Space
from ..evaluate.context import Workbench
from ..evaluate.evaluation import Job, evaluate
from ..propose.by_hand import offered_bits
from ..store.files import read_json, write_json

PROBE_NUMBER = 0
GAIN = 0.97
"""A pattern is offered for latency when the upper end of its ratio to dense is below this."""
RATES = {"unstructured": 0.8, "2:4": 0.5}


@dataclass(frozen=True)
class Probe:
    """pattern_ratios: latency of the teacher with each sparsity pattern over the dense teacher's, with interval.
    fastest: name -> latency of the smallest plans of the space."""

    pattern_ratios: dict[str, tuple[float, float, float]]
    fastest: dict[str, Latency]


def probe(bench: Workbench, budget_ms: float | None = None) -> Probe:
    """Measure, or take from the study's folder what was measured under the same conditions.

    The smallest plan need not be the fastest (narrow int8 layers are slower than wider ones on some CPUs), so
    when it misses the budget, the fastest is looked for by descent before anything is called out of reach.
    """
    path = bench.first.folder / "probe.json"
    assert bench.meter.calibration is not None
    known = read_json(path)
    same = known is not None and known["calibration"] == bench.meter.calibration.fingerprint
    if same and (budget_ms is None or known["budget_ms"] is None or known["budget_ms"] <= budget_ms):
        return Probe(
            {k: tuple(v) for k, v in known["patterns"].items()},
            {k: Latency.from_dict(v) for k, v in known["fastest"].items()},
        )
    ratios: dict[str, tuple[float, float, float]] = {}
    if any(axis.name == "pattern" for axis in bench.space.axes):
        layers = PatternAxis(bench.space.ground).layers()
        for kind in KINDS:
            latency = _latency(bench, Plan(patterns={layer.name: Pattern(kind, RATES[kind]) for layer in layers}))
            ratios[kind] = (latency.ratio, latency.ratio_low, latency.ratio_high)
    low = min((c[0] / g.channels for g, c in _groups(bench.space)), default=1.0)
    fastest = {}
    for bits in offered_bits(bench.space):
        plan = bench.space.uniform(low, bits, None)
        fastest[f"smallest width in {'fp32' if bits == 32 else f'{bits} bits'}"] = plan, _latency(bench, plan)
    name, best = min(fastest.items(), key=lambda item: item[1][1].p50_ms)
    if budget_ms is not None and best[1].low_ms > budget_ms:
        fastest[f"{name}, descended"] = _descend(bench, best, budget_ms)
    latencies = {k: latency for k, (_, latency) in fastest.items()}
    data: dict[str, Any] = {"calibration": bench.meter.calibration.fingerprint, "patterns": ratios}
    write_json(path, {**data, "budget_ms": budget_ms, "fastest": {k: v.to_dict() for k, v in latencies.items()}})
    return Probe(ratios, latencies)


def check_budget(found: Probe, budget_ms: float, percentile: int) -> None:
    """Raise BudgetError when even the smallest plans are over the budget."""
    name, fastest = min(found.fastest.items(), key=lambda item: item[1].p50_ms)
    if fastest.low_ms > budget_ms:
        raise BudgetError(
            f"budget {budget_ms:g} ms is out of reach: the fastest plan of this space ({name}) was measured at "
            f"{fastest.p50_ms:.3g} ms (p50; {fastest.at(percentile):.3g} ms held against the budget); ask for more "
            "than that, or lower min_channels_fraction, the batch, or the teacher's size"
        )


def _descend(bench: Workbench, start: tuple[Plan, Latency], budget_ms: float) -> tuple[Plan, Latency]:
    """The fastest plan found by changing one thing at a time: the bits of a region, or the channel count of all
    groups of one size. Ends at the budget, or where nothing is faster."""
    best = start
    improved = True
    while improved:
        improved = False
        for plan in _neighbours(bench.space, best[0]):
            latency = _latency(bench, plan)
            if latency.p50_ms < best[1].p50_ms:
                best, improved = (plan, latency), True
            if best[1].low_ms <= budget_ms:
                return best
    return best


def _neighbours(space: Space, plan: Plan) -> Iterator[Plan]:
    by_size: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for group, choices in _groups(space):
        by_size.setdefault((group.channels, choices), []).append(group.name)
    for (full, choices), names in by_size.items():
        for count in choices:
            kept = {k: v for k, v in plan.channels.items() if k not in names}
            yield replace(plan, channels=kept | ({} if count == full else dict.fromkeys(names, count)))
    for axis in space.axes:
        if isinstance(axis, BitsAxis):
            for region, bits in ((r, b) for r in axis.regions() for b in axis.offered_in(r)):
                others = {k: v for k, v in plan.bits.items() if k not in {layer.name for layer in region}}
                yield replace(plan, bits=others | ({} if bits == 32 else {layer.name: bits for layer in region}))


def _groups(space: Space) -> Any:
    return next((axis.groups() for axis in space.axes if hasattr(axis, "groups")), ())


def _latency(bench: Workbench, plan: Plan) -> Latency:
    result = evaluate(bench, Job(PROBE_NUMBER, plan, "gate"))
    if not result.latencies:
        raise BudgetError(f"the target cannot be probed: {result.failure}")
    return result.latencies[bench.first.name]
