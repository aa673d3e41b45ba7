"""When a search says that it is done: laws over random histories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.feasibility import Limits
from autocompress.search.pace import Snapshot, Stop
from autocompress.search.pareto import hypervolume
from autocompress.search.stopping import Outlook, Patience, _volumes, growth, outlook
from autocompress.search.store.settings import write_settings
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.search.watch import Silent, Watch
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import StudyFile

LIMITS = Limits(("cpu",), 5.0)
OBJECTIVES = ("accuracy", "latency_ms")
EXAMPLES = 5000
GATE = Latency(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 100, 10, 1, False, 0.0, None)


def trial(number: int, accuracy: float, ms: float, ended_s: float, target: str = "cpu", p90_ms: float = 1.0) -> Trial:
    ratios = {"ratio": ms / 10, "ratio_low": 0.99 * ms / 10, "ratio_high": 1.01 * ms / 10}
    latency = replace(GATE, p50_ms=ms, low_ms=0.99 * ms, high_ms=1.01 * ms, p90_ms=p90_ms, **ratios)
    return Trial(
        number,
        Plan(),
        StudentSpec(),
        Origin.SEARCH,
        "search",
        TrialState.FINISHED,
        measured={target: Measurement(accuracy, latency, 1000, 1000, {})},
        ended_s=ended_s,
    )


def look(trials: list[Trial], searched_s: float, limits: Limits = LIMITS) -> Outlook | None:
    return outlook(trials, limits, OBJECTIVES, EXAMPLES, searched_s)


histories = st.lists(st.tuples(st.floats(0.1, 0.99), st.floats(0.5, 6)), min_size=2, max_size=20).map(
    lambda found: [trial(i, a, ms, 100.0 * i) for i, (a, ms) in enumerate(found, 1)]
)


@given(histories)
def test_an_outlook_is_what_it_says(trials: list[Trial]) -> None:
    found = look(trials, 100.0 * len(trials))
    if found is None:
        return
    assert 0 <= found.low <= found.hypervolume <= found.high
    assert [g.at_s for g in found.gains] == sorted(g.at_s for g in found.gains)
    assert found.last_gain_s <= found.searched_s


@given(histories, st.floats(1, 100))
def test_what_is_worse_than_the_front_moves_nothing(trials: list[Trial], hours: float) -> None:
    before = look(trials, 3600.0)
    worse = [trial(100 + i, 0.05, 5.5, 3600.0) for i in range(3)]
    after = look([*trials, *worse], 3600.0 * (1 + hours))
    if before is None:
        return
    assert after is not None and after.gains == before.gains
    assert after.last_gain_s == before.last_gain_s


def test_patience_ends_some_time_after_the_last_gain_and_never_in_the_opening() -> None:
    history = [trial(1, 0.5, 4.0, 60), trial(2, 0.9, 2.0, 120)]
    patience = Patience(LIMITS, OBJECTIVES, EXAMPLES, 10.0, 0.0)
    patience.look(history, 120, opening=True)
    assert not patience.is_over(130)
    patience.look(history, 900, opening=True)
    assert not patience.is_over(900), "the opening is not held against the front"
    history.append(trial(3, 0.1, 5.0, 1000))
    patience.look(history, 1000, opening=False)
    assert not patience.is_over(1600) and patience.is_over(1601)
    history.append(trial(4, 0.97, 1.0, 1400))
    patience.look(history, 1400, opening=False)
    assert not patience.is_over(1900) and patience.is_over(2001)
    again = Patience(LIMITS, OBJECTIVES, EXAMPLES, 10.0, 5000.0)
    again.look(history, 5001, opening=False)
    assert not again.is_over(5001), "a study that is run again has its patience anew"
    assert not Patience(LIMITS, OBJECTIVES, EXAMPLES, None, 0.0).is_over(1e9)


def test_no_search_ends_by_its_patience_while_a_trial_of_its_beginning_runs(tmp_path: Path) -> None:
    """One training may take longer than a user has patience with a front that stands still."""
    settings = StudyFile().changed("search", patience=10.0)
    write_settings(tmp_path, settings)
    decisions: Any = SimpleNamespace(trials=[], unfinished=(), searched_s=0.0, opening=True)
    nothing: Any = SimpleNamespace(look=lambda *told: None)
    study: Any = SimpleNamespace(
        folder=tmp_path,
        settings=settings,
        limits=LIMITS,
        objectives=OBJECTIVES,
        context=SimpleNamespace(task=SimpleNamespace(validation=range(EXAMPLES))),
        access=SimpleNamespace(keeps=lambda: False),
    )
    watch = Watch(study, decisions, Silent(), Stop(), None, nothing, nothing, nothing)
    for searched_s in (0.0, 400.0, 800.0, 1200.0):
        decisions.searched_s = searched_s
        watch(Snapshot([], 0, [], searched_s))
        assert not watch.should_stop()
    decisions.opening, decisions.searched_s = False, 2400.0  # it ended now, in this very process
    assert not watch.should_stop(), "patience begins now"
    decisions.searched_s = 3001.0
    assert watch.should_stop()


def test_a_front_has_stood_still_until_now_whatever_ended_last() -> None:
    """Where every plan misses its budget nothing is finished for hours, and the front stands still for these."""
    patience = Patience(LIMITS, OBJECTIVES, EXAMPLES, None, 0.0)
    patience.look([trial(1, 0.5, 4.0, 60), trial(2, 0.9, 2.0, 120)], 120, opening=False)
    found = patience.seen(7320.0)
    assert found is not None and "for 120 of 122 minutes" in found.line()
    assert Patience(LIMITS, OBJECTIVES, EXAMPLES, None, 0.0).seen(60.0) is None


def test_what_is_not_known_of_the_calibration_hides_no_gain() -> None:
    """It moves all models alike: one that is a tenth faster is so, however little is known of milliseconds."""

    def unsure(one: Trial) -> Trial:
        (file,) = one.measured.values()
        wide = replace(file.latency, low_ms=0.8 * file.latency.p50_ms, high_ms=1.2 * file.latency.p50_ms)
        return replace(one, measured={"cpu": replace(file, latency=wide)})

    history = [trial(1, 0.5, 4.0, 60), trial(2, 0.9, 2.0, 120), trial(3, 0.9, 1.8, 180)]
    found = look([unsure(one) for one in history], 200)
    assert found is not None and found == look(history, 200) and found.gains[-1].number == 3


def test_the_noise_of_earlier_trials_is_not_drawn_anew_when_more_come() -> None:
    history = [trial(1, 0.5, 4.0, 60), trial(2, 0.9, 2.0, 120), trial(3, 0.91, 1.9, 180)]
    more = [*history, trial(4, 0.6, 3.9, 240), trial(5, 0.7, 3.5, 300)]
    before, after = (growth(trials, LIMITS, OBJECTIVES, EXAMPLES) for trials in (history, more))
    assert after[: len(before)] == before


def test_a_metric_that_is_no_share_has_the_noise_that_resampling_told() -> None:
    def sure(one: Trial, sd: float) -> Trial:
        (file,) = one.measured.values()
        return replace(one, measured={"cpu": replace(file, accuracy_sd=sd)})

    history = [trial(1, -8.0, 4.0, 60), trial(2, -3.0, 2.0, 120), trial(3, -2.9, 2.0, 180)]
    clear, noisy = (look([sure(one, sd) for one in history], 200) for sd in (0.001, 1.0))
    assert clear is not None and noisy is not None
    assert clear.gains[-1].number == 3 and noisy.gains[-1].number == 2 and noisy.high > clear.high


def test_a_gain_within_the_noise_of_accuracy_is_none() -> None:
    history = [trial(1, 0.5, 4.0, 60), trial(2, 0.9, 2.0, 120), trial(3, 0.901, 2.0, 180)]
    found = look(history, 200)
    assert found is not None and [g.number for g in found.gains][-1] == 2
    clear = look([*history, trial(4, 0.95, 1.5, 190)], 200)
    assert clear is not None and clear.gains[-1].number == 4


def test_a_tail_over_the_budget_is_no_gain() -> None:
    tails = replace(LIMITS, percentile=90)
    history = [
        trial(1, 0.5, 4.0, 100.0, p90_ms=4.4),
        trial(2, 0.8, 3.0, 200.0, p90_ms=3.3),
        trial(3, 0.9, 4.0, 300.0, p90_ms=6.0),
    ]
    found = look(history, 400.0, tails)
    assert found is not None and 3 not in {gain.number for gain in found.gains}
    assert 3 in {gain.number for gain in look(history, 400.0).gains}  # type: ignore[union-attr]


def test_where_plans_choose_their_target_each_has_the_budget_of_its_own() -> None:
    limits = Limits(("slow", "fast"), on={"slow": 9.0, "fast": 2.0})

    def on(target: str, number: int, accuracy: float, ms: float) -> Trial:
        return replace(trial(number, accuracy, ms, 100.0 * number, target), spec=StudentSpec(target=target))

    history = [on("slow", 1, 0.5, 8.0), on("fast", 2, 0.8, 1.5), on("fast", 3, 0.95, 3.0), on("slow", 4, 0.9, 3.0)]
    found = look(history, 500.0, limits)
    assert found is not None and {gain.number for gain in found.gains} >= {2, 4}
    assert 3 not in {gain.number for gain in found.gains}


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0.1, 6)), min_size=1, max_size=12))
def test_volumes_of_many_sets_are_those_of_each(found: list[tuple[float, float]]) -> None:
    points = np.array(found)
    both = _volumes(np.stack([points, points + 0.1]), (1.0, 5.0))
    assert both[0] == pytest.approx(hypervolume(points.tolist(), (1.0, 5.0)), abs=1e-9)
    assert both[1] == pytest.approx(hypervolume((points + 0.1).tolist(), (1.0, 5.0)), abs=1e-9)


def test_it_is_said_up_to_which_latency_the_volume_counts() -> None:
    teacher = replace(trial(1, 0.9, 10.0, 1.0), origin=Origin.TEACHER)
    trials = [teacher, trial(2, 0.8, 2.0, 2.0), trial(3, 0.7, 1.0, 3.0)]
    for limits, words in ((LIMITS, "under the budget"), (Limits(("cpu",)), "under the teacher's latency")):
        found = look(trials, 4.0, limits)
        assert found is not None and words in found.line()
