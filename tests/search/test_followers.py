"""Trials that are logged elsewhere: whole, once, and never at the search's expense."""

from __future__ import annotations

import math
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated_study import EXAMPLES, write_study
from synthetic_spaces import chain

from autocompress.search.followers.base import EndedTrial, FollowedStudy, Follower
from autocompress.search.followers.following import Alone, Followings, seconds_to_end
from autocompress.search.followers.mlflow import STUDY, TRIAL, MlflowFollower
from autocompress.search.followers.telling import Telling, followed_study
from autocompress.search.followers.tensorboard import TensorBoardFollower
from autocompress.search.report.front import Front
from autocompress.search.trial import TrialState

SPACE = chain([32, 48] * 2 + [64, 10])
PATIENCE_S = 120.0


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return write_study(tmp_path / "runs" / "simulated", 14, layers=6)


def telling(front: Front) -> Telling:
    return Telling(front.folder, front.limits, front.objectives, SPACE.variables, EXAMPLES)


def follow(follower: Follower, front: Front, *counts: int) -> list[str]:
    """Let a follower see so many trials, more and more of them, as a search would; what was said meanwhile.

    That something is still being logged is a matter of the machine, and left out.
    """
    said: list[str] = []
    followings = Followings([follower], telling(front), said.append)
    for count in counts:
        followings.look(front.trials[:count])
        time.sleep(0.05)
    followings.close(PATIENCE_S)
    return [line for line in said if "still being logged" not in line]


