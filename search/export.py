"""One trial's student as files for other targets, each checked against the student itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from ..errors import AutoCompressError, MeasurementError, RuntimeUnavailable, StorageError, UsageError, one_line
from ..evaluators.activations import Activations
from ..evaluators.artifact import ArtifactBuilder
from ..evaluators.bench import bench
from ..evaluators.runtimes.base import Ranges, Runtime, check_inputs
from ..evaluators.runtimes.registry import get_runtime
from ..evaluators.score import PARITY, as_arrays, file_bytes, file_outputs, predict, relative_difference
from ..evaluators.shipping import MeasuredFile
from ..evaluators.templates import Templates
from ..evaluators.timing.processes import TimedFile
from ..evaluators.written import written_operators
from ..files import PARTIAL, check_folder, digest, disk_errors, move, remove, write_json
from ..spaces.inputs import call, tensors_of
from ..spaces.layers import find_layers
from ..spaces.recurrent import find_recurrent
from ..spaces.spec import StudentSpec
from ..spaces.tables import find_tables
from ..spaces.target import Target, bits_on, ways_on
from ..studies.checkpoint import load_weights
from ..studies.metric import SHARES
from ..studies.study_file import StudyFile
from ..studies.task import PreparedTask, Task
from ..temporary import temporary_folder
from .bundle.replacing import read_noted
from .evaluate.bootstrap import standard_error
from .evaluate.checkpoints import kept_student
from .evaluate.target_session import timing_inputs
from .exported import Exported, Exports, known_ranges_remark
from .report.front import Front
from .report.intact import refuse_inside_a_study
from .report.reading import read_front
from .store.layout import target_folder
from .store.settings import read_settings, task_of
from .trial import Trial

LIST = "export.json"
"""Says what an export wrote."""
SAMPLES = 64
"""Validation inputs on which a file is held against its student."""


def export(
    folder: Path,
    number: int,
    targets: Sequence[str],
    out: Path,
    task: Task | None = None,
    say: Callable[[str], None] = lambda line: None,
    run_code: bool = False,
) -> Exports:
    """Write one trial of a study for each of some targets into `out/<target>/`, with `out/export.json`.

    A target that cannot be had does not keep the others from being built.

    Args:
        folder: The study's folder.
        number: Of the trial.
        targets: Names such as "openvino" or "tensorrt@cuda".
        out: Where the files go.
        task: The study's task, where it was searched from Python.
        say: Takes a line about what is going on.
        run_code: Whether to run code that a study from elsewhere names.

    Raises:
        UsageError: There is no such trial, its weights are gone, the study's task is not known, or `out` is in a study.
        StorageError: The teacher's file is gone, or the disk is full or cannot be written.
        UnknownName: A runtime that does not exist.
        AutoCompressError: What the study's data raise.
    """
    check_folder(out)
    refuse_inside_a_study(out)
    trial = _trial(folder, number)
    settings = read_settings(folder)
    wanted = list({target.name: target for target in (_target(name, settings) for name in targets)}.values())
    if not wanted:
        raise UsageError("no target to export for; name one or more, such as openvino,litert")
    runtimes = {target.name: get_runtime(target.runtime) for target in wanted}
    written = written_by_exports(out, [f"{name}/model{runtime.suffix}" for name, runtime in runtimes.items()])
    say("reading the data and the teacher")
    task = task or task_of(settings, folder, run_code)
    task = task.bare()
    load_weights(task.teacher, folder / "teacher.safetensors")
    prepared = task.prepared()
    student = kept_student(prepared, trial, folder, settings)
    first = settings.target.targets()[0]
    teacher = TimedFile(teacher_file(folder, first), first) if get_runtime(first.runtime).available().ok else None
    templates = Templates(student.module, prepared.example_input, exact=True)
    activations = Activations(settings.recovery.calibration, prepared.losses.soft)
    job = _Work(prepared, student.module, trial.spec, templates, teacher, activations, student.trained_ranges)
    found: list[Exported] = []
    write_json(out / LIST, _list(folder, number, found, written))  # an export that is interrupted can be repeated
    for target in wanted:
        say(f"building for {target.name}")
        try:
            with disk_errors(out):
                built = _one(job, target, runtimes[target.name], out / target.name)
            found.append(built)
            if job.beside is None and built.latency is not None and built.path is not None:
                job = replace(job, other=TimedFile(built.path, target))
        except StorageError:
            raise
        except Exception as error:  # whatever a library makes of a network that it does not know
            kind = "" if isinstance(error, AutoCompressError) else f"{type(error).__name__}: "
            found.append(Exported(target.name, reason=f"{kind}{one_line(error)}"))
    write_json(out / LIST, _list(folder, number, found, written))
    front = read_front(folder)
    label = front.limits.metric
    return Exports(
        tuple(found),
        _measured_teacher(job, front, found),
        label,
        len(prepared.validation) if prepared.metric.function in SHARES else 0,
        front.limits.min_accuracy,
    )


def _measured_teacher(work: _Work, front: Front, found: Sequence[Exported]) -> MeasuredFile | None:
    latency = next((entry.beside for entry in found if entry.beside is not None), None)
    if latency is None or work.teacher is None:
        return None
    name = work.teacher.target.name
    known = None if front.teacher is None else front.teacher.on((name,))  # of its files, the one that was timed
    quality, sd = (None, None) if known is None else (known.quality, known.quality_sd)
    return MeasuredFile(f"teacher on {name}", latency, file_bytes(work.teacher.path), quality, sd)


def teacher_file(folder: Path, target: Target) -> Path:
    """Return the teacher's file for a target of a study.

    Raises:
        StorageError: It is gone.
    """
    path = target_folder(folder, target.name) / f"teacher{get_runtime(target.runtime).suffix}"
    if not path.exists():
        raise StorageError(f"{path}: the teacher's file is gone; restore it from a copy of the study")
    return path


def written_by_exports(out: Path, names: Sequence[str]) -> list[str]:
    """Return all files that exports wrote into a folder, with those that one is about to write.

    Args:
        out: The folder.
        names: What is to be written there.

    Raises:
        UsageError: A file that no export wrote would be lost, or the list of what exports wrote is damaged.
    """
    kept = read_noted(out / LIST)
    values = kept or {}
    files: Any = values.get("files")
    written: Any = values.get("written", [])
    lost = [LIST] if kept is not None and not (isinstance(files, list) and isinstance(written, list)) else []
    told = [] if lost or kept is None else [*written, *(each.get("path") for each in files if isinstance(each, dict))]
    earlier = {name for name in told if isinstance(name, str)}
    lost += [name for name in names if (out / name).exists() and name not in earlier]
    if lost:
        raise UsageError(
            f"{out / lost[0]} would be lost, which no earlier export wrote; give another folder, or move it away"
        )
    return sorted({*names, *(name for name in earlier if (out / name).exists())})


def _trial(folder: Path, number: int) -> Trial:
    trials = {trial.number: trial for trial in read_front(folder).trials if trial.finished}
    if number not in trials:
        known = ", ".join(map(str, sorted(trials))) or "none"
        raise UsageError(f"{folder} has no finished trial {number}; finished: {known}")
    return trials[number]


def _target(name: str, settings: StudyFile) -> Target:
    first = settings.target.targets()[0]
    runtime, at, device = name.partition("@")
    if at and not device:
        raise UsageError(f"{name} names no device behind the @: give RUNTIME@DEVICE, or leave the @ out")
    state = get_runtime(runtime).available()
    # a file for a GPU can be built where there is none
    device = device or (state.devices[0] if state.devices and first.device not in state.devices else first.device)
    return replace(first, runtime=runtime, device=device)


@dataclass(frozen=True)
class _Work:
    task: PreparedTask
    student: torch.nn.Module
    spec: StudentSpec
    templates: Templates
    teacher: TimedFile | None
    activations: Activations
    trained: Ranges
    other: TimedFile | None = None

    @property
    def beside(self) -> TimedFile | None:
        """What all files are timed beside: the teacher's, or where that does not run here, the first that does."""
        return self.teacher or self.other


