"""Techniques made by hand on demand: which are tried, with what, and that a stopped study does not try them again."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import SimulatedExecutor, make_driver, make_problem

from autocompress.errors import UnknownName
from autocompress.search.technique_kinds.distillation import DISTILLATION
from autocompress.search.technique_kinds.facts import SpaceFacts
from autocompress.search.technique_kinds.kind import TechniqueKind
from autocompress.search.technique_kinds.pruning import PRUNING
from autocompress.search.technique_kinds.quantization import INT8_WHILE, SIXTEEN_BITS, TEACHER
from autocompress.search.technique_kinds.registry import SEQUENCES, TECHNIQUES
from autocompress.search.technique_kinds.sequences import PRUNE_QUANTIZE, QUANTIZE_PRUNE, TUTORIALS
from autocompress.search.technique_kinds.sparsity import REINITIALIZED, REWINDING, TWO_FOUR, UNSTRUCTURED
from autocompress.search.techniques import Coverage, Trainings, asked_for, technique_of
from autocompress.search.trial import Trial

FACTS = SpaceFacts.of(make_problem().space)


def searched(folder: Path, trials: int, baselines: tuple[str, ...] = ("all",), train_s: float = 200.0) -> list[Trial]:
    """All trials that ended, after so many more."""
    problem = make_problem()
    driver = make_driver(problem, SimulatedExecutor(problem, train_s), folder, max_trials=trials, baselines=baselines)
    driver.run(lambda: False, lambda snapshot: None)
    return list(driver.trials)


@pytest.fixture(scope="module")
def dozen(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    return searched(tmp_path_factory.mktemp("dozen"), 12)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    return searched(tmp_path_factory.mktemp("many"), 120)


def by_technique(trials: list[Trial]) -> dict[TechniqueKind | None, list[Trial]]:
    found: dict[TechniqueKind | None, list[Trial]] = {}
    for trial in trials:
        found.setdefault(technique_of(trial, Coverage.of(trials, FACTS)), []).append(trial)
    return found


def test_all_techniques_that_the_space_has_are_tried_before_anything_else(dozen: list[Trial]) -> None:
    trials, found = dozen, by_technique(dozen)
    left_out = {kind for kind in TECHNIQUES if kind.why_not(FACTS)}
    # no layer of this space can have 16 bits, nor zeros inside its weights
    assert left_out >= {SIXTEEN_BITS, UNSTRUCTURED, TWO_FOUR, REWINDING, REINITIALIZED}
    assert set(TECHNIQUES) - set(found) == left_out
    kinds = [technique_of(trial, Coverage.of(trials, FACTS)) for trial in trials]
    last = max(kinds.index(technique) for technique in found if technique is not None)
    assert all(trial.by_hand for trial in trials[:last]), "the search begins after them"


def test_what_a_technique_is_shows_in_its_students(dozen: list[Trial]) -> None:
    found = by_technique(dozen)

    def one(technique: TechniqueKind) -> Trial:
        return found[technique][-1]

    pruned, distilled = one(PRUNING).spec, one(DISTILLATION).spec
    assert pruned.channels and not pruned.bits and pruned.recovery and pruned.recovery.alpha == 0
    assert distilled.channels and not distilled.bits and distilled.recovery
    assert distilled.recovery.fresh and distilled.recovery.alpha > 0
    aware = one(INT8_WHILE).spec
    assert aware.recovery and aware.recovery.quantization_aware and aware.bits and not aware.channels
    tutorials = one(TUTORIALS).spec
    assert tutorials.channels and tutorials.bits and tutorials.recovery and tutorials.recovery.alpha == 0
    last = one(QUANTIZE_PRUNE)
    assert last.warm_start is not None and last.warm_start.number == last.after
    assert last.warm_start.spec == aware, "it goes on from the student that was quantized while training"
    assert last.spec.channels and last.spec.recovery and last.spec.recovery.quantization_aware


def test_students_of_a_technique_are_narrowed_to_the_budget(dozen: list[Trial]) -> None:
    problem, found = make_problem(), by_technique(dozen)
    for technique in (PRUNING, *SEQUENCES):
        made = [trial for trial in found[technique] if trial.technique]
        assert any(problem.ms(trial.spec) <= problem.budget_ms for trial in made), technique.name
        assert 0 < len(made) <= 4, "few settings are needed, since latencies are predicted"


def test_a_stopped_study_goes_on_without_trying_a_technique_again(tmp_path: Path) -> None:
    first = searched(tmp_path, 5)
    second = searched(tmp_path, 5)
    assert second[: len(first)] == first
    third = searched(tmp_path, 8)
    made = [(t.after, t.spec.key()) for t in third if t.by_hand]
    assert len(made) == len(set(made)), "nor is a student made by hand twice, as the usual ones are among them"
    assert len({t.number for t in third}) == len(third)


def test_sequences_have_as_many_seconds_as_the_search(many: list[Trial]) -> None:
    trainings, found = Trainings(many), by_technique(many)
    search_s = trainings.seconds_behind(t for t in many if not t.by_hand)
    assert search_s > 0
    most_s = max(sum(t.seconds.values()) for t in many)
    for technique in SEQUENCES:
        spent_s = trainings.seconds_behind(found[technique])
        # the last setting may take longer than what was left of the time; the search ends at any time
        assert spent_s <= search_s + 3 * most_s
        assert len(found[technique]) > 1


def test_the_search_takes_nothing_over_from_what_is_compared_with_it(many: list[Trial]) -> None:
    trials = {trial.number: trial for trial in many}
    for trial in trials.values():
        if not trial.by_hand and trial.warm_start is not None:
            assert not trials[trial.warm_start.number].technique


def test_default_and_none(tmp_path: Path) -> None:
    usual = searched(tmp_path / "usual", 32, ("default",))
    assert {t.label for t in usual if t.by_hand} >= {"teacher", "teacher int8", "uniform 50%"}
    assert not any(t.technique for t in usual)
    none = searched(tmp_path / "none", 12, ("none",))
    assert {t.label for t in none if t.by_hand} == {"teacher"}
    some = searched(tmp_path / "some", 6, ("pruning-alone",))
    assert {t.technique for t in some} == {"", "pruning alone"}


def test_names_of_techniques() -> None:
    assert asked_for(("default",)) == (True, ())
    assert asked_for(("none",)) == (False, ())
    assert asked_for(("all",))[1] == TECHNIQUES[1:]
    assert asked_for(("prune then quantize", "pruning-alone")) == (
        False,
        (PRUNE_QUANTIZE, PRUNING),
    )
    with pytest.raises(UnknownName, match="prunning"):
        asked_for(("prunning-alone",))


def test_a_training_that_is_shared_counts_for_both_and_a_chain_counts_in_all(dozen: list[Trial]) -> None:
    trainings, found = Trainings(dozen), by_technique(dozen)
    assert trainings.of(found[TEACHER][0]).times == 0
    assert trainings.of(found[PRUNING][0]).seconds == pytest.approx(200.0)
    assert trainings.of(found[TUTORIALS][-1]).seconds == pytest.approx(200.0)
    chain = trainings.of(found[QUANTIZE_PRUNE][0])
    assert chain.times == 2 and chain.seconds == pytest.approx(400.0)
