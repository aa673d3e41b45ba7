"""A study that came to no trial yet: its students may become others, or be taught in another way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import student_task
from brief import brief

from autocompress import StorageError, Task
from autocompress.compression.recovered import read_checkpoint
from autocompress.files import read_json, write_json
from autocompress.search.evaluate.first_weights import StudentsStopped, first_weights_path
from autocompress.search.study import OpenStudy, opened
from autocompress.studies.study_file import StudyFile

Open = Callable[..., list[str]]


@pytest.fixture
def settings(sections: dict[str, dict[str, Any]]) -> StudyFile:
    found = StudyFile().named("with_one_student")
    for name, values in sections.items():
        found = found.changed(name, **values)
    return found.changed("budget", latency_ms=50.0).changed("recovery", student_epochs=1.0)


@pytest.fixture
def begin(settings: StudyFile, tmp_path: Path) -> Open:
    """Open the study until its student is being taught, and return what was said."""

    def begun(task: Task, looks: int, **recovery: Any) -> list[str]:
        asked: list[int] = []
        said: list[str] = []

        def stop() -> bool:
            asked.append(1)
            return len(asked) > looks

        asked_for = settings.changed("recovery", **recovery) if recovery else settings
        with pytest.raises(StudentsStopped), opened(asked_for, task, tmp_path, stop=stop, say=said.append):
            raise AssertionError("it was to stop")
        return said

    return begun


def wider() -> Task:
    return replace(student_task.one_student(), students={"plain": student_task.small()})


def test_a_first_training_begins_anew_with_other_settings_and_with_other_students(begin: Open, tmp_path: Path) -> None:
    folder, task = tmp_path / "with_one_student", student_task.one_student()

    def steps() -> int:
        state = read_checkpoint(first_weights_path(folder, "plain"))
        assert state is not None
        return int(state["step"])

    begin(task, 2)
    first = steps()
    begin(task, 1)
    assert steps() > first > 0, "the same goes on"
    said = begin(task, 1, student_epochs=2.0)
    assert steps() < first + 1 and any("with other settings" in line for line in said)
    begin(task, 2, student_epochs=2.0)
    known = read_json(folder / "identity.json")["students"]
    said = begin(wider(), 1, student_epochs=2.0)
    (line,) = [line for line in said if "not those of an earlier run" in line]
    assert "\n" not in line and read_json(folder / "identity.json")["students"] != known
    assert steps() < first + 1, "of the other network there is nothing yet"


@pytest.mark.slow
def test_an_opened_study_takes_other_students_until_it_has_a_trial(settings: StudyFile, tmp_path: Path) -> None:
    settings = settings.changed("recovery", student_epochs=0.0).changed("space", criterion="l1")

    def layers(task: Task) -> set[str]:
        with ExitStack() as held:
            held.enter_context(brief())
            study: OpenStudy = held.enter_context(opened(settings, task, tmp_path))
            return {layer for variable in study.space for layer in variable.layers if layer.startswith("plain")}

    one, other = layers(student_task.one_student()), layers(wider())
    assert one and other and one != other
    trial = tmp_path / "with_one_student" / "trials" / "0001" / "plan.json"
    write_json(trial, {})
    with pytest.raises(StorageError, match="begun with other students: plain is another network now"):
        layers(student_task.one_student())