def _one(work: _Work, target: Target, runtime: Runtime, out: Path) -> Exported:
    state = runtime.available()
    if not state.builds:
        raise RuntimeUnavailable(f"not built: {state.reason}")
    can = runtime.capabilities(target)
    check_inputs(target.runtime, can, len(tensors_of(work.task.example_input)))
    layers = [layer.name for layer in find_layers(work.student, work.task.example_input)]
    tables = {layer.name for layer in find_tables(work.student, work.task.example_input)[0]}
    recurrent = {layer.name: layer.kind for layer in find_recurrent(work.student, work.task.example_input)[0]}
    bits = bits_on(can, work.spec.realised(work.spec.bits), layers, tables, recurrent)
    asked = work.spec.realised(work.spec.activations)
    spec = StudentSpec(bits=bits, activations=ways_on(can, bits, asked, recurrent))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"model{runtime.suffix}"
    part = path.with_name(f"{PARTIAL}{path.name}")  # nobody's own file is called that
    remove(path)  # of an earlier export: what is there is what this one says
    try:
        samples = work.task.validation.inputs(slice(0, SAMPLES))
        calibration = work.task.calibration
        builder = ArtifactBuilder(runtime, target, work.templates, calibration, samples, work.activations)
        # the student is the network here: whatever was replaced in it is part of it
        artifact = builder.build(work.student, spec, part, trained=work.trained)
        built = Exported(target.name, path, digest(part), file_bytes(part), bits)
        if state.ok:
            built = _checked(work, target, runtime, built, part, artifact.bits)
        else:
            built = replace(built, reason=f"not run: {state.reason}")
        known = known_ranges_remark(asked, spec)
        built = replace(built, remark="; ".join(said for said in (built.remark, known) if said))
        move(part, path)
    finally:
        remove(part)
    return built


