"""One job of a trial: what it gives, what ends the trial, and what ends the study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autocompress.compression.recover import Stopped
from autocompress.compression.recovered import read_checkpoint, read_weights
from autocompress.compression.student import Student
from autocompress.errors import MetricError, TrialFailed
from autocompress.evaluators.activations import Activations
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.measurement import Measurement
from autocompress.evaluators.templates import Templates
from autocompress.search.evaluate import evaluation
from autocompress.search.evaluate import rung as rungs
from autocompress.search.evaluate.checkpoints import checkpoint_path, recovered_student, start_student
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.gate import shape_path, time_shape
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.prepare.latency_samples import samples
from autocompress.search.trial import WarmStart
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec
from autocompress.studies.metric import metric_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("briefly")]


@pytest.fixture
def context(opened_context: ExecutorContext) -> EvaluationContext:
    return opened_context.context


def int8(context: EvaluationContext) -> StudentSpec:
    return StudentSpec(bits={layer.name: 8 for layer in context.network.layers})


def undefined(outputs: Tensor, labels: Tensor) -> float:
    return float("nan")


def test_a_metric_that_is_undefined_for_one_student_ends_that_trial_alone(context: EvaluationContext) -> None:
    odd = replace(context, task=replace(context.task, metric=metric_of(undefined)))
    result = evaluate(odd, Job(901, int8(context), "build"))
    assert "undefined" in result.failure and not result.measured
    with pytest.raises(MetricError):
        evaluate(odd, Job(902, StudentSpec(), "build"))


def test_a_shape_is_timed_once_however_it_is_taught(context: EvaluationContext) -> None:
    spec = int8(context)
    first = evaluate(context, Job(903, spec, "gate"))
    again = time_shape(context, replace(spec, recovery=Recovery(alpha=0.3)))
    assert first.latencies == again.latencies and first.size_bytes == again.size_bytes
    (session,) = context.sessions.values()
    path = shape_path(session, spec)
    assert path.exists() and dict(samples(session))[spec] == first.latencies["onnxruntime"].p50_ms
    for damage in ("{}", ""):
        path.write_text(damage)
        result = evaluate(context, Job(903, spec, "gate"))
        assert result.latencies and not result.failure, "it is measured again"
        assert path.read_text() != damage


def test_a_fault_in_one_plan_is_a_failure_with_its_traceback_on_disk(
    context: EvaluationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = evaluate(context, Job(904, StudentSpec(patterns={"no.such.layer": Pattern("2:4", 0.5)}), "gate"))
    assert result.failure and "\n" not in result.failure
    trace = context.folder / "trials" / "0904" / "fault.txt"
    assert str(trace) in result.failure and "Traceback" in trace.read_text()

    def stopped(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr(evaluation, "train_rung", stopped)
    assert evaluate(context, Job(905, StudentSpec(recovery=Recovery()), "rung")).stopped


@pytest.mark.parametrize("recovery", [Recovery(), Recovery(tune="lora", rank=2)], ids=lambda r: r.tune)
def test_a_student_goes_through_its_rungs_and_its_file_scores(context: EvaluationContext, recovery: Recovery) -> None:
    spec = replace(int8(context), recovery=recovery, channels={context.network.groups[0].name: 8})
    looked = evaluate(context, Job(906, spec, "look"))
    teacher = context.task.teacher
    assert looked.accuracy is not None and not looked.warm and looked.train_bytes is None
    for rung in (0, 1):
        taught = evaluate(context, Job(906, spec, "rung", rung))
        assert taught.accuracy is not None and taught.seconds.get("training", 0) > 0
        assert taught.train_bytes is not None and taught.train_bytes > sum(p.nbytes for p in teacher.parameters())
    paths = [checkpoint_path(context.folder, spec, rung) for rung in (0, 1)]
    assert [path.exists() for path in paths] == [False, True], "the next rung takes the place of the one before"
    again = evaluate(context, Job(907, spec, "rung", 1))
    assert again.accuracy == taught.accuracy and not again.seconds.get("training"), "what is taught alike is shared"
    assert again.train_bytes is None
    built = evaluate(context, Job(906, spec, "build"))
    file = built.measured["onnxruntime"]
    assert file.accuracy == pytest.approx(taught.accuracy, abs=0.05) and file.size_bytes > 0
    assert (context.folder / "trials" / "0906" / "model.onnx").is_file()


def test_what_quantization_aware_training_learned_reaches_the_file(context: EvaluationContext) -> None:
    spec = replace(int8(context), recovery=Recovery(quantization_aware=True))
    for rung in (0, 1):
        evaluate(context, Job(909, spec, "rung", rung))
    learned = recovered_student(context, spec).trained_ranges
    assert set(learned) == set(spec.bits)
    ((name, session),) = context.sessions.items()
    task = context.task
    templates, samples = Templates(task.teacher, task.example_input), task.validation.inputs(slice(0, 4))
    for method in ("minmax", "trained", "auto"):
        how = Activations(method, task.losses.soft)
        builder = ArtifactBuilder(session.runtime, session.target, templates, task.calibration, samples, how)
        builder.teacher_file(context.folder / f"teacher-{method}.onnx")
        chosen = replace(context, sessions={name: replace(session, builder=builder)})
        file = evaluate(chosen, Job(909, spec, "build")).measured[name]
        assert method in (file.calibration, "auto") and file.accuracy > 0.2
        assert from_plain(Measurement, to_plain(file)) == file


@pytest.mark.parametrize("damage", ["gone", "cut", "empty"])
def test_a_checkpoint_that_is_damaged_is_trained_again(
    context: EvaluationContext, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next student of the same shape takes its weights from there, in other bits."""
    here = replace(context, folder=tmp_path)
    spec = StudentSpec(recovery=Recovery())
    for rung in (0, 1):
        evaluate(here, Job(908, spec, "rung", rung))
    path = checkpoint_path(tmp_path, spec, 1)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    again = evaluate(here, Job(909, spec, "build"))
    assert not again.failure and again.measured["onnxruntime"].accuracy > 0.5
    assert any(str(path) in record.getMessage() for record in caplog.records)
    assert path.stat().st_size > len(content) // 2, "and kept for the next"
    look = path.with_suffix(f".{spec.key()}.json")
    look.write_text('{"accur')
    assert evaluate(here, Job(910, spec, "rung", 1)).accuracy is not None


