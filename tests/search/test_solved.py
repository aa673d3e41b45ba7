"""The solver's designs: plans of least predicted harm for several budgets."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from legality import assert_legal
from synthetic_spaces import LayerByLayer, chain, surrogates_over

from autocompress.search.propose.solved import BUDGET, BUDGET_SHARES, solved
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.spaces.target import Capabilities


def small(seed: int) -> tuple[Space, Surrogates]:
    bits = (32, 16, 8) if seed % 2 else (32, 8)
    space = chain([32, 48, 32, 48, 10], bits=bits, one_float=seed % 3 == 1)
    return space, surrogates_over(space, seed)


@pytest.mark.parametrize("seed", range(4))
def test_each_design_keeps_its_budget_by_prediction_and_more_budget_does_less_harm(seed: int) -> None:
    space, surrogates = small(seed)
    predict_ms = surrogates.latency["here"].predict_ms
    teacher_ms = predict_ms(StudentSpec())
    found = list(solved(space, surrogates, {"": (Plan(), teacher_ms)}))
    assert len(found) == len(BUDGET_SHARES)
    harms = []
    for design in found:
        spec = assert_legal(design.plan, space)
        assert spec.recovery is not None and design.latent is not None
        budget_ms = float(design.latent[BUDGET])
        assert predict_ms(spec) <= 1.005 * budget_ms
        harms.append((budget_ms, surrogates.harm(space, design.plan)))
    ordered = [harm for _, harm in sorted(harms)]
    assert all(later <= 1.05 * earlier + 1e-9 for earlier, later in itertools.pairwise(ordered))


def test_a_budget_that_nothing_keeps_gives_the_fastest_plan() -> None:
    space, surrogates = small(1)
    (design, *_) = solved(space, surrogates, {"": (Plan(), 1e-9)})
    wanted = min(design.plan for design in [design])
    assert surrogates.latency["here"].predict_ms(space.spec(wanted)) > 1e-9
    assert float((design.latent or {})[BUDGET]) > 1e-9, "the budget that is told is one that can be kept"


def test_nothing_is_solved_where_too_little_is_known() -> None:
    space, surrogates = small(0)
    assert not list(solved(space, replace(surrogates, latency={}), {"": (Plan(), 1.0)}))
    assert not list(solved(space, replace(surrogates, sensitivity={}), {"": (Plan(), 1.0)}))


def test_plans_choose_their_target_and_each_has_its_own_latency() -> None:
    targets = {"here": Capabilities((32, 8), (), 16), "there": Capabilities((32, 16), (), 16)}
    space = chain([32, 48, 32, 48, 10], bits=(32, 16, 8), targets=targets)
    clock = LayerByLayer(space)
    surrogates = replace(surrogates_over(space, 0), latency={"here": clock, "there": clock})
    top_ms = clock.predict_ms(StudentSpec())
    starts = {name: (space.repair(Plan({"target": name})), top_ms) for name in targets}
    found = list(solved(space, surrogates, starts))
    assert {design.latent["target"] for design in found if design.latent} == set(targets)
    for design in found:
        spec, widths = space.spec(design.plan), {"here": {8}, "there": {16}}
        assert design.latent is not None and spec.target == design.latent["target"]
        assert set(spec.bits.values()) <= widths[spec.target]


def test_a_plan_for_several_targets_keeps_the_budget_on_each() -> None:
    space, surrogates = small(0)

    class Slow(LayerByLayer):
        def predict_ms(self, spec: StudentSpec) -> float:
            return 3 * super().predict_ms(spec) + 0.5 * len(spec.bits)

    both = {"here": surrogates.latency["here"], "there": Slow(space)}
    teacher = {name: guess.predict_ms(StudentSpec()) for name, guess in both.items()}
    for design in solved(space, replace(surrogates, latency=both), {"": (Plan(), teacher["here"])}):
        part = float((design.latent or {})[BUDGET]) / teacher["here"]
        spec = space.spec(design.plan)
        assert all(guess.predict_ms(spec) <= 1.011 * part * teacher[name] for name, guess in both.items())