def _checked(
    work: _Work, target: Target, runtime: Runtime, built: Exported, part: Path, asked: Sequence[int]
) -> Exported:
    data = work.task.validation
    inputs = data.inputs(slice(0, SAMPLES))
    with torch.no_grad():
        expected = call(work.student, inputs).float().numpy()
    got = predict(part, runtime, target, as_arrays(inputs))
    difference = relative_difference(got, expected)
    if not isfinite(difference):
        raise MeasurementError("the file or its student answers what is no number; this runtime does not run it right")
    if not built.bits and not difference <= PARITY:
        raise MeasurementError(
            f"the file differs from its student by {difference:.2g} of the largest output, allowed: {PARITY:g}; "
            "this runtime does not run this network right"
        )
    outputs = torch.from_numpy(file_outputs(part, runtime, target, data))
    chooses = expected.ndim == 2 and expected.shape[1] > 1 and data.labels.ndim == 1
    operators = runtime.inspect(part, target)
    with temporary_folder() as folder:
        inputs_file = timing_inputs(work.task, folder)
        files = [TimedFile(part, target, inputs_file)]
        if work.beside is not None:
            files.insert(0, replace(work.beside, inputs=inputs_file))
        *beside, latency = bench(files)
    return replace(
        built,
        difference=difference,
        agreement=float((got.argmax(-1) == expected.argmax(-1)).mean()) if chooses else None,
        accuracy=work.task.metric.value(outputs, data.labels),
        accuracy_sd=standard_error(work.task.metric, outputs, data.labels),
        metric=work.task.metric.label.name,
        latency=latency,
        beside=beside[0] if work.teacher is not None else None,
        operators=operators,
        written=written_operators(part),
        remark=runtime.remark(operators, asked),
    )


def _list(folder: Path, number: int, found: Sequence[Exported], written: Sequence[str]) -> dict[str, Any]:
    return {"study": folder.name, "trial": number, "files": [_plain(each) for each in found], "written": list(written)}


def _plain(exported: Exported) -> dict[str, Any]:
    path = exported.path
    return asdict(exported) | {"path": None if path is None else f"{path.parent.name}/{path.name}"}