def test_a_training_that_was_stopped_while_done_again_goes_on(context: EvaluationContext, tmp_path: Path) -> None:
    """Its checkpoint holds half of a training then, and no file is built of that."""
    here = replace(context, folder=tmp_path)
    spec = StudentSpec(recovery=Recovery())
    for rung in (0, 1):
        evaluate(here, Job(912, spec, "rung", rung))
    path = checkpoint_path(tmp_path, spec, 1)
    whole, _ = read_weights(path), path.unlink()
    asked = iter([False, False])
    stopped = evaluate(replace(here, stop=lambda: next(asked, True)), Job(912, spec, "build"))
    assert stopped.stopped and path.exists()
    with pytest.raises(TrialFailed, match="not taught to their end"):
        read_weights(path)
    built = evaluate(here, Job(912, spec, "build"))
    assert built.measured, built.failure
    again = read_weights(path)
    assert all(torch.allclose(again[name], value, atol=1e-3) for name, value in whole.items())


@pytest.mark.parametrize("rung", [0, 1])
def test_a_student_whose_checkpoint_is_cut_begins_where_it_began(
    context: EvaluationContext, tmp_path: Path, rung: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the weights of the student that its trial names, or with those of the rung before."""
    here = replace(context, folder=tmp_path)
    spec = StudentSpec(recovery=Recovery())
    for each in (0, 1):
        evaluate(here, Job(913, spec, "rung", each))
    start = WarmStart(913, spec, checkpoint_path(tmp_path, spec, 1).name)
    other = replace(spec, recovery=Recovery(alpha=0.3))
    if rung:
        evaluate(here, Job(914, other, "rung", 0, start))
    path = checkpoint_path(tmp_path, other, rung, start)
    path.write_bytes(b"PK")
    begun: list[tuple[WarmStart | None, int]] = []

    def watched(context: EvaluationContext, spec: StudentSpec, begins: WarmStart | None) -> Student:
        begun.append((begins, (read_checkpoint(path) or {"step": 0})["step"]))
        return start_student(context, spec, begins)

    monkeypatch.setattr(rungs, "start_student", watched)
    assert evaluate(here, Job(914, other, "rung", rung, start)).accuracy is not None
    steps = context.recoverer.schedule.rung_step(0, context.recoverer.data)
    assert begun == [(None, steps) if rung else (start, 0)]


def test_what_it_began_with_is_damaged_too(context: EvaluationContext, tmp_path: Path) -> None:
    start = WarmStart(1, StudentSpec(recovery=Recovery()), "cut-1.pt")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "cut-1.pt").write_bytes(b"PK")
    job = Job(911, StudentSpec(recovery=Recovery()), "build", warm_start=start)
    result = evaluate(replace(context, folder=tmp_path), job)
    assert "the weights of this student are gone" in result.failure and "\n" not in result.failure
    assert not (tmp_path / "trials" / "0911" / "fault.txt").exists(), "no fault of ours"
