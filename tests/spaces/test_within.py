"""The plan of least harm within a predicted latency: never over it, and hardly worse than the best there is."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from synthetic_spaces import LayerByLayer, chain, surrogates_over

from autocompress.spaces.allocate.forecast import Forecast
from autocompress.spaces.allocate.within import fastest_plan, forecast_for, plan_within
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates

PARTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the way from the fastest plan to the teacher, where budgets are tried."""


def small(seed: int) -> tuple[Space, Surrogates]:
    """Nine variables or so, whose plans can all be tried."""
    bits = (32, 16, 8) if seed % 2 else (32, 8)
    space = chain([32, 48, 32, 48, 10], bits=bits, one_float=seed % 3 == 1)
    return space, surrogates_over(space, seed)


def ms(space: Space, surrogates: Surrogates, plan: Plan, target: str = "here") -> float:
    return surrogates.latency[target].predict_ms(space.spec(plan))


@pytest.mark.parametrize("seed", range(6))
def test_little_is_lost_against_trying_every_plan(seed: int) -> None:
    space, surrogates = small(seed)
    forecast = forecast_for(space, surrogates, Plan())
    every = {forecast.repaired(c) for c in itertools.product(*(range(len(v.options)) for v in space.network))}
    known = [(forecast.ms(c), surrogates.harm(space, space.assemble(c, Plan()))) for c in every]
    low, high = min(ms for ms, _ in known), forecast.ms((0,) * len(space.network))
    ratios = []
    for part in PARTS:
        budget = low + part * (high - low)
        plan = plan_within(space, surrogates, budget, Plan())
        assert plan is not None and ms(space, surrogates, plan) <= budget
        best = min(harm for ms, harm in known if ms <= budget)
        ratios.append(surrogates.harm(space, plan) / best)
    assert sum(ratios) / len(ratios) < 1.1 and max(ratios) < 1.8


def test_it_beats_random_plans_where_there_are_too_many_to_try() -> None:
    space = chain([64] * 8 + [128] * 8 + [256] * 8)
    surrogates, source = surrogates_over(space, 0), random.Random(0)
    budget = 0.4 * ms(space, surrogates, Plan())
    plan = plan_within(space, surrogates, budget, Plan())
    assert plan is not None and ms(space, surrogates, plan) <= budget
    drawn = [space.assemble([source.randrange(len(v.options)) for v in space.network], Plan()) for _ in range(300)]
    fitting = [surrogates.harm(space, p) for p in drawn if ms(space, surrogates, p) <= budget]
    assert fitting and surrogates.harm(space, plan) < 0.5 * min(fitting)


def test_a_budget_out_of_reach_is_told_and_the_teacher_needs_none() -> None:
    space, surrogates = small(0)
    fastest, low = fastest_plan(space, surrogates, Plan())
    assert plan_within(space, surrogates, 0.99 * low, Plan()) is None
    assert plan_within(space, surrogates, 1.0001 * low, Plan()) is not None
    assert ms(space, surrogates, fastest) == pytest.approx(low)
    assert plan_within(space, surrogates, 1.01 * ms(space, surrogates, Plan()), Plan()) == Plan()


def test_variables_of_unknown_sensitivity_stay_as_they_are() -> None:
    space, surrogates = small(0)
    known = {name: row for name, row in surrogates.sensitivity.items() if not name.startswith("bits")}
    like = space.uniform({"bits": 8}, space.taught)
    half = replace(surrogates, sensitivity=known)
    plan = plan_within(space, half, 0.3 * ms(space, surrogates, Plan()), like)
    assert plan is not None and plan.of("channels")
    assert plan.of("bits") == like.of("bits") and plan.of("recovery") == like.of("recovery")


def test_nothing_is_shared_out_where_no_latency_is_predicted() -> None:
    space, surrogates = small(0)
    with pytest.raises(KeyError):
        plan_within(space, replace(surrogates, latency={}), 1.0, Plan())


def test_a_forecast_is_asked_once_for_each_design() -> None:
    space, _ = small(0)
    asked: list[StudentSpec] = []

    class Counting(LayerByLayer):
        def predict_ms(self, spec: StudentSpec) -> float:
            asked.append(spec)
            return super().predict_ms(spec)

    forecast = Forecast(space, Counting(space), Plan())
    start = (0,) * len(space.network)
    forecast.around(start, [range(len(v.options)) for v in space.network])
    before = len(asked)
    forecast.around(start, [range(len(v.options)) for v in space.network])
    assert len(asked) == before == len(set(asked))
