"""Trials in TensorBoard's files: whole and once, whatever was killed, frozen or full."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from followed import PATIENCE_S, ended, events, follow, telling, tensorboard_holds, until
from simulated_study import write_study

from autocompress.search.followers.base import EndedTrial
from autocompress.search.followers.following import Alone, Followings
from autocompress.search.followers.telling import followed_study
from autocompress.search.followers.tensorboard import TensorBoardFollower
from autocompress.search.report.front import Front


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return write_study(tmp_path / "runs" / "simulated", 14, layers=6)


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
