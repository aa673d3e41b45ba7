"""Dominance and hypervolume: laws over random points."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autocompress.search.pareto import dominates, hypervolume, non_dominated, ranks

numbers = st.floats(0, 1, allow_subnormal=False)
points = st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[numbers] * n), min_size=1, max_size=12))


@given(points)
def test_ranks_peel_the_front_off(found: list[tuple[float, ...]]) -> None:
    rank = ranks(found)
    assert [i for i, r in enumerate(rank) if r == 0] == non_dominated(found)
    for i, a in enumerate(found):
        for j, b in enumerate(found):
            if dominates(a, b):
                assert rank[i] < rank[j]


@given(points, st.data())
def test_hypervolume_grows_with_points_and_only_the_front_counts(
    found: list[tuple[float, ...]], data: st.DataObject
) -> None:
    reference = (1.0,) * len(found[0])
    volume = hypervolume(found, reference)
    assert 0 <= volume <= 1
    part = data.draw(st.lists(st.sampled_from(found), max_size=len(found)))
    assert hypervolume(part, reference) <= volume + 1e-12
    assert hypervolume([found[i] for i in non_dominated(found)], reference) == pytest.approx(volume, abs=1e-12)


def test_what_lies_beyond_the_reference_counts_nothing() -> None:
    assert hypervolume([(0.5, 2.0), (2.0, 0.5)], (1.0, 1.0)) == 0
    assert hypervolume([(0.5, 0.5), (0.0, 2.0)], (1.0, 1.0)) == pytest.approx(0.25)
