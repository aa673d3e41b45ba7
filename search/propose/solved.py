"""The solver's designs: plans of least predicted harm for several budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product

from ...spaces.allocate.within import fastest_plan, forecast_for, plan_within
from ...spaces.axes.student import TEACHER
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...spaces.variables import Value
from ..trial import Origin
from .by_hand import Design

BUDGET_SHARES = (0.45, 0.75, 0.25, 0.6, 0.35, 0.9, 0.2)
"""Budgets that plans are made for, as parts of the largest one; the first few span the front."""
BUDGET = "budget_ms"
"""The name of the number that says which budget (ms) a design is for."""
SAME_BUDGET = 0.05
"""Initial designs for budgets that differ by less than this part are the same."""


def solved(space: Space, surrogates: Surrogates, starts: Mapping[str, tuple[Plan, float]]) -> Iterator[Design]:
    """Yield the plans of least harm for several budgets, taught in the default way, of each network there is.

    Args:
        space: The space.
        surrogates: What is known of it; nothing is yielded for a target whose latency is not predicted.
        starts: Target -> the plan of its teacher and the largest budget (ms) there; one entry, named "", where plans
            do not choose a target.
    """
    known = {name: found for name, found in starts.items() if surrogates.latency_for(name) is not None}
    if not surrogates.sensitivity:
        return
    likes = {
        (name, student): space.repair(space.taught.changed({**plan.choices, "student": student}))
        for (name, (plan, _)), student in product(known.items(), space.options("student") or (TEACHER,))
    }
    forecasts = {key: forecast_for(space, surrogates, like) for key, like in likes.items()}
    fastest = {key: fastest_plan(space, surrogates, like, forecasts[key]) for key, like in likes.items()}
    for part, (name, student) in product(BUDGET_SHARES, likes):
        key, (_, top_ms) = (name, student), known[name]
        if student != TEACHER:  # what the whole network keeps takes no plan
            top_ms = min(top_ms, forecasts[key].ms(space.indices(likes[key])))
        quickest, lowest_ms = fastest[key]
        budget_ms = float(f"{max(lowest_ms, part * top_ms):.3g}")
        plan = plan_within(space, surrogates, budget_ms, likes[key], forecasts[key]) or quickest
        latent: dict[str, Value] = {BUDGET: budget_ms, **({"target": name} if name else {})}
        latent |= {"student": student} if student != TEACHER else {}
        yield Design(plan, Origin.DESIGN, "initial design", latent)


def same_budget(a: Mapping[str, Value] | None, b: Mapping[str, Value] | None) -> bool:
    """Tell whether the solver's plans for two budgets stand for the same region, by their numbers."""
    if a is None or b is None or not {BUDGET} <= a.keys() & b.keys():
        return False
    if any(a.get(name) != b.get(name) for name in ("target", "student")):
        return False
    return abs(math.log(float(a[BUDGET]) / float(b[BUDGET]))) < SAME_BUDGET
