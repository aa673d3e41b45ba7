"""The front and what is picked of it: laws over random trials."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from autocompress.errors import BudgetError, UsageError
from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.feasibility import Limits
from autocompress.search.pareto import dominates, non_dominated
from autocompress.search.report.entry import Confirmed
from autocompress.search.report.front import Front
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec

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


HERE = "onnxruntime"


def finished_trial(number: int, accuracy: float, found: Latency, size_bytes: int = 1000) -> Trial:
    measured = {HERE: Measurement(accuracy, found, size_bytes, 1000, {})}
    plan, state = Plan({"channels:g": number}), TrialState.FINISHED
    return Trial(number, plan, StudentSpec({"g": number}), Origin.SEARCH, "search", state, measured=measured)


@st.composite
def fronts(draw: st.DrawFn) -> Front:
    trials = [
        finished_trial(
            number,
            draw(st.floats(0.1, 1.0)),
            latency(draw(st.floats(0.1, 10)), draw(st.floats(1.0, 1.5))),
            draw(st.integers(1000, 10**7)),
        )
        for number in range(1, draw(st.integers(2, 7)))
    ]
    limits = Limits((HERE,), percentile=draw(st.sampled_from([50, 90, 95, 99])))
    return Front(Path("study"), ("accuracy", "latency_ms"), tuple(trials), {}, limits)


Asked = tuple[float | None, float | None, float | None]
asked_limits = st.tuples(
    st.none() | st.floats(0.05, 12), st.none() | st.floats(0.05, 1.0), st.none() | st.floats(0.0005, 12)
)


def meets(trial: Trial, front: Front, asked: Asked) -> bool:
    """By the words of the documentation alone."""
    m = trial.measured[HERE]
    tail = {50: m.latency.p50_ms, 90: m.latency.p90_ms, 95: m.latency.p95_ms, 99: m.latency.p99_ms}
    upper_ms = tail[front.limits.percentile] * m.latency.high_ms / m.latency.p50_ms
    budget_ms, min_accuracy, max_mb = asked
    return (
        (budget_ms is None or upper_ms <= budget_ms)
        and (min_accuracy is None or m.accuracy >= min_accuracy)
        and (max_mb is None or m.size_bytes <= max_mb * 1e6)
    )


@given(fronts(), asked_limits)
def test_pick_gives_the_best_that_meets_all_limits(front: Front, asked: Asked) -> None:
    good = [t.measured[HERE] for t in front.trials if meets(t, front, asked)]
    found = front.under(front.limits.changed(*asked))
    fastest = asked[0] is None and asked[1] is not None
    key = (lambda e: e.latency.p50_ms) if fastest else (lambda e: -e.accuracy)
    assert sorted(map(key, found)) == [key(e) for e in found]
    if good:
        picked = front.pick(*asked).entry
        assert meets(picked.trial, front, asked)
        if fastest:
            assert picked.latency.p50_ms == min(m.latency.p50_ms for m in good)
        else:
            assert picked.accuracy == max(m.accuracy for m in good)
    else:
        with pytest.raises(BudgetError):
            front.pick(*asked)


@given(fronts(), asked_limits, asked_limits)
def test_pick_keeps_the_limits_of_the_study_that_are_not_given_anew(front: Front, own: Asked, asked: Asked) -> None:
    study = replace(front, limits=front.limits.changed(*own))
    together: Asked = tuple(a if a is not None else o for o, a in zip(own, asked, strict=True))  # type: ignore[assignment]
    good = [t.number for t in front.trials if meets(t, front, together)]
    if good:
        assert study.pick(*asked).entry.number in good
    else:
        with pytest.raises(BudgetError):
            study.pick(*asked)
    assert [e.number for e in study.fitting] == [e.number for e in front.under(study.limits)]


def test_limits_against_the_teacher_may_be_given_as_the_numbers_they_are_said_to_be() -> None:
    """From Python, max_drop = 0.02 is what --max-drop 0.02 is."""
    teacher = replace(finished_trial(1, 0.9, latency(2.0, 1.0), 4000), origin=Origin.TEACHER)
    trials = (teacher, finished_trial(2, 0.89, latency(1.0, 1.0)), finished_trial(3, 0.8, latency(0.5, 1.0)))
    front = Front(Path("study"), ("accuracy", "latency_ms"), trials, {}, Limits((HERE,)))
    number: Any = 0.02
    assert front.pick(max_drop="0.02").entry.number == front.pick(max_drop=number).entry.number == 2
    with pytest.raises(UsageError, match="max_size = '25'; allowed: a part of the teacher's"):
        front.pick(max_size=cast(Any, 25))


def test_pick_keeps_the_percentile_and_the_budgets_of_single_targets() -> None:
    slow, fast = finished_trial(1, 0.9, latency(2.0, 1.0)), finished_trial(2, 0.8, latency(1.0, 1.0))
    front = Front(Path("study"), ("accuracy",), (slow, fast), {}, Limits((HERE,), on={HERE: 1.25}, percentile=90))
    assert front.pick().entry.number == 2
    assert front.pick(budget_ms=10.0).entry.number == 2, "this target has a budget of its own"
    tails = replace(front, limits=Limits((HERE,), 2.1, percentile=90))
    assert tails.pick().entry.number == 2, "p90 of the other is at 2.4 ms"
    assert replace(tails, limits=Limits((HERE,), 2.1)).pick().entry.number == 1


def test_a_latency_meets_its_budget_with_the_upper_end_of_its_interval() -> None:
    trial = finished_trial(1, 0.9, latency(1.0, 1.1))
    front = Front(Path("study"), ("accuracy",), (trial,), {}, Limits((HERE,)))
    assert not front.under(Limits((HERE,), 1.05)) and front.under(Limits((HERE,), 1.11))
    longer = front.with_confirmed({1: Confirmed({HERE: latency(1.0, 1.01)}, 0.88)})
    assert longer.under(Limits((HERE,), 1.05)), "the longer measurement counts"


def test_what_is_shown_of_a_front_and_a_model_is_a_few_lines(tmp_path: Path) -> None:
    trials = tuple(finished_trial(i, 0.5 + i / 100, latency(float(i))) for i in range(1, 31))
    front = Front(tmp_path / "mine", ("accuracy", "latency_ms"), trials, {}, Limits((HERE,), 5.5))
    shown = repr(front)
    assert len(shown.splitlines()) <= 12 and max(map(len, shown.splitlines())) < 160
    assert "Front of mine: 30 models of 30 trials" in shown and "and 22 more" in shown
    assert "best under the limits: trial 5" in shown
    empty = Front(tmp_path / "mine", ("accuracy",), (), {}, Limits((HERE,)))
    assert repr(empty) == "<Front of mine: 0 models of 0 trials>"
    (tmp_path / "mine" / "trials" / "0005").mkdir(parents=True)
    (tmp_path / "mine" / "trials" / "0005" / "model.onnx").write_bytes(b"")
    picked = repr(front.pick())
    assert len(picked.splitlines()) == 2 and "trial 5" in picked and "model.onnx" in picked


def test_a_latency_that_is_said_to_do_is_not_rounded_below_what_was_measured() -> None:
    trial = finished_trial(1, 0.9, latency(9.0, 11.700000000000001))
    front = Front(Path("study"), ("accuracy",), (trial,), {}, Limits((HERE,)))
    said = re.search(r"latency ([\d.]+) ms", front.explain(front.limits.changed(0.349609375)))
    assert said is not None and front.under(front.limits.changed(float(said[1])))


NAMES = {"latency": 0, "accuracy": 1, "size": 2}


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many fronts have a model that fits
@given(fronts(), asked_limits)
def test_what_is_said_to_do_really_does(front: Front, asked: Asked) -> None:
    limits = front.limits.changed(*asked)
    assume(not front.under(limits))
    text = front.explain(limits)
    assert "\n" not in text
    binding = re.search(r"held back by its (?:p\d\d )?(\w+)", text)
    assert binding is not None and asked[NAMES[binding[1]]] is not None, "a limit that was given holds it back"
    number = re.search(r"closest is trial (\d+)", text)
    assert number is not None
    closest = next(t for t in front.trials if t.number == int(number[1]))
    alone: list[float | None] = [None, None, None]
    alone[NAMES[binding[1]]] = asked[NAMES[binding[1]]]
    assert not meets(closest, front, (alone[0], alone[1], alone[2])), "and it really misses that one"
    ways = text.partition("relaxing one would do: ")[2]
    for name, value in re.findall(r"(latency|accuracy|size) ([\d.]+)", ways):
        relaxed = list(asked)
        relaxed[NAMES[name]] = float(value)
        assert front.under(front.limits.changed(*relaxed)), f"{name} {value} was said to do"
    if sum(value is not None for value in asked) == 1:
        assert ways, "a single limit can always be relaxed"


def test_a_speedup_is_asked_of_every_target() -> None:
    """The first target alone is fast enough."""
    ratios = {1: (1.0, 1.0), 2: (0.4, 0.9), 3: (0.45, 0.45)}
    trials = []
    for number, (here, there) in ratios.items():
        trial = finished_trial(number, 0.9, latency(10))
        file, parts = trial.measured[HERE], {HERE: here, "there": there}
        files = {
            name: replace(file, latency=replace(file.latency, ratio=r, ratio_low=r, ratio_high=r))
            for name, r in parts.items()
        }
        trials.append(replace(trial, measured=files, origin=Origin.TEACHER if number == 1 else Origin.SEARCH))
    front = Front(Path("study"), ("accuracy", "latency_ms"), tuple(trials), {}, Limits((HERE, "there")))
    limits = front.asked(speedup=2.0)
    assert set(limits.budgets) == {HERE, "there"}
    assert [entry.number for entry in front.under(limits)] == [3]
