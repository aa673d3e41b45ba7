"""Shared trainings: plans that take over what was trained cost little, and are tried only while they pay."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from rich_spaces import rich_space
from simulation import Problem, make_problem
from synthetic_spaces import chain

from autocompress.search.propose.learned.coding import Coding
from autocompress.search.propose.learned.known import Known
from autocompress.search.propose.learned.learned import FEWEST, LearnedProposals
from autocompress.search.propose.learned.sharing import LEAST_PART, PATIENCE, USUAL_PART, Sharing
from autocompress.search.propose.role_classes import role_classes
from autocompress.search.trainings import trained
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import ADAMW_PART, Recovery


@pytest.fixture(scope="module")
def problem() -> Problem:
    return make_problem()


@pytest.fixture
def sharing(problem: Problem) -> Sharing:
    return Sharing(problem.space, Coding(problem.space), role_classes(problem.space), seed=0)


def some_plan(problem: Problem, seed: int = 0) -> Plan:
    random_ = random.Random(seed)
    network = {v.name: random_.choice(v.drawn) for v in problem.space.network}
    return problem.space.repair(problem.space.taught.changed(network))


def test_plans_around_one_share_its_training_and_are_other_plans(problem: Problem, sharing: Sharing) -> None:
    plan = some_plan(problem)
    found = sharing.around(plan)
    assert len(found) > 5 and len(set(found)) == len(found) and plan not in found
    assert {problem.space.spec(other).training_key() for other in found} == {problem.space.spec(plan).training_key()}
    assert all(problem.space.spec(other).key() != problem.space.spec(plan).key() for other in found)


def test_a_learning_rate_of_many_digits_is_shared_too() -> None:
    """AdamW at 0.001 is 0.00666... as SGD takes it; plans are told apart by three digits."""
    space = chain([32] * 6, recovery=Recovery(learning_rate=0.001 / ADAMW_PART, optimizer="adamw"))
    coding, plan = Coding(space), space.repair(space.taught)
    assert coding.plan(coding.row(plan)) == plan
    assert Sharing(space, coding, role_classes(space), seed=0).around(plan)


def test_the_price_is_what_was_seen(problem: Problem, sharing: Sharing) -> None:
    assert sharing.price == USUAL_PART
    sharing.note(plan := some_plan(problem), 300.0, 1.0)
    assert sharing.price == USUAL_PART
    sharing.note(sharing.around(plan)[0], 15.0, 0.5)
    assert sharing.price == pytest.approx(0.05)
    for other in sharing.around(plan)[1:4]:
        sharing.note(other, 0.001, 0.5)
    assert sharing.price == LEAST_PART


def test_a_training_that_no_longer_pays_is_closed(problem: Problem, sharing: Sharing) -> None:
    assert not sharing.open
    sharing.note(first := some_plan(problem, 1), 300.0, 1.0)
    sharing.note(second := some_plan(problem, 2), 300.0, 1.0)
    assert sharing.open == [second]
    for tried in sharing.around(second)[:PATIENCE]:
        assert sharing.open[0] == second
        sharing.note(tried, 15.0, 0.0)
    assert sharing.open == [first]
    sharing.note(sharing.around(first)[0], 15.0, 0.5)
    assert sharing.open[0] == first, "what pays goes on"
    sharing.close()
    assert not sharing.open


def test_siblings_that_waited_for_a_training_do_not_say_what_one_takes(problem: Problem, sharing: Sharing) -> None:
    plan = some_plan(problem)
    trials = [
        Trial(
            number,
            each,
            problem.space.spec(each),
            Origin.DESIGN,
            "design",
            TrialState.FINISHED,
            rungs=(0.5, 0.6),
            seconds={"training": training_s, "building": 10.0},
        )
        for number, (each, training_s) in enumerate(
            zip((plan, *sharing.around(plan)[:2], some_plan(problem, 1)), (200.0, 0.1, 0.2, 100.0), strict=True), 1
        )
    ]
    assert [trial.number for trial in trained(trials)] == [1, 4]
    assert trained([replace(trials[0], rungs=()), replace(trials[1], state=TrialState.FAILED)]) == []


def test_a_training_around_which_plans_fail_is_closed(problem: Problem, sharing: Sharing) -> None:
    """A runtime that cannot build these bits: the neighbours of a plan that failed fail as well."""
    sharing.note(plan := some_plan(problem), 300.0, 1.0)
    for tried in sharing.around(plan)[:PATIENCE]:
        assert sharing.open
        sharing.failed(tried)
    assert not sharing.open
    sharing.reopen()
    assert not sharing.open, "not for the last minutes either"


def test_what_training_sees_is_never_shared() -> None:
    """Bits of a student that is taught with fake quantization are part of its training."""
    space = rich_space()
    aware, bits = space.variable("recovery:quantization"), next(v for v in space.network if v.axis == "bits")
    assert aware is not None and aware.is_searched and len(bits.drawn) > 1
    sharing = Sharing(space, Coding(space), role_classes(space), seed=0)
    taught = {}
    for way in (aware.drawn[0], aware.drawn[-1]):
        plan = space.repair(space.taught.changed({aware.name: way, bits.name: bits.drawn[-1]}))
        found = [space.spec(other) for other in sharing.around(plan)]
        assert {spec.training_key() for spec in found} <= {space.spec(plan).training_key()}
        recovery = space.spec(plan).recovery
        assert recovery is not None
        taught[recovery.quantization_aware] = {tuple(sorted(spec.bits.items())) for spec in found}
    assert len(taught[False]) > 1, "whoever is taught without bits shares with others"
    assert len(taught[True]) <= 1, "and whoever is taught with them does not"


def test_a_learned_model_shares_where_that_promises_more_for_its_price(problem: Problem) -> None:
    model = LearnedProposals(problem.space, problem.surrogates, None, seed=0)
    for number in range(2 * FEWEST):
        plan = some_plan(problem, number)
        spec = problem.space.spec(plan)
        model.tell(number, Known(plan, 1 - problem.accuracy(spec, 1.0), problem.ms(spec), True))
        assert model.share(lambda _: True) is None, "nothing was fitted yet"
    assert model.propose(lambda _: True)
    plans = [some_plan(problem, number) for number in range(2 * FEWEST)]
    for plan in plans:
        model.gained(plan, 300.0, 0.0)
    fresh = LearnedProposals(problem.space, problem.surrogates, None, seed=0)
    for number, plan in enumerate(plans):
        fresh.tell(number, model._known[number])
        fresh.gained(plan, 300.0, 0.0)
    assert fresh.share(lambda _: True) is None and fresh.share(lambda _: True, late=True) is not None, (
        "a run that begins with too little time for a training"
    )
    found = model.share(lambda _: True)
    assert found is not None and found not in plans
    trainings = {problem.space.spec(plan).training_key() for plan in plans}
    assert problem.space.spec(found).training_key() in trainings
    assert model.share(lambda _: False) is None
