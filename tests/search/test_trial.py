"""Trials: what may follow on what, and who proposed them."""

from __future__ import annotations

import pytest

from autocompress.search.trial import TRANSITIONS, Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec

RUNNING, WAITING = TrialState.RUNNING, TrialState.WAITING
MAY = {
    (RUNNING, RUNNING),
    (RUNNING, WAITING),
    (RUNNING, TrialState.GATED),
    (RUNNING, TrialState.FINISHED),
    (RUNNING, TrialState.FAILED),
    (WAITING, RUNNING),
}
"""What a trial goes through, written down once more."""


def a_trial(state: TrialState, origin: Origin = Origin.SEARCH) -> Trial:
    return Trial(3, Plan(), StudentSpec(), origin, "search", state, seconds={"training": 1.0})


@pytest.mark.parametrize("before", TrialState)
@pytest.mark.parametrize("after", TrialState)
def test_states_follow_on_each_other_as_the_table_says(before: TrialState, after: TrialState) -> None:
    trial = a_trial(before)
    if (before, after) in MAY:
        assert trial.moved(after).state is after and trial.state is before
    else:
        with pytest.raises(ValueError, match=f"trial 3 cannot go from {before} to {after}"):
            trial.moved(after)


def test_the_table_names_every_state_and_all_come_to_an_end() -> None:
    assert set(TRANSITIONS) == set(TrialState)
    ends = {state for state in TrialState if state.ended}
    assert ends == {TrialState.GATED, TrialState.FINISHED, TrialState.FAILED}
    reached, todo = set(), [RUNNING]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo += TRANSITIONS[state]
    assert reached == set(TrialState)


@pytest.mark.parametrize("origin", Origin)
def test_what_a_user_would_do_by_hand_is_told_from_the_search(origin: Origin) -> None:
    trial = a_trial(RUNNING, origin)
    assert trial.by_hand == (origin in (Origin.TEACHER, Origin.BY_HAND))
    assert trial.to_its_end == (trial.by_hand or origin is Origin.DESIGN)


def test_seconds_add_up_by_kind_of_work() -> None:
    spent = a_trial(RUNNING).spent({"training": 0.5, "measuring": 2.0})
    assert spent.seconds == {"training": 1.5, "measuring": 2.0}
