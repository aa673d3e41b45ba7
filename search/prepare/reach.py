"""The reach of a space: how fast its fastest students are, measured before anything is called possible or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from ...errors import BudgetError, MeasurementError, TrialFailed
from ...evaluators.measurement import Latency
from ...spaces.axes.registry import SIZES
from ...spaces.axes.student import TEACHER
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.target import PerTarget
from ...spaces.variables import Option
from ..evaluate.context import EvaluationContext
from ..evaluate.gate import time_shape
from ..feasibility import Limits

FEW = 4
"""A variable with at most so many options is also changed by itself."""


def measure_reach(context: EvaluationContext, space: Space, limits: Limits) -> PerTarget[Mapping[str, Latency]]:
    """Measure the smallest plans of a space, in each precision.

    The smallest plan need not be the fastest: narrow int8 layers are slower than wider ones on some CPUs. So where it
    misses the budget, the fastest is looked for by descent before anything is called out of reach.

    Args:
        context: What this process has of the study.
        space: The space.
        limits: The study's budgets.

    Returns:
        For each target, what was measured, by a name for the user.

    Raises:
        MeasurementError: A plan cannot be built or timed.
    """
    found: dict[str, dict[str, Latency]] = {name: {} for name in context.sessions}
    smallest: dict[str, dict[str, Plan]] = {name: {} for name in context.sessions}
    for bits in space.options("bits") or (32,):
        plain = f"smallest width in {'fp32' if bits == 32 else f'{bits} bits'}"
        for target, student in product(space.options("target") or ("",), space.options("student") or (TEACHER,)):
            like = Plan({"student": student, **({"target": target} if target else {})})
            words = plain if student == TEACHER else f"{plain} of {student}"
            plan = space.uniform({**dict.fromkeys(SIZES, 0.0), "bits": bits}, like)
            for name, latency in _latencies(context, space, plan).items():
                found[name][words], smallest[name][words] = latency, plan
    for name, latencies in found.items():
        words, best = min(latencies.items(), key=lambda item: item[1].p50_ms)
        if limits.out_of_reach(name, best):
            found[name][f"{words}, descended"] = _descend(context, space, name, smallest[name][words], best, limits)
    return found


def check_reach(found: PerTarget[Mapping[str, Latency]], limits: Limits, any_of: bool) -> None:
    """Refuse budgets that even the fastest plans surely miss.

    Args:
        found: What `measure_reach` found.
        limits: The study's budgets.
        any_of: Whether each model is for one of the targets; then it is enough to reach one.

    Raises:
        BudgetError: A budget is out of reach.
    """
    missed = []
    for name, limit in limits.budgets.items():
        words, fastest = min(found[name].items(), key=lambda item: item[1].p50_ms)
        if limits.out_of_reach(name, fastest):
            where = f"on {name}: " if len(found) > 1 else ""
            missed.append(
                f"{where}budget {limit:g} ms is out of reach: the fastest plan of this space ({words}) was measured at "
                f"{fastest.p50_ms:.3g} ms (p50; {fastest.at(limits.percentile):.3g} ms held against the budget); ask "
                "for more than that, or lower min_channels_fraction, the batch, or the teacher's size"
            )
    if missed and (not any_of or len(missed) == len(found)):
        raise BudgetError(missed[0])


def _descend(
    context: EvaluationContext, space: Space, target: str, plan: Plan, latency: Latency, limits: Limits
) -> Latency:
    """Return the latency of the fastest plan found by changing one thing at a time.

    It ends at the budget, where nothing is faster, or with the time of the search.
    """
    improved = True
    while improved:
        improved = False
        for neighbour in _neighbours(space, plan):
            found = _latencies(context, space, neighbour)[target]
            if found.p50_ms < latency.p50_ms:
                plan, latency, improved = neighbour, found, True
            if context.stop() or not limits.out_of_reach(target, latency):
                return latency
    return latency


def _neighbours(space: Space, plan: Plan) -> Iterator[Plan]:
    """Yield plans where all variables with the same options, or one with few options, take another option."""
    alike: dict[tuple[str, tuple[Option, ...]], list[str]] = {}
    for variable in space.network:
        alike.setdefault((variable.axis, variable.options), []).append(variable.name)
    for (_, options), names in alike.items():
        for option in options:
            yield space.repair(plan.changed(dict.fromkeys(names, option)))
            if len(options) <= FEW and len(names) > 1:
                yield from (space.repair(plan.changed({name: option})) for name in names)


def _latencies(context: EvaluationContext, space: Space, plan: Plan) -> PerTarget[Latency]:
    try:
        return time_shape(context, space.spec(plan)).latencies
    except TrialFailed as failure:
        raise MeasurementError(f"the fastest plans cannot be measured: {failure}") from failure
