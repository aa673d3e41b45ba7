"""One trial's student as files for other targets, each checked against the student itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..compression.recover import load_recovered
from ..compression.student import make_student
from ..errors import (
    AutoCompressError,
    MeasurementError,
    RuntimeUnavailable,
    StorageError,
    UsageError,
    one_line,
)
from ..evaluators.accuracy import predict
from ..evaluators.bench import bench
from ..evaluators.measurement import Latency
from ..evaluators.runtimes.base import BuildRequest, Runtime
from ..evaluators.runtimes.registry import get_runtime
from ..evaluators.size import file_bytes
from ..evaluators.timing.processes import TimedFile
from ..spaces.axes.target import settle
from ..spaces.groups import find_groups
from ..spaces.layers import find_layers
from ..spaces.plan import Plan
from ..spaces.target import Target
from ..studies.checkpoint import load_weights
from ..studies.study_file import StudyFile
from ..studies.task import PreparedTask, Task, score
from .evaluate.checkpoints import checkpoint_path
from .evaluate.evaluation import CHUNK
from .evaluate.target_session import Templates
from .store.files import digest, disk_errors, move, remove, write_json
from .store.study import read_front
from .trial import Trial

SAMPLES = 64
"""Validation inputs on which a file is held against its student."""
PARITY = 1e-3
"""Largest difference allowed, relative to the largest output, of a file whose layers all have 32 bits."""


@dataclass(frozen=True)
class Exported:
    """What came of one target. difference: largest absolute difference from the student's outputs over `SAMPLES`
    inputs, relative to the largest output (at least 1); agreement: part of them on which both choose the same class.
    accuracy: of the file, by its own runtime, over the validation split. bits: of the plan as this target runs it.
    What could not be had is None, and `reason` says why; without a path, no file was built.
    """

    target: str
    path: Path | None = None
    sha256: str = ""
    size_bytes: int = 0
    bits: Mapping[str, int] = field(default_factory=dict)
    difference: float | None = None
    agreement: float | None = None
    accuracy: float | None = None
    latency: Latency | None = None
    operators: Mapping[str, int] = field(default_factory=dict)
    remark: str = ""
    reason: str = ""


def export(
    folder: Path,
    number: int,
    targets: Sequence[str],
    out: Path,
    task: Task | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Exported]:
    """Write trial `number` of the study in `folder` for each of `targets` ("openvino", "tensorrt@cuda") into
    `out/<target>/`, with `out/export.json`. task: the study's, where it was searched from Python.

    A target that cannot be had does not keep the others from being built. Raises UsageError (no such trial, or its
    weights are gone), UnknownName (of a target), and what the study's data raise.
    """
    trial = _trial(folder, number)
    settings = StudyFile.model_validate_json((folder / "study.json").read_bytes())
    wanted = list({target.name: target for target in (_target(name, settings) for name in targets)}.values())
    if not wanted:
        raise UsageError("no target to export for; name one or more, such as openvino,litert")
    runtimes = {target.name: get_runtime(target.runtime) for target in wanted}
    say("reading the data and the teacher")
    if task is None and settings.task.source is None and settings.teacher.model is None:
        raise UsageError(f"{folder} was searched from Python, so its task is not known here; name it with --task")
    task = task or settings.build_task()
    load_weights(task.teacher, folder / "teacher.safetensors")
    prepared = task.prepared()
    student = recovered(prepared, trial, folder, len(settings.recovery.rungs))
    job = _Work(prepared, student, trial.plan, Templates(student, prepared.example_input, exact=True))
    found = []
    for target in wanted:
        say(f"building for {target.name}")
        try:
            with disk_errors(out):
                found.append(_one(job, target, runtimes[target.name], out / target.name))
        except StorageError:
            raise
        except Exception as error:  # whatever a library makes of a network that it does not know
            kind = "" if isinstance(error, AutoCompressError) else f"{type(error).__name__}: "
            found.append(Exported(target.name, reason=f"{kind}{one_line(error)}"))
    write_json(out / "export.json", {"study": folder.name, "trial": number, "files": [_plain(e) for e in found]})
    return found


def recovered(task: PreparedTask, trial: Trial, folder: Path, rungs: int) -> torch.nn.Module:
    """The student of a trial, in eval mode on the CPU, with the weights that its recovery ended with. rungs: of a
    recovery. Raises UsageError when they are gone."""
    teacher, example = task.teacher.cpu(), task.example_input
    layers = find_layers(teacher, example)
    groups, _ = find_groups(teacher, example, {layer.name: layer.depth for layer in layers})
    student = make_student(teacher, groups, trial.plan)
    if trial.plan.recovery is not None:
        path = checkpoint_path(folder, trial.plan, rungs - 1, trial.heritage)
        if not path.exists():
            raise UsageError(f"{path}: the weights of this trial are gone; keep the folder checkpoints of a study")
        load_recovered(student, path)
    return student.module.cpu().eval()


def _trial(folder: Path, number: int) -> Trial:
    trials = {trial.number: trial for trial in read_front(folder).trials if trial.finished}
    if number not in trials:
        known = ", ".join(map(str, sorted(trials))) or "none"
        raise UsageError(f"{folder} has no finished trial {number}; finished: {known}")
    return trials[number]


def _target(name: str, settings: StudyFile) -> Target:
    first = settings.target.targets()[0]
    runtime, _, device = name.partition("@")
    state = get_runtime(runtime).available()
    # a file for a GPU can be built where there is none
    device = device or (state.devices[0] if state.devices and first.device not in state.devices else first.device)
    return replace(first, runtime=runtime, device=device)


@dataclass(frozen=True)
class _Work:
    task: PreparedTask
    student: torch.nn.Module
    plan: Plan
    templates: Templates


def _one(work: _Work, target: Target, runtime: Runtime, out: Path) -> Exported:
    state = runtime.available()
    if not state.builds:
        raise RuntimeUnavailable(f"not built: {state.reason}")
    layers = [layer.name for layer in find_layers(work.student, work.task.example_input)]
    homes = {target.name: runtime.capabilities(target)}
    bits = settle(replace(work.plan, target=target.name), homes, layers).bits
    out.mkdir(parents=True, exist_ok=True)
    path, part = out / f"model{runtime.suffix}", out / f"part{runtime.suffix}"
    remove(path)  # of an earlier export: what is there is what this one says
    try:
        request = _built(work, target, runtime, bits, part, state.ok)
        built = Exported(target.name, path, digest(part), file_bytes(part), bits)
        if state.ok:
            built = _checked(work, target, runtime, built, part, request)
        else:
            built = replace(built, reason=f"not run: {state.reason}")
        move(part, path)
    finally:
        remove(part)
    return built


def _built(
    work: _Work, target: Target, runtime: Runtime, bits: Mapping[str, int], part: Path, runs: bool
) -> BuildRequest:
    """Build with a free batch, or with the target's own where the network or the runtime fixes it."""
    example, calibration = work.task.example_input.numpy(), work.task.calibration.numpy()
    for free in (True, False):
        template = work.templates.get(1 if free else target.batch)
        model = template.write(work.student)
        request = BuildRequest(model, template.layers, bits, calibration, work.student, template.batch, target.batch)
        try:
            runtime.build(request, part)
            if runs:
                loaded = runtime.load(part, target)
                takes = loaded.input_shape[0]
                if takes not in (None, target.batch):
                    raise MeasurementError(f"{part}: takes {takes} inputs at a time, not {target.batch}")
                for size in (1, 3) if takes is None else (takes,):
                    loaded.run(np.repeat(example, size, axis=0))
            return request
        except MeasurementError:
            if not free:
                raise
    raise AssertionError("one of the two forms is built or raises")