def ended(front: Front) -> dict[int, EndedTrial]:
    return {trial.number: trial for trial in telling(front).of(front.trials, 0)}


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


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def tensorboard_holds(folder: Path, trials: dict[int, EndedTrial]) -> None:
    """Each trial once, with all that it has, as TensorBoard's own reader reads it."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    finished = [number for number, trial in trials.items() if trial.figures]
    curves = events(folder)
    for name in ("accuracy", "latency_ms", "p95_ms", "size_bytes"):
        points = {event.step: event.value for event in curves.Scalars(name)}
        assert Counter(event.step for event in curves.Scalars(name)) == dict.fromkeys(finished, 1), "each once"
        assert all(math.isclose(points[n], trials[n].figures[name], rel_tol=1e-6) for n in finished)
    assert {event.step for event in curves.Scalars("seconds/measuring")} == set(trials)
    assert max(event.step for event in curves.Scalars("hypervolume")) == list(trials)[-1]
    assert "hypervolume_by_second" in curves.Tags()["scalars"]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {f"trial-{n:04d}" for n in trials}
    for number, trial in trials.items():
        run = events(folder / f"trial-{number:04d}")
        content = run.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        start = HParamsPluginData.FromString(content).session_start_info.hparams
        for name, option in trial.decisions.items():
            kept = start[name].string_value if isinstance(option, str) else start[name].number_value
            assert kept == option, name
        assert start["state"].string_value == trial.state
        assert [event.value for event in run.Scalars("rungs")] == pytest.approx(trial.rungs) if trial.rungs else True


def test_tensorboard_has_each_trial_once_also_when_a_study_goes_on(front: Front, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    folder = tmp_path / "board"
    assert follow(TensorBoardFollower(folder), front, 3, 4) == []
    left = folder / "simulated" / ".unfinished-trial-0005"
    left.mkdir()  # of a search that was killed
    assert follow(TensorBoardFollower(folder), front, 5, 9, 14) == []
    assert follow(TensorBoardFollower(folder), front, 14) == [], "nothing is new"
    tensorboard_holds(folder / "simulated", ended(front))


def test_no_point_is_there_twice_after_a_kill_in_the_midst_of_a_trial(front: Front, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    folder = tmp_path / "board" / "simulated"
    follow(TensorBoardFollower(tmp_path / "board"), front, 9)
    for trial in front.trials[6:9]:
        name = f"trial-{trial.number:04d}"
        (folder / name).rename(folder / f".unfinished-{name}")  # as it is before the trial is whole
    assert follow(TensorBoardFollower(tmp_path / "board"), front, 14) == []
    tensorboard_holds(folder, ended(front))


def test_of_two_drivers_one_logs_at_a_time_and_each_trial_once(front: Front, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    who, said = ["first"], list[str]()

    class Turn(Alone):
        def __init__(self, name: str) -> None:
            self._name = name

        def logged_by(self, place: str) -> str:
            return "" if who[0] == self._name else f"the {who[0]} one"

    both = {
        name: Followings([TensorBoardFollower(tmp_path / "board")], telling(front), said.append, Turn(name))
        for name in ("first", "second")
    }
    for count in (3, 6, 9):
        for followings in both.values():
            followings.look(front.trials[:count])
        time.sleep(0.3)
    with both["first"].held(PATIENCE_S):
        who[0] = "second"  # it has left
    for followings in both.values():
        followings.look(front.trials)
    for followings in both.values():
        followings.close(PATIENCE_S)
    where = f"the trials of this study to TensorBoard's files in {tmp_path / 'board'}"
    assert sorted(said) == [f"the first one logs {where}", f"the second one logs {where}"]
    tensorboard_holds(tmp_path / "board" / "simulated", ended(front))


STAGES = ("first point", "last point", "hyperparameters", "text")


class Halting(TensorBoardFollower):
    """Does something else in the midst of the second trial."""

    def __init__(self, folder: Path, stage: str, then: Callable[[], None]) -> None:
        super().__init__(folder)
        make, places = self._make_writer, {"first point": "add_scalar", "last point": "flush", "text": "add_text"}
        self._then: Callable[[], None] | None = None
        place = places.get(stage, "add_hparams")

        def halting(*words: Any, **named: Any) -> Any:
            writer = make(*words, **named)
            act = getattr(writer, place)

            def stopping(*words: Any, **named: Any) -> Any:
                todo, self._then = self._then, None
                if todo is not None:
                    todo()
                return act(*words, **named)

            setattr(writer, place, stopping)
            return writer

        self._make_writer, self._wanted = halting, then

    def add(self, trial: EndedTrial) -> None:
        self._then = self._wanted if trial.number == 2 else None
        super().add(trial)


@pytest.mark.parametrize(
    ("frozen", "wakes"),
    [*((stage, "late") for stage in STAGES), *zip(STAGES, reversed(STAGES), strict=True), (STAGES[0], STAGES[0])],
)
def test_a_driver_that_was_frozen_while_another_had_its_turn_doubles_no_trial(
    front: Front, tmp_path: Path, frozen: str, wakes: str
) -> None:
    """Its lease is taken after a while. It goes on when the other one is through, or in the midst of the same trial."""
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    study, trials = followed_study(front.folder, front.objectives), ended(front)
    sleeps, woken = threading.Event(), threading.Event()

    def sleep() -> None:
        sleeps.set()
        assert woken.wait(PATIENCE_S)

    def wake() -> None:
        woken.set()
        thread.join(PATIENCE_S)

    def log(follower: TensorBoardFollower, *numbers: int) -> None:
        there = set(follower.open(study))
        for number in numbers:
            if number not in there:
                follower.add(trials[number])

    first = Halting(tmp_path / "board", frozen, sleep)
    second = Halting(tmp_path / "board", wakes, wake)
    thread = threading.Thread(target=log, args=(first, 1, 2, 3))
    thread.start()
    assert sleeps.wait(PATIENCE_S)
    log(second, *trials)
    wake()
    first.close()
    second.close()
    tensorboard_holds(tmp_path / "board" / "simulated", trials)


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


def test_another_study_of_one_name_has_a_folder_of_its_own(front: Front, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    other = write_study(tmp_path / "elsewhere" / "simulated", 6, layers=6, seed=1)
    follow(TensorBoardFollower(tmp_path / "board"), front, 14)
    follow(TensorBoardFollower(tmp_path / "board"), other, 6)
    identity = followed_study(other.folder, other.objectives).identity
    tensorboard_holds(tmp_path / "board" / "simulated", ended(front))
    tensorboard_holds(tmp_path / "board" / f"simulated-{identity}", ended(other))


def test_a_disk_that_fails_costs_a_line_and_trials_are_logged_later(front: Front, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    (tmp_path / "board").write_text("a file where the folder would be")
    said: list[str] = []
    followings = Followings([TensorBoardFollower(tmp_path / "board")], telling(front), said.append)
    followings.look(front.trials[:3])
    until(lambda: (followings.look(front.trials[:3]), said)[1])
    followings.look(front.trials[:4])
    assert len(said) == 1 and "cannot be logged to TensorBoard's files" in said[0] and "search goes on" in said[0]
    (tmp_path / "board").unlink()
    followings.look(front.trials)
    followings.close(PATIENCE_S)
    assert len(said) == 2 and "again" in said[1]
    tensorboard_holds(tmp_path / "board" / "simulated", ended(front))


def until(done: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.05)


@pytest.fixture
def mlflow_uri(tmp_path: Path) -> str:
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def runs_of(uri: str) -> tuple[Any, Any, dict[int, Any]]:
    """MLflow's client, the run of the study, and those of its trials by number."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("simulated")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (study,) = [run for run in runs if TRIAL not in run.data.tags]
    numbers = [int(run.data.tags[TRIAL]) for run in runs if TRIAL in run.data.tags]
    assert len(set(numbers)) == len(numbers), "each once"
    return client, study, {int(run.data.tags[TRIAL]): run for run in runs if TRIAL in run.data.tags}


