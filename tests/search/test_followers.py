"""Trials that are logged elsewhere: whole, once, and never at the search's expense."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from followed import PATIENCE_S, SPACE, ended, telling
from simulated_study import EXAMPLES, write_study

from autocompress.search.followers.base import EndedTrial, FollowedStudy
from autocompress.search.followers.following import Followings, seconds_to_end
from autocompress.search.followers.telling import Telling
from autocompress.search.report.front import Front
from autocompress.search.trial import TrialState


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return write_study(tmp_path / "runs" / "simulated", 14, layers=6)


def test_a_trial_is_told_with_every_decision_and_figure(front: Front) -> None:
    found = ended(front)
    assert list(found) == [trial.number for trial in front.trials]
    finished = next(t for t in front.trials if t.finished)
    told, (file,) = found[finished.number], finished.measured.values()
    assert told.decisions.keys() == {variable.name for variable in SPACE}
    assert all(told.decisions[name] == option for name, option in finished.plan.choices.items())
    assert told.figures == {
        "accuracy": file.accuracy, "latency_ms": file.latency.p50_ms, "p50_ms": file.latency.p50_ms,
        "p95_ms": file.latency.p95_ms, "size_bytes": file.size_bytes, "compressed_bytes": file.compressed_bytes,
    }  # fmt: skip
    assert told.seconds == finished.seconds
    assert told.ended_at_s - told.begun_at_s == pytest.approx(sum(finished.seconds.values()))
    volumes = [trial.hypervolume for trial in found.values() if trial.hypervolume is not None]
    assert volumes and volumes == sorted(volumes), "the front never shrinks"
    gated = next((t for t in front.trials if t.state is TrialState.GATED), None)
    assert gated is None or (not found[gated.number].figures and found[gated.number].reason)


def test_several_targets_have_figures_of_their_own_and_a_metric_that_falls_is_shown_as_it_is(front: Front) -> None:
    from autocompress.search.feasibility import Limits
    from autocompress.studies.metric import MetricLabel

    trial = next(t for t in front.trials if t.finished)
    (file,) = trial.measured.values()
    both = replace(trial, measured={"onnxruntime": replace(file, accuracy=-3.5), "openvino": file})
    limits = Limits(("onnxruntime", "openvino"), metric=MetricLabel("perplexity", "minimize"))
    names = ("accuracy", "latency_ms@onnxruntime", "latency_ms@openvino")
    (told,) = Telling(front.folder, limits, names, SPACE.variables, EXAMPLES).of([both], 0)
    assert told.figures["perplexity@onnxruntime"] == 3.5 and told.figures["accuracy"] == -3.5
    assert told.figures["p95_ms@openvino"] == told.figures["p95_ms@onnxruntime"] == file.latency.p95_ms


class Stuck:
    """A server that takes what it is given, and does not answer."""

    where = "a server"

    def __init__(self) -> None:
        self.answers = threading.Event()

    def open(self, study: FollowedStudy) -> set[int]:
        return set()

    def add(self, trial: EndedTrial) -> None:
        self.answers.wait(PATIENCE_S)

    def close(self) -> None:
        pass


def test_a_follower_holds_the_end_for_some_seconds_and_says_so(front: Front) -> None:
    said, stuck = list[str](), Stuck()
    followings = Followings([stuck], telling(front), said.append)
    followings.look(front.trials)
    begun_s = time.monotonic()
    followings.close(3.2)
    assert time.monotonic() - begun_s < 5
    assert said == [
        "14 trials are still being logged to a server: waiting 2 s for that, at most",
        "14 trials are not logged to a server; the next run of this study does so",
    ]
    stuck.answers.set()


def test_followers_hold_the_end_no_longer_than_is_left_of_the_minutes() -> None:
    assert seconds_to_end(True, None) == 1 and seconds_to_end(False, None) == 30
    assert [seconds_to_end(False, left_s) for left_s in (-3.0, 2.0, 12.0, 600.0)] == [5, 5, 12, 30]


@pytest.mark.parametrize("library", ["tensorboard", "mlflow"])
def test_a_library_that_is_missing_is_told_before_anything_begins(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [each for each in sys.modules if each.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    code, _, err = cli("search", "digits", f"--{library}", "here")
    assert code == 2 and len(err.splitlines()) == 1 and f"pip install 'autocompress[{library}]'" in err
    assert not list(tmp_path.iterdir())