def _checked(
    work: _Work, target: Target, runtime: Runtime, built: Exported, part: Path, request: BuildRequest
) -> Exported:
    data = work.task.validation
    inputs = data.inputs(slice(0, SAMPLES))
    with torch.no_grad():
        expected = work.student(inputs).float().numpy()
    got = predict(part, runtime, target, inputs.numpy())
    difference = float(np.abs(got - expected).max() / max(1.0, float(np.abs(expected).max())))
    if not built.bits and difference > PARITY:
        raise MeasurementError(
            f"the file differs from its student by {difference:.2g} of the largest output, allowed: {PARITY:g}; "
            "this runtime does not run this network right"
        )
    parts = (data.inputs(slice(i, i + CHUNK)).numpy() for i in range(0, len(data), CHUNK))
    outputs = predict(part, runtime, target, parts)
    operators = runtime.inspect(part, target)
    return replace(
        built,
        difference=difference,
        agreement=float((got.argmax(-1) == expected.argmax(-1)).mean()),
        accuracy=score(work.task.metric, torch.from_numpy(outputs), data.labels),
        latency=bench([TimedFile(part, target)])[0],
        operators=operators,
        remark=runtime.remark(operators, [built.bits.get(name, 32) for name in request.layers.values()]),
    )


def _plain(exported: Exported) -> dict[str, Any]:
    values = asdict(exported)
    path = exported.path
    return values | {"path": None if path is None else f"{path.parent.name}/{path.name}"}
