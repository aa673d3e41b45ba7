"""Storage: what was measured is there after anything that can happen to a process or a disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_trials import ENDED, HELPERS, SPACE, a_latency, a_store, a_trial, end
from synthetic_spaces import chain

from autocompress.search.trial import Trial, TrialState
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec


@pytest.mark.parametrize("state", ENDED)
def test_a_trial_comes_back_as_it_was(tmp_path: Path, state: TrialState) -> None:
    store = a_store(tmp_path)
    plain = replace(a_trial(2, state), plan=Plan(), spec=StudentSpec(), latent=None, gate={}, rungs=(), warm_start=None)
    trials = [a_trial(1, state), plain]
    for trial in trials:
        end(store, trial)
    assert store.ended() == trials == a_store(tmp_path).ended()
    assert not store.interrupted()


def test_a_trial_is_an_optuna_trial_with_its_decisions(tmp_path: Path) -> None:
    """Whoever likes Optuna's own tools can look at a study with them."""
    import optuna

    store = a_store(tmp_path)
    end(store, a_trial(1))
    (row,) = optuna.load_study(study_name="study", storage=f"sqlite:///{store.folder / 'study.db'}").trials
    assert row.values == [0.9, 1.0] and row.params.keys() == {v.name for v in SPACE}
    assert row.params["channels:c0"] == 16 and row.params["channels:c1"] == 48, (
        "the teacher's own, where nothing is said"
    )
    assert row.params["recovery:alpha"] == 0.25


@pytest.mark.parametrize("state", ENDED)
def test_a_row_is_what_optuna_itself_would_write(tmp_path: Path, state: TrialState) -> None:
    import optuna

    store, trial = a_store(tmp_path), a_trial(1, state)
    end(store, trial)
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{store.folder / 'study.db'}")
    (row,) = study.trials
    other = optuna.create_study(storage=f"sqlite:///{tmp_path / 'other.db'}", directions=study.directions)
    other.add_trial(row)
    (same,) = other.trials
    for name in ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs"):
        assert getattr(row, name) == getattr(same, name), name
    assert row.datetime_start is not None and row.datetime_complete is not None
    assert set(row.user_attrs) == {"trial", "origin"}


def test_interrupted_trials_come_oldest_first_beyond_9999(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for number in (10001, 9999, 10000, 200):
        store.begin(a_trial(number, TrialState.RUNNING))
    assert [trial.number for trial in store.interrupted()] == [200, 9999, 10000, 10001]


def test_a_trial_of_a_space_that_has_other_options_now_is_kept_too(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    end(store, a_trial(1))
    other = chain([32, 64, 10])
    store.begin(a_trial(2))
    store.end(a_trial(2), [0.9, 1.0], other)
    assert store.ended() == [a_trial(1), a_trial(2)]


@given(st.floats(0.001, 1000), st.lists(st.floats(0, 1), max_size=3), st.text(max_size=20), st.sampled_from(TrialState))
def test_records_survive_json_exactly(p50_ms: float, rungs: list[float], reason: str, state: TrialState) -> None:
    import json

    trial = replace(a_trial(7, state), gate={"x": a_latency(p50_ms)}, rungs=tuple(rungs), reason=reason)
    assert from_plain(Trial, json.loads(json.dumps(to_plain(trial)))) == trial


def test_what_was_begun_and_never_ended_is_listed_in_order(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for number in (1, 2, 3, 11):
        store.begin(a_trial(number, TrialState.RUNNING))
    store.end(a_trial(2), [0.9, 1.0], SPACE)
    assert [t.number for t in a_store(tmp_path).interrupted()] == [1, 3, 11]


WRITER = """
import sys; from pathlib import Path
sys.path[:0] = {paths!r}
from stored_trials import TrialState, a_store, a_trial, end
store = a_store(Path({folder!r}))
for number in range(1, 10_000):
    store.begin(a_trial(number, TrialState.RUNNING))
    print(number, flush=True)
    end(store, a_trial(number))
"""


@pytest.mark.slow
def test_a_process_killed_while_writing_leaves_every_earlier_trial(tmp_path: Path) -> None:
    code = WRITER.format(paths=[str(HELPERS)], folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        begun = 0
        for line in process.stdout:
            begun = int(line)
            if begun == 12:
                process.send_signal(signal.SIGKILL)
                break
        begun = max([begun, *map(int, process.stdout.read().split())])
    store = a_store(tmp_path)
    ended = store.ended()
    assert [t.number for t in ended] == list(range(1, len(ended) + 1)) and len(ended) >= 11
    assert all(trial == a_trial(trial.number) for trial in ended), "whole, each of them"
    assert [t.number for t in store.interrupted()] == list(range(len(ended) + 1, begun + 1))
    end(store, a_trial(500))
    assert store.ended()[-1].number == 500, "and the study goes on"
