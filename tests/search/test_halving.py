"""Who goes on from a rung: laws over random students."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from autocompress.search.promotion import LATENCY_TIE, Standing, best_of_rung, lead, order

shares = st.integers(0, 10_000).map(lambda right: right / 10_000)  # never closer than a lead can be told in floats
points = st.tuples(shares, st.floats(0.1, 10), st.none() | st.floats(-0.2, 0.2))


def standings(found: list[tuple[float, float, float | None]]) -> list[Standing]:
    return [Standing(i, accuracy, (cost,), rise) for i, (accuracy, cost, rise) in enumerate(found, 1)]


many = st.lists(points, max_size=24).map(standings)


@given(many, st.integers(1, 10_000), st.data())
def test_everyone_has_one_place(found: list[Standing], examples: int, data: st.DataObject) -> None:
    gone_on = data.draw(st.sets(st.sampled_from([s.number for s in found]))) if found else set()
    assert sorted(order(found, gone_on, examples)) == [s.number for s in found]


@given(many, st.integers(2, 4), st.integers(1, 10_000))
def test_at_most_one_in_eta_goes_on_and_nobody_twice(found: list[Standing], eta: int, examples: int) -> None:
    gone_on: set[int] = set()
    while (number := best_of_rung(found, gone_on, set(), eta, examples)) is not None:
        assert number not in gone_on
        gone_on.add(number)
    assert len(gone_on) == len(found) // eta


@given(many, st.integers(1, 10_000))
def test_what_goes_on_whatever_happens_takes_nobodys_place(found: list[Standing], examples: int) -> None:
    fixed = {s.number for s in found[::2]}
    gone_on: set[int] = set()
    while (number := best_of_rung(found, gone_on, fixed, 1, examples)) is not None:
        gone_on.add(number)
    assert gone_on == {s.number for s in found} - fixed


@given(many, st.integers(1, 10_000))
def test_nobody_stands_before_one_that_surely_beats_it(found: list[Standing], examples: int) -> None:
    found = [replace(s, rise=None) for s in found]
    place = {number: i for i, number in enumerate(order(found, set(), examples))}
    for a in found:
        for b in found:
            if b.cost[0] <= a.cost[0] and b.accuracy - a.accuracy > lead(a.accuracy, b.accuracy, examples):
                assert place[b.number] < place[a.number]


def test_within_a_rank_the_widest_gap_comes_first() -> None:
    line = [Standing(i, 0.5 + 0.4 * x, (2.0**x,)) for i, x in enumerate((0.0, 0.05, 0.1, 0.5, 1.0))]
    assert list(order(line, {4}, 10_000))[:3] == [4, 0, 3], "the far end, then the middle of what is left"
    crowded = [replace(s, weight=10.0 if s.number == 1 else 1.0) for s in line]
    assert list(order(crowded, {4}, 10_000))[1] == 1, "but where the user looks a small gap weighs more"


def test_a_steep_learner_is_not_left_behind() -> None:
    others = [Standing(i, 0.70, (1.0,), 0.02) for i in range(1, 6)]
    steep = Standing(6, 0.68, (1.0,), 0.10)
    assert next(order([*others, steep], set(), 100_000)) == 6
    assert list(order([*others, replace(steep, rise=0.02)], set(), 100_000))[-1] == 6


@given(shares, shares, st.integers(1, 10_000))
def test_more_examples_need_a_smaller_lead(a: float, b: float, examples: int) -> None:
    assert lead(a, b, 4 * examples) <= lead(a, b, examples) == lead(b, a, examples)


@pytest.mark.parametrize(
    ("better", "examples", "first"), [((0.9, 0.9), 1000, True), ((0.51, 0.9), 1000, False), ((0.9, 1.1), 1000, False)]
)
def test_a_clear_lead_at_no_more_cost_beats(better: tuple[float, float], examples: int, first: bool) -> None:
    own, other = Standing(1, 0.5, (1.0,)), Standing(2, better[0], (better[1],))
    beaten = next(order([own, other], {1}, examples)) == 2
    assert beaten == first, "who went on comes first in its rank, unless another rank is before it"


def test_any_metric_can_be_compared() -> None:
    worse, better = Standing(1, -3.0, (1.0,)), Standing(2, -2.0, (1.0 + LATENCY_TIE / 2,))
    assert list(order([worse, better], {1}, 1000)) == [2, 1]


@settings(deadline=None)
@pytest.mark.slow
@given(st.integers(0, 2**32 - 1))
def test_a_thousand_students_are_ordered_at_once(seed: int) -> None:
    import random

    draw = random.Random(seed)
    found = [Standing(i, draw.random(), (draw.uniform(0.1, 1),)) for i in range(1000)]
    assert len(set(order(found, set(range(0, 1000, 3)), 5000))) == 1000
