"""What is made by hand to be compared with is held against the same limits, and has the same time, as the search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation import HELD, TARGET, SimulatedExecutor, latency, make_driver, make_problem

from autocompress.evaluators.measurement import Measurement
from autocompress.search.asked import tell_not_offered
from autocompress.search.feasibility import Limits
from autocompress.search.prepare.space import storage_counts
from autocompress.search.propose.baselines import Baselines
from autocompress.search.propose.by_hand import Design, by_hand
from autocompress.search.technique_kinds.kind import STEP_OF
from autocompress.search.technique_kinds.pruning import PRUNING
from autocompress.search.technique_kinds.sequences import PRUNE_QUANTIZE
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.studies.schema import BudgetSection, SearchSection, StudySections

PROBLEM = make_problem()
LIMITS = Limits((TARGET,), PROBLEM.budget_ms)


def baselines(held: float, kind: object = PRUNING) -> Baselines:
    """Techniques on a machine where the upper ends of intervals are usually so much above their medians."""
    budgets = {TARGET: PROBLEM.budget_ms / held}
    return Baselines(PROBLEM.space, PROBLEM.surrogates, budgets, (kind,), LIMITS)  # type: ignore[arg-type]


def ended(
    number: int, design: Design, ms: float = 0.1, wide: float = HELD, state: TrialState = TrialState.FINISHED
) -> Trial:
    spec = PROBLEM.space.spec(design.plan)
    file = Measurement(0.9, latency(ms, wide), 1000, 900, {"Conv": 3})
    made = Trial(number, design.plan, spec, design.origin, design.label, technique=design.technique, after=design.after)
    return replace(made, state=state, measured={TARGET: file} if state is TrialState.FINISHED else {})


TEACHER = ended(1, Design(Plan(), Origin.TEACHER, "teacher", None))


@pytest.mark.parametrize("wide", [1.05, 1.2])
def test_a_model_that_meets_the_limits_is_one_of_its_technique(wide: float) -> None:
    """Its upper end is held against the budget once, however wide intervals are."""
    found = baselines(wide)
    found.note(TEACHER)
    first = found.first()
    assert first is not None and first.technique == PRUNING.name
    found.note(ended(2, first, 0.99 * PROBLEM.budget_ms / wide, wide))
    assert found.missing == []
    found = baselines(wide)
    found.note(TEACHER)
    found.note(ended(2, first, 1.01 * PROBLEM.budget_ms / wide, wide))
    assert found.missing == [PRUNING], "one above the budget is not, and a further setting is tried"


def test_what_waits_at_a_rung_is_time_that_the_search_had() -> None:
    found = baselines(HELD, PRUNE_QUANTIZE)
    found.note(TEACHER)
    first = found.first()
    assert first is not None
    found.note(replace(ended(2, first), seconds={"training": 10.0}))
    assert found.first() is None and found.further() is None, "the search had no time yet"
    plan = PROBLEM.space.taught
    waiting = Trial(3, plan, PROBLEM.space.spec(plan), Origin.SEARCH, "search", state=TrialState.WAITING)
    found.note(replace(waiting, seconds={"training": 9.0}))
    assert found.further() is None
    found.note(replace(waiting, seconds={"training": 11.0}))
    assert found.further() is not None


def test_a_step_that_failed_ends_its_setting_and_not_the_technique() -> None:
    found = baselines(HELD, PRUNE_QUANTIZE)
    found.note(TEACHER)
    plan = PROBLEM.space.taught
    busy = Trial(99, plan, PROBLEM.space.spec(plan), Origin.SEARCH, "search", state=TrialState.FINISHED)
    found.note(replace(busy, seconds={"training": 1e6}))
    labels: list[str] = []
    for number in range(2, 12):
        if (design := found.first() or found.further()) is None:
            break
        labels.append(design.label)
        found.begun(design.plan, design.after)
        failed = design.technique != PRUNE_QUANTIZE.name
        if failed:
            waits = found.first() or found.further()
            assert waits is None, "what follows on a step waits for it"
        found.note(ended(number, design, state=TrialState.FAILED if failed else TrialState.FINISHED))
    assert sum("then int8" in label for label in labels) > 2, labels


def test_only_what_every_study_begins_with_is_left_to_the_search(tmp_path: Path) -> None:
    """All other students that are made on the way to a technique carry its name, so that nothing is taken from them."""
    executor = SimulatedExecutor(PROBLEM)
    driver = make_driver(PROBLEM, executor, tmp_path, max_trials=80, baselines=("all",))
    driver.run(lambda: False, lambda snapshot: None)
    usual = {PROBLEM.space.spec(design.plan).key() for design in by_hand(PROBLEM.space)}
    made = [trial for trial in driver.trials if trial.by_hand]
    assert {trial.spec.key() for trial in made if not trial.technique} <= usual
    assert any(trial.technique == f"{STEP_OF}{PRUNE_QUANTIZE.name}" for trial in made)


def test_a_limit_on_size_says_that_size_counts_in_whatever_form() -> None:
    for budget in (BudgetSection(max_mb=1.0), BudgetSection(max_size="25%")):
        assert storage_counts(StudySections(budget=budget))
    assert not storage_counts(StudySections(budget=BudgetSection(latency_ms=1.0)))


def test_a_technique_that_was_named_and_is_not_offered_is_told() -> None:
    def told(*names: str) -> list[str]:
        lines: list[str] = []
        tell_not_offered(StudySections(search=SearchSection(baselines=names)), PROBLEM.space, lines.append)
        return lines

    (line,) = told("pruning-alone", "16-bits")
    assert line.startswith("16 bits: not offered here: ")
    assert told("default") == told("all") == told("none") == []


def test_the_last_look_at_a_search_shows_all_that_ended(tmp_path: Path) -> None:
    executor = SimulatedExecutor(PROBLEM)
    driver = make_driver(PROBLEM, executor, tmp_path)
    seen: list[int] = []
    driver.run(lambda: executor.clock_s > 2000, lambda snapshot: seen.append(len(snapshot.trials)))
    assert seen[-1] == len(driver.trials) > 0
