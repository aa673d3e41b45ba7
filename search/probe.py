"""Probes: what a target really gains, measured on the teacher before the search begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import BudgetError
from ..evaluators.measurement import Latency
from ..spaces.patterns import KINDS, PatternAxis
from ..spaces.plan import Pattern, Plan
from ..spaces.space import Space, build_space
from .baselines import offered_bits
from .evaluate import Job, evaluate
from .files import read_json, write_json
from .workbench import Workbench

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


def probe(bench: Workbench) -> Probe:
    """Measure, or take from the study's folder what was measured under the same conditions."""
    path = bench.folder / "probe.json"
    assert bench.meter.calibration is not None
    known = read_json(path)
    if known is not None and known["calibration"] == bench.meter.calibration.fingerprint:
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
    fastest = {}
    low = min((c[0] / g.channels for g, c in _groups(bench.space)), default=1.0)
    for bits in offered_bits(bench.space):
        name = f"smallest width in {'fp32' if bits == 32 else f'{bits} bits'}"
        fastest[name] = _latency(bench, bench.space.uniform(low, bits, None))
    data: dict[str, Any] = {"calibration": bench.meter.calibration.fingerprint, "patterns": ratios}
    write_json(path, {**data, "fastest": {k: v.to_dict() for k, v in fastest.items()}})
    return Probe(ratios, fastest)


def apply_probe(bench: Workbench, found: Probe, axes: tuple[str, ...]) -> Workbench:
    """The workbench with a space that offers what was seen to pay."""
    ground = bench.space.ground
    gains = tuple(kind for kind, (_, _, high) in found.pattern_ratios.items() if high < GAIN)
    capabilities = replace(ground.capabilities, patterns=gains)
    return replace(bench, space=build_space(replace(ground, capabilities=capabilities), axes))


def check_budget(found: Probe, budget_ms: float, percentile: int) -> None:
    """Raise BudgetError when even the smallest plans are over the budget."""
    name, fastest = min(found.fastest.items(), key=lambda item: item[1].p50_ms)
    if fastest.low_ms > budget_ms:
        raise BudgetError(
            f"budget {budget_ms:g} ms is out of reach: the fastest plan of this space ({name}) was measured at "
            f"{fastest.p50_ms:.3g} ms (p50; {fastest.at(percentile):.3g} ms held against the budget); ask for more "
            "than that, or lower min_channels_fraction, the batch, or the teacher's size"
        )


def _groups(space: Space) -> Any:
    return next((axis.groups() for axis in space.axes if hasattr(axis, "groups")), ())


def _latency(bench: Workbench, plan: Plan) -> Latency:
    result = evaluate(bench, Job(PROBE_NUMBER, plan, "gate"))
    if result.latency is None:
        raise BudgetError(f"the target cannot be probed: {result.failure}")
    return result.latency
