"""The front and what is picked of it: laws over random trials."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autocompress.errors import BudgetError
from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.pareto import dominates, non_dominated
from autocompress.search.report.front import Front
from autocompress.search.trial import Trial
from autocompress.spaces.plan import Plan

# few different values, so that ties and equal points are common
points = st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[st.integers(0, 4).map(float)] * n), max_size=12))


@given(points)
def test_the_front_is_what_no_other_point_dominates(found: list[tuple[float, ...]]) -> None:
    front = set(non_dominated(found))
    for i, point in enumerate(found):
        assert (i in front) == (not any(dominates(other, point) for other in found))
        covered = any(found[j] == point or dominates(found[j], point) for j in front)
        assert covered, "every point is on the front or beaten by a point of it"


@given(points)
def test_dominance_is_an_order(found: list[tuple[float, ...]]) -> None:
    for a in found:
        assert not dominates(a, a)
        for b in found:
            assert not (dominates(a, b) and dominates(b, a))
            for c in found:
                assert not (dominates(a, b) and dominates(b, c)) or dominates(a, c)


def latency(p50_ms: float, wide: float = 1.1) -> Latency:
    return Latency(
        p50_ms, p50_ms / wide, p50_ms * wide, p50_ms * 1.2, p50_ms * 1.3, p50_ms * 1.5, p50_ms,
        1.0, 0.9, 1.1, 100, 10, 1, False, 1.0, 50.0,
    )  # fmt: skip


@st.composite
def fronts(draw: st.DrawFn) -> Front:
    trials = [
        Trial(
            number,
            Plan({"g": number}),
            "search",
            "finished",
            measurement=Measurement(
                draw(st.floats(0.1, 1.0)),
                latency(draw(st.floats(0.1, 10)), draw(st.floats(1.0, 1.5))),
                draw(st.integers(1000, 10**7)),
                1000,
                {},
            ),
        )
        for number in range(1, draw(st.integers(2, 7)))
    ]
    return Front(Path("study"), ("accuracy", "latency_ms"), tuple(trials), {}, draw(st.sampled_from([50, 90, 95, 99])))


limits = st.tuples(st.none() | st.floats(0.05, 12), st.none() | st.floats(0.05, 1.0), st.none() | st.floats(0.0005, 12))
Limits = tuple[float | None, float | None, float | None]


def meets(trial: Trial, front: Front, limit: Limits) -> bool:
    """By the words of the documentation alone."""
    m = trial.measurement
    assert m is not None
    tail = {50: m.latency.p50_ms, 90: m.latency.p90_ms, 95: m.latency.p95_ms, 99: m.latency.p99_ms}
    upper_ms = tail[front.percentile] * m.latency.high_ms / m.latency.p50_ms
    budget_ms, min_accuracy, max_mb = limit
    return (
        (budget_ms is None or upper_ms <= budget_ms)
        and (min_accuracy is None or m.accuracy >= min_accuracy)
        and (max_mb is None or m.size_bytes <= max_mb * 1e6)
    )


@given(fronts(), limits)
def test_pick_gives_the_most_accurate_that_meets_all_limits(front: Front, limit: Limits) -> None:
    good = [t.measurement.accuracy for t in front.trials if t.measurement and meets(t, front, limit)]
    assert sorted((e.accuracy for e in front.under(*limit)), reverse=True) == [e.accuracy for e in front.under(*limit)]
    if good:
        picked = front.pick(*limit).entry
        assert picked.accuracy == max(good) and meets(picked.trial, front, limit)
    else:
        with pytest.raises(BudgetError):
            front.pick(*limit)


def test_a_latency_meets_its_budget_with_the_upper_end_of_its_interval() -> None:
    measurement = Measurement(0.9, latency(1.0, 1.1), 1000, 1000, {})
    front = Front(Path("study"), ("accuracy",), (Trial(1, Plan(), "search", "finished", measurement=measurement),), {})
    assert not front.under(1.05) and front.under(1.11)


NAMES = {"latency": 0, "accuracy": 1, "size": 2}


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many fronts have a model that fits
@given(fronts(), limits)
def test_what_is_said_to_do_really_does(front: Front, limit: Limits) -> None:
    assume(not front.under(*limit))
    text = front.explain(*limit)
    assert "\n" not in text
    binding = re.search(r"held back by its (?:p\d\d )?(\w+)", text)
    assert binding is not None and limit[NAMES[binding[1]]] is not None, "a limit that was given holds it back"
    number = re.search(r"closest is trial (\d+)", text)
    assert number is not None
    closest = next(t for t in front.trials if t.number == int(number[1]))
    alone: list[float | None] = [None, None, None]
    alone[NAMES[binding[1]]] = limit[NAMES[binding[1]]]
    assert not meets(closest, front, (alone[0], alone[1], alone[2])), "and it really misses that one"
    ways = text.partition("relaxing one would do: ")[2]
    for name, value in re.findall(r"(latency|accuracy|size) ([\d.]+)", ways):
        relaxed = list(limit)
        relaxed[NAMES[name]] = float(value)
        assert front.under(*relaxed), f"{name} {value} was said to do"
    if sum(value is not None for value in limit) == 1:
        assert ways, "a single limit can always be relaxed"