def key(name: str) -> str:
    """A name as MLflow has it."""
    return re.sub(r"[^/\w.\- ]", "_", name)


@pytest.mark.slow
def test_mlflow_has_each_trial_once_also_when_a_study_goes_on(front: Front, mlflow_uri: str) -> None:
    assert follow(MlflowFollower(mlflow_uri), front, 3) == []
    client, study, runs = runs_of(mlflow_uri)
    identity = followed_study(front.folder, front.objectives).identity
    killed = client.create_run(study.info.experiment_id, tags={STUDY: identity, TRIAL: "4"})
    late = client.create_run(study.info.experiment_id, tags={STUDY: identity, TRIAL: "2"})
    client.set_terminated(late.info.run_id, "FINISHED")  # of a driver that had left, and was answered late
    assert follow(MlflowFollower(mlflow_uri), front, 8, 14) == [] == follow(MlflowFollower(mlflow_uri), front, 14)
    client, study, runs = runs_of(mlflow_uri)
    trials = ended(front)
    assert runs.keys() == trials.keys() and runs[4].info.run_id != killed.info.run_id
    for number, run in runs.items():
        trial = trials[number]
        assert run.data.params == {key(name): str(option) for name, option in trial.decisions.items()}
        figures = {key(name): value for name, value in trial.figures.items()}
        assert {name: run.data.metrics[name] for name in figures} == pytest.approx(figures)
        assert run.data.metrics["seconds/measuring"] == pytest.approx(trial.seconds["measuring"])
        assert run.data.tags["state"] == trial.state and run.data.tags["mlflow.parentRunId"] == study.info.run_id
        assert run.info.status == {"finished": "FINISHED", "gated": "KILLED", "failed": "FAILED"}[trial.state]
        assert run.info.end_time - run.info.start_time == pytest.approx(1000 * sum(trial.seconds.values()), abs=2)
        if trial.rungs:
            history = client.get_metric_history(run.info.run_id, "rungs")
            assert [(each.step, each.value) for each in history] == list(enumerate(trial.rungs, 1))
    volumes = client.get_metric_history(study.info.run_id, "hypervolume")
    assert [each.step for each in volumes] == [n for n, trial in trials.items() if trial.hypervolume is not None]
    assert study.info.status == "FINISHED"


@pytest.mark.slow
def test_a_server_that_is_away_costs_two_lines_without_its_password(
    front: Front, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # that is so by itself, after longer waits
    said = follow(MlflowFollower("http://somebody:secret@127.0.0.1:9"), front, 14)
    assert len(said) == 2 and "cannot be logged to MLflow at http://somebody:***@127.0.0.1:9" in said[0]
    assert "14 trials are not logged" in said[1] and not any("secret" in line for line in said)
    assert follow(MlflowFollower(mlflow_uri), front, 14) == []
    assert len(runs_of(mlflow_uri)[2]) == 14


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


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_a_search_is_followed_as_a_user_asks_for_it(
    tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    import autocompress
    from autocompress.studies.task import load_task

    board, without = tmp_path / "board", {"without": ("latency_model", "sensitivity", "initial_design")}
    given = {"runs": tmp_path / "runs", "tensorboard": board, "search": without, **sections}
    for trials in (2, 1):  # the second run goes on
        found = autocompress.compress(load_task(str(tiny_task)), trials=trials, **given)
    folder = board / found.folder.name
    accuracy = events(folder).Scalars("accuracy")
    assert sorted(event.step for event in accuracy) == sorted(t.number for t in found.trials if t.finished)
    assert len(list(folder.glob("trial-*"))) == len(found.trials) == 3
