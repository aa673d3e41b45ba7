"""The probes of all targets of a study, and what they say of its space and its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...errors import BudgetError
from ...spaces.space import build_space
from ...studies.schema import StudySections
from ..evaluate.context import Workbench, homes
from .probe import GAIN, Probe, check_budget, probe


def probes(bench: Workbench, budgets: Mapping[str, float]) -> dict[str, Probe]:
    """Target name -> what was measured there, each over the space that the target alone would have."""
    found = {}
    for station in bench.stations:
        alone = bench
        if len(bench.stations) > 1:
            joint = bench.space.ground
            can = station.runtime.capabilities(station.target)
            if not bench.space.homes:  # a model for all targets has only bits that all can run
                runnable = {*joint.capabilities.latency_bits, *joint.capabilities.storage_bits}
                faster = tuple(b for b in can.latency_bits if b in runnable)
                can = replace(
                    can, latency_bits=faster, storage_bits=tuple(b for b in can.storage_bits if b in runnable)
                )
            ground = replace(joint, capabilities=can)
            axes = [axis.name for axis in bench.space.axes if axis.name != "target"]
            alone = bench.at(station, build_space(ground, axes))
        found[station.name] = probe(alone, budgets.get(station.name))
    return found


def apply_probes(bench: Workbench, found: Mapping[str, Probe], settings: StudySections) -> Workbench:
    """The workbench with a space that offers what was seen to pay on some target."""
    ground = bench.space.ground
    ratios = [item for probe in found.values() for item in probe.pattern_ratios.items()]
    gains = tuple(sorted({kind for kind, (_, _, high) in ratios if high < GAIN}))
    capabilities = replace(ground.capabilities, patterns=gains)
    space = build_space(replace(ground, capabilities=capabilities), settings.space.axes, homes(settings))
    return replace(bench, space=space)


def check_budgets(found: Mapping[str, Probe], budgets: Mapping[str, float], percentile: int, any_of: bool) -> None:
    """Raise BudgetError when even the fastest plans are over the budget on some target; where each model is for one
    of them, on every target."""
    missed = []
    for name, limit in budgets.items():
        try:
            check_budget(found[name], limit, percentile)
        except BudgetError as error:
            missed.append(BudgetError(f"on {name}: {error}" if len(found) > 1 else str(error)))
    if missed and (not any_of or len(missed) == len(found)):
        raise missed[0]
