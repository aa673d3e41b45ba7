"""The first weights of the user's own students: taught once, kept in the study's folder, and known again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import student_task
import torch
from brief import brief
from torch import Tensor

from autocompress.compression.export import Template
from autocompress.compression.recovered import read_checkpoint
from autocompress.compression.student import make_student
from autocompress.compression.warm_start import warm_parent
from autocompress.errors import StorageError, TrialFailed
from autocompress.search.evaluate.checkpoints import recovered_student, start_student
from autocompress.search.evaluate.context import EvaluationContext, open_context
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.first_weights import (
    StudentsStopped,
    first_weights_path,
    load_first_weights,
    teach_students,
)
from autocompress.search.evaluate.job import Job
from autocompress.search.evaluate.parcel import opening_parcel
from autocompress.search.executors.worker import _context
from autocompress.search.identity import check_identity, differences, identity_of
from autocompress.search.prepare.sensitivities import sensitivity_without_measuring_latency
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.checkpoint import save_weights
from autocompress.studies.study_file import StudyFile

PLAIN = StudentSpec(student="plain")


@pytest.fixture(scope="module")
def settings(sections: dict[str, dict[str, Any]]) -> StudyFile:
    found = StudyFile()
    for name, values in sections.items():
        found = found.changed(name, **values)
    return found.changed("recovery", student_epochs=12.0)


@pytest.fixture(scope="module")
def context(settings: StudyFile, tmp_path_factory: pytest.TempPathFactory) -> EvaluationContext:
    folder = tmp_path_factory.mktemp("students")
    task = student_task.one_student().bare().prepared()
    check_identity(folder, task)
    with brief():
        return open_context(task, settings, folder)


def test_a_student_is_taught_before_anything_is_searched(context: EvaluationContext) -> None:
    untaught = student_task.one_student().prepared()
    images, labels = context.task.validation.inputs(slice(0, 300)), context.task.validation.labels[:300]
    with torch.no_grad():
        before, after = (
            float((task.students["plain"](images).argmax(1) == labels).float().mean())
            for task in (untaught, context.task)
        )
    assert after > max(0.5, before + 0.2)
    rated, found = context.network.students["plain"].groups, context.parent.students["plain"].groups
    assert rated == found and "plain" in str([g.name for g in rated])


def test_workers_and_later_runs_have_the_same_weights(context: EvaluationContext, settings: StudyFile) -> None:
    again = student_task.one_student().bare().prepared()
    check_identity(context.folder, again, worker=True)
    load_first_weights(again, context.folder)
    for name, value in context.task.students["plain"].state_dict().items():
        assert torch.equal(value, again.students["plain"].state_dict()[name])
    assert "students/plain.pt" in opening_parcel(context.folder).files
    path = first_weights_path(context.folder, "plain")
    before = path.read_bytes()
    teach_students(again, context.recoverer, settings.recovery, context.folder, lambda: False, lambda line: None)
    assert path.read_bytes() == before, "what was taught is not taught again"


def test_weights_that_are_gone_or_others_end_the_study_in_a_line(
    context: EvaluationContext, settings: StudyFile, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(context.folder, folder)
    path = first_weights_path(folder, "plain")
    state = torch.load(path, weights_only=True)
    state["module"] = {name: value + 1 for name, value in state["module"].items()}
    torch.save(state, path)
    task = student_task.one_student().bare().prepared()
    with pytest.raises(StorageError, match="begun with other first weights of student plain"):
        open_context(task, settings, folder)
    path.unlink()
    with pytest.raises(StorageError, match="the first weights of student plain are gone"):
        load_first_weights(task, folder)


def test_a_study_keeps_its_students(context: EvaluationContext) -> None:
    more = r"begun with other students \(in Task\(students=...\): plain; now small, small@0.75, small@0.5, plain\)"
    with pytest.raises(StorageError, match=more):
        check_identity(context.folder, student_task.task().prepared())
    alone = replace(student_task.one_student(), students={}).prepared()
    with pytest.raises(StorageError, match=r"begun with other students .*: plain; now none\)"):
        check_identity(context.folder, alone)
    wider = replace(student_task.one_student(), students={"plain": student_task.small}).prepared()
    wider = replace(wider, students={"plain": wider.students["plain"]})
    with pytest.raises(StorageError, match="begun with other students: plain is another network now"):
        check_identity(context.folder, wider)
    assert not differences(identity_of(alone), identity_of(alone)) and "students" not in identity_of(alone)


def test_a_first_training_that_was_stopped_goes_on(
    context: EvaluationContext, settings: StudyFile, tmp_path: Path
) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    def teach(stop: Callable[[], bool]) -> None:
        teach_students(context.task, context.recoverer, settings.recovery, tmp_path, stop, lambda line: None)

    with pytest.raises(StudentsStopped):
        teach(stop)
    state = read_checkpoint(first_weights_path(tmp_path, "plain"))
    assert state is not None and state["step"] > 0 and state["optimizer"] is not None
    with pytest.raises(StorageError, match="are gone"):
        load_first_weights(context.task, tmp_path)
    teach(lambda: False)
    done = read_checkpoint(first_weights_path(tmp_path, "plain"))
    assert done is not None and done["optimizer"] is None and done["step"] > state["step"]


def begun(context: EvaluationContext, settings: StudyFile, folder: Path, steps: int = 3) -> dict[str, Any]:
    """Begin to teach the student, and return what a run leaves that is stopped after a few looks at the clock."""
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > steps

    with pytest.raises(StudentsStopped):
        teach_students(context.task, context.recoverer, settings.recovery, folder, stop, lambda line: None)
    state = read_checkpoint(first_weights_path(folder, "plain"))
    assert state is not None
    return state


@pytest.fixture(scope="module")
def at_once(
    context: EvaluationContext, settings: StudyFile, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Tensor]:
    """What the student learns in one go."""
    folder = tmp_path_factory.mktemp("at_once")
    teach_students(context.task, context.recoverer, settings.recovery, folder, lambda: False, lambda line: None)
    done = read_checkpoint(first_weights_path(folder, "plain"))
    assert done is not None
    return dict(done["module"])


@pytest.mark.parametrize("damage", ["cut", "another network", "another shape", "no weights", "longer", "another way"])
def test_what_another_network_had_learned_is_put_aside_and_the_student_taught_anew(
    context: EvaluationContext,
    settings: StudyFile,
    at_once: dict[str, Tensor],
    tmp_path: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state, path, said = begun(context, settings, tmp_path), first_weights_path(tmp_path, "plain"), list[str]()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        other: dict[str, Any] = {
            "another network": {"module": {f"other.{name}": value for name, value in state["module"].items()}},
            "another shape": {"module": {name: value[:3] for name, value in state["module"].items()}},
            "no weights": {"module": 7},
            "longer": {"step": 10**6},
            "another way": {"recovery": {**state["recovery"], "optimizer": "adamw"}},
        }
        torch.save({**state, **other[damage]}, path)
    teach_students(context.task, context.recoverer, settings.recovery, tmp_path, lambda: False, said.append)
    done = read_checkpoint(path)
    assert done is not None and done["optimizer"] is None and path.with_suffix(".unreadable").exists()
    (told,) = [line for line in (*said, *caplog.messages) if "put aside" in line]
    assert "\n" not in told and str(path) in told
    assert all(torch.equal(value, done["module"][name]) for name, value in at_once.items()), "from its start"


def test_a_training_that_was_stopped_at_its_lower_rate_goes_on_at_that(
    context: EvaluationContext, settings: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.search.evaluate.first_weights.LEARNING_RATES", (1e9, 0.01))
    state = begun(context, settings, tmp_path, 9)
    assert state["recovery"]["learning_rate"] == 0.01 and state["step"] > 0, "the first did not bear it"
    again = begun(context, settings, tmp_path)
    assert again["recovery"] == state["recovery"] and again["step"] > state["step"]
    teach_students(context.task, context.recoverer, settings.recovery, tmp_path, lambda: False, lambda line: None)
    at_once = tmp_path / "at once"
    teach_students(context.task, context.recoverer, settings.recovery, at_once, lambda: False, lambda line: None)
    one, other = (read_checkpoint(first_weights_path(each, "plain")) for each in (tmp_path, at_once))
    assert one is not None and other is not None
    assert all(torch.equal(value, other["module"][name]) for name, value in one["module"].items())


def test_weights_can_stay_as_they_were_given(context: EvaluationContext, settings: StudyFile, tmp_path: Path) -> None:
    task = student_task.one_student().prepared()
    given = {name: value.clone() for name, value in task.students["plain"].state_dict().items()}
    recovery = settings.changed("recovery", student_epochs=0.0).recovery
    teach_students(task, context.recoverer, recovery, tmp_path, lambda: False, lambda line: None)
    load_first_weights(task, tmp_path)
    assert all(torch.equal(value, given[name]) for name, value in task.students["plain"].state_dict().items())


def test_sensitivities_leave_out_students_that_were_not_taught(
    context: EvaluationContext, settings: StudyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    task, folder = student_task.one_student(), tmp_path / "study"
    shutil.copytree(context.folder, folder)
    save_weights(task.bare().teacher, folder / "teacher.safetensors")
    channels = settings.changed("space", axes=("channels",)).changed("teacher", epochs=0)
    said: list[str] = []
    with_student = sensitivity_without_measuring_latency(channels, folder, task, said.append)
    assert any("plain" in row for row in with_student.rows) and not any("left out" in line for line in said)
    shutil.rmtree(folder / "students")
    for place, why in ((folder, "are gone; restore them from a copy"), (None, "only a study teaches it")):
        said.clear()
        found = sensitivity_without_measuring_latency(channels, place, task, said.append)
        (line,) = [line for line in said if "left out" in line]
        assert why in line and "plain" in line and "\n" not in line
        assert found.rows and not any("plain" in row for row in found.rows)


def test_a_student_is_cut_from_its_own_network(context: EvaluationContext) -> None:
    parent, (group,) = context.parent, context.network.students["plain"].groups
    half = replace(PLAIN, channels={group.name: 16})
    found = make_student(parent, half).module
    alone = make_student(parent.students["plain"], replace(half, student="")).module
    inputs = context.task.validation.inputs(slice(0, 8))
    assert isinstance(inputs, Tensor)
    assert torch.equal(found(inputs), alone(inputs)) and found.get_submodule(group.name).weight.shape[0] == 16
    with pytest.raises(TrialFailed, match="no student 'other'"):
        make_student(parent, StudentSpec(student="other"))


def test_a_warm_start_gives_the_same_student_its_weights_and_no_other(context: EvaluationContext) -> None:
    parent, taught = context.parent, make_student(context.parent, PLAIN).module
    with torch.no_grad():
        for parameter in taught.parameters():
            parameter.add_(0.125)
    begun = warm_parent(parent, PLAIN, taught.state_dict())
    state = make_student(begun, PLAIN).module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in taught.state_dict().items())
    teacher = make_student(begun, StudentSpec()).module.state_dict()
    assert all(torch.equal(value, teacher[name]) for name, value in context.task.teacher.state_dict().items())


@pytest.mark.slow
def test_a_student_is_timed_taught_and_built_as_all_others(context: EvaluationContext) -> None:
    (group,) = context.network.students["plain"].groups
    layers = [layer.name for layer in context.network.students["plain"].layers]
    spec = replace(PLAIN, channels={group.name: 16}, bits=dict.fromkeys(layers, 8), recovery=Recovery())
    teacher = next(iter(context.sessions.values())).calibration.p50_ms
    timed = evaluate(context, Job(1, spec, "gate"))
    assert not timed.failure and 0 < timed.latencies["onnxruntime"].p50_ms < teacher
    for rung in range(len(context.recoverer.schedule.rungs)):
        assert not evaluate(context, Job(1, spec, "rung", rung)).failure
    built = evaluate(context, Job(1, spec, "build"))
    assert not built.failure and built.measured["onnxruntime"].accuracy > 0.6
    assert recovered_student(context, spec).module.get_submodule(group.name).weight.shape[0] == 16
    # none of the teacher's layers is in the file, and each of its own is in the bits that it has
    template: Template = next(iter(context.sessions.values())).builder.templates.get(1, spec.structure())
    assert set(template.layers.values()) == set(layers)
    assert start_student(context, spec, None).module is not context.parent.students["plain"].module


@pytest.mark.slow
def test_a_worker_process_makes_the_same_students(context: EvaluationContext, settings: StudyFile) -> None:
    settings = settings.changed("task", **{"from": f"{student_task.__file__}:one_student"})
    save_weights(student_task.one_student().bare().teacher, context.folder / "teacher.safetensors")
    worker = _context(settings, context.folder)
    spec = replace(PLAIN, recovery=Recovery())
    mine, its = (start_student(each, spec, None).module.state_dict() for each in (context, worker))
    assert all(torch.equal(value, its[name]) for name, value in mine.items())
