"""The integer program: never worse than any other answer, and never over its limit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.spaces.allocate.solver import GAP, allocate

NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]]]:
    """Damage and cost of up to five sites with up to five options each."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    return tuple([[draw(NUMBERS) for _ in range(n)] for n in sizes] for _ in range(2))  # type: ignore[return-value]


def total(table: list[list[float]], picks: tuple[int, ...]) -> float:
    return sum(row[o] for row, o in zip(table, picks, strict=True))


@given(program=programs(), at=st.floats(-0.1, 1.1))
def test_no_other_answer_within_the_limit_has_less_damage(
    program: tuple[list[list[float]], list[list[float]]], at: float
) -> None:
    damage, cost = program
    low, high = sum(map(min, cost)), sum(map(max, cost))
    limit = low + at * (high - low)
    every = itertools.product(*(range(len(row)) for row in damage))
    fitting = [total(damage, picks) for picks in every if total(cost, picks) <= limit]
    found = allocate(damage, cost, limit)
    if found is None:
        assert not fitting
    else:
        assert total(cost, found) <= limit + 1e-9
        best = min(fitting, default=total(damage, found))
        assert total(damage, found) <= best + 2 * GAP * abs(best) + 1e-9


@given(program=programs(), at=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_higher_limit_never_hurts(
    program: tuple[list[list[float]], list[list[float]]], at: tuple[float, float]
) -> None:
    damage, cost = program
    low, high = sum(map(min, cost)), sum(map(max, cost))
    found = [allocate(damage, cost, low + part * (high - low)) for part in sorted(at)]
    assert found[0] is not None and found[1] is not None, "the cheapest answer fits"
    tight, loose = (total(damage, picks) for picks in found if picks is not None)
    assert loose <= tight + 2 * GAP * abs(tight) + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_a_general_integer_solver(seed: int) -> None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    source = np.random.default_rng(seed)
    damage = np.cumsum(source.random((24, 6)) ** 3, 1)
    cost = np.sort(source.random((24, 6)), 1)[:, ::-1]
    limit = float(cost.sum(0).mean())
    one = np.kron(np.eye(24), np.ones(6))
    rules = [LinearConstraint(one, 1, 1), LinearConstraint(cost.reshape(1, -1), -np.inf, limit)]
    other = milp(damage.ravel(), constraints=rules, integrality=np.ones(144), bounds=Bounds(0, 1))
    found = allocate(damage.tolist(), cost.tolist(), limit)
    assert found is not None
    assert total(damage.tolist(), found) == pytest.approx(other.fun, rel=2 * GAP)


def test_no_sites_cost_nothing() -> None:
    assert allocate([], [], 0.0) == ()
    assert allocate([], [], -1.0) is None


@pytest.mark.parametrize(
    ("damage", "cost", "limit"),
    [([[1.0], []], [[1.0], []], 1.0), ([[1.0]], [[1.0, 2.0]], 1.0), ([[float("nan")]], [[1.0]], 1.0)],
)
def test_tables_that_make_no_program_are_refused(
    damage: list[list[float]], cost: list[list[float]], limit: float
) -> None:
    with pytest.raises(ValueError):
        allocate(damage, cost, limit)
